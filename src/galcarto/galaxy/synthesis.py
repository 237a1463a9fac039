"""Star lists of a sightline, drawn from a model's densities, ages, metallicities and IMF."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.special import ndtr

from galcarto.errors import UserError
from galcarto.galaxy import isochrones
from galcarto.galaxy.besancon import MASS_RANGE, SUN_RADIUS, Component, galactocentric

METALLICITY_STEP = 0.1  # dex
AGES = 8  # per component; logarithmic for the youngest
MODULUS_STEP = 0.05  # mag, width of the distance bins
MODULUS_RANGE = (-2.0, 18.5)  # 4 pc to 50 kpc
BANDS = tuple(isochrones.BANDS)
Faintness = Callable[[np.ndarray], np.ndarray]


class EmptySightlineError(UserError):
    """A sightline on which the model has no observable star."""


@dataclass(frozen=True)
class _Population:
    """Segments of a component's isochrones: by metallicity, then by how faint a limit they need.

    Attributes
    ----------
    metallicity : ndarray, shape (metallicity,), dex
    first : ndarray of int, shape (metallicity + 1,)
        Where the segments of each metallicity begin.
    key : ndarray, shape (segment,), mag
        Observable at distance modulus mu where key + mu <= 0; ascending for one metallicity.
    number : ndarray, shape (segment + 1,), stars per Msun
        Cumulative number before each segment, over all metallicities.
    low, high : ndarray, shape (segment, property)
        Values at the segment's two ends.
    age : ndarray, shape (segment,), Gyr
    """

    metallicity: np.ndarray
    first: np.ndarray
    key: np.ndarray
    number: np.ndarray
    low: np.ndarray
    high: np.ndarray
    age: np.ndarray

    def observable(self, modulus: np.ndarray) -> np.ndarray:
        """Stars per Msun that may be seen at each distance modulus, shape (metallicity, modulus)."""
        ends = [
            start + np.searchsorted(self.key[start:stop], -modulus, side="right")
            for start, stop in pairwise(self.first)
        ]
        return self.number[np.stack(ends)] - self.number[self.first[:-1], None]


def _imf_integral(low: np.ndarray, high: np.ndarray, slopes: tuple[float, float], power: int) -> np.ndarray:
    """Integral of m^power m^-slope over initial mass, the slope changing at 1 Msun."""
    total = np.zeros(np.broadcast(low, high).shape)
    for slope, (start, stop) in zip(slopes, ((0.0, 1.0), (1.0, np.inf)), strict=True):
        a = np.clip(low, max(start, 1e-9), stop)
        b = np.clip(high, max(start, 1e-9), stop)
        exponent = power - slope + 1.0
        total += np.log(b / a) if abs(exponent) < 1e-9 else (b**exponent - a**exponent) / exponent
    return total


def _ages(component: Component) -> tuple[np.ndarray, np.ndarray]:
    """Ages in Gyr and their share of the star formation, which is constant in time."""
    start, stop = component.age
    if start == stop:
        return np.array([start]), np.array([1.0])
    edges = np.linspace(start, stop, AGES + 1)
    if stop / start > 20:
        edges = np.geomspace(start, stop, AGES + 1)
        return np.sqrt(edges[1:] * edges[:-1]), np.diff(edges) / (stop - start)
    return 0.5 * (edges[1:] + edges[:-1]), np.full(AGES, 1.0 / AGES)


def _population(component: Component, metallicities: np.ndarray, faintness: Faintness) -> _Population:
    grid = isochrones.load()
    ages, shares = _ages(component)
    parts = []
    for metallicity in metallicities:
        low, high, number, age_of, living = [], [], [], [], 0.0
        for age, share in zip(ages, shares, strict=True):
            for log_mass, values in grid.at(metallicity, age):
                mass = np.clip(10.0**log_mass, *MASS_RANGE)
                living += share * float(_imf_integral(mass[:-1], mass[1:], component.imf, power=1).sum())
                number.append(share * _imf_integral(mass[:-1], mass[1:], component.imf, power=0))
                low.append(values[:-1])
                high.append(values[1:])
                age_of.append(np.full(len(mass) - 1, age))
        ends = np.concatenate(low), np.concatenate(high)
        counts = np.concatenate(number) / living
        key = np.minimum(faintness(ends[0]), faintness(ends[1]))
        order = np.argsort(key, kind="stable")
        order = order[counts[order] > 0]
        parts.append((key[order], counts[order], ends[0][order], ends[1][order], np.concatenate(age_of)[order]))
    key, counts, low_end, high_end, age_all = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return _Population(
        metallicity=metallicities,
        first=np.cumsum([0, *(len(part[0]) for part in parts)]),
        key=key,
        number=np.concatenate([[0.0], np.cumsum(counts)]),
        low=low_end.astype(np.float32),
        high=high_end.astype(np.float32),
        age=age_all.astype(np.float32),
    )


class StarModel:
    """Draws the bare stars of any sightline down to given limits.

    Parameters
    ----------
    components : sequence of Component
        The Galaxy model.
    limits : sequence of mapping
        For each survey, the faint limit of each band it needs, mag. A star is drawn where it is brighter than
        all the limits of at least one survey: only observable stars are ever drawn.
    """

    def __init__(self, components: Sequence[Component], limits: Sequence[Mapping[str, float]]) -> None:
        self.components = components
        self.limits = [dict(survey) for survey in limits]
        grid = isochrones.load().metallicity
        self._populations = []
        for component in components:
            mean, sigma = component.overall_metallicity(), component.metallicity[1]
            reach = 3 * sigma + abs(component.gradient) * SUN_RADIUS
            nodes = np.arange(mean - reach, mean + reach + METALLICITY_STEP, METALLICITY_STEP)
            nodes = np.unique(np.clip(nodes, grid[0], grid[-1]))
            self._populations.append(_population(component, nodes, self._faintness))
        edges = np.arange(MODULUS_RANGE[0], MODULUS_RANGE[1] + MODULUS_STEP / 2, MODULUS_STEP)
        self._edges = 10.0 ** (0.2 * edges - 2.0)  # kpc

    def _faintness(self, values: np.ndarray) -> np.ndarray:
        """How far, in mag, a star is below what the surveys need; observable where <= 0."""
        return np.min(
            [
                np.max([values[:, BANDS.index(band)] - limit for band, limit in survey.items()], axis=0)
                for survey in self.limits
            ],
            axis=0,
        )

    def expected(self, l: float, b: float) -> list[np.ndarray]:
        """Expected stars per deg2, for each component an array of shape (metallicity, distance bin)."""
        near, far = self._edges[:-1], self._edges[1:]
        middle = np.sqrt(near * far)
        x, y, z = galactocentric(l, b, middle)
        radius = np.hypot(x, y)
        volume = np.radians(1.0) ** 2 * (far**3 - near**3) / 3.0 * 1e9  # pc3 per deg2
        modulus = 5.0 * np.log10(near) + 10.0
        result = []
        for component, population in zip(self.components, self._populations, strict=True):
            nodes = population.metallicity
            mass = component.density(x, y, z) * volume
            mean = component.overall_metallicity() + component.gradient * (radius - SUN_RADIUS)
            # a normal distribution over the nodes' intervals; its tails fall to the grid's end nodes
            borders = 0.5 * (nodes[1:, None] + nodes[:-1, None])
            below = ndtr((borders - mean) / component.metallicity[1])
            share = np.diff(below, axis=0, prepend=0.0, append=1.0)
            result.append(mass * share * population.observable(modulus))
        return result

    def density(self, l: float, b: float) -> float:
        """Expected number of drawn candidates per deg2, an upper bound of the observable stars."""
        return float(sum(component.sum() for component in self.expected(l, b)))

    def draw(self, l: float, b: float, area: float, rng: np.random.Generator) -> pd.DataFrame:
        """A random star list.

        Parameters
        ----------
        l, b : float, deg
            Direction; every star gets the density of this direction.
        area : float, deg2
        rng : numpy Generator

        Returns
        -------
        DataFrame
            ``distance`` (kpc), bare apparent magnitudes ``J, H, Ks, G, BP, RP`` (2MASS and Gaia EDR3, Vega,
            mag), ``age`` (Gyr), ``metallicity`` ([M/H], dex), ``mass`` (Msun, today's), ``teff`` (K), ``logg``
            (cgs dex), ``component``.

        Raises
        ------
        EmptySightlineError
            If not one star is observable.
        """
        parts = []
        for number, (expected, population) in enumerate(zip(self.expected(l, b), self._populations, strict=True)):
            counts = rng.poisson(expected * area)
            if counts.sum() > 0:
                parts.append((number, *self._stars(population, counts, rng)))
        total = sum(len(part[1]) for part in parts)
        if total == 0:
            raise EmptySightlineError(
                f"no observable star at l = {l:g}, b = {b:g} deg in {area:g} deg2; expected some: "
                f"check the direction and the limits {self.limits}"
            )
        names = [component.name for component in self.components]
        distance, columns, age, metallicity = (np.concatenate([part[i] for part in parts]) for i in (1, 2, 3, 4))
        frame = pd.DataFrame({"distance": distance})
        for i, band in enumerate(BANDS):
            frame[band] = columns[:, i]
        frame["age"] = age
        frame["metallicity"] = metallicity
        frame["mass"] = columns[:, len(BANDS)]
        frame["teff"] = 10.0 ** columns[:, len(BANDS) + 1]
        frame["logg"] = columns[:, len(BANDS) + 2]
        codes = np.repeat([part[0] for part in parts], [len(part[1]) for part in parts])
        frame["component"] = pd.Categorical.from_codes(codes, categories=pd.Index(names))
        return frame

    def _stars(self, population: _Population, counts: np.ndarray, rng: np.random.Generator):
        """Distances, columns (magnitudes apparent), ages and metallicities of a population's stars."""
        node, bins = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), counts.shape[1])
        near, far = self._edges[:-1], self._edges[1:]
        reach = population.observable(5.0 * np.log10(near) + 10.0)
        at = population.number[population.first[node]] + rng.random(len(bins)) * reach[node, bins]
        segment = np.searchsorted(population.number, at, side="right") - 1
        start = population.number[segment]
        fraction = ((at - start) / (population.number[segment + 1] - start)).astype("f4")[:, None]
        columns = population.low[segment] + fraction * (population.high[segment] - population.low[segment])
        cubes = near[bins] ** 3 + rng.random(len(bins)) * (far[bins] ** 3 - near[bins] ** 3)
        distance = np.cbrt(cubes).astype("f4")
        columns[:, : len(BANDS)] += (5.0 * np.log10(distance) + 10.0)[:, None]
        keep = self._faintness(columns) <= 0.0
        metallicity = population.metallicity[node[keep]].astype("f4")
        return distance[keep], columns[keep], population.age[segment[keep]], metallicity
