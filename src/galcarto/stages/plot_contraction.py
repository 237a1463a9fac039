"""Draw the posterior contraction of the local density with respect to the prior.

Example:
  galcarto plot_contraction --strips results/demo/sightlines/????.nc --cube results/demo/cube.nc \\
      --prior results/demo/comparisons/prior.nc --output results/demo/figures/contraction.png
"""

import argparse

import numpy as np
import xarray as xr

from galcarto.core.files import Output
from galcarto.dustmap.compare.prior import contraction_of_map
from galcarto.figures import prior, style
from galcarto.maps.quality import CONTRACTED
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strips", required=True, nargs="+", help="posteriors of the strips, in order (netCDF)")
    parser.add_argument("--cube", required=True, help="cube (netCDF)")
    parser.add_argument("--prior", required=True, help="statistics of the prior (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    spreads = []
    for path in args.strips:
        with xr.open_dataset(path) as strip:
            spreads.append(strip["contraction"].to_numpy())
    with open_cube(args.cube) as cube, xr.open_dataset(args.prior) as statistics:
        found = contraction_of_map(np.concatenate(spreads), cube, statistics)
        style.save(prior.contraction(found, CONTRACTED), *args.output)
