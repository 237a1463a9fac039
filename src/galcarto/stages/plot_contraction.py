"""Draw how much narrower than the prior the posterior of the local density is.

Example:
  galcarto plot_contraction --strips results/orion/sightlines/????.nc --cube results/orion/cube.nc \\
      --prior results/orion/comparisons/prior.nc --output results/orion/figures/contraction.png
"""

import argparse

import numpy as np
import xarray as xr

from galcarto.core.files import Output
from galcarto.dustmap.compare.prior import QUANTILES, contraction
from galcarto.figures import prior, style
from galcarto.maps.cube import CONTRACTED
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
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
        nearest, farthest = (cube[name].to_numpy().ravel() for name in ("distance_min", "distance_max"))
        told = contraction(np.concatenate(spreads), nearest, farthest, cube["distance"].to_numpy())
        dims = ("quantile", "distance")
        posterior = cube["extinction_density_samples"].quantile(list(QUANTILES), ("sample", "l", "b"))
        dataset = xr.Dataset(
            {
                "quantiles": (dims, told["quantiles"]),
                "speaking": ("distance", told["speaking"]),
                "posterior": (dims, posterior.to_numpy()),
                "prior": (dims, statistics["density"].sel(variant="full").to_numpy()),
                "nearest": ("tile", nearest),
                "farthest": ("tile", farthest),
            },
            coords={"quantile": list(QUANTILES), "distance": cube["distance"].to_numpy()},
        )
        style.save(prior.contraction(dataset, CONTRACTED), *args.output)
