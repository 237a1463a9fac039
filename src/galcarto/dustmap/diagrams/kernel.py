"""Numba kernel: redden a star list, add errors, apply limits and bin it, one image per extinction profile.

The stars of an image are processed in blocks, and each block passes through a sequence of short loops. Table look-ups
and arithmetic are kept in separate loops without branches, which the compiler vectorises. A single large loop would
stall on unpredictable branches and on memory latency.
"""

from typing import NamedTuple

import numba
import numpy as np
from scipy.special import ndtri

from galcarto.core.jit import CACHE

_LEVELS = (np.arange(65536) + 0.5) / 65536
# Quantiles of the normal and exponential distributions, indexed by 16 random bits; scaled to unit variance and mean.
NORMALS = (ndtri(_LEVELS) / ndtri(_LEVELS).std()).astype(np.float32)
EXPONENTIALS = (np.log1p(-_LEVELS) / np.log1p(-_LEVELS).mean()).astype(np.float32)
LEVELS = 256  # quantiles of the differential extinction within a tile
# Stars fainter than a limit by more than this are skipped: only an error above 3.5 sigma could bring them back.
HOPELESS = np.float32(1.0)
BLOCK = 512  # visits per block: their columns fit in the L1 cache
CHUNK = 16384  # stars of the list per pass of a group of images: they fit in the L2 cache
GROUP = 64  # images per thread task
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ALL = np.uint32(0xFFFFFFFF)
NEXT = np.uint32(1)


class Tiles(NamedTuple):
    """Inputs that differ from image to image."""

    profiles: np.ndarray  # float32, shape (profile, edge + 1), mag: A_V at each bin edge, the last one repeated
    # float64, shape (profile,): mean gap between visits: solid angle of the list over that of the image, for a
    # population of weight 1
    gaps: np.ndarray
    seeds: np.ndarray  # uint64, shape (profile,)
    weights: np.ndarray  # float32, shape (profile, population): fraction of a population's visits that enter, at most 1
    # float32, shape (profile, LEVELS): differential extinction: equally probable ratios of a star's A_V to its
    # profile's
    factors: np.ndarray
    # float32, shape (profile, band): factor on the extinction of a band, where R_V differs from the law's
    scales: np.ndarray
    # float32, shape (profile, band, 2), mag and mag/mag: survey minus true magnitude: at magnitude 13, and per
    # magnitude
    offsets: np.ndarray


class Detection(NamedTuple):
    """How the surveys measure a star, and the axes of their diagrams."""

    law: np.ndarray  # float32, shape (class, band, grid), mag: extinction of a band on a grid of A_V that starts at 0
    law_step: np.float32  # mag: step of that grid
    # float32, shape (band,), mag: faint and bright limits
    limits: np.ndarray
    bright: np.ndarray
    flags: np.ndarray  # uint32, shape (band,): bit of the survey that measures the band: 1, 2, 4...
    # int64, shape (band,): band whose magnitude sets the error: the band itself, except for a parallax
    sources: np.ndarray
    # float32, shape (band, table): against true magnitude, from `table_start` in steps of `table_step`
    errors: np.ndarray
    completeness: np.ndarray
    table_start: np.float32  # mag
    table_step: np.float32  # mag
    # int64, shape (channel, 3): bands of the rows and of the first and second term of the columns (-1: none)
    axes: np.ndarray
    # float32, shape (channel, 2): lower edge and pixel width of rows and columns
    origin: np.ndarray
    pixel: np.ndarray


@numba.njit(fastmath=True)
def _draw(state, bits):
    """Fill `bits` with SplitMix64 numbers (Steele, Lea & Flood 2014) and return the next state."""
    for i in range(bits.size):
        z = state + np.uint64(i + 1) * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits[i] = z ^ (z >> np.uint64(31))
    return state + np.uint64(bits.size) * GOLDEN


@numba.njit(fastmath=True)
def _visit(at, end, gap, weight, thinned, stars, bits, visits):
    """Fill `visits` and `bits` with the next stars that enter; return the place reached and the number of stars."""
    n = 0
    for i in range(bits.size):
        if at >= end:
            break
        drawn = bits[i]
        star = np.uint32(at)
        visits[n] = star
        bits[n] = drawn
        if thinned:
            level = np.float32((drawn >> np.uint64(24)) & np.uint64(0xFFFFF))
            n += level < weight[np.uint32(stars[star, 1])] * np.float32(2.0**20)
        else:
            n += 1
        at += gap * EXPONENTIALS[drawn & np.uint64(0xFFFF)]
    return at, n


