"""Quantify map artefacts: fingers of God, tiling, stripes, steps at the ends of the grid.

Nothing is smoothed. With --truth, the same numbers are computed for the true sky.

Example:
  galcarto measure_artefacts --seed 1 --cube results/demo/cube.nc --truth results/demo/sky/truth.nc \\
      --comparison artefacts.nc --metrics artefacts.json
"""

import argparse

import numpy as np
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.dustmap.compare import artefacts
from galcarto.maps.grid import distance_coordinate, edges_of
from galcarto.maps.reader import open_cube

SAMPLES = 8  # of the posterior


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "cube", "metrics")
    parser.add_argument("--truth", help="true extinction on the same grid (netCDF)")
    parser.add_argument(
        "--comparison", required=True, type=Output, help="netCDF file to write: the curves that the numbers summarise"
    )


def run(args: argparse.Namespace) -> None:
    """Write the numbers and the curves that they summarise."""
    with open_cube(args.cube) as opened:
        cube = opened.transpose("sample", "l", "b", "distance", ...)
        edges = edges_of(cube, "distance")
        found = artefacts.Map(
            l=cube["l"].to_numpy(),
            b=cube["b"].to_numpy(),
            edges=edges,
            samples=cube["extinction_density_samples"].isel(sample=slice(SAMPLES)).to_numpy(),
            density=cube["extinction_density"].to_numpy(),
            **{name: cube[name].to_numpy() for name in ("extinction", "extinction_sd", "distance_min", "distance_max")},
            truth=_truth(args.truth),
        )
        coordinates = {name: cube[name] for name in ("l", "b")}
        metrics, curves = artefacts.measure(found, generator(args.seed, "measure_artefacts"))
        dataset = xr.Dataset(
            {name: (dimension, values, {"units": "1"}) for name, (dimension, values) in curves.items()},
            coords={
                "separation": (
                    "separation",
                    (edges[1] - edges[0]) * np.arange(1, artefacts.LAGS + 1),
                    {"units": "kiloparsec", "long_name": "separation of two cells"},
                ),
                "tiles_apart": np.arange(1, artefacts.TILES_APART + 1),
                **coordinates,
                **distance_coordinate(edges),
            },
            attrs={"smoothing": metrics["smoothing"]},
        )
    inputs = [args.cube, args.truth]
    dataset.attrs |= provenance.attributes("measure_artefacts", args, inputs)
    dataset.to_netcdf(args.comparison)
    write_json(args.metrics, {"artefacts": metrics})


def _truth(path: str | None) -> np.ndarray | None:
    """True cumulative extinction, shape (l, b, distance)."""
    if path is None:
        return None
    with xr.open_dataset(path) as truth:
        return truth["extinction"].transpose("l", "b", "distance").to_numpy()
