"""Draw the error of the extinction against distance.

Example:
  galcarto plot_errors --heldout results/demo/comparisons/heldout.nc \\
      --truth results/demo/comparisons/truth.nc --output results/demo/figures/errors.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import errors, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--heldout", required=True, help="scores of the held-out mocks (netCDF)")
    parser.add_argument("--truth", help="scores of the sky against its truth (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    sky = xr.load_dataset(args.truth) if args.truth else None
    with xr.open_dataset(args.heldout) as heldout:
        style.save(errors.against_distance(heldout, sky), *args.output)