@numba.njit(fastmath=True)
def _fetch(visits, bits, stars, spread, position, kind, factor):
    """Look up the distance index and colour class of each star, and draw its differential extinction."""
    for i in range(visits.size):
        position[i] = stars[visits[i], 0]
        kind[i] = np.uint32(stars[visits[i], 2])
        factor[i] = spread[(bits[i] >> np.uint64(16)) & np.uint64(LEVELS - 1)]


@numba.njit(fastmath=True)
def _neighbours(position, profile, low, high):
    """Look up the profile at the bin edges around each star."""
    for i in range(position.size):
        edge = np.uint32(position[i])
        low[i] = profile[edge]
        high[i] = profile[edge + NEXT]


@numba.njit(fastmath=True)
def _extinct(position, low, high, factor, per_step, last, grid, part):
    """Compute A_V as an index into the grid of the law and a fraction of its step."""
    for i in range(position.size):
        beyond = position[i] - np.float32(np.uint32(position[i]))
        a_v = (low[i] + beyond * (high[i] - low[i])) * factor[i]
        at = min(a_v * per_step, last + np.float32(1.0))
        step = np.uint32(min(at, last))
        grid[i] = step
        part[i] = at - np.float32(step)


@numba.njit(fastmath=True)
def _bend(visits, stars, column, kind, grid, law, band, low, high, true):
    """Look up the extinction in a band at the grid points around A_V, and the dust-free magnitude."""
    for i in range(visits.size):
        low[i] = law[kind[i], band, grid[i]]
        high[i] = law[kind[i], band, grid[i] + NEXT]
        true[i] = stars[visits[i], column]


@numba.njit(fastmath=True)
def _redden(low, high, part, scale, zero, slope, hopeless, others, true, seen):
    """Redden a band, apply the zero point of the survey, and mask the survey for stars too faint to be detected."""
    for i in range(low.size):
        value = true[i] + scale * (low[i] + part[i] * (high[i] - low[i]))
        value += zero + slope * (value - np.float32(13.0))
        true[i] = value
        seen[i] &= others if value >= hopeless else ALL


@numba.njit(fastmath=True)
def _measure(true, source, bits, start, per_step, errors, completeness, chance, measured):
    """Add the photometric error of a band, and look up its completeness."""
    last = np.float32(errors.size - 1)
    for i in range(true.size):
        place = np.uint32(min(max((source[i] - start) * per_step, np.float32(0.0)), last))
        chance[i] = completeness[place]
        measured[i] = true[i] + errors[place] * NORMALS[bits[i] & np.uint64(0xFFFF)]


@numba.njit(fastmath=True)
def _cut(bits, chance, measured, limit, bright, others, seen):
    """Mask stars that the survey misses: by incompleteness, or beyond its limits."""
    for i in range(bits.size):
        missed = np.float32(bits[i] >> np.uint64(40)) * np.float32(2.0**-24) >= chance[i]
        seen[i] &= others if missed | (measured[i] >= limit) | (measured[i] < bright) else ALL


@numba.njit(fastmath=True)
def _place(magnitude, first, second, two, origin, per_pixel, rows, columns, flag, seen, place):
    """Compute the pixel of each star; ALL for undetected stars and those outside the diagram."""
    top, left, per_row, per_column = origin[0], origin[1], per_pixel[0], per_pixel[1]
    for i in range(seen.size):
        row = (magnitude[i] - top) * per_row
        column = (first[i] - (second[i] if two else np.float32(0.0)) - left) * per_column
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns) & ((seen[i] & flag) != 0)
        place[i] = np.uint32(row) * np.uint32(columns) + np.uint32(column) if inside else ALL


@numba.njit(fastmath=True)
def _fill(place, image):
    """Add the stars to the image."""
    for i in range(place.size):
        if place[i] != ALL:
            image[place[i]] += NEXT


