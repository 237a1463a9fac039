"""Compare the cube with the true extinction of the synthetic sky.

Example:
  galcarto compare_truth --seed 1 --cube results/demo/cube.nc --truth results/demo/sky/truth.nc \\
      --comparison truth.nc --metrics truth.json
"""

import argparse

import numpy as np
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.dustmap.compare.heldout import bins
from galcarto.learning.scores import score
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "cube", "metrics")
    parser.add_argument("--truth", required=True, help="true extinction on the same grid (netCDF)")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: scores by distance")


def run(args: argparse.Namespace) -> None:
    """Write scores within distance_max."""
    with open_cube(args.cube) as cube, xr.open_dataset(args.truth) as truth:
        samples = cube["extinction_samples"].stack(tile=("l", "b")).transpose("tile", "sample", "distance")
        known = truth["extinction"].stack(tile=("l", "b")).transpose("tile", "distance").to_numpy()
        outer = cube["distance_bounds"].to_numpy()[:, 1]
        reach = cube["distance_max"].stack(tile=("l", "b")).to_numpy()
        valid = outer <= reach[:, None] + 1e-6
        seen = np.isfinite(reach)
        dataset = score(samples.to_numpy()[seen], known[seen], valid[seen], bins(cube["distance"].to_numpy()), "mag")
    metrics = dict(dataset.attrs)
    dataset.attrs |= provenance.attributes("compare_truth", args, [args.cube, args.truth])
    dataset.to_netcdf(args.comparison)
    write_json(args.metrics, {"sky": metrics})
