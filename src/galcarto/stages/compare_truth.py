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
from galcarto.dustmap.compare.heldout import bins, trusted_scores
from galcarto.learning.scores import score
from galcarto.maps.grid import edges_of
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
        edges = edges_of(cube, "distance")
        ends = np.stack([cube[name].to_numpy().ravel() for name in ("distance_min", "distance_max")], axis=1)
        valid = edges[1:] <= ends[:, 1:] + 1e-6
        seen = np.isfinite(ends[:, 1])
        dataset = score(samples.to_numpy()[seen], known[seen], valid[seen], bins(cube["distance"].to_numpy()), "mag")
        trusted = trusted_scores(samples.to_numpy()[seen], known[seen], ends[seen], edges)
    metrics = dataset.attrs | trusted
    dataset.attrs |= provenance.attributes("compare_truth", args, [args.cube, args.truth])
    dataset.to_netcdf(args.comparison)
    write_json(args.metrics, {"sky": metrics})
