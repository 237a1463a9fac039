"""The cube's density on a heliocentric (x, y, z) grid that keeps the extinction of every sightline."""

import math

import numpy as np
import xarray as xr
from numba import njit
from tqdm import tqdm

from galcarto.errors import UserError
from galcarto.maps.footprint import tile_points
from galcarto.maps.grid import CONVENTIONS, bounded, edges_of, tiles_of
from galcarto.sky import Tiles, cartesian

VOXELS = 30_000_000  # at most, by default
LARGEST = 10 * VOXELS  # at most: 24 bytes each are held
CONSERVED = 0.01  # largest relative difference between a sightline's extinction in the cube and on the grid
AIM = 0.5 * CONSERVED  # where the scaling stops
ROUNDS = 300  # of scaling, at most
FLOOR = 0.01  # mag; differences are relative to this extinction where a sightline has less
AXES = {"x": "towards the Galactic centre", "y": "towards l = 90 degree", "z": "towards the north Galactic pole"}


def default_step(tiles: Tiles, farthest: float) -> float:
    """Side of a voxel in kpc: a tile's height at a quarter of the way, or more where that makes too many voxels."""
    low, high = _box(_directions(tiles, 8)[0], farthest)
    side = np.radians(np.diff(tiles.b_edges).min()) * farthest / 4
    return float(max(side, np.cbrt(np.prod(np.maximum(high - low, side)) / VOXELS)))


def resample(cube: xr.Dataset, step: float | None) -> xr.Dataset:
    """The mean density of the dust in cubic voxels.

    Lines through the tiles, two for each voxel at the far end, leave in each voxel the extinction that the cube gives
    them in it; a voxel's density is what all lines leave there over their lengths. Where a voxel is wider than a tile,
    lines of many tiles meet, and each would keep their mean: so voxels are scaled until the mean of every tile's line
    integrals is its extinction in the cube.

    Parameters
    ----------
    cube : Dataset
        From `open_cube`, on a grid of l and b.
    step : float or None, kpc
        Side of a voxel; none for that of `default_step`.

    Returns
    -------
    Dataset
        ``extinction_density(z, y, x)`` in mag kpc-1, NaN outside the footprint; ``within(z, y, x)``: half or more of
        the lines' lengths are within ``distance_max``. The attribute ``conservation_error`` is the largest relative
        difference that is left between a tile's mean line integral and its extinction; `CONSERVED` is meant.

    Raises
    ------
    UserError
        If the voxels are too many, or too coarse to keep every sightline's extinction.
    """
    tiles, edges = tiles_of(cube), edges_of(cube, "distance")
    step = default_step(tiles, edges[-1]) if step is None else step
    extinction = cube["extinction"].transpose("l", "b", "distance").to_numpy().reshape(-1, len(edges) - 1)
    seen = np.isfinite(extinction[:, 0])
    if not seen.any():
        raise UserError("found no observed tile in the cube; expected one or more")
    cumulative = np.pad(extinction[seen], ((0, 0), (1, 0)))
    reach = cube["distance_max"].transpose("l", "b").to_numpy().ravel()[seen].astype(float)
    along = math.ceil(2 * np.radians(np.diff(tiles.b_edges).max()) * edges[-1] / step)
    lines = _directions(tiles, along)[seen]
    low, high = (np.round(corner / step).astype(int) for corner in _box(lines, edges[-1], step))
    shape = tuple(int(n) for n in high - low)
    if np.prod(shape, dtype=float) > LARGEST:
        raise UserError(
            f"publish.step: found {step:g} kpc, which makes {np.prod(shape, dtype=float):.2g} voxels; expected at most "
            f"{LARGEST:.2g}: a larger step"
        )
    amount, length, known = (np.zeros(shape) for _ in range(3))
    grid = (step, low, np.array(shape))
    _deposit(lines, edges, cumulative, reach, *grid, amount.ravel(), length.ravel(), known.ravel())
    density = np.divide(amount, length, out=amount, where=length > 0)
    within = known >= 0.5 * length
    within &= length > 0
    error = _conserve(lines, cumulative[:, -1], edges[-1], grid, density, length, known)
    density[length == 0] = np.nan
    return _described(density, within, step, low, error)


