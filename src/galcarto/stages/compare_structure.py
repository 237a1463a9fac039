"""Measure the distance of the dust in the tiles of highest extinction.

Example:
  galcarto compare_structure --settings "$(galcarto settings config/orion.yaml compare_structure)" \\
      --cube results/orion/cube.nc --planck results/orion/comparisons/planck_tau353.nc \\
      --comparison results/orion/comparisons/structure.nc --metrics results/orion/comparisons/structure.json
"""

import argparse

import numpy as np
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dustmap.compare import structure
from galcarto.dustmap.settings import Compare
from galcarto.maps.grid import distance_coordinate, edges_of
from galcarto.maps.reader import open_cube

CLASSES = np.array([0.0, 1.0, 2.0, 4.0, 8.0, np.inf])  # mag, of the map by which tiles are chosen


class Settings(Section):
    compare: Compare


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "cube", "metrics", settings=Settings)
    parser.add_argument("--planck", required=True, help="comparison with the map by which tiles are chosen (netCDF)")
    parser.add_argument(
        "--comparison", required=True, type=Output, help="netCDF file to write: half-rises of the tiles"
    )


def run(args: argparse.Namespace) -> None:
    """Write the half-rise distances and their scores; the map is used only to choose the tiles."""
    asked = read(args.settings, Settings).compare.structure
    assert asked is not None  # else there is no such rule
    with xr.open_dataset(args.planck) as planck, open_cube(args.cube) as cube:
        dense = (planck["used"].astype(bool) & (planck["planck"] > asked.above)).to_numpy()
        samples = cube["extinction_samples"].to_numpy()[:, dense]
        edges = edges_of(cube, "distance")
        covered = planck["used"].astype(bool).to_numpy()
        profiles, tiles = structure.by_class(
            cube["extinction"].to_numpy()[covered], planck["planck"].to_numpy()[covered], CLASSES
        )
        i, j = np.nonzero(dense)
        l, b = cube["l"].to_numpy()[i], cube["b"].to_numpy()[j]
    metrics, values = structure.measure(
        samples, edges, l, total=asked.total, window=asked.window, foreground=asked.foreground, far=asked.far
    )
    dataset = xr.Dataset(
        {name: ("tile", value, {"units": "kiloparsec"}) for name, value in values.items()}
        | {
            "l": ("tile", l, {"units": "degree"}),
            "b": ("tile", b, {"units": "degree"}),
            "class_extinction": (("class", "distance"), profiles, {"units": "mag", "long_name": "median profile"}),
            "class_tiles": ("class", tiles),
            "class_bounds": (("class", "bounds"), np.stack([CLASSES[:-1], CLASSES[1:]], axis=1), {"units": "mag"}),
            "known_l": ("known", [known.l for known in asked.known], {"units": "degree"}),
            "known_distance": ("known", [known.distance for known in asked.known], {"units": "kiloparsec"}),
            "known_source": ("known", np.array([known.source for known in asked.known], dtype=object)),
        },
        coords=distance_coordinate(edges),
        attrs={"map": asked.map, "above": asked.above, "window": list(asked.window)}
        | {name: metrics[name] for name in ("trend_kpc_per_deg", "trend_sd") if metrics[name] is not None},
    )
    dataset.attrs |= provenance.attributes("compare_structure", args, [args.cube, args.planck])
    dataset.to_netcdf(args.comparison)
    write_json(args.metrics, {"distance": metrics})
