"""Draw fingers of God, tiling, stripes and steps at the grid's ends.

Example:
  galcarto plot_artefacts --comparison results/demo/comparisons/artefacts.nc \\
      --output results/demo/figures/artefacts.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import artefacts, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--comparison", required=True, help="what the numbers sum up (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.comparison) as found:
        style.save(artefacts.artefacts(found), *args.output)
