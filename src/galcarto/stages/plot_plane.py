"""Draw the extinction in the plane of the sky beside a map of dust emission.

Example:
  galcarto plot_plane --comparison results/demo/comparisons/planck_synthetic.nc \\
      --output results/demo/figures/planck_synthetic.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import plane, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--comparison", required=True, help="both maps and the scores (netCDF)")
    parser.add_argument("--excess", help="A_V of the mean colour excess on the same tiles (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    excess = xr.load_dataset(args.excess)["extinction"] if args.excess else None
    with xr.open_dataset(args.comparison) as maps:
        style.save(plane.comparison(maps, excess), *args.output)
