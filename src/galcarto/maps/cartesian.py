"""The cube's density on a heliocentric (x, y, z) grid that conserves the extinction of every sightline."""

import math
from typing import Any

import numba
import numpy as np
import xarray as xr
from tqdm import tqdm

from galcarto.core.errors import UserError
from galcarto.core.jit import CACHE
from galcarto.core.sky import Tiles, cartesian
from galcarto.maps.footprint import tile_points
from galcarto.maps.grid import bounded, derived_attributes, edges_of, tiles_of

VOXELS = 30_000_000  # largest number by default
LARGEST = 10 * VOXELS  # largest number allowed
CONSERVED = 0.01  # largest relative difference between a sightline's extinction in the cube and on the grid
AIM = 0.5 * CONSERVED  # scaling stops below this difference
ROUNDS = 1000  # largest number of scaling iterations
RELAXATION = 1.5  # exponent of the factors: a third fewer iterations than with 1
BLOCK = 64  # voxels along the side of a compressed block
FLOOR = 0.01  # mag; smallest extinction that differences are relative to
AXES = {"x": "towards the Galactic centre", "y": "towards l = 90 degree", "z": "towards the north Galactic pole"}

RESAMPLING = (
    "Tiles to voxels: lines through the tiles, two for each voxel at the far end, leave in each voxel the extinction "
    "that the cube gives them in it, and a voxel's density is what all lines leave there over their lengths. Where a "
    "voxel is wider than a tile, lines of many tiles meet and each would keep their mean: so voxels are scaled until "
    "the mean of every tile's line integrals is its extinction in the cube."
)
DESCRIBED: dict[str, dict[str, Any]] = {
    "extinction_density": {
        "units": "mag kpc-1",
        "long_name": "A_V per unit of distance, posterior mean",
        "ucd": "phys.absorption.gal",
        "cell_methods": "x: y: z: mean realization: mean",
        "ancillary_variables": "scaling within",
        "coverage_content_type": "modelResult",
    },
    "scaling": {
        "units": "1",
        "long_name": "density over the mean density of the lines in the voxel, to keep each sightline's extinction",
        "coverage_content_type": "qualityInformation",
    },
    "within": {
        "standard_name": "quality_flag",
        "long_name": "within distance_max",
        "flag_values": np.array([0, 1], np.int8),
        "flag_meanings": "beyond_or_outside within_for_half_or_more_of_the_voxel",
        "coverage_content_type": "qualityInformation",
    },
}


def default_step(tiles: Tiles, farthest: float) -> float:
    """Side of a voxel, kpc: the narrowest tile's width at a quarter of `farthest`, or larger to limit their number."""
    low, high = _box(_directions(tiles, 2), farthest)
    narrowest = np.diff(tiles.l_edges).min() * np.cos(np.radians(tiles.b)).min()
    side = np.radians(narrowest) * farthest / 4
    return float(f"{max(side, np.cbrt(np.prod(np.maximum(high - low, side)) / VOXELS)):.2g}")


