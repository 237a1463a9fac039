"""Write the cube as a Zarr store.

Example:
  galcarto publish_zarr --cube results/demo/cube.nc --output cube.zarr
"""

import argparse

from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.maps import zarr
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "cube")
    parser.add_argument("--output", required=True, type=Output, help="Zarr folder to write")


def run(args: argparse.Namespace) -> None:
    """Write the same dataset."""
    if not args.output.final.endswith(".zarr"):  # open_cube recognises Zarr by it, and an existing folder is replaced
        raise UserError(f"--output: found {args.output.final}; expected a name that ends in .zarr")
    with open_cube(args.cube) as cube:
        zarr.write(args.output, cube)
