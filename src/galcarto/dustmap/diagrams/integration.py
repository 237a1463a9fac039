"""Expected colour-magnitude diagrams, by integration over populations, distances and errors."""

from dataclasses import dataclass
from math import erf, exp, pi, sqrt

import numba
import numpy as np

from galcarto.core.jit import CACHE
from galcarto.galaxy.binaries import GOLDEN
from galcarto.galaxy.hess import Hess
from galcarto.galaxy.synthesis import MODULUS_RANGE, MODULUS_STEP, StarModel

STEP = MODULUS_STEP / 2  # mag: cells in magnitude, two per distance bin
FINE = 0.02  # mag: cells in colour
COARSE = 0.1  # mag: cells in a band that only has a limit
# mag: A_V at which detectable stars are tabulated
EXTINCTION_GRID = np.concatenate([np.arange(0.0, 2.0, 0.25), np.arange(2.0, 10.0, 1.0), np.arange(10.0, 41.0, 2.0)])
FAINTEST = 1.0  # mag beyond the faint limit in magnitude, as in the kernel
NODES, SPACING = 18, 0.5  # quadrature of the error common to magnitude and colour; spacing in standard deviations
STRIDES = np.array([np.sqrt(2.0), GOLDEN, np.sqrt(3.0)])  # of the nodes' shift along each axis: multiples spread evenly
CHUNKS = 16  # partial sums; a fixed number, so that the sum does not depend on the number of threads
TINY = 1e-6  # mag: smallest error
REFERENCE_MAGNITUDE = 13.0  # at which zero points are given
LEAST = 1e-6  # share of a cell's stars in a pixel below which it is left out
NEGLIGIBLE = 1e-10  # fraction of all stars below which a cell, or a population in a distance bin, is left out


@dataclass(frozen=True)
class Diagram:
    """Survey and axes of a diagram, as the integrals take them."""

    bands: tuple[str, ...]  # magnitude; other bands of the colour; then bands that only have limits
    colour: tuple[int, int]  # bands of the colour's first and second term
    # shape (band,): faint limits in mag, and A_band / A_V
    limits: np.ndarray
    coefficients: np.ndarray
    bright: float  # mag
    table_start: float  # mag
    table_step: float  # mag
    errors: np.ndarray  # shape (band, table)
    completeness: np.ndarray  # shape (band, table)
    magnitude_edges: np.ndarray  # mag
    colour_edges: np.ndarray  # mag
    # shape (band, 2), mag and mag/mag: survey minus true magnitude: at magnitude 13, and per magnitude
    offsets: np.ndarray
    normalisation: float  # factor on the number of stars

    @property
    def axes(self) -> list[tuple[str, ...]]:
        """Bands of each axis: magnitude, colour, and the extra band minus the magnitude."""
        first, second = (self.bands[i] for i in self.colour)
        extra = [] if self.extra is None else [(self.bands[self.extra], self.bands[0])]
        return [(self.bands[0],), (first, second), *extra]

    @property
    def extra(self) -> int | None:
        """The band that magnitude and colour do not determine."""
        if len(self.bands) < 3:
            return None
        return self.colour[1] if 0 not in self.colour else 3 - sum(self.colour)

    def matrix(self) -> np.ndarray:
        """Matrix from coordinates along the axes to band magnitudes, shape (band, axis)."""
        rows = np.zeros((len(self.bands), len(self.axes)))
        rows[:, 0] = 1.0
        if self.extra is not None:
            rows[self.extra, 2] = 1.0
        first, second = self.colour
        if second == 0:
            rows[first, 1] = 1.0
        elif first == 0:
            rows[second, 1] = -1.0
        else:  # neither is the magnitude: the extra band is the second
            rows[first, 1:] = 1.0
        return rows


