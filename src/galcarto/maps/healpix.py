"""The HEALPix form of the cube: tiles resampled to equal-area pixels, written block by block."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import healpy as hp
import netCDF4
import numpy as np
import xarray as xr
from tqdm import tqdm

from galcarto.core.netcdf import Table
from galcarto.core.sky import Tiles
from galcarto.maps.cube import COMPLETE, NOT_OBSERVED, PARTLY_OBSERVED, VARIABLES, create, statistics
from galcarto.maps.footprint import POINTS, tile_points
from galcarto.maps.grid import derived_attributes, edges_of, tiles_of

BLOCK = 3  # refinement levels between a pixel and a block: 64 pixels in memory at once
RESAMPLING = (
    "Tiles to HEALPix pixels: the posterior samples of the density are averaged over the observed tiles in the pixel, "
    "weighted by the area they share; extinction, means and standard deviations follow from the averages. Samples of "
    "different tiles are paired by the rank of their extinction to the last bin: the tiles' errors count as common, so "
    "that averaging does not shrink them. stars and area are shared out by area; distance_min, out_of_distribution and "
    "fit_chi2 are the largest, distance_max and fit_p_value the smallest of these tiles; a flag is raised where one of "
    "them raises it, partly_observed also where they cover less than 0.95 of the pixel."
)

COMBINED = {
    np.add: ("stars", "area"),
    np.maximum: ("distance_min", "out_of_distribution", "fit_chi2"),
    np.minimum: ("distance_max", "fit_p_value"),
    np.bitwise_or: ("quality",),
}


def refinement_level(tiles: Tiles) -> int:
    """The coarsest level with pixels no larger than the height of the smallest tile."""
    return max(0, math.ceil(math.log2(hp.nside2resol(1) / np.radians(np.diff(tiles.b_edges).min()))))


def overlaps(tiles: Tiles, observed: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of overlapping pixels and tiles, and the area they share.

    Parameters
    ----------
    tiles : Tiles
    observed : ndarray of bool, shape (l, b)
        Only these tiles are used.
    level : int
        nside is 2 to this power.

    Returns
    -------
    pixel : ndarray of int64, shape (pair,)
        Nested pixel numbers, ascending.
    tile : ndarray of int64, shape (pair,)
        l-major.
    area : ndarray, shape (pair,), deg2
        The areas of a tile's pairs add up to its area.
    """
    found = []
    side = np.degrees(hp.nside2resol(2**level))
    along = max(POINTS, math.ceil(POINTS / 2 * np.diff(tiles.b_edges).max() / side))
    for column, seen in enumerate(observed):
        l, b = tile_points(tiles.columns(column, column + 1), along)
        pixel = hp.ang2pix(2**level, l[seen].ravel(), b[seen].ravel(), nest=True, lonlat=True)
        tile = np.repeat(column * tiles.shape[1] + np.flatnonzero(seen), along**2)
        pairs, number = np.unique(np.stack([pixel, tile]), axis=1, return_counts=True)
        found.append(np.concatenate([pairs, number[None]]))
    pixel, tile, number = np.concatenate(found, axis=1)
    order = np.lexsort([tile, pixel])
    area = number * tiles.area().ravel()[tile] / along**2
    return pixel[order], tile[order], area[order]


