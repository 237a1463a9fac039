"""Draw the prior over profiles beside published statistics of the nearby dust.

Example:
  galcarto plot_prior --prior results/orion/comparisons/prior.nc --output results/orion/figures/prior.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import prior, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--prior", required=True, help="statistics of the prior (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.prior) as statistics:
        style.save(prior.samples(statistics), *args.output)
