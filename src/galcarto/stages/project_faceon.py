"""Project the cube onto the Galactic plane, seen from above.

Example:
  galcarto project_faceon --settings "$(galcarto settings config/config.yaml project_faceon)" --seed 1 \\
      --cube results/demo/cube.nc --output faceon.nc
"""

import argparse

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


def run(args: argparse.Namespace) -> None:
    """Write extinction_density(y, x)."""
    settings = read(args.settings, Settings)
    with open_cube(args.cube) as cube:
        dataset = project(cube, settings.faceon.pixel)
    dataset.attrs |= provenance.attributes("project_faceon", args, [args.cube])
    dataset.attrs |= {"sun_radius_kpc": SUN_RADIUS}
    coordinates = {name: {"_FillValue": None} for name in dataset.coords}
    dataset.to_netcdf(args.output, encoding={"extinction_density": {"zlib": True}, **coordinates})
