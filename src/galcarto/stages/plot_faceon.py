"""Draw the dust of the Galactic plane seen face-on.

Example:
  galcarto plot_faceon --faceon results/demo/faceon.nc --output results/demo/figures/faceon.png
"""

import argparse

import xarray as xr

from galcarto.figures import faceon, style
from galcarto.files import Output


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--faceon", required=True, help="the face-on view (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.faceon) as view:
        style.save(faceon.faceon(view), *args.output)
