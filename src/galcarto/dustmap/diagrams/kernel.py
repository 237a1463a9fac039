"""The hot loops: extinct, scatter, cut and bin a star list into images, one image per profile.

An image's stars are taken in blocks, and a block goes through one short loop after another: loops that look up tables
and loops of arithmetic alone, without branches, which the compiler turns into vector instructions. A single loop with
all of it would wait for its unpredictable branches and for each star's way from the memory.
"""

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
BLOCK = 512  # visits at once: their columns stay in the first cache
CHUNK = 16384  # stars of the list that a group of images visits before it goes on: they stay in the second cache
GROUP = 64  # images
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ALL = np.uint32(0xFFFFFFFF)
NEXT = np.uint32(1)


@numba.njit(fastmath=True)
def _draw(state, bits):
    """SplitMix64 (Steele, Lea & Flood 2014): 64 random bits each, and the next state."""
    for i in range(bits.size):
        z = state + np.uint64(i + 1) * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits[i] = z ^ (z >> np.uint64(31))
    return state + np.uint64(bits.size) * GOLDEN


@numba.njit(fastmath=True)
def _visit(at, end, gap, exponentials, share, thinned, stars, bits, visits):
    """Walk along the list: the stars that enter, their bits, the place of the next visit and how many they are."""
    n = 0
    for i in range(bits.size):
        if at >= end:
            break
        drawn = bits[i]
        star = np.uint32(at)
        visits[n] = star
        bits[n] = drawn
        if thinned:
            chance = np.float32((drawn >> np.uint64(24)) & np.uint64(0xFFFFF))
            n += chance < share[np.uint32(stars[star, 1])] * np.float32(2.0**20)
        else:
            n += 1
        at += gap * exponentials[drawn & np.uint64(0xFFFF)]
    return at, n


@numba.njit(fastmath=True)
def _fetch(visits, bits, stars, spread, position, kind, factor):
    """The stars' places and classes, and their extinction over the profile's."""
    for i in range(visits.size):
        position[i] = stars[visits[i], 0]
        kind[i] = np.uint32(stars[visits[i], 2])
        factor[i] = spread[(bits[i] >> np.uint64(16)) & np.uint64(LEVELS - 1)]


@numba.njit(fastmath=True)
def _neighbours(position, profile, low, high):
    """The profile at the edges before and behind."""
    for i in range(position.size):
        edge = np.uint32(position[i])
        low[i] = profile[edge]
        high[i] = profile[edge + NEXT]


@numba.njit(fastmath=True)
def _extinct(position, low, high, factor, per_step, last, grid, part):
    """A_V as a step of the law's grid and the part of it beyond."""
    for i in range(position.size):
        beyond = position[i] - np.float32(np.uint32(position[i]))
        a_v = (low[i] + beyond * (high[i] - low[i])) * factor[i]
        at = min(a_v * per_step, last + np.float32(1.0))
        step = np.uint32(min(at, last))
        grid[i] = step
        part[i] = at - np.float32(step)


@numba.njit(fastmath=True)
def _bend(visits, stars, column, kind, grid, law, band, low, high, true):
    """A band's extinction at the grid's steps before and behind, and its magnitude without dust."""
    for i in range(visits.size):
        low[i] = law[kind[i], band, grid[i]]
        high[i] = law[kind[i], band, grid[i] + NEXT]
        true[i] = stars[visits[i], column]


@numba.njit(fastmath=True)
def _redden(low, high, part, scale, zero, slope, hopeless, others, true, seen):
    """Extinct a band and bring it to the survey's own scale; who is hopeless is seen by the other surveys only."""
    for i in range(low.size):
        value = true[i] + scale * (low[i] + part[i] * (high[i] - low[i]))
        value += zero + slope * (value - np.float32(13.0))
        true[i] = value
        seen[i] &= others if value >= hopeless else ALL


@numba.njit(fastmath=True)
def _measure(true, source, bits, start, per_step, errors, completeness, normals, share, measured):
    """Scatter a band by its error; the share of such stars that is found."""
    last = np.float32(errors.size - 1)
    for i in range(true.size):
        place = np.uint32(min(max((source[i] - start) * per_step, np.float32(0.0)), last))
        share[i] = completeness[place]
        measured[i] = true[i] + errors[place] * normals[bits[i] & np.uint64(0xFFFF)]


@numba.njit(fastmath=True)
def _cut(bits, share, measured, limit, bright, others, seen):
    """Who is missed by chance or beyond a limit is seen by the other surveys only."""
    for i in range(bits.size):
        missed = np.float32(bits[i] >> np.uint64(40)) * np.float32(2.0**-24) >= share[i]
        seen[i] &= others if missed | (measured[i] >= limit) | (measured[i] < bright) else ALL


