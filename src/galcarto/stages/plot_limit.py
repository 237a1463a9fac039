"""Draw the network's error beside the information limit and colour excesses.

Example:
  galcarto plot_limit --comparison results/orion/comparisons/limit.nc --output results/orion/figures/limit.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import limit, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--comparison", required=True, help="errors of the three methods (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.comparison) as comparison:
        style.save(limit.against_distance(comparison), *args.output)