class Integrator:
    """Integrals over the mock Galaxy for one survey and diagram.

    Parameters
    ----------
    model : StarModel
        With the bands of the diagram.
    diagram : Diagram
    edges : ndarray, shape (distance + 1,), kpc
        Of the extinction profile.
    """

    def __init__(self, model: StarModel, diagram: Diagram, edges: np.ndarray) -> None:
        self.model, self.diagram, self.edges = model, diagram, edges
        steps = [STEP, FINE, COARSE][: len(diagram.axes)]
        self.hess: Hess = model.hess(diagram.axes, steps)
        self.coarse = model.hess(diagram.axes, [MODULUS_STEP, COARSE, COARSE][: len(diagram.axes)])
        self.row = self.coarse.cell[:, 0] - self.coarse.cell[0, 0]
        hues, self.column = np.unique(self.coarse.cell[:, 1:], axis=0, return_inverse=True)
        self.seen = self._detection(hues)

    def _detection(self, hues: np.ndarray) -> np.ndarray:
        """Detected fraction of the stars of an apparent cell, shape (column, row, A_V)."""
        d = self.diagram
        first = self.coarse.cell[0, 0] + round(MODULUS_RANGE[0] / MODULUS_STEP)
        # the sum of two cells, of magnitude and of distance modulus, is centred on their upper edges
        magnitude = MODULUS_STEP * (np.arange(first, d.limits[0] / MODULUS_STEP + 1) + 1.0)
        colour = (hues + 0.5) * self.coarse.step[1:]
        place = [np.broadcast_to(magnitude, (len(hues), len(magnitude)))]
        place += [np.broadcast_to(column[:, None], place[0].shape) for column in colour.T]
        true = np.stack(place, axis=-1) @ d.matrix().T
        fraction = np.ones((*true.shape[:2], len(EXTINCTION_GRID)))
        behind = []
        for k in range(len(d.bands)):
            seen = true[..., k, None] + d.coefficients[k] * EXTINCTION_GRID
            seen = seen + d.offsets[k, 0] + d.offsets[k, 1] * (seen - REFERENCE_MAGNITUDE)
            behind.append(seen)
            table = np.clip(((seen - d.table_start) / d.table_step).astype(int), 0, d.completeness.shape[1] - 1)
            # fraction of the cell on the bright side of the limit
            fraction *= np.clip((d.limits[k] - seen) / MODULUS_STEP + 0.5, 0.0, 1.0) * (seen >= d.bright)
            fraction *= d.completeness[k][table]
        hue = behind[d.colour[0]] - behind[d.colour[1]]
        fraction *= (behind[0] >= d.magnitude_edges[0]) & (behind[0] < d.magnitude_edges[-1])
        return fraction * ((hue >= d.colour_edges[0]) & (hue < d.colour_edges[-1]))

    def image(self, l: float, b: float, extinction: np.ndarray | None = None) -> np.ndarray:
        """Expected stars per deg2 and pixel, with errors, completeness and limits, shape (magnitude, colour).

        Parameters
        ----------
        l, b : float, deg
        extinction : ndarray, shape (distance,), mag
            Cumulative A_V at the outer edge of each bin; None for no dust.
        """
        d, hess = self.diagram, self.hess
        half = np.repeat(np.sqrt(self.model.edges[:-1] * self.model.edges[1:]), 2)
        half = half * np.tile(10.0 ** (0.2 * np.array([-0.5, 0.5]) * STEP), len(half) // 2)
        a_v = np.zeros(len(half))
        if extinction is not None:
            a_v = np.interp(half, self.edges, np.append(0.0, extinction))
        # shift by 1 mag of A_V along each axis, in cells
        along = np.linalg.lstsq(d.matrix(), d.coefficients, rcond=None)[0] / hess.step
        low = hess.cell.min(axis=0) + np.minimum(np.floor(along * a_v.max()), 0).astype(int)
        high = hess.cell.max(axis=0) + np.maximum(np.ceil(along * a_v.max()), 0).astype(int) + 1
        modulus = round(MODULUS_RANGE[0] / STEP)  # cells
        low[0] = np.floor((d.bright - FAINTEST) / STEP)
        high[0] = np.ceil((d.limits[0] + FAINTEST) / STEP)
        grid = np.zeros(high - low + 1)
        _accumulate(
            hess.first,
            hess.entry,
            hess.number,
            np.ascontiguousarray(hess.cell - low),
            np.concatenate(self.model.content(l, b)),
            modulus,
            a_v[:, None] * along,
            grid.reshape(-1),
            np.array(grid.shape),
        )
        cells = np.flatnonzero(grid > NEGLIGIBLE * grid.sum())
        at = np.stack(np.unravel_index(cells, grid.shape), axis=-1) + low
        true = ((at + self._centre) * hess.step) @ d.matrix().T
        true = true + d.offsets[:, 0] + d.offsets[:, 1] * (true - REFERENCE_MAGNITUDE)
        parts = np.zeros((CHUNKS, len(d.magnitude_edges) - 1, len(d.colour_edges) - 1))
        _blur(grid.reshape(-1)[cells], true, _shift(at), self.blurring(), parts)
        return d.normalisation * parts.sum(axis=0)

    def images(self, contents: np.ndarray) -> np.ndarray:
        """Expected stars without dust, as of `image`, in many directions: faster, as the errors are applied once.

        A diagram is linear in the contents of populations and distance bins: each population's diagram in each bin is
        computed once for all directions.

        Parameters
        ----------
        contents : ndarray, shape (direction, population, distance bin)
            `StarModel.content` of the directions.

        Returns
        -------
        ndarray of float32, shape (direction, magnitude, colour), per deg2
        """
        d, hess = self.diagram, self.hess
        hues, hue = np.unique(hess.cell[:, 1:], axis=0, return_inverse=True)
        # apparent cells: every magnitude for each colour that stars have
        rows = np.arange(np.floor((d.bright - FAINTEST) / STEP), np.ceil((d.limits[0] + FAINTEST) / STEP))
        at = np.empty((len(rows), *hues.shape[:1], len(d.axes)))
        at[..., 0], at[..., 1:] = rows[:, None], hues
        at = at.reshape(-1, len(d.axes))
        true = ((at + self._centre) * hess.step) @ d.matrix().T
        true += d.offsets[:, 0] + d.offsets[:, 1] * (true - REFERENCE_MAGNITUDE)
        response = _respond(true, _shift(at), self.blurring())
        first_row = round(MODULUS_RANGE[0] / STEP) - round(rows[0])
        pixels = (len(d.magnitude_edges) - 1, len(d.colour_edges) - 1)
        result = np.zeros((len(contents), pixels[0] * pixels[1]), np.float32)
        one = np.empty((contents.shape[2], result.shape[1]), np.float32)
        for p in range(contents.shape[1]):
            own = slice(hess.first[p], hess.first[p + 1])
            one[:] = 0.0
            place = first_row + hess.cell[:, 0], hue, len(rows), len(hues)
            _see(hess.entry[own], hess.number[own], *place, *response, one)  # type: ignore[call-arg]
            result += contents[:, p].astype(np.float32) @ one
        return d.normalisation * result.reshape(-1, *pixels)

    @property
    def _centre(self) -> np.ndarray:
        """Centre of an apparent cell, in cells; in magnitude it holds two half bins of distance: its upper edge."""
        return np.array([1.0, *[0.5] * (len(self.diagram.axes) - 1)])

    def blurring(self) -> tuple:
        """Survey and axes as `_blur` takes them."""
        d = self.diagram
        pivot = 0 if 0 in d.colour else d.colour[1]
        other = d.colour[0] if d.colour[1] == pivot else d.colour[1]
        sign = 1.0 if d.colour[0] == other else -1.0
        tables = (d.limits, d.bright, d.errors, d.completeness, d.table_start, d.table_step)
        return *tables, pivot, other, sign, d.magnitude_edges, d.colour_edges

    def detectable(self, l: float, b: float) -> np.ndarray:
        """Expected detected stars per deg2 in each bin of the extinction profile, behind the A_V of EXTINCTION_GRID.

        Stars within limits and diagram, without errors. The last bin includes all stars beyond.

        Parameters
        ----------
        l, b : float, deg

        Returns
        -------
        ndarray, shape (distance, grid)
        """
        hess = self.coarse
        parts = np.zeros((len(self.model.edges) - 1, len(EXTINCTION_GRID)))
        content = np.concatenate(self.model.content(l, b))
        _detect(hess.first, hess.entry, hess.number, self.row, self.column, content, self.seen, parts)
        return self.diagram.normalisation * self._shared().T @ parts

    def detectables(self, contents: np.ndarray) -> np.ndarray:
        """Expected detected stars, as of `detectable`, in many directions, shape (direction, distance, grid).

        Parameters
        ----------
        contents : ndarray, shape (direction, population, distance bin)
        """
        hess = self.coarse
        each = np.zeros((contents.shape[1], contents.shape[2], len(EXTINCTION_GRID)))
        _detect_each(hess.first, hess.entry, hess.number, self.row, self.column, self.seen, each)
        parts = np.einsum("npd,pda->nda", contents, each, optimize=False)
        return self.diagram.normalisation * np.einsum("de,nda->nea", self._shared(), parts, optimize=True)

    def _shared(self) -> np.ndarray:
        """Share of each distance bin of the stars in each bin of the profile, by volume; the last takes all beyond."""
        borders = np.append(self.edges[:-1], max(self.edges[-1], self.model.edges[-1])) ** 3
        near, far = self.model.edges[:-1, None] ** 3, self.model.edges[1:, None] ** 3
        return np.clip(np.minimum(far, borders[1:]) - np.maximum(near, borders[:-1]), 0.0, None) / (far - near)


def _shift(cell: np.ndarray) -> np.ndarray:
    """Shift of the nodes of cells of shape (cell, axis), in spacings: regular nodes would beat with regular cells."""
    return (cell @ STRIDES[: cell.shape[1]]) % 1.0 - 0.5


@numba.njit(cache=CACHE)
def _populate(first, entry, number, content, stop, out):
    """Count the stars of one distance bin in each cell before `stop`."""
    out[:] = 0.0
    least = NEGLIGIBLE * content.max()
    for p in range(len(content)):
        if content[p] > least:
            for e in range(first[p], first[p + 1]):
                if entry[e] >= stop:
                    break
                out[entry[e]] += content[p] * number[e]


@numba.njit(cache=CACHE)
def _accumulate(first, entry, number, cell, content, modulus, shift, grid, shape):
    """Move the stars of every half bin of distance to their apparent cells.

    `shift`, shape (half bin, axis), is the effect of extinction in cells; stars are divided between adjacent cells.
    """
    cells, axes = cell.shape
    here = np.zeros(cells)
    strides = np.ones(axes, np.int64)
    for i in range(axes - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    whole = np.zeros(axes, np.int64)
    part = np.zeros(axes)
    # fractions of the volume of a distance bin, 10^(0.6 modulus), in its two halves
    far = 10.0 ** (0.3 * MODULUS_STEP)
    halves = (1.0 / (1.0 + far), far / (1.0 + far))
    for d in range(content.shape[1]):
        stop = np.searchsorted(cell[:, 0], shape[0] - (modulus + 2 * d))
        _populate(first, entry, number, content[:, d], stop, here)
        for half in range(2):
            for i in range(axes):
                whole[i] = int(np.floor(shift[2 * d + half, i]))
                part[i] = shift[2 * d + half, i] - whole[i]
            whole[0] += modulus + 2 * d + half
            for corner in range(1 << axes):
                weight, offset, step0 = halves[half], 0, 0
                for i in range(axes):
                    up = (corner >> i) & 1
                    weight *= part[i] if up else 1.0 - part[i]
                    offset += (whole[i] + up) * strides[i]
                    if i == 0:
                        step0 = whole[i] + up
                if weight == 0.0:
                    continue
                for c in range(stop):
                    row = cell[c, 0] + step0
                    if row < 0 or here[c] == 0.0:
                        continue
                    if row >= shape[0]:
                        break
                    at = offset
                    for i in range(axes):
                        at += cell[c, i] * strides[i]
                    grid[at] += weight * here[c]


@numba.njit(inline="always")
def _below(x):
    """Cumulative normal distribution."""
    return 0.5 * (1.0 + erf(x / sqrt(2.0)))


@numba.njit(parallel=True, cache=CACHE)
def _blur(number, true, shift, survey, out):
    """Distribute the stars of apparent cells over the pixels by errors, completeness and limits."""
    count = len(number)
    for chunk in numba.prange(out.shape[0]):
        for s in range(chunk * count // out.shape[0], (chunk + 1) * count // out.shape[0]):
            _place(number[s], shift[s], true[s], survey, out[chunk])


@numba.njit(cache=CACHE)
def _place(stars, shift, true, survey, image):
    """Add the stars of an apparent cell to the image; return the rows and columns within which they may lie.

    The measured pivot band takes the nodes of its error; given the pivot, a pixel is an interval in the other band.
    `survey` is what `Integrator.blurring` gives.
    """
    limits, bright, errors, completeness, start, step, pivot, other, sign, rows, columns = survey
    bands, last = len(true), errors.shape[1] - 1
    box = (len(rows), 0, len(columns), 0)
    for k in range(bands):
        t = min(max(int((true[k] - start) / step), 0), last)
        stars *= completeness[k, t]
        if k != pivot and k != other and not (k == 0 and pivot != 0):
            error = max(errors[k, t], TINY)
            stars *= _below((limits[k] - true[k]) / error) - _below((bright - true[k]) / error)
    if stars < 1e-12:
        return box
    t = min(max(int((true[pivot] - start) / step), 0), last)
    error = max(errors[pivot, t], TINY)
    t = min(max(int((true[other] - start) / step), 0), last)
    second = max(errors[other, t], TINY)
    for node in range(NODES):
        x = SPACING * (node - NODES // 2 + shift + 0.5)
        measured = true[pivot] + x * error
        if measured >= limits[pivot] or measured < bright:
            continue
        weight = stars * SPACING / sqrt(2.0 * pi) * exp(-0.5 * x * x)
        # columns within 5 sigma of the other band
        middle = sign * (true[other] - measured)
        left = max(np.searchsorted(columns, middle - 5 * second, side="right") - 1, 0)
        right = min(np.searchsorted(columns, middle + 5 * second, side="left"), len(columns) - 1)
        if pivot == 0:
            top = np.searchsorted(rows, measured, side="right") - 1
            bottom = top + 1
            if top < 0 or bottom >= len(rows):
                continue
            error_0 = TINY
        else:
            t = min(max(int((true[0] - start) / step), 0), last)
            error_0 = max(errors[0, t], TINY)
            top = max(np.searchsorted(rows, true[0] - 5 * error_0, side="right") - 1, 0)
            bottom = min(np.searchsorted(rows, true[0] + 5 * error_0, side="left"), len(rows) - 1)
        box = (min(box[0], top), max(box[1], bottom), min(box[2], left), max(box[3], right))
        for row in range(top, bottom):
            part = weight
            if pivot != 0:
                upper = min(rows[row + 1], limits[0])
                lower = max(rows[row], bright)
                if upper <= lower:
                    continue
                part *= _below((upper - true[0]) / error_0) - _below((lower - true[0]) / error_0)
            for column in range(left, right):
                a = measured + sign * columns[column]
                b = measured + sign * columns[column + 1]
                lower, upper = max(min(a, b), bright), min(max(a, b), limits[other])
                if upper > lower:
                    image[row, column] += part * (
                        _below((upper - true[other]) / second) - _below((lower - true[other]) / second)
                    )
    return box


@numba.njit(cache=CACHE)
def _respond(true, shift, survey):
    """Shares of each apparent cell's stars in the pixels, as a sparse matrix: first entry of a cell, pixel, share."""
    rows, columns = survey[-2:]
    image = np.zeros((len(rows) - 1, len(columns) - 1))
    first = np.zeros(len(true) + 1, np.int64)
    pixel, share = np.empty(16 * len(true), np.int32), np.empty(16 * len(true), np.float32)
    end = 0
    for s in range(len(true)):
        top, bottom, left, right = _place(1.0, shift[s], true[s], survey, image)
        if end + image.size > len(pixel):
            pixel = np.concatenate((pixel, np.empty(len(pixel) + image.size, np.int32)))
            share = np.concatenate((share, np.empty(len(share) + image.size, np.float32)))
        for row in range(top, bottom):
            for column in range(left, right):
                if image[row, column] > LEAST:
                    pixel[end], share[end] = row * image.shape[1] + column, image[row, column]
                    end += 1
                image[row, column] = 0.0
        first[s + 1] = end
    return first, pixel[:end].copy(), share[:end].copy()


@numba.njit(cache=CACHE)
def _see(entry, number, row, hue, rows, hues, first, pixel, share, out):
    """Diagrams of one population in each distance bin, per unit of its content there.

    `entry` and `number` are those of the population; `row` and `hue` are the apparent cell's, in the first half bin, of
    each cell of the Hess diagram; the others are the sparse matrix of `_respond` for `rows` times `hues` cells.
    """
    far = 10.0 ** (0.3 * MODULUS_STEP)
    halves = (1.0 / (1.0 + far), far / (1.0 + far))
    for d in range(len(out)):
        for half in range(2):
            for e in range(len(entry)):
                at = row[entry[e]] + 2 * d + half
                if at >= rows:
                    break
                if at >= 0:
                    stars = np.float32(number[e] * halves[half])
                    cell = at * hues + hue[entry[e]]
                    for k in range(first[cell], first[cell + 1]):
                        out[d, pixel[k]] += stars * share[k]


@numba.njit(cache=CACHE)
def _detect_each(first, entry, number, row, column, seen, out):
    """Detected stars of each population in each distance bin behind each A_V, per unit of its content there."""
    for p in range(len(first) - 1):
        for d in range(out.shape[1]):
            for e in range(first[p], first[p + 1]):
                at = row[entry[e]] + d
                if at >= seen.shape[1]:
                    break
                for k in range(seen.shape[2]):
                    out[p, d, k] += number[e] * seen[column[entry[e]], at, k]


@numba.njit(cache=CACHE)
def _detect(first, entry, number, row, column, content, seen, out):
    """Count the detected stars of each distance bin behind each A_V.

    `seen`, shape (column, row, A_V), is the detected fraction; `row` and `column` are those of a cell in the first bin.
    """
    here = np.empty(len(row))
    for d in range(content.shape[1]):
        stop = np.searchsorted(row, seen.shape[1] - d)
        _populate(first, entry, number, content[:, d], stop, here)
        for c in range(stop):
            if here[c] > 0.0:
                out[d] += here[c] * seen[column[c], row[c] + d]
