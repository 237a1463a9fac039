"""Integrals over the stellar populations of a model, without drawing stars."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import healpy as hp
import numpy as np
from scipy.sparse import csr_matrix

from galcarto.galaxy.components import GalaxyModel
from galcarto.galaxy.hess import Hess
from galcarto.galaxy.synthesis import StarModel

ALL_STARS = {"Ks": 30.0}  # limits that every star passes
SUN = 0.02  # kpc: "at the Sun" means within this distance
CELL = 0.025  # mag, of the cumulative counts
DIRECTIONS = 2  # nside of the HEALPix directions of an average over the sphere


def by_cell(hess: Hess) -> csr_matrix:
    """Hess diagram as a matrix: stars per unit of density, shape (population, cell)."""
    return csr_matrix((hess.number, hess.entry, hess.first), shape=(len(hess.first) - 1, len(hess.cell)))


def metallicities(model: StarModel) -> list[np.ndarray]:
    """[M/H] of each component's populations, dex."""
    return [population.metallicity for population in model.populations]


def component_numbers(model: StarModel) -> np.ndarray:
    """Index of the component to which each population belongs."""
    sizes = [len(nodes) for nodes in metallicities(model)]
    return np.repeat(np.arange(len(sizes)), sizes)


def kinds(galaxy: GalaxyModel) -> tuple[list[str], np.ndarray]:
    """Kinds of components (thin1 and thin2 are both thin), and the index of each component's kind."""
    names = [re.split(r"[\d_]", component.name)[0] for component in galaxy.components]
    distinct = list(dict.fromkeys(names))
    return distinct, np.array([distinct.index(name) for name in names])


def moduli(model: StarModel) -> np.ndarray:
    """Distance moduli of the centres of the distance bins, mag."""
    return 5.0 * np.log10(np.sqrt(model.edges[:-1] * model.edges[1:])) + 10.0


def brighter_than(model: StarModel, band: str, limits: np.ndarray) -> np.ndarray:
    """Number of stars brighter than limits per unit of density, shape (population, distance, limit).

    Parameters
    ----------
    model : StarModel
    band : str
    limits : ndarray, shape (limit,), mag
    """
    hess = model.hess([(band,)], [CELL])
    first = hess.cell[0, 0]
    cells = np.zeros((len(hess.first) - 1, hess.cell[-1, 0] - first + 1))
    cells[:, hess.cell[:, 0] - first] = by_cell(hess).toarray()
    below = np.concatenate([np.zeros((len(cells), 1)), np.cumsum(cells, axis=1)], axis=1)
    place = (limits - moduli(model)[:, None]) / CELL - first
    place = np.clip(place, 0.0, cells.shape[1] - 1e-9)
    cell = place.astype(int)
    return below[:, cell] + (place - cell) * (below[:, cell + 1] - below[:, cell])


def expected(model: StarModel, l: np.ndarray, b: np.ndarray, numbers: Sequence[np.ndarray]) -> np.ndarray:
    """Expected stars per deg2 in several directions, without dust, shape (numbers, direction, limit).

    Parameters
    ----------
    model : StarModel
    l, b : ndarray, shape (direction,), deg
    numbers : sequence of ndarray, shape (population, distance, limit)
        From `brighter_than`, of this model or of one that differs only in its binaries.
    """
    # rows (numbers, limit), columns (population, distance)
    matrix = np.stack(numbers).transpose(0, 3, 1, 2).reshape(len(numbers) * numbers[0].shape[2], -1)
    counts = [matrix @ np.concatenate(model.content(*at)).ravel() for at in zip(l, b, strict=True)]
    return np.stack(counts, axis=-1).reshape(len(numbers), -1, len(counts)).transpose(0, 2, 1)


def density_within(model: StarModel, radius: float) -> np.ndarray:
    """Mean density of each population within a distance from the Sun, shape (population,), Msun/pc3 or stars/pc3.

    Parameters
    ----------
    model : StarModel
    radius : float, kpc
        Rounded to an edge of the distance bins.
    """
    bins = int(np.argmin(np.abs(np.log(model.edges / radius))))
    pixels = np.arange(hp.nside2npix(DIRECTIONS))
    l, b = hp.pix2ang(DIRECTIONS, pixels, lonlat=True)
    total = sum(np.concatenate(model.content(*at))[:, :bins].sum(axis=1) for at in zip(l, b, strict=True))
    volume = np.radians(1.0) ** 2 * (model.edges[bins] ** 3 - model.edges[0] ** 3) / 3.0 * 1e9  # pc3 per deg2
    return np.asarray(total) / (len(pixels) * volume)


@dataclass(frozen=True)
class Segments:
    """Segments of the isochrones, and the stars or unresolved binaries on them at the Sun."""

    number: np.ndarray  # shape (segment,), pc-3
    component: np.ndarray  # int, shape (segment,)
    ratio: np.ndarray  # shape (segment,): mass ratio of a binary; 0 for a single star
    # shape (segment,): at the middle of the segment: absolute magnitudes, ``mass`` (Msun), ``logte`` and ``logg`` of
    # the primary
    values: dict[str, np.ndarray]

    @classmethod
    def near(cls, model: StarModel) -> "Segments":
        """Segments of a model."""
        density = density_within(model, SUN)
        sizes = np.concatenate([np.diff(population.first) for population in model.populations])
        middle = np.concatenate([0.5 * (population.low + population.high) for population in model.populations])
        return cls(
            number=np.concatenate([np.diff(population.number) for population in model.populations])
            * np.repeat(density, sizes),
            component=np.repeat(component_numbers(model), sizes),
            ratio=np.concatenate([population.ratio for population in model.populations]),
            values=dict(zip((*model.bands, "mass", "logte", "logg"), middle.T, strict=True)),
        )

    def colour(self, first: str, second: str) -> np.ndarray:
        """A colour, mag."""
        return self.values[first] - self.values[second]
