"""Draw the cube's differences from a published map of dust in three dimensions.

Example:
  galcarto plot_map --comparison results/orion/comparisons/map_bayestar19.nc \\
      --output results/orion/figures/map_bayestar19.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import published, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--comparison", required=True, help="both maps and the scores (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.comparison) as comparison:
        style.save(published.differences(comparison), *args.output)
