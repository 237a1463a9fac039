"""Coordinates, bounds and attributes shared by all maps."""

from typing import Any

import numpy as np
import xarray as xr

from galcarto.core.sky import Tiles

CONVENTIONS = "CF-1.13, ACDD-1.3"
SAMPLES_GROUP = "samples"  # netCDF group of the posterior samples


def bounded(name: str, edges: np.ndarray, attributes: dict[str, str]) -> dict[str, xr.DataArray]:
    """A coordinate at the centres of bins, and its bounds."""
    attributes = {**attributes, "coverage_content_type": "coordinate", "bounds": f"{name}_bounds"}
    return {
        name: xr.DataArray(0.5 * (edges[1:] + edges[:-1]), dims=name, attrs=attributes),
        f"{name}_bounds": xr.DataArray(np.stack([edges[:-1], edges[1:]], axis=1), dims=(name, "bounds")),
    }


def tile_coordinates(tiles: Tiles) -> dict[str, xr.DataArray]:
    """Coordinates ``l`` and ``b`` in degrees, with bounds."""
    return {
        **bounded(
            "l",
            tiles.l_edges,
            {"units": "degree", "long_name": "galactic longitude", "ucd": "pos.galactic.lon", "frame": "galactic"},
        ),
        **bounded(
            "b",
            tiles.b_edges,
            {"units": "degree", "long_name": "galactic latitude", "ucd": "pos.galactic.lat", "frame": "galactic"},
        ),
    }


def distance_coordinate(edges: np.ndarray) -> dict[str, xr.DataArray]:
    """Coordinate ``distance`` in kiloparsec at the bins' centres, with bounds."""
    attributes = {
        "units": "kiloparsec",
        "standard_name": "distance_from_sun",
        "long_name": "distance from the Sun",
        "ucd": "pos.distance",
    }
    return bounded("distance", edges, attributes)


def sample_coordinate(samples: int) -> dict[str, xr.DataArray]:
    """Coordinate ``sample``: the numbers of the posterior samples."""
    attributes = {
        "units": "1",
        "standard_name": "realization",
        "long_name": "number of the posterior sample",
        "coverage_content_type": "coordinate",
    }
    return {"sample": xr.DataArray(np.arange(samples, dtype="i4"), dims="sample", attrs=attributes)}


def window_attributes(tiles: Tiles) -> dict[str, str]:
    """Global attributes for the window on the sky. Other geospatial attributes of ACDD apply to the Earth only."""
    l, b = ((f"{edges[0]:g}", f"{edges[-1]:g}") for edges in (tiles.l_edges, tiles.b_edges))
    return {
        "geospatial_bounds": f"POLYGON (({l[0]} {b[0]}, {l[1]} {b[0]}, {l[1]} {b[1]}, {l[0]} {b[1]}, {l[0]} {b[0]}))",
        "geospatial_bounds_crs": "Galactic longitude and latitude (IAU 1958) in degree",
    }


def derived_attributes(cube: xr.Dataset, form: str, comment: str) -> dict[str, Any]:
    """Global attributes of a product derived from a cube: the cube's, with its own id, history and comment."""
    own = {
        "Conventions": CONVENTIONS,
        "id": f"{cube.attrs.get('id', 'cube')}-{form}",
        "history": f"{cube.attrs.get('history', 'a cube')}; resampled: {form}",
        "comment": comment,
    }
    return cube.attrs | own


def edges_of(dataset: xr.Dataset, name: str) -> np.ndarray:
    """Bin edges of a bounded coordinate."""
    bounds = dataset[f"{name}_bounds"].to_numpy()
    return np.append(bounds[:, 0], bounds[-1, 1])


def tiles_of(dataset: xr.Dataset) -> Tiles:
    """The tiles of a map on a grid of l and b."""
    return Tiles(edges_of(dataset, "l"), edges_of(dataset, "b"))