def _conserve(
    lines: np.ndarray,
    total: np.ndarray,
    farthest: float,
    grid: tuple,
    density: np.ndarray,
    length: np.ndarray,
    scratch: np.ndarray,
) -> float:
    """Scale the density in place until the tiles' mean line integrals are their totals; the difference that is left.

    Each voxel is scaled by the mean of what the lines in it want, weighted by their lengths: the algorithm of
    Richardson (1972) and Lucy (1974), which keeps densities positive and leaves alone what agrees.
    """
    for _ in tqdm(range(ROUNDS), desc="scaling voxels", unit="round"):
        found = np.zeros(len(total))
        _integrate(lines, farthest, *grid, density.ravel(), found)
        error = float(np.max(np.abs(found - total) / np.maximum(total, FLOOR)))
        if error < AIM:
            break
        wanted = np.divide(total, found, out=np.ones(len(total)), where=found > 0)
        scratch[:] = 0.0
        _spread(lines, farthest, *grid, wanted, scratch.ravel())
        density *= np.divide(scratch, length, out=scratch, where=length > 0)
    if error > CONSERVED:
        raise UserError(
            f"publish.step: found {grid[0]:g} kpc, with which the extinction of some sightline is off by "
            f"{100 * error:.1f} %; expected at most {100 * CONSERVED:g} %: a smaller step"
        )
    return error


def _directions(tiles: Tiles, along: int) -> np.ndarray:
    """Unit vectors of the lines, shape (tile, line, 3)."""
    l, b = tile_points(tiles, along)
    return np.stack(cartesian(l, b, np.ones(l.shape)), axis=-1)


def _box(lines: np.ndarray, farthest: float, step: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Corners in kpc of the box that holds the Sun and the ends of all lines, at whole steps."""
    ends = np.concatenate([lines.reshape(-1, 3) * farthest, np.zeros((1, 3))])
    low, high = ends.min(axis=0), ends.max(axis=0)
    return (low, high) if step is None else (np.floor(low / step) * step, (np.floor(high / step) + 1) * step)


@njit(cache=True)
def _walk(direction, end, step, low, shape, cells, exits):
    """Voxels that a line from the Sun meets until `end`, and the distances at which it leaves them; their number."""
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


@njit(cache=True)
def _deposit(lines, edges, cumulative, reach, step, low, shape, amount, length, known):
    """Add to each voxel the extinction that lines leave in it, their lengths, and their lengths within reach."""
    cells = np.empty(shape.sum() + 3, np.int64)
    exits = np.empty(cells.shape)
    for tile in range(len(lines)):
        for line in range(lines.shape[1]):
            number = _walk(lines[tile, line], edges[-1], step, low, shape, cells, exits)
            after = np.interp(exits[:number], edges, cumulative[tile])
            start = before = 0.0
            for k in range(number):
                amount[cells[k]] += after[k] - before
                length[cells[k]] += exits[k] - start
                known[cells[k]] += max(min(exits[k], reach[tile]) - start, 0.0)
                start, before = exits[k], after[k]


@njit(cache=True)
def _integrate(lines, end, step, low, shape, density, found):
    """Mean of each tile's line integrals."""
    cells = np.empty(shape.sum() + 3, np.int64)
    exits = np.empty(cells.shape)
    for tile in range(len(lines)):
        for line in range(lines.shape[1]):
            start = 0.0
            for k in range(_walk(lines[tile, line], end, step, low, shape, cells, exits)):
                found[tile] += density[cells[k]] * (exits[k] - start) / lines.shape[1]
                start = exits[k]


@njit(cache=True)
def _spread(lines, end, step, low, shape, wanted, scratch):
    """Add to each voxel what the lines in it want, times their lengths."""
    cells = np.empty(shape.sum() + 3, np.int64)
    exits = np.empty(cells.shape)
    for tile in range(len(lines)):
        for line in range(lines.shape[1]):
            start = 0.0
            for k in range(_walk(lines[tile, line], end, step, low, shape, cells, exits)):
                scratch[cells[k]] += wanted[tile] * (exits[k] - start)
                start = exits[k]


def _described(density: np.ndarray, within: np.ndarray, step: float, low: np.ndarray, error: float) -> xr.Dataset:
    coordinates = {}
    for name, first, size in zip(AXES, low, density.shape, strict=True):
        described = {"units": "kiloparsec", "long_name": f"heliocentric, {AXES[name]}"}
        coordinates |= bounded(name, (first + np.arange(size + 1)) * step, described)
    dataset = xr.Dataset(
        {
            "extinction_density": (
                ("x", "y", "z"),
                density.astype(np.float32),
                {
                    "units": "mag kpc-1",
                    "long_name": "A_V per unit of distance, posterior mean",
                    "ucd": "phys.absorption.gal",
                    "cell_methods": "x: y: z: mean realization: mean",
                    "ancillary_variables": "within",
                    "coverage_content_type": "modelResult",
                },
            ),
            "within": (
                ("x", "y", "z"),
                within.astype(np.int8),
                {
                    "standard_name": "quality_flag",
                    "long_name": "within distance_max",
                    "flag_values": np.array([0, 1], np.int8),
                    "flag_meanings": "beyond_or_outside within_for_half_or_more_of_the_voxel",
                    "coverage_content_type": "qualityInformation",
                },
            ),
        },
        coords=coordinates,
    ).transpose("z", "y", "x", "bounds")
    dataset.attrs = {"Conventions": CONVENTIONS, "step_kpc": step, "conservation_error": error}
    return dataset
