"""Project the cube onto the Galactic plane, seen from above.

Example:
  galcarto project_faceon --settings "$(galcarto settings config/config.yaml faceon)" --seed 1 \\
      --cube cube.nc --output faceon.nc
"""

import argparse
import json

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.core.sky import SUN_RADIUS
from galcarto.dustmap.settings import read_sections
from galcarto.maps.faceon import project
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of the section faceon")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cube", required=True, help="cube (netCDF)")
    parser.add_argument("--output", required=True, type=Output, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write extinction_density(y, x)."""
    (faceon,) = read_sections(args.settings, "faceon")
    with open_cube(args.cube) as cube:
        dataset = project(cube, faceon.pixel)
    dataset.attrs |= provenance.attributes("project_faceon", json.loads(args.settings), args.seed, [args.cube])
    dataset.attrs |= {"sun_radius_kpc": SUN_RADIUS}
    coordinates = {name: {"_FillValue": None} for name in dataset.coords}
    dataset.to_netcdf(args.output, encoding={"extinction_density": {"zlib": True}, **coordinates})
