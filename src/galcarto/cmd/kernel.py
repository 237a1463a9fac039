"""The hot loop: extinct, scatter, cut and bin a star list into images, one image per profile."""

import numba
import numpy as np
from scipy.special import ndtri

_LEVELS = (np.arange(65536) + 0.5) / 65536
# Quantiles of the normal and of the exponential distribution, drawn by 16 random bits; scaled to unit variance
# and unit mean.
NORMALS = (ndtri(_LEVELS) / ndtri(_LEVELS).std()).astype(np.float32)
GAPS = (np.log1p(-_LEVELS) / np.log1p(-_LEVELS).mean()).astype(np.float32)
MAX_BANDS = 3  # their errors share one draw of 64 bits with the gap
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
    profiles,
    gaps,
    seeds,
    coefficients,
    limits,
    bright,
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
    in order keeps the memory access forward, and in a list sorted by magnitude the branches predictable.

    Parameters
    ----------
    stars : ndarray of float32, shape (star, 1 + band)
        Distance as a fractional index into the bin edges, then true magnitudes without dust.
    profiles : ndarray of float32, shape (profile, edge + 1), mag
        A_V at each bin edge, the last one repeated.
    gaps : ndarray of float64, shape (profile,)
        Mean gap: the list's solid angle over the image's.
    seeds : ndarray of uint64, shape (profile,)
    coefficients, limits : ndarray of float32, shape (band,)
        A_band / A_V, and faint limits in mag; at most MAX_BANDS.
    bright : float32, mag
    errors, completeness : ndarray of float32, shape (band, table)
        Against true magnitude, from `table_start` in steps of `table_step`.
    axes : tuple of three int
        Bands of the magnitude and of the colour's first and second term.
    origin, pixel : tuple of two float32, mag
        Lower edges and widths of the pixels: magnitude, colour.
    normals, exponentials : ndarray of float32, shape (65536,)
    out : ndarray of uint32, shape (profile, magnitude, colour)
        Zero on entry.
    """
    rows, columns = out.shape[1], out.shape[2]
    bands = limits.size
    number = float(stars.shape[0])
    last = errors.shape[1] - 1
    scale = np.float32(1.0) / table_step
    per_row = np.float32(1.0) / pixel[0]
    per_column = np.float32(1.0) / pixel[1]
    for p in numba.prange(out.shape[0]):
        state = seeds[p]
        measured = np.empty(bands, np.float32)
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
            position = stars[s, 0]
            edge = int(position)
            a_v = profile[edge] + (position - np.float32(edge)) * (profile[edge + 1] - profile[edge])
            hopeful = True
            for b in range(bands):
                measured[b] = stars[s, 1 + b] + coefficients[b] * a_v
                hopeful &= measured[b] < limits[b] + HOPELESS
            if not hopeful:
                continue
            seen = True
            for b in range(bands):
                t = min(max(int((measured[b] - table_start) * scale), 0), last)
                if completeness[b, t] < np.float32(0.9999):
                    state, chance = _next(state)
                    seen &= np.float32(chance >> np.uint64(40)) * np.float32(2.0**-24) < completeness[b, t]
                bits >>= np.uint64(16)
                measured[b] += errors[b, t] * normals[bits & np.uint64(0xFFFF)]
                seen &= (measured[b] < limits[b]) & (measured[b] >= bright)
            if not seen:
                continue
            row = (measured[axes[0]] - origin[0]) * per_row
            column = (measured[axes[1]] - measured[axes[2]] - origin[1]) * per_column
            if row >= 0 and row < rows and column >= 0 and column < columns:
                image[int(row), int(column)] += np.uint32(1)
