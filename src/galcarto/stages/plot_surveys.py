"""Draw what each survey says alone, and both together.

Example:
  galcarto plot_surveys --comparison results/cone/comparisons/surveys.nc --output results/cone/figures/surveys.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import style, together


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--comparison", required=True, help="extinction by survey (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.comparison) as found:
        style.save(together.surveys(found), *args.output)
