"""Draw maps of what says how far each tile can be trusted.

Example:
  galcarto plot_trust --cube results/orion/cube.nc --output results/orion/figures/trust.png
"""

import argparse

from galcarto.core.files import Output
from galcarto.figures import style, trust
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--cube", required=True, help="cube (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with open_cube(args.cube) as cube:
        style.save(trust.maps(cube), *args.output)
