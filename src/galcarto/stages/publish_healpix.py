"""Resample the cube to HEALPix pixels.

Example:
  galcarto publish_healpix --settings "$(galcarto settings config/config.yaml publish_healpix)" --seed 1 \\
      --cube results/demo/cube.nc --output cube_healpix.nc
"""

import argparse

from galcarto.core import provenance
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.maps import healpix
from galcarto.maps.reader import open_cube
from galcarto.maps.settings import Publish


class Settings(Section):
    publish: Publish


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "cube", "output", settings=Settings)


def run(args: argparse.Namespace) -> None:
    """Write the variables of the cube in HEALPix pixels."""
    settings = read(args.settings, Settings)
    attributes = provenance.attributes("publish_healpix", args, [args.cube])
    with open_cube(args.cube) as cube:
        healpix.write(args.output, cube, settings.publish.nside, attributes)
