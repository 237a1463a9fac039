"""Resample the cube's density to cubic voxels that keep each sightline's extinction.

Example:
  galcarto publish_cartesian --settings "$(galcarto settings config/config.yaml publish)" --seed 1 \\
      --cube cube.nc --output cartesian.nc
"""

import argparse
import json

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.dustmap.settings import read_sections
from galcarto.maps import cartesian
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of the section publish")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cube", required=True, help="cube (netCDF)")
    parser.add_argument("--output", required=True, type=Output, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write extinction_density(z, y, x)."""
    (publish,) = read_sections(args.settings, "publish")
    with open_cube(args.cube) as cube:
        dataset = cartesian.resample(cube, publish.step)
    dataset.attrs |= provenance.attributes("publish_cartesian", json.loads(args.settings), args.seed, [args.cube])
    dataset.to_netcdf(args.output, encoding=cartesian.encoding(dataset))
