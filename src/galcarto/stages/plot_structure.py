"""Draw where along the sightline the dust of the thickest tiles stands.

Example:
  galcarto plot_structure --comparison results/orion/comparisons/structure.nc \\
      --output results/orion/figures/structure.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import structure, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--comparison", required=True, help="half-rises of the tiles (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.comparison) as found:
        style.save(structure.distances(found), *args.output)
