"""Draw how often the truth lies inside the stated intervals.

Example:
  galcarto plot_calibration --heldout results/demo/comparisons/heldout.nc \\
      --output results/demo/figures/calibration.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import calibration, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--heldout", required=True, help="scores of the held-out mocks (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.heldout) as heldout:
        style.save(calibration.coverage(heldout), *args.output)
