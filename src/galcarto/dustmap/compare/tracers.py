"""Compare the dust density on spiral arms and at their tracers with that elsewhere."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from galcarto.core.sky import Tiles, cartesian
from galcarto.dust.synthetic import ARM_RADII, CENTRE, PITCH
from galcarto.dustmap.compare.artefacts import patches
from galcarto.galaxy.arms import REID2019, Arm, Spirals, courses, distance

SYNTHETIC = Spirals(
    "synthetic sky",
    CENTRE,
    tuple(Arm(f"{r:g}-kpc arm", (-180, 180), 0, r, np.degrees(PITCH), np.degrees(PITCH)) for r in ARM_RADII),
)
MODELS = {"reid2019": REID2019, "synthetic": SYNTHETIC}
BOOTSTRAPS = 499
MOVED = 499  # null realisations: arms at other radii, tracers in other directions
SCALE = 0.35  # largest shift of arms in ln(radius): about their spacing near the Sun
NEAR = SCALE / 2  # arms that are moved by less are nearer to their own place than to the next arm's
ACROSS = np.linspace(0.0, 2.0, 21)  # kpc, bins of distance to the nearest arm
FEWEST = 3  # tracers needed for a mean


@dataclass(frozen=True)
class Cells:
    """Cells of a map near the plane and within the trusted distances.

    Attributes
    ----------
    x, y, z : ndarray, shape (l, b, distance), kpc
        Heliocentric.
    used : ndarray of bool, shape (l, b, distance)
    patch : ndarray of int, shape (l, b)
        Patches of tiles for the bootstrap; -1 where not observed.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    used: np.ndarray
    patch: np.ndarray

    @classmethod
    def of(
        cls,
        tiles: Tiles,
        edges: np.ndarray,
        distance_min: np.ndarray,
        distance_max: np.ndarray,
        height: float,
    ) -> "Cells":
        """From the grid, the trusted distances (l, b) in kpc, NaN where not observed, and the largest height in kpc."""
        middle, outer = 0.5 * (edges[1:] + edges[:-1]), edges[1:]
        x, y, z = np.broadcast_arrays(*cartesian(tiles.l[:, None, None], tiles.b[:, None], middle))
        trusted = (outer >= distance_min[..., None] - 1e-6) & (outer <= distance_max[..., None] + 1e-6)
        return cls(x, y, z, trusted & (np.abs(z) <= height), patches(np.isfinite(distance_max)))


def over_disc(density: np.ndarray, cells: Cells, centre: float) -> np.ndarray:
    """Density relative to an exponential disc fitted to it.

    ln(density) is fitted as a + b R + c |z|, with galactocentric radius R and height z. Otherwise arms near the Sun or
    in the plane would be credited with the density of the disc.

    Parameters
    ----------
    density : ndarray, shape (l, b, distance), mag/kpc
    cells : Cells
    centre : float, kpc
        Distance from the Sun to the Galactic centre.

    Returns
    -------
    ndarray, shape (l, b, distance)
        Mean 1 over the cells in use; NaN elsewhere.
    """
    fitted = cells.used & (density > 0)
    terms = np.stack([np.ones(cells.x.shape), np.hypot(centre - cells.x, cells.y), np.abs(cells.z)], axis=-1)
    result = np.full(density.shape, np.nan)
    if fitted.any():
        factors = np.linalg.lstsq(terms[fitted], np.log(density[fitted]), rcond=None)[0]
        result[cells.used] = density[cells.used] / np.exp(terms[cells.used] @ factors)
        result /= result[cells.used].mean()
    return result


