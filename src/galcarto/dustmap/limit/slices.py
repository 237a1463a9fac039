"""Expected diagram as a sum over slices in distance, each shifted along the reddening vector.

`Integrator.image` integrates a single profile. Here the diagram of each slice of stars behind each A_V of a grid is
computed once for a sightline. The diagram of a profile is then an interpolation between these, fast and differentiable.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array, vstack
from scipy.special import ndtr

from galcarto.core.errors import UserError
from galcarto.dustmap.diagrams.integration import FAINTEST, FINE, MODULUS_RANGE, REFERENCE_MAGNITUDE, STEP, Integrator
from galcarto.dustmap.diagrams.integration import _accumulate as accumulate
from galcarto.dustmap.diagrams.integration import _blur as blur
from galcarto.galaxy.background_galaxies import BRIGHTEST, REFERENCE
from galcarto.galaxy.binaries import GOLDEN

QUANTILES = 16  # quantiles of the distance of a slice's stars at which profiles are evaluated
ROWS = 2  # magnitude cells of the integrator per cell
# mag: A_V behind which slices are tabulated; the steps redden by less than a pixel of colour
NODES = np.concatenate([np.arange(0.0, 3.0, 0.15), np.arange(3.0, 9.0, 0.3), np.arange(9.0, 40.6, 0.6)])
BORDER = 0.8  # mag around the diagram, as errors scatter stars into it
BLOCK = 1000  # cells per call of the blur
LEAST = 1e-9  # probability below which a pixel is left out


@dataclass(frozen=True)
class Slices:
    """Diagrams of slices of a sightline behind uniform dust."""

    # shape (slice, QUANTILES): quantiles of the distance of the stars of a slice as a fractional index into the bin
    # edges: one slice for each bin, one for stars behind the last edge and one for background galaxies, both placed at
    # the last edge
    position: np.ndarray
    # float32, shape (slice, node, magnitude * colour), per deg2: expected diagram of a slice behind each A_V of `NODES`
    images: np.ndarray
    # shape (slice, row, column), per deg2: slices without dust and errors, in fine cells of apparent magnitude and
    # colour
    stars: np.ndarray
    # shape (magnitude * colour, cell): probability that a star of a cell of the apparent diagram is detected in a pixel
    response: csr_array
    place: np.ndarray  # shape (cell, 2), mag: magnitude and colour of those cells
    lag: np.ndarray  # int, shape (2,): row and column of `stars` at which the apparent diagram starts
    shape: tuple[int, int]  # rows and columns of the apparent diagram
    step: np.ndarray  # shape (2,), mag: size of the fine cells
    along: np.ndarray  # shape (2,): change of magnitude and colour per mag of A_V

    @classmethod
    def build(
        cls,
        integrator: Integrator,
        l: float,
        b: float,
        galaxies: tuple[float, float, tuple[float, float]] = (0.0, 0.0, (1.0, 0.2)),
        margin: float = 0.75,
    ) -> "Slices":
        """Tabulate a sightline.

        Parameters
        ----------
        integrator : Integrator
        l, b : float, deg
        galaxies : (float, float, (float, float))
            Background galaxies per deg2 and mag at Ks = 14, slope of lg(counts), mean and standard deviation of J-Ks.
        margin : float, mag
            Depth of the galaxies below the limit, as in the star lists.

        Raises
        ------
        UserError
            If the diagram does not have two bands.
        """
        d = integrator.diagram
        if len(d.bands) != 2:
            raise UserError(
                f"surveys: found a first diagram of {', '.join(d.bands)}; expected two bands, as the solver shifts "
                "stars in magnitude and colour only: leave compare.limit out"
            )
        step = np.array([ROWS * STEP, FINE])
        along = np.linalg.lstsq(d.matrix(), d.coefficients, rcond=None)[0]
        # extent of the apparent diagram, and of the dust-free one from which dust moves stars into it
        low = np.floor(np.array([d.magnitude_edges[0] - BORDER, d.colour_edges[0] - BORDER]) / step).astype(int)
        high = np.ceil(np.array([d.limits[0] + FAINTEST, d.colour_edges[-1] + BORDER]) / step).astype(int)
        first = np.floor(low - np.maximum(along, 0) * NODES[-1] / step).astype(int)
        first[1] = max(first[1], min(integrator.hess.cell[:, 1].min(), low[1]))
        stars, position = _bare(integrator, l, b, first, high)
        background = d.normalisation * _galaxies(galaxies, first, high, step, d.limits[0] + margin)
        stars = np.concatenate([stars, background.astype(np.float32)])
        position = np.concatenate([position, position[-1:]])
        shape = tuple(high - low)
        cells = np.stack(np.unravel_index(np.arange(shape[0] * shape[1]), shape), axis=-1) + low
        # two cells of the integrator, which are centred on their upper edges in magnitude
        place = (cells + np.array([0.5 + 0.5 / ROWS, 0.5])) * step
        response = _response(integrator, place)
        alive = np.flatnonzero(np.diff(response.tocsc().indptr))
        made = cls(position, np.empty(0), stars, response, place, low - first, shape, step, along)
        images = np.empty((len(stars), len(NODES), response.shape[0]), np.float32)
        part = response[:, alive]
        for n, a_v in enumerate(NODES):
            images[:, n] = (part @ made.behind(stars, a_v).reshape(len(stars), -1)[:, alive].T).T
        return cls(position, images, stars, response, place, low - first, shape, step, along)

    def behind(self, stars: np.ndarray, a_v: float) -> np.ndarray:
        """Apparent diagram in fine cells of `stars` behind A_V; both have shape (..., row, column)."""
        shift = self.along * a_v / self.step
        whole = np.floor(shift).astype(int)
        part = shift - whole
        result = np.zeros((*stars.shape[:-2], *self.shape), stars.dtype)
        for corner in np.ndindex(2, 2):
            weight = np.prod(np.where(corner, part, 1.0 - part))
            # offset of the cells from which the stars of an apparent cell come
            source = self.lag - whole - corner
            start = np.maximum(-source, 0)
            stop = np.minimum(np.array(stars.shape[-2:]) - source, self.shape)
            if weight > 0 and (stop > start).all():
                rows, columns = (slice(i, j) for i, j in zip(source + start, source + stop, strict=True))
                result[..., start[0] : stop[0], start[1] : stop[1]] += (
                    stars.dtype.type(weight) * stars[..., rows, columns]
                )
        return result

    def image(self, a_v: np.ndarray) -> np.ndarray:
        """Expected diagram, shape (magnitude * colour,), per deg2.

        Parameters
        ----------
        a_v : ndarray, shape (slice, sample), mag
            In front of the stars of a slice: equally probable values.
        """
        at = np.clip(np.searchsorted(NODES, a_v, side="right") - 1, 0, len(NODES) - 2)
        part = np.clip((a_v - NODES[at]) / (NODES[at + 1] - NODES[at]), 0.0, 1.0) / a_v.shape[1]
        weight = np.zeros((len(a_v), len(NODES)))
        number = np.arange(len(a_v))[:, None]
        np.add.at(weight, (number, at), 1.0 / a_v.shape[1] - part)
        np.add.at(weight, (number, at + 1), part)
        return np.tensordot(weight, self.images, 2)

    def derivatives(self, weight: np.ndarray) -> np.ndarray:
        """Derivatives of the diagram with the zero points, shape (3, magnitude * colour), per deg2 and mag.

        With respect to the zero point of the colour, its slope (per mag from 13 in the band that carries it), and the
        zero point of the magnitude.

        Parameters
        ----------
        weight : ndarray, shape (slice, node)
            Fraction of the stars of a slice behind each A_V of `NODES`.
        """
        stars = np.zeros(self.shape, self.stars.dtype)
        for n, a_v in enumerate(NODES):
            if weight[:, n].any():
                stars += self.behind(np.tensordot(weight[:, n].astype(self.stars.dtype), self.stars, 1), a_v)
        red = (self.place.sum(axis=1) - REFERENCE_MAGNITUDE).reshape(self.shape)
        flows = [(stars, 1), (red * stars, 1), (stars, 0)]
        return np.stack(
            [self.response @ -np.gradient(flow, self.step[axis], axis=axis).ravel() for flow, axis in flows]
        )


def _bare(integrator: Integrator, l: float, b: float, first: np.ndarray, high: np.ndarray):
    """Dust-free slices in fine cells, shape (slice, row, column), per deg2, and quantiles of their positions."""
    edges, model, hess = integrator.edges, integrator.model, integrator.hess
    borders = np.append(edges, max(model.edges[-1], edges[-1]))
    near, far = model.edges[:-1], model.edges[1:]
    content, seen = np.concatenate(model.content(l, b)), sum(part.sum(axis=0) for part in model.expected(l, b))
    low = first * np.array([ROWS, 1])
    cell = np.ascontiguousarray(hess.cell - low)
    grid_shape = (high - first) * np.array([ROWS, 1])
    grid_shape[1] = max(grid_shape[1], cell[:, 1].max() + 1)
    still = np.zeros((2 * len(near), 2))
    stars = np.zeros((len(borders) - 1, high[0] - first[0], high[1] - first[1]), np.float32)
    # cumulative number of stars with distance, plus a trace everywhere so that it increases strictly
    volume = np.append(0.0, model.edges**3)
    number = np.append([0.0, 0.0], np.cumsum(seen)) + 1e-9 * volume
    ends = np.interp(borders**3, volume, number)
    level = (np.arange(QUANTILES) + 0.5) / QUANTILES
    places = np.cbrt(np.interp(ends[:-1, None] + level * np.diff(ends)[:, None], number, volume))
    position = np.interp(places, edges, np.arange(len(edges)))
    for s, (start, stop) in enumerate(pairwise(borders)):
        inner, outer = np.maximum(near, start), np.minimum(far, stop)
        fraction = np.where(outer > inner, (outer**3 - inner**3) / (far**3 - near**3), 0.0)
        grid = np.zeros(grid_shape)
        if fraction.any():
            accumulate(
                hess.first,
                hess.entry,
                hess.number,
                cell,
                content * fraction,
                round(MODULUS_RANGE[0] / STEP),
                still,
                grid.reshape(-1),
                grid_shape,
            )
        paired = grid.reshape(-1, ROWS, grid_shape[1]).sum(axis=1)
        stars[s] = integrator.diagram.normalisation * paired[:, : high[1] - first[1]]
    return stars, position


def _galaxies(galaxies, first: np.ndarray, high: np.ndarray, step: np.ndarray, faintest: float) -> np.ndarray:
    """Background galaxies as one more slice, shape (1, row, column), per deg2."""
    density, slope, (mean, sigma) = galaxies
    rows, columns = (step[i] * np.arange(first[i], high[i] + 1) for i in range(2))
    middle = 0.5 * (rows[1:] + rows[:-1])
    number = density * step[0] * 10.0 ** (slope * (middle - REFERENCE)) * ((middle > BRIGHTEST) & (middle < faintest))
    return np.outer(number, np.diff(ndtr((columns - mean) / sigma)))[None]


def _response(integrator: Integrator, place: np.ndarray) -> csr_array:
    """Probability that a star of a fine cell is detected in a pixel, shape (pixel, cell)."""
    d = integrator.diagram
    true = place @ d.matrix().T
    true = true + d.offsets[:, 0] + d.offsets[:, 1] * (true - REFERENCE_MAGNITUDE)
    shape = (len(d.magnitude_edges) - 1, len(d.colour_edges) - 1)
    parts = []
    for start in range(0, len(true), BLOCK):
        some = true[start : start + BLOCK]
        images = np.zeros((len(some), *shape))  # one chunk per cell, so that nothing is summed
        shift = (GOLDEN * np.arange(len(some))) % 1.0 - 0.5
        blur(np.ones(len(some)), some, shift, integrator.blurring(), images)
        images[images < LEAST] = 0.0
        parts.append(csr_array(images.reshape(len(some), -1)))
    return csr_array(vstack(parts).T)
