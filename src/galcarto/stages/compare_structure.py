"""Measure at which distance the dust of the thickest tiles stands.

Example:
  galcarto compare_structure --settings "$(galcarto settings config/orion.yaml compare)" --cube cube.nc \\
      --planck planck_tau353.nc --comparison structure.nc --metrics structure.json
"""

import argparse
import json

import numpy as np
import xarray as xr

from galcarto import provenance
from galcarto.compare import structure
from galcarto.maps.grid import edges_of
from galcarto.maps.reader import open_cube
from galcarto.settings import read_sections


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of the section compare")
    parser.add_argument("--cube", required=True, help="cube (netCDF)")
    parser.add_argument("--planck", required=True, help="comparison with the map that chooses the tiles (netCDF)")
    parser.add_argument("--comparison", required=True, help="netCDF file to write: half-rises of the tiles")
    parser.add_argument("--metrics", required=True, help="JSON file to write")


def run(args: argparse.Namespace) -> None:
    """Write half-rises and their scores; the map chooses tiles and has no other part."""
    (compare,) = read_sections(args.settings, "compare")
    asked = compare.structure
    with xr.open_dataset(args.planck) as planck, open_cube(args.cube) as cube:
        dense = (planck["used"].astype(bool) & (planck["planck"] > asked.above)).to_numpy()
        samples = cube["extinction_samples"].to_numpy()[:, dense]
        edges = edges_of(cube, "distance")
        i, j = np.nonzero(dense)
        l, b = cube["l"].to_numpy()[i], cube["b"].to_numpy()[j]
    metrics, values = structure.measure(
        samples,
        edges,
        l,
        total=asked.total,
        window=asked.window,
        foreground=asked.foreground,
        far=asked.far,
    )
    dataset = xr.Dataset(
        {name: ("tile", value, {"units": "kiloparsec"}) for name, value in values.items()}
        | {"l": ("tile", l, {"units": "degree"}), "b": ("tile", b, {"units": "degree"})},
        attrs=provenance.attributes("compare_structure", json.loads(args.settings), None, [args.cube, args.planck]),
    )
    dataset.to_netcdf(args.comparison)
    with open(args.metrics, "w") as handle:
        json.dump({"distance": metrics}, handle, indent=2)
