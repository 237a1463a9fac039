"""Extinction profile from the colour excesses of giants against a mock Galaxy.

After Marshall et al. 2006 (A&A 453, 635).

Observed and mock stars are sorted by colour. Farther giants are redder, so that stars of the same rank correspond: the
difference of their colours gives the extinction, the mock star the distance. The mock stars are then reddened by this
profile, those too faint are removed, and the procedure is iterated. The profile with the best histogram of colours is
kept.

Differences from the paper: stars come from a diagram, so that a colour is known to half a pixel; giants are selected by
a limit in colour for each row of the diagram, taken from the reddened mock; bins hold fewer stars, since tiles far from
the Galactic plane have few; each step is averaged with the previous profile; there is no dust behind the last edge; and
isotonic regression makes the profile monotone.
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import isotonic_regression

from galcarto.core.errors import UserError
from galcarto.dustmap.diagrams.forward import View

GIANT = 3.6  # lg g (cgs) below which a star is a giant
BIN = 10  # stars per bin
ITERATIONS = 25
DAMPING = 0.5
HISTOGRAM = 0.1  # mag: bins of the histograms of colours


def profile(
    counts: np.ndarray, view: View, stars: Mapping[str, np.ndarray], edges: np.ndarray, seed: int
) -> np.ndarray:
    """Cumulative A_V from the colours of one diagram.

    Parameters
    ----------
    counts : ndarray of int, shape (magnitude, colour)
        First diagram of the view.
    view : View
    stars : mapping of str to ndarray, shape (star,)
        Mock stars: ``distance`` (kpc), ``logg`` (cgs dex) and bare magnitudes of the view's bands.
    edges : ndarray, shape (distance + 1,), kpc
    seed : int
        Of the errors of the mock stars.

    Returns
    -------
    ndarray, shape (distance,), mag
        At the outer edge of each bin, non-decreasing.

    Raises
    ------
    UserError
        If the diagram does not have the shape of the view, or there is no mock giant.
    """
    if counts.shape != (view.pixels, view.pixels):
        raise UserError(f"found a diagram of {counts.shape} pixels; expected {(view.pixels, view.pixels)}")
    giant = stars["logg"] < GIANT
    if not giant.any():
        raise UserError("found no giant among the mock stars; expected some: raise galaxy.stars")
    rng = np.random.default_rng(seed)
    row_edges, colour_edges = view.axis_edges()
    row, column = np.nonzero(counts)
    number = counts[row, column]
    row, column = np.repeat(row, number), np.repeat(column, number)
    observed = colour_edges[column] + rng.random(len(column)) * np.diff(colour_edges)[column]
    # the same errors and losses in all iterations
    noise = {band: rng.standard_normal(len(giant)) for band in view.bands}
    luck = {band: rng.random(len(giant)) for band in view.bands}
    blue, red = view.colour_bands
    bare = stars[blue] - stars[red]
    per_magnitude = view.coefficients[blue] - view.coefficients[red]
    found, best, least = np.zeros(len(edges)), np.zeros(len(edges)), np.inf
    for _ in range(ITERATIONS):
        a_v = np.interp(stars["distance"], edges, found)
        measured, seen = {}, np.ones(len(giant), bool)
        for band, limit in view.limits.items():
            zero, slope = view.offsets.get(band, (0.0, 0.0))
            true = stars[band] + view.coefficients[band] * a_v
            true = true + zero + slope * (true - 13.0)
            measured[band] = true + view.survey.bands[band].error(true) * noise[band]
            seen &= (luck[band] < view.survey.bands[band].completeness(true)) & (measured[band] < limit)
            seen &= measured[band] >= view.bright
        colour = measured[blue] - measured[red]
        place = np.digitize(measured[view.magnitude_band], row_edges) - 1
        seen &= (place >= 0) & (place < view.pixels) & (colour >= colour_edges[0]) & (colour < colour_edges[-1])
        bluest = _bluest(place[seen], colour[seen], giant[seen], colour_edges, view.pixels)
        theirs = observed[observed >= bluest[row]]
        chosen = np.flatnonzero(seen)
        chosen = chosen[colour[chosen] >= bluest[place[chosen]]]
        if len(theirs) < 2 or len(chosen) < 2:
            break
        misfit = _misfit(theirs, colour[chosen])
        if misfit < least:
            best, least = found, misfit
        # there is no dust behind the last edge
        near = np.minimum(stars["distance"][chosen], edges[-1])
        distance, excess = _match(theirs, colour[chosen], bare[chosen], near)
        distance, bins, weights = np.unique(distance, return_inverse=True, return_counts=True)
        mean = np.bincount(bins, excess) / weights
        rising = isotonic_regression(np.maximum(mean / per_magnitude, 0.0), weights=weights.astype(float)).x
        new = np.interp(edges, np.append(0.0, distance), np.append(0.0, rising))
        found = DAMPING * found + (1.0 - DAMPING) * new
    return best[1:]


def _bluest(place, colour, giant, colour_edges, rows) -> np.ndarray:
    """Colour redward of which most mock stars of each row are giants, shape (row,), mag."""
    column = np.digitize(colour, colour_edges) - 1
    sign = np.zeros((rows, len(colour_edges) - 1))
    np.add.at(sign, (place, column), np.where(giant, 1.0, -1.0))
    # where the cumulative excess of giants over dwarfs from the red side is largest
    excess = np.cumsum(sign[:, ::-1], axis=1)[:, ::-1]
    at = np.argmax(excess, axis=1)
    return np.where(excess.max(axis=1) > 0, colour_edges[at], np.inf)


def _misfit(observed: np.ndarray, mock: np.ndarray) -> float:
    """chi2 per bin between the histograms of colours, with the mock scaled to the observed number."""
    low, high = min(observed.min(), mock.min()), max(observed.max(), mock.max()) + HISTOGRAM
    borders = np.arange(low, high + HISTOGRAM, HISTOGRAM)
    found = np.histogram(observed, borders)[0]
    expected = np.histogram(mock, borders)[0] * (len(observed) / len(mock))
    return float(((found - expected) ** 2 / np.maximum(found + expected, 1.0)).sum() / len(found))


def _match(observed, mock, bare, distance) -> tuple[np.ndarray, np.ndarray]:
    """Distances (kpc) and colour excesses (mag) of bins of equal rank, shape (bin,)."""
    number = max(len(observed) // BIN, 1)
    ours = np.array_split(np.sort(observed), number)
    order = np.argsort(mock, kind="stable")
    theirs = np.array_split(order, number)
    excess = [np.mean(a) - np.mean(bare[b]) for a, b in zip(ours, theirs, strict=True) if len(b)]
    return np.array([np.median(distance[b]) for b in theirs if len(b)]), np.array(excess)
