"""Draw the dust on spiral arms and at their tracers against the dust elsewhere.

Example:
  galcarto plot_arms --comparison results/demo/comparisons/arms.nc --output results/demo/figures/arms.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import style, tracers


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--comparison", required=True, help="nulls and curves (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.comparison) as found:
        style.save(tracers.arms(found), *args.output)
