"""The hot loop: extinct, scatter, cut and bin a star list into images, one image per profile."""

import numba
import numpy as np
from scipy.special import ndtri

# Quantiles of the normal distribution, drawn by 16 random bits; scaled to unit variance.
_QUANTILES = ndtri((np.arange(65536) + 0.5) / 65536)
NORMALS = (_QUANTILES / _QUANTILES.std()).astype(np.float32)
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
    numbers,
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
    out,
):
    """Fill `out` with counts of stars.

    Parameters
    ----------
    stars : ndarray of float32, shape (star, 1 + band)
        Distance as a fractional index into the bin edges, then true magnitudes without dust.
    profiles : ndarray of float32, shape (profile, edge + 1), mag
        A_V at each bin edge, the last one repeated.
    numbers : ndarray of int64, shape (profile,)
        Stars to draw, with replacement, for each image.
    seeds : ndarray of uint64, shape (profile,)
    coefficients, limits : ndarray of float32, shape (band,)
        A_band / A_V, and faint limits in mag.
    bright : float32, mag
    errors, completeness : ndarray of float32, shape (band, table)
        Against true magnitude, from `table_start` in steps of `table_step`.
    axes : tuple of three int
        Bands of the magnitude and of the colour's first and second term.
    origin, pixel : tuple of two float32, mag
        Lower edges and widths of the pixels: magnitude, colour.
    normals : ndarray of float32, shape (65536,)
    out : ndarray of uint16, shape (profile, magnitude, colour)
        Zero on entry.
    """
    rows, columns = out.shape[1], out.shape[2]
    bands = limits.size
    last = errors.shape[1] - 1
    scale = np.float32(1.0) / table_step
    per_row = np.float32(1.0) / pixel[0]
    per_column = np.float32(1.0) / pixel[1]
    for p in numba.prange(out.shape[0]):
        state = seeds[p]
        measured = np.empty(bands, np.float32)
        profile = profiles[p]
        image = out[p]
        for _ in range(numbers[p]):
            state, bits = _next(state)
            s = ((bits >> np.uint64(32)) * np.uint64(stars.shape[0])) >> np.uint64(32)
            position = stars[s, 0]
            edge = int(position)
            a_v = profile[edge] + (position - np.float32(edge)) * (profile[edge + 1] - profile[edge])
            hopeful = True
            for b in range(bands):
                measured[b] = stars[s, 1 + b] + coefficients[b] * a_v
                hopeful &= measured[b] < limits[b] + HOPELESS
            if not hopeful:
                continue
            state, noise = _next(state)
            seen = True
            for b in range(bands):
                t = min(max(int((measured[b] - table_start) * scale), 0), last)
                if completeness[b, t] < np.float32(0.9999):
                    state, bits = _next(state)
                    chance = np.float32(bits >> np.uint64(40)) * np.float32(2.0**-24)
                    seen &= chance < completeness[b, t]
                measured[b] += errors[b, t] * normals[noise & np.uint64(0xFFFF)]
                noise >>= np.uint64(16)
                seen &= (measured[b] < limits[b]) & (measured[b] >= bright)
            if not seen:
                continue
            row = (measured[axes[0]] - origin[0]) * per_row
            column = (measured[axes[1]] - measured[axes[2]] - origin[1]) * per_column
            if row >= 0 and row < rows and column >= 0 and column < columns:
                image[int(row), int(column)] += np.uint16(1)
