"""Distances of clouds along sightlines: half-rise distance, foreground and background extinction."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

NOTHING = 1e-6  # mag, added to avoid division by zero


def at_distance(extinction: np.ndarray, edges: np.ndarray, distance: float) -> np.ndarray:
    """A_V at a distance, interpolated linearly, shape (...,), mag.

    Parameters
    ----------
    extinction : ndarray, shape (..., distance), mag
        At the outer edges of the bins.
    edges : ndarray, shape (distance + 1,), kpc
    distance : float, kpc
    """
    profile = np.concatenate([np.zeros((*extinction.shape[:-1], 1)), extinction], axis=-1)
    position = np.interp(distance, edges, np.arange(len(edges)))
    low = min(int(position), len(edges) - 2)
    return profile[..., low] + (position - low) * (profile[..., low + 1] - profile[..., low])


def half_rise(extinction: np.ndarray, edges: np.ndarray, total: float) -> np.ndarray:
    """Distance at which a profile reaches half of its A_V at distance `total`, shape (profile,), kpc.

    Parameters
    ----------
    extinction : ndarray, shape (profile, distance), mag
    edges : ndarray, shape (distance + 1,), kpc
    total : float, kpc
    """
    half = 0.5 * at_distance(extinction, edges, total)
    profile = np.pad(extinction, ((0, 0), (1, 0)))
    return np.array([np.interp(h, p, edges) for h, p in zip(half, profile, strict=True)])


def _slope(y: np.ndarray, x: np.ndarray) -> float:
    """Median slope of all pairs (Theil 1950, Sen 1968). scipy's version warns of ties, which bootstrap samples have."""
    first, second = np.triu_indices(len(x), 1)
    apart = x[first] != x[second]
    return float(np.median((y[second] - y[first])[apart] / (x[second] - x[first])[apart]))


def by_class(extinction: np.ndarray, total: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median profile of the tiles in each class of another map's extinction.

    Parameters
    ----------
    extinction : ndarray, shape (tile, distance), mag
    total : ndarray, shape (tile,), mag
        Extinction of the other map.
    bounds : ndarray, shape (class + 1,), mag

    Returns
    -------
    profiles : ndarray, shape (class, distance), mag
        NaN for a class without tiles.
    tiles : ndarray of int, shape (class,)
    """
    profiles = np.full((len(bounds) - 1, extinction.shape[1]), np.nan)
    tiles = np.zeros(len(bounds) - 1, int)
    for i, (low, high) in enumerate(pairwise(bounds)):
        inside = (total >= low) & (total < high) & np.isfinite(extinction[:, 0])
        tiles[i] = inside.sum()
        if tiles[i]:
            profiles[i] = np.median(extinction[inside], axis=0)
    return profiles, tiles


def measure(
    samples: np.ndarray,
    edges: np.ndarray,
    longitude: np.ndarray,
    *,
    total: float,
    window: tuple[float, float],
    foreground: float,
    far: float,
) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    """Score clouds whose distance is known.

    Parameters
    ----------
    samples : ndarray, shape (sample, tile, distance), mag
        Samples of tiles with a cloud.
    edges : ndarray, shape (distance + 1,), kpc
    longitude : ndarray, shape (tile,), deg
    total, foreground, far : float, kpc
        Distances just behind, in front of, and far behind the clouds.
    window : (float, float), kpc
        Expected range of the half-rise distance.

    Returns
    -------
    metrics : dict
        ``half_rise_fraction`` in the window, ``half_rise_median_kpc``; ``trend_kpc_per_deg`` of the half-rise with
        longitude and its bootstrap error; ``foreground_fraction`` and ``background_growth``, medians over tiles; ``n``;
        and ``of_mean``, the same of the mean profiles. A tile's value is the median over its samples: for a cloud of
        uncertain distance the mean profile rises more slowly than any possible one. None with fewer than three tiles.
    values : dict of ndarray, shape (tile,)
        ``half_rise`` (kpc), the median over the samples, and their standard deviation.
    """
    mean = samples.mean(axis=0)
    rises = np.stack([half_rise(samples[:, i], edges, total) for i in range(len(mean))], axis=1)
    rise = np.median(rises, axis=0)
    values = {"half_rise": rise, "half_rise_sd": rises.std(axis=0)}
    if len(rise) < 3:
        return dict.fromkeys(
            (
                "half_rise_fraction",
                "half_rise_median_kpc",
                "trend_kpc_per_deg",
                "trend_sd",
                "foreground_fraction",
                "background_growth",
            )
        ) | {"n": len(rise)}, values
    # calibration may draw samples without any dust, whose ratios would be undefined
    before, behind, beyond = (at_distance(samples, edges, d) + NOTHING for d in (foreground, total, far))
    mean_rise = half_rise(mean, edges, total)
    rng = np.random.default_rng(1)
    picks = rng.integers(0, len(rise), (1000, len(rise)))
    slopes = [_slope(rise[pick], longitude[pick]) for pick in picks if np.ptp(longitude[pick]) > 0]
    return {
        "half_rise_fraction": float(((rise >= window[0]) & (rise <= window[1])).mean()),
        "half_rise_median_kpc": float(np.median(rise)),
        "trend_kpc_per_deg": _slope(rise, longitude) if np.ptp(longitude) > 0 else None,
        "trend_sd": float(np.std(slopes)) if slopes else None,
        "foreground_fraction": float(np.median(np.median(before / behind, axis=0))),
        "background_growth": float(np.median(np.median(beyond / behind, axis=0)) - 1.0),
        "of_mean": {
            "half_rise_fraction": float(((mean_rise >= window[0]) & (mean_rise <= window[1])).mean()),
            "half_rise_median_kpc": float(np.median(mean_rise)),
            "foreground_fraction": float(np.median(before.mean(axis=0) / behind.mean(axis=0))),
            "background_growth": float(np.median(beyond.mean(axis=0) / behind.mean(axis=0)) - 1.0),
        },
        "n": len(rise),
    }, values