@numba.njit(nogil=True, fastmath=True)
def _group(stars, tiles, detection, part, out):
    """Fill a group of images; see `render`."""
    law, limits, bright, flags, axes = (
        detection.law,
        detection.limits,
        detection.bright,
        detection.flags,
        detection.axes,
    )
    bands, number = limits.size, stars.shape[0]
    rows, columns = np.float32(out.shape[2]), np.float32(out.shape[3])
    per_law, per_table = np.float32(1.0) / detection.law_step, np.float32(1.0) / detection.table_step
    per_pixel = np.float32(1.0) / detection.pixel
    last = np.float32(law.shape[2] - 2)
    bits = np.empty(BLOCK, np.uint64)
    visits = np.empty(BLOCK, np.uint32)
    kind = np.empty(BLOCK, np.uint32)
    grid = np.empty(BLOCK, np.uint32)
    seen = np.empty(BLOCK, np.uint32)
    position = np.empty(BLOCK, np.float32)
    factor = np.empty(BLOCK, np.float32)
    low = np.empty(BLOCK, np.float32)
    high = np.empty(BLOCK, np.float32)
    fraction = np.empty(BLOCK, np.float32)
    true = np.empty((bands, BLOCK), np.float32)
    measured = np.empty((bands, BLOCK), np.float32)
    profiles, gaps, weights, factors = tiles.profiles[part], tiles.gaps[part], tiles.weights[part], tiles.factors[part]
    scales, offsets, images = tiles.scales[part], tiles.offsets[part], out[part]
    states = tiles.seeds[part].copy()
    places = np.empty(gaps.size)
    for p in range(gaps.size):
        states[p] = _draw(states[p], bits[:1])
        places[p] = gaps[p] * EXPONENTIALS[bits[0] & np.uint64(0xFFFF)]
    for start in range(0, number, CHUNK):
        end = float(min(start + CHUNK, number))
        for p in range(gaps.size):
            weight = weights[p]
            thinned = weight.min() < np.float32(1.0)
            at, state = places[p], states[p]
            while at < end:
                state = _draw(state, bits)
                at, n = _visit(at, end, gaps[p], weight, thinned, stars, bits, visits)
                _fetch(visits[:n], bits, stars, factors[p], position, kind, factor)
                _neighbours(position[:n], profiles[p], low, high)
                _extinct(position[:n], low, high, factor, per_law, last, grid, fraction)
                seen[:] = ALL
                for b in range(bands):
                    _bend(visits[:n], stars, 3 + b, kind, grid, law, b, low, high, true[b])
                    scale, zero, slope = scales[p, b], offsets[p, b, 0], offsets[p, b, 1]
                    faintest = limits[b] + HOPELESS
                    _redden(low[:n], high, fraction, scale, zero, slope, faintest, ~flags[b], true[b], seen)
                for b in range(bands):
                    state = _draw(state, bits[:n])
                    source, found = true[detection.sources[b]], measured[b]
                    errors, completeness = detection.errors[b], detection.completeness[b]
                    _measure(
                        true[b, :n], source, bits, detection.table_start, per_table, errors, completeness, low, found
                    )
                    _cut(bits[:n], low, found, limits[b], bright[b], ~flags[b], seen)
                for c in range(axes.shape[0]):
                    row, first, second = measured[axes[c, 0]], measured[axes[c, 1]], measured[axes[c, 2]]
                    two, flag, origin = axes[c, 2] >= 0, flags[axes[c, 0]], detection.origin[c]
                    _place(row, first, second, two, origin, per_pixel[c], rows, columns, flag, seen[:n], grid)
                    _fill(grid[:n], images[p, c].reshape(-1))
            places[p], states[p] = at, state


@numba.njit(parallel=True, cache=CACHE, nogil=True, fastmath=True)
def render(stars, tiles, detection, out):
    """Fill `out` with star counts; each star enters an image a Poisson number of times.

    The visits of an image to the star list are a Poisson process along the list, with exponential gaps. Walking the
    list in order keeps memory access sequential. All surveys measure a visited star, so that their counts are
    correlated as on the real sky.

    Parameters
    ----------
    stars : ndarray of float32, shape (star, 3 + band)
        One row per star, since fetching it dominates the time of a visit. Distance as a fractional index into the bin
        edges; population (column of `Tiles.weights`) and colour class (row of `Detection.law`) as whole numbers; true
        dust-free magnitudes (or parallaxes).
    tiles : Tiles
    detection : Detection
    out : ndarray of uint32, shape (profile, channel, row, column)
        Zero on entry.
    """
    for group in numba.prange(-(-out.shape[0] // GROUP)):
        _group(stars, tiles, detection, slice(group * GROUP, (group + 1) * GROUP), out)