def _ratio(on: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Ratio of the means on and between the arms, from sums and numbers (2, ...); NaN unless both have cells."""
    good = (on[1] > 0) & (between[1] > 0) & (between[0] > 0)
    return np.divide(on[0] * between[1], between[0] * on[1], out=np.full(np.shape(on[0]), np.nan), where=good)


def on_arms(
    relative: np.ndarray, cells: Cells, spirals: Spirals, width: float, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Ratio of the density on the arms to that between them.

    All cells have the same weight. The error is a bootstrap over patches of neighbouring sightlines. A window that
    crosses an arm once or twice has few independent parts, so significance comes from a null: the same arms at other
    radii. For a logarithmic spiral a change of radius is a rotation, but the lengths of the arms are kept.

    Parameters
    ----------
    relative : ndarray, shape (l, b, distance)
        From `over_disc`.
    cells : Cells
    spirals : Spirals
    width : float, kpc
        Cells closer than this to a ridge are on the arm.
    rng : numpy Generator

    Returns
    -------
    metrics : dict
        ``on_over_between`` and its ``_error``: 1 if dust and arms are unrelated; ``p_value``, the fraction of moved
        arms with at least this ratio; ``moved_median`` and the central 68 % ``moved_low``, ``moved_high`` of their
        ratios; ``best_radius``, the factor on the arms' radii, within `NEAR`, at which the ratio is largest;
        ``cells_on``, ``cells_between``. NaN if no arm crosses the map, or no cell lies between arms.
    curves : dict
        ``moved``, the ratios of the null; ``density`` and ``density_error`` in bins `ACROSS` of distance to the arms.
    """
    used = cells.used
    values, patch = relative[used], np.broadcast_to(cells.patch[..., None], used.shape)[used]
    full, patch = np.unique(patch, return_inverse=True)  # only patches with cells
    passing = courses(spirals, cells.x[used], cells.y[used])
    across = distance(passing, len(values))

    def sums(where: np.ndarray) -> np.ndarray:
        """Sum of values and number of cells of each patch; shape (2, patch)."""
        return np.stack([np.bincount(patch, values * where, len(full)), np.bincount(patch, where, len(full))])

    on, between = sums(across <= width), sums(across > width)
    found = float(_ratio(on.sum(axis=1), between.sum(axis=1)))
    picked = rng.integers(0, max(len(full), 1), (BOOTSTRAPS, len(full)))
    drawn = (picked[..., None] == np.arange(len(full))).sum(axis=1)  # multiplicity, (bootstrap, patch)
    moved = np.empty(MOVED)
    total = np.array([values.sum(), len(values)])
    scales = np.exp(rng.uniform(-SCALE, SCALE, MOVED))
    for i, scale in enumerate(scales):
        near = distance(passing, len(values), scale) <= width
        here = np.array([values @ near, near.sum()])
        moved[i] = _ratio(here, total - here)
    known = moved[np.isfinite(moved)]
    low, median, high = np.quantile(known, [0.16, 0.5, 0.84]) if len(known) else (np.nan,) * 3
    bins = [sums((across >= inner) & (across < outer)) for inner, outer in pairwise(ACROSS)]
    metrics = {
        "on_over_between": found,
        "on_over_between_error": _spread(_ratio(on @ drawn.T, between @ drawn.T)),
        "p_value": _p_value(found, known),
        "moved_median": float(median),
        "moved_low": float(low),
        "moved_high": float(high),
        "best_radius": _best(scales, moved),
        "cells_on": int(on[1].sum()),
        "cells_between": int(between[1].sum()),
    }
    return metrics, {
        "moved": moved,
        "density": np.array([_mean(part.sum(axis=1)) for part in bins]),
        "density_error": np.array([_spread(_mean(part @ drawn.T)) for part in bins]),
    }


def _best(scales: np.ndarray, ratios: np.ndarray) -> float:
    """Scale of the largest ratio among those within `NEAR`; NaN if none is known."""
    tried = np.isfinite(ratios) & (np.abs(np.log(scales)) < NEAR)
    return float(scales[tried][ratios[tried].argmax()]) if tried.any() else np.nan


def _mean(sums: np.ndarray) -> np.ndarray:
    """Mean from sums and numbers (2, ...); NaN if empty."""
    return np.divide(sums[0], sums[1], out=np.full(np.shape(sums[0]), np.nan), where=sums[1] > 0)


def _spread(values: np.ndarray) -> float:
    """Standard deviation of the finite values."""
    known = values[np.isfinite(values)]
    return float(known.std()) if len(known) > 1 else np.nan


def _p_value(found: float, null: np.ndarray) -> float:
    """Fraction of the null, including the measured value itself, that is at least as large."""
    return float((1 + (null >= found).sum()) / (1 + len(null))) if np.isfinite(found) and len(null) else np.nan


def at_tracers(
    relative: np.ndarray,
    tiles: Tiles,
    edges: np.ndarray,
    position: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> tuple[dict[str, Any], np.ndarray]:
    """Ratio of the density in the cells of tracers to that of cells at the same distances in other directions.

    Errors of the tracers' distances, often larger than a cell, dilute the ratio.

    Parameters
    ----------
    relative : ndarray, shape (l, b, distance)
        From `over_disc`; NaN in unused cells.
    tiles : Tiles
    edges : ndarray, shape (distance + 1,), kpc
    position : (ndarray, ndarray, ndarray)
        l, b (deg) and distance (kpc) of the tracers; those outside the used cells are ignored.
    rng : numpy Generator

    Returns
    -------
    metrics : dict
        ``n`` tracers; ``density_ratio`` and its bootstrap ``_error``: 1 if dust and tracers are unrelated; ``p_value``,
        the fraction of random directions with at least this ratio. NaN with fewer than `FEWEST` tracers.
    moved : ndarray
        Ratios of the random directions.
    """
    l, b, d = position
    tile, k = tiles.index(l, b), np.searchsorted(edges, d, side="right") - 1
    inside = (tile >= 0) & (k >= 0) & (k < len(edges) - 1)
    flat = relative.reshape(-1, relative.shape[2])  # (tile, distance)
    tile, k = tile[inside], k[inside]
    counts = np.isfinite(flat[tile, k])
    here, k = flat[tile, k][counts], k[counts]
    if len(here) < FEWEST:
        nothing = {"density_ratio": np.nan, "density_ratio_error": np.nan, "p_value": np.nan}
        return {"n": len(here)} | nothing, np.full(MOVED, np.nan)
    elsewhere = np.empty((MOVED, len(here)))
    for i, bin_of in enumerate(k):
        at_distance = flat[:, bin_of]
        elsewhere[:, i] = rng.choice(at_distance[np.isfinite(at_distance)], MOVED)
    typical = elsewhere.mean()
    again = rng.choice(here, (BOOTSTRAPS, len(here))).mean(axis=1)
    null = elsewhere.mean(axis=1) / typical
    found = float(here.mean() / typical)
    return {
        "n": len(here),
        "density_ratio": found,
        "density_ratio_error": float(again.std() / typical),
        "p_value": _p_value(found, null),
    }, null