def resample(cube: xr.Dataset, tiles: Tiles, level: int) -> tuple[np.ndarray, Iterator[tuple[int, dict[str, Any]]]]:
    """Resample the cube's variables to pixels, as `RESAMPLING` describes.

    Parameters
    ----------
    cube : Dataset
        From `open_cube`, on a grid of l and b.
    tiles : Tiles
        Tiles of the cube.
    level : int
        nside is 2 to this power.

    Returns
    -------
    pixels : ndarray of int64
        Nested numbers of the pixels that overlap an observed tile, ascending.
    blocks : iterator of (int, dict of ndarray)
        Index of a block's first pixel, and the variables of `VARIABLES`; samples have shape (cell, sample, distance).
    """
    quality = cube["quality"].to_numpy()
    pixel, tile, area = overlaps(tiles, quality & NOT_OBSERVED == 0, level)
    plane = {
        name: cube[name].transpose("l", "b").to_numpy().ravel()
        for name, (dimensions, *_) in VARIABLES.items()
        if dimensions == ("l", "b")
    }
    fraction = area / tiles.area().ravel()[tile]
    width = np.diff(edges_of(cube, "distance"))
    whole = hp.nside2pixarea(2**level, degrees=True)

    def density(number: int) -> np.ndarray:
        at = dict(zip(("l", "b"), np.unravel_index(number, tiles.shape), strict=True))
        samples = cube["extinction_density_samples"].isel(at).transpose("sample", "distance").to_numpy()
        return samples[np.argsort(samples @ width, kind="stable")]

    def blocks() -> Iterator[tuple[int, dict[str, Any]]]:
        done = 0
        starts = np.flatnonzero(np.diff(pixel >> 2 * BLOCK, prepend=-1))
        for pairs in tqdm(np.split(np.arange(len(pixel)), starts[1:]), desc="HEALPix", unit="block"):
            cells, cell = np.unique(pixel[pairs], return_inverse=True)
            known, which = np.unique(tile[pairs], return_inverse=True)
            weight = np.zeros((len(cells), len(known)))
            weight[cell, which] = area[pairs]
            covered = weight.sum(axis=1)
            read = np.stack([density(number) for number in known])
            mean = np.tensordot(weight / covered[:, None], read, axes=1).astype(np.float32)
            starting = np.flatnonzero(np.diff(cell, prepend=-1))

            values = {name: array[tile[pairs]] for name, array in plane.items()}
            found: dict[str, Any] = statistics(mean, width)
            for combine, names in COMBINED.items():
                for name in names:
                    shared = values[name] * fraction[pairs] if combine is np.add else values[name]
                    found[name] = combine.reduceat(shared, starting)
            found["quality"] |= np.where(covered < COMPLETE * whole, PARTLY_OBSERVED, 0).astype(np.uint8)
            yield done, found
            done += len(cells)

    return np.unique(pixel), blocks()


def described() -> Table:
    """The table `VARIABLES` for pixels."""
    table = {}
    for name, (dimensions, kind, attributes) in VARIABLES.items():
        own = {**attributes, "grid_mapping": "crs", "coordinates": "healpix_index l b"}
        if "cell_methods" in own:
            own["cell_methods"] = own["cell_methods"].replace("l: b:", "area:")
        cells = tuple("cell" if d == "l" else d for d in dimensions if d != "b")
        # a fraction of a tile's stars need not be an integer
        table[name] = cells, "f4" if name == "stars" else kind, own
    return table


def coordinates(cube: xr.Dataset, pixels: np.ndarray, level: int) -> dict[str, xr.DataArray]:
    """Numbers and centres of the pixels, the grid mapping, and the cube's other coordinates."""
    l, b = hp.pix2ang(2**level, pixels, nest=True, lonlat=True)
    crs = {
        "grid_mapping_name": "healpix",
        "indexing_scheme": "nested",
        "refinement_level": np.int32(level),
        "long_name": "HEALPix pixels of galactic longitude and latitude",
        "frame": "galactic",
    }
    index = {
        "units": "1",
        "standard_name": "healpix_index",
        "long_name": "number of the HEALPix pixel, nested",
        "ucd": "pos.healpix",
        "coverage_content_type": "coordinate",
    }
    centre = {
        name: {key: value for key, value in cube[name].attrs.items() if key != "bounds"}
        | {"long_name": f"{cube[name].attrs['long_name']} of the pixel's centre"}
        for name in ("l", "b")
    }
    return {
        "crs": xr.DataArray(np.int32(0), attrs=crs),
        "healpix_index": xr.DataArray(pixels, dims="cell", attrs=index),
        "l": xr.DataArray(l, dims="cell", attrs=centre["l"]),
        "b": xr.DataArray(b, dims="cell", attrs=centre["b"]),
        **{name: cube[name] for name in ("distance", "distance_bounds", "sample")},
    }


def write(path: str | Path, cube: xr.Dataset, nside: int | None, attributes: Mapping[str, Any]) -> None:
    """Write the HEALPix form, one block of 64 pixels at a time.

    Parameters
    ----------
    path : path
    cube : Dataset
        From `open_cube`, on a grid of l and b.
    nside : int or None
        A power of 2; None for that of `refinement_level`.
    attributes : mapping
        Global attributes in addition to the cube's.
    """
    tiles = tiles_of(cube)
    level = refinement_level(tiles) if nside is None else hp.nside2order(nside)
    pixels, blocks = resample(cube, tiles, level)
    comment = f"{cube.attrs['comment']}. {RESAMPLING}" if "comment" in cube.attrs else RESAMPLING
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts({**derived_attributes(cube, "healpix", comment), **attributes})
        variables = create(file, coordinates(cube, pixels, level), described(), {"cell": 4**BLOCK}, {"cell": 1})
        for first, values in blocks:
            part = slice(first, first + len(values["quality"]))
            for name, variable in variables.items():
                if variable.dimensions[0] == "sample":
                    variable[:, part] = np.moveaxis(values[name], 1, 0)
                else:
                    variable[part] = values[name]