def resample(cube: xr.Dataset, step: float | None) -> xr.Dataset:
    """Mean density of the dust in cubic voxels, by the method that `RESAMPLING` describes.

    Parameters
    ----------
    cube : Dataset
        From `open_cube`, on a grid of l and b.
    step : float or None, kpc
        Side of a voxel; None for `default_step`.

    Returns
    -------
    Dataset
        ``extinction_density(z, y, x)`` in mag kpc-1, NaN outside the footprint; ``scaling(z, y, x)``, its ratio to
        the mean over the lines; ``within(z, y, x)``, whether at least half of the lines' length is within
        ``distance_max``. The attribute ``conservation_error`` is the largest relative difference between a tile's mean
        line integral and its extinction.

    Raises
    ------
    UserError
        If there are too many voxels, or they are too coarse to conserve the extinction of every sightline.
    """
    tiles, edges = tiles_of(cube), edges_of(cube, "distance")
    step = default_step(tiles, edges[-1]) if step is None else step
    extinction = cube["extinction"].transpose("l", "b", "distance").to_numpy().reshape(-1, len(edges) - 1)
    seen = np.isfinite(extinction[:, 0])
    if not seen.any():
        raise UserError("found no observed tile in the cube; expected one or more")
    cumulative = np.pad(extinction[seen], ((0, 0), (1, 0)))
    farthest = cube["distance_max"].transpose("l", "b").to_numpy().ravel()[seen].astype(float)
    # even, so that no line runs along a boundary between two layers of voxels
    along = 2 * math.ceil(np.radians(np.diff(tiles.b_edges).max()) * edges[-1] / step)
    lines = _directions(tiles, along)[seen]
    low, high = (np.round(corner / step).astype(int) for corner in _box(lines, edges[-1], step))
    shape = high - low
    if np.prod(shape, dtype=float) > LARGEST:
        raise UserError(
            f"publish.step: found {step:g} kpc, which makes {np.prod(shape, dtype=float):.2g} voxels; expected at most "
            f"{LARGEST:.2g}: a larger step"
        )
    # the footprint fills little of its box: number only the voxels that a line crosses
    number = np.full(np.prod(shape), -1, np.int32)
    grid = (lines, edges[-1], step, low, shape, number)
    _mark(grid)
    used = np.flatnonzero(number == 0)
    number[used] = np.arange(len(used))
    amount, length, known = np.zeros((3, len(used)))
    _deposit(grid, edges, cumulative, farthest, amount, length, known)
    scaling, error = _conserve(grid, cumulative[:, -1], amount / length, length)
    variables: dict[str, np.ndarray] = {
        "extinction_density": (scaling * amount / length).astype(np.float32),
        "scaling": scaling.astype(np.float32),
        "within": (known >= 0.5 * length).astype(np.int8),
    }
    outside = {"extinction_density": np.nan, "scaling": np.nan, "within": 0}
    coordinates: dict[str, xr.DataArray] = {}
    for name, first, size in zip(AXES, low, shape, strict=True):
        described = {"units": "kiloparsec", "long_name": f"heliocentric, {AXES[name]}", "ucd": f"pos.cartesian.{name}"}
        coordinates |= bounded(name, (first + np.arange(size + 1)) * step, described)
    dataset = xr.Dataset(coordinates)
    for name, values in variables.items():
        box = np.full(len(number), outside[name], values.dtype)
        box[used] = values
        dataset[name] = ("x", "y", "z"), box.reshape(shape), DESCRIBED[name]
    dataset.attrs = derived_attributes(cube, "cartesian", RESAMPLING)
    dataset.attrs |= {"step_kpc": step, "conservation_error": error}
    return dataset.transpose("z", "y", "x", "bounds")


