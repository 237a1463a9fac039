"""Project the cube onto the Galactic plane, seen from above.

Example:
  galcarto project_faceon --settings "$(galcarto settings config/config.yaml project_faceon)" --seed 1 \\
      --cube results/demo/cube.nc --output faceon.nc
"""

import argparse
from typing import Any

import xarray as xr

from galcarto.core import provenance
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.core.sky import SUN_RADIUS
from galcarto.maps.faceon import project
from galcarto.maps.reader import open_cube
from galcarto.maps.settings import FaceOn


class Settings(Section):
    faceon: FaceOn


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "cube", "output", settings=Settings)
    parser.add_argument("--truth", help="true extinction of a synthetic sky on the same grid (netCDF)")


def run(args: argparse.Namespace) -> None:
    """Write extinction_density(y, x), and beside it the true density where it is known."""
    settings = read(args.settings, Settings)
    truth = xr.load_dataset(args.truth) if args.truth else None
    with open_cube(args.cube) as cube:
        dataset = project(cube, settings.faceon.pixel, truth)
    inputs = [path for path in (args.cube, args.truth) if path]
    dataset.attrs |= provenance.attributes("project_faceon", args, inputs)
    dataset.attrs |= {"sun_radius_kpc": SUN_RADIUS}
    encoding: dict[str, dict[str, Any]] = {str(name): {"_FillValue": None} for name in dataset.coords}
    encoding |= {str(name): {"zlib": True} for name in dataset if "density" in str(name)}
    dataset.to_netcdf(args.output, encoding=encoding)
