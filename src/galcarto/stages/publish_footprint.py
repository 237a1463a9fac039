"""Write the footprint as a multi-order coverage map (MOC).

Example:
  galcarto publish_footprint --cube results/demo/cube.nc --output footprint.moc.fits
"""

import argparse

from mocpy import MOC

from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "cube")
    parser.add_argument("--output", required=True, type=Output, help="FITS file to write")


def run(args: argparse.Namespace) -> None:
    """Write the footprint from the attributes of the cube."""
    with open_cube(args.cube) as cube:
        MOC.from_string(cube.attrs["footprint_moc"]).save(args.output, format="fits")
