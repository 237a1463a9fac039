"""The hot loop: extinct, scatter, cut and bin a star list into images, one image per profile."""

import numba
import numpy as np
from scipy.special import ndtri

_LEVELS = (np.arange(65536) + 0.5) / 65536
# Quantiles of the normal and of the exponential distribution, drawn by 16 random bits; scaled to unit variance
# and unit mean.
NORMALS = (ndtri(_LEVELS) / ndtri(_LEVELS).std()).astype(np.float32)
GAPS = (np.log1p(-_LEVELS) / np.log1p(-_LEVELS).mean()).astype(np.float32)
LEVELS = 256  # steps of a tile's distribution of extinction
# A star this much fainter than a limit is not tried: it would need an error of more than 3.5 sigma.
HOPELESS = np.float32(1.0)


@numba.njit(inline="always")
def _next(state):
    """SplitMix64 (Steele, Lea & Flood 2014): the next state and 64 random bits."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, z ^ (z >> np.uint64(31))


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=True)
def render(
    stars,
    classes,
    profiles,
    gaps,
    seeds,
    shares,
    spreads,
    scales,
    offsets,
    law,
    law_step,
    limits,
    bright,
    surveys,
    sources,
    errors,
    completeness,
    table_start,
    table_step,
    axes,
    origin,
    pixel,
    normals,
    exponentials,
    out,
):
    """Fill `out` with counts of stars, each star entering an image a Poisson number of times.

    The visits are a Poisson process along the star list: exponential gaps between one and the next. Walking the list
    in order keeps the memory access forward, and in a list sorted by magnitude the branches predictable. A visited
    star is measured by every survey: what two of them see of one sky is correlated as it is on the real one.

    Parameters
    ----------
    stars : ndarray of float32, shape (star, 1 + band)
        Distance as a fractional index into the bin edges, then true magnitudes (or parallaxes) without dust.
    classes : ndarray of int32, shape (star, 2)
        The population (column of `shares`) and the class of colour (row of `law`) of a star.
    profiles : ndarray of float32, shape (profile, edge + 1), mag
        A_V at each bin edge, the last one repeated.
    gaps : ndarray of float64, shape (profile,)
        Mean gap: the list's solid angle over the image's, for the population with the share 1.
    seeds : ndarray of uint64, shape (profile,)
    shares : ndarray of float32, shape (profile, population)
        Share of a population's stars that enter, at most 1.
    spreads : ndarray of float32, shape (profile, LEVELS)
        A star's A_V over that of the profile: equally probable values.
    scales : ndarray of float32, shape (profile, band)
        Factor on the extinction of a band: R_V differs from the law's.
    offsets : ndarray of float32, shape (profile, band, 2), mag and mag/mag
        From the true magnitude to the survey's: at magnitude 13, and per magnitude.
    law : ndarray of float32, shape (class, band, grid)
        Extinction of a band on a grid of A_V, mag.
    law_step : float32, mag
        Step of that grid, which begins at 0.
    limits, bright : ndarray of float32, shape (band,)
        Faint and bright limits, mag.
    surveys : ndarray of int64, shape (band,)
        The survey that measures a band: a number from 0; a survey's bands stand together.
    sources : ndarray of int64, shape (band,)
        The band whose magnitude sets the error: itself, but for a parallax.
    errors, completeness : ndarray of float32, shape (band, table)
        Against true magnitude, from `table_start` in steps of `table_step`.
    axes : ndarray of int64, shape (channel, 3)
        Bands of the rows, and of the columns' first and second term (-1: none).
    origin, pixel : ndarray of float32, shape (channel, 2)
        Lower edges and widths of the pixels along rows and columns.
    normals, exponentials : ndarray of float32, shape (65536,)
    out : ndarray of uint32, shape (profile, channel, row, column)
        Zero on entry.
    """
    channels, rows, columns = out.shape[1], out.shape[2], out.shape[3]
    bands = limits.size
    number = float(stars.shape[0])
    last = errors.shape[1] - 1
    scale = np.float32(1.0) / table_step
    per_step = np.float32(1.0) / law_step
    last_grid = law.shape[2] - 2
    per_pixel = np.float32(1.0) / pixel
    for p in numba.prange(out.shape[0]):
        state = seeds[p]
        true = np.empty(bands, np.float32)
        measured = np.empty(bands, np.float32)
        seen = np.empty(surveys[bands - 1] + 1, np.bool_)
        profile = profiles[p]
        image = out[p]
        gap = gaps[p]
        at = 0.0
        while True:
            state, bits = _next(state)
            at += gap * exponentials[bits & np.uint64(0xFFFF)]
            if at >= number:
                break
            s = int(at)
            share = shares[p, classes[s, 0]]
            if share < np.float32(1.0) and np.float32(
                (bits >> np.uint64(24)) & np.uint64(0xFFFFF)
            ) >= share * np.float32(2.0**20):
                continue
            position = stars[s, 0]
            edge = int(position)
            a_v = profile[edge] + (position - np.float32(edge)) * (profile[edge + 1] - profile[edge])
            a_v *= spreads[p, (bits >> np.uint64(16)) & np.uint64(LEVELS - 1)]
            grid = min(a_v * per_step, np.float32(last_grid + 1))
            g = min(int(grid), last_grid)
            part = grid - np.float32(g)
            seen[:] = True
            hopeful = False
            for b in range(bands):
                bent = law[classes[s, 1], b]
                value = stars[s, 1 + b] + scales[p, b] * (bent[g] + part * (bent[g + 1] - bent[g]))
                # on the survey's own scale
                true[b] = value + offsets[p, b, 0] + offsets[p, b, 1] * (value - np.float32(13.0))
                seen[surveys[b]] &= true[b] < limits[b] + HOPELESS
            for i in range(seen.size):
                hopeful |= seen[i]
            if not hopeful:
                continue
            left = 0
            for b in range(bands):
                if not seen[surveys[b]]:
                    continue
                t = min(max(int((true[sources[b]] - table_start) * scale), 0), last)
                if left == 0:
                    state, bits = _next(state)
                    left = 4
                if completeness[b, t] < np.float32(0.9999):
                    state, chance = _next(state)
                    seen[surveys[b]] &= np.float32(chance >> np.uint64(40)) * np.float32(2.0**-24) < completeness[b, t]
                measured[b] = true[b] + errors[b, t] * normals[bits & np.uint64(0xFFFF)]
                bits >>= np.uint64(16)
                left -= 1
                seen[surveys[b]] &= (measured[b] < limits[b]) & (measured[b] >= bright[b])
            for c in range(channels):
                if not seen[surveys[axes[c, 0]]]:
                    continue
                value = measured[axes[c, 1]]
                if axes[c, 2] >= 0:
                    value -= measured[axes[c, 2]]
                row = (measured[axes[c, 0]] - origin[c, 0]) * per_pixel[c, 0]
                column = (value - origin[c, 1]) * per_pixel[c, 1]
                if row >= 0 and row < rows and column >= 0 and column < columns:
                    image[c, int(row), int(column)] += np.uint32(1)