def encoding(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """netCDF encoding of the dataset of `resample`: compressed blocks, fill values for floating-point variables."""
    compressed = {"zlib": True, "complevel": 4, "chunksizes": [min(BLOCK, n) for n in dataset["within"].shape]}
    found: dict[str, dict[str, Any]] = {str(name): {"_FillValue": None} for name in dataset.variables}
    for name in dataset.data_vars:
        if str(name) in DESCRIBED:
            found[str(name)] = compressed | ({} if name == "within" else {"_FillValue": np.float32(np.nan)})
    return found


def _conserve(
    grid: tuple[Any, ...], total: np.ndarray, density: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, float]:
    """Factors that make the tiles' mean line integrals equal to their totals, and the largest remaining difference.

    Each voxel is scaled by the mean ratio of its lines, weighted by their lengths: the algorithm of Richardson (1972)
    and Lucy (1974), which keeps densities positive.
    """
    scaling = np.ones(len(density))
    for _ in tqdm(range(ROUNDS), desc="scaling voxels", unit="round"):
        found = np.zeros(len(total))
        _integrate(grid, scaling * density, found)
        error = float(np.max(np.abs(found - total) / np.maximum(total, FLOOR)))
        if error < AIM:
            break
        wanted = np.zeros(len(density))
        _spread(grid, np.divide(total, found, out=np.ones(len(total)), where=found > 0), wanted)
        scaling *= (wanted / length) ** RELAXATION
    if error > CONSERVED:
        raise UserError(
            f"publish.step: found {grid[2]:g} kpc, with which the extinction of a sightline is off by "
            f"{100 * error:.1f} %; expected at most {100 * CONSERVED:g} %: a smaller step, or no cartesian "
            "in publish.forms"
        )
    return scaling, error


def _directions(tiles: Tiles, along: int) -> np.ndarray:
    """Unit vectors of the lines, shape (tile, line, 3)."""
    l, b = tile_points(tiles, along)
    return np.stack(cartesian(l, b, np.ones(l.shape)), axis=-1)


def _box(lines: np.ndarray, farthest: float, step: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Corners in kpc of the box that holds the Sun and the ends of all lines, at whole steps."""
    ends = np.concatenate([lines.reshape(-1, 3) * farthest, np.zeros((1, 3))])
    low, high = ends.min(axis=0), ends.max(axis=0)
    return (low, high) if step is None else (np.floor(low / step) * step, (np.floor(high / step) + 1) * step)


@numba.njit(cache=CACHE)
def _buffers(shape):
    """Arrays for the voxels of the longest line."""
    return np.empty(shape.sum() + 3, np.int64), np.empty(shape.sum() + 3)


@numba.njit(cache=CACHE)
def _walk(direction, end, step, low, shape, cells, exits):
    """Fill in the voxels that a line from the Sun crosses up to `end` and the exit distances; return their number."""
    place = np.zeros(3, np.int64)
    sign = np.zeros(3, np.int64)
    following = np.full(3, np.inf)
    pace = np.full(3, np.inf)
    for k in range(3):
        if direction[k] != 0.0:
            sign[k] = 1 if direction[k] > 0 else -1
            pace[k] = step / abs(direction[k])
            following[k] = pace[k]
            place[k] = 0 if direction[k] > 0 else -1
    number = 0
    while True:
        k = np.argmin(following)
        cells[number] = ((place[0] - low[0]) * shape[1] + place[1] - low[1]) * shape[2] + place[2] - low[2]
        exits[number] = min(following[k], end)
        number += 1
        if following[k] >= end:
            return number
        place[k] += sign[k]
        following[k] += pace[k]


@numba.njit(cache=CACHE)
def _mark(grid):
    """Set the number of every voxel that a line crosses to 0."""
    lines, end, step, low, shape, number = grid
    cells, exits = _buffers(shape)
    for tile in range(len(lines)):
        for line in range(lines.shape[1]):
            number[cells[: _walk(lines[tile, line], end, step, low, shape, cells, exits)]] = 0


@numba.njit(cache=CACHE)
def _deposit(grid, edges, cumulative, farthest, amount, length, known):
    """Add to each voxel the extinction of its lines, their lengths, and their lengths up to `farthest`."""
    lines, end, step, low, shape, number = grid
    cells, exits = _buffers(shape)
    for tile in range(len(lines)):
        for line in range(lines.shape[1]):
            met = _walk(lines[tile, line], end, step, low, shape, cells, exits)
            after = np.interp(exits[:met], edges, cumulative[tile])
            start = before = 0.0
            for k in range(met):
                voxel = number[cells[k]]
                amount[voxel] += after[k] - before
                length[voxel] += exits[k] - start
                known[voxel] += max(min(exits[k], farthest[tile]) - start, 0.0)
                start, before = exits[k], after[k]


@numba.njit(cache=CACHE)
def _integrate(grid, density, found):
    """Add up each tile's mean line integral."""
    lines, end, step, low, shape, number = grid
    cells, exits = _buffers(shape)
    for tile in range(len(lines)):
        for line in range(lines.shape[1]):
            start = 0.0
            for k in range(_walk(lines[tile, line], end, step, low, shape, cells, exits)):
                found[tile] += density[number[cells[k]]] * (exits[k] - start) / lines.shape[1]
                start = exits[k]


@numba.njit(cache=CACHE)
def _spread(grid, factors, wanted):
    """Add to each voxel the factors of the lines in it, times their lengths."""
    lines, end, step, low, shape, number = grid
    cells, exits = _buffers(shape)
    for tile in range(len(lines)):
        for line in range(lines.shape[1]):
            start = 0.0
            for k in range(_walk(lines[tile, line], end, step, low, shape, cells, exits)):
                wanted[number[cells[k]]] += factors[tile] * (exits[k] - start)
                start = exits[k]
