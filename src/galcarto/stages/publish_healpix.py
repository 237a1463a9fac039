"""Resample the cube to HEALPix pixels.

Example:
  galcarto publish_healpix --settings "$(galcarto settings config/config.yaml publish)" --seed 1 \\
      --cube cube.nc --output cube_healpix.nc
"""

import argparse
import json

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.dustmap.settings import read_sections
from galcarto.maps import healpix
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of the section publish")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cube", required=True, help="cube (netCDF)")
    parser.add_argument("--output", required=True, type=Output, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write the cube's variables in pixels."""
    (publish,) = read_sections(args.settings, "publish")
    attributes = provenance.attributes("publish_healpix", json.loads(args.settings), args.seed, [args.cube])
    with open_cube(args.cube) as cube:
        healpix.write(args.output, cube, publish.nside, attributes)