@numba.njit(fastmath=True)
def _place(magnitude, first, second, two, origin, per_pixel, rows, columns, flag, seen, place):
    """The stars' pixels; ALL for who is not seen or off the axes."""
    top, left, per_row, per_column = origin[0], origin[1], per_pixel[0], per_pixel[1]
    for i in range(seen.size):
        row = (magnitude[i] - top) * per_row
        column = (first[i] - (second[i] if two else np.float32(0.0)) - left) * per_column
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns) & ((seen[i] & flag) != 0)
        place[i] = np.uint32(row) * np.uint32(columns) + np.uint32(column) if inside else ALL


@numba.njit(fastmath=True)
def _fill(place, image):
    """Count."""
    for i in range(place.size):
        if place[i] != ALL:
            image[place[i]] += NEXT


@numba.njit(nogil=True, fastmath=True)
def _images(
    stars,
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
    flags,
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
    """A group of images; see `render`."""
    bands, number = limits.size, stars.shape[0]
    rows, columns = np.float32(out.shape[2]), np.float32(out.shape[3])
    per_law, per_table, per_pixel = np.float32(1.0) / law_step, np.float32(1.0) / table_step, np.float32(1.0) / pixel
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
    part = np.empty(BLOCK, np.float32)
    true = np.empty((bands, BLOCK), np.float32)
    measured = np.empty((bands, BLOCK), np.float32)
    states = seeds.copy()
    places = np.empty(gaps.size)
    for p in range(gaps.size):
        states[p] = _draw(states[p], bits[:1])
        places[p] = gaps[p] * exponentials[bits[0] & np.uint64(0xFFFF)]
    for start in range(0, number, CHUNK):
        end = float(min(start + CHUNK, number))
        for p in range(gaps.size):
            share = shares[p]
            thinned = share.min() < np.float32(1.0)
            at, state = places[p], states[p]
            while at < end:
                state = _draw(state, bits)
                at, n = _visit(at, end, gaps[p], exponentials, share, thinned, stars, bits, visits)
                _fetch(visits[:n], bits, stars, spreads[p], position, kind, factor)
                _neighbours(position[:n], profiles[p], low, high)
                _extinct(position[:n], low, high, factor, per_law, last, grid, part)
                seen[:] = ALL
                for b in range(bands):
                    _bend(visits[:n], stars, 3 + b, kind, grid, law, b, low, high, true[b])
                    scale, zero, slope = scales[p, b], offsets[p, b, 0], offsets[p, b, 1]
                    _redden(low[:n], high, part, scale, zero, slope, limits[b] + HOPELESS, ~flags[b], true[b], seen)
                for b in range(bands):
                    state = _draw(state, bits[:n])
                    source, found, shown = true[sources[b]], measured[b], true[b, :n]
                    _measure(
                        shown, source, bits, table_start, per_table, errors[b], completeness[b], normals, low, found
                    )
                    _cut(bits[:n], low, found, limits[b], bright[b], ~flags[b], seen)
                for c in range(axes.shape[0]):
                    row, first, second = measured[axes[c, 0]], measured[axes[c, 1]], measured[axes[c, 2]]
                    two, flag = axes[c, 2] >= 0, flags[axes[c, 0]]
                    _place(row, first, second, two, origin[c], per_pixel[c], rows, columns, flag, seen[:n], grid)
                    _fill(grid[:n], out[p, c].reshape(-1))
            places[p], states[p] = at, state


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=True)
def render(
    stars,
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
    flags,
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
    in order keeps the memory access forward. A visited star is measured by every survey: what two of them see of one
    sky is correlated as it is on the real one.

    Parameters
    ----------
    stars : ndarray of float32, shape (star, 3 + band)
        Distance as a fractional index into the bin edges; population (column of `shares`) and class of colour (row of
        `law`), whole numbers; true magnitudes (or parallaxes) without dust. One row, as a visit's time is that of
        fetching it.
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
    flags : ndarray of uint32, shape (band,)
        The bit of the survey that measures a band: 1, 2, 4...
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
    for group in numba.prange(-(-out.shape[0] // GROUP)):
        part = slice(group * GROUP, (group + 1) * GROUP)
        _images(
            stars,
            profiles[part],
            gaps[part],
            seeds[part],
            shares[part],
            spreads[part],
            scales[part],
            offsets[part],
            law,
            law_step,
            limits,
            bright,
            flags,
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
            out[part],
        )
