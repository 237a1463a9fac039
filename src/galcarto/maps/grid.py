"""Coordinates and bounds that every map shares."""

import numpy as np
import xarray as xr

from galcarto.sky import Tiles


def _bounded(name: str, edges: np.ndarray, attributes: dict[str, str]) -> dict[str, xr.DataArray]:
    attributes = {**attributes, "bounds": f"{name}_bounds"}
    return {
        name: xr.DataArray(0.5 * (edges[1:] + edges[:-1]), dims=name, attrs=attributes),
        f"{name}_bounds": xr.DataArray(np.stack([edges[:-1], edges[1:]], axis=1), dims=(name, "bounds")),
    }


def tile_coordinates(tiles: Tiles) -> dict[str, xr.DataArray]:
    """Coordinates ``l`` and ``b`` in degrees, with bounds."""
    return {
        **_bounded(
            "l",
            tiles.l_edges,
            {"units": "degree", "long_name": "galactic longitude", "ucd": "pos.galactic.lon", "frame": "galactic"},
        ),
        **_bounded(
            "b",
            tiles.b_edges,
            {"units": "degree", "long_name": "galactic latitude", "ucd": "pos.galactic.lat", "frame": "galactic"},
        ),
    }


def distance_coordinate(edges: np.ndarray) -> dict[str, xr.DataArray]:
    """Coordinate ``distance`` in kiloparsec at the bins' centres, with bounds."""
    attributes = {"units": "kiloparsec", "long_name": "distance from the Sun", "ucd": "pos.distance"}
    return _bounded("distance", edges, attributes)


def edges_of(dataset: xr.Dataset, name: str) -> np.ndarray:
    """Bin edges of a bounded coordinate."""
    bounds = dataset[f"{name}_bounds"].to_numpy()
    return np.append(bounds[:, 0], bounds[-1, 1])
