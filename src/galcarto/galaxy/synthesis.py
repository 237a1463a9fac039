"""Star lists of a sightline, drawn from a model's densities, ages, metallicities and IMF."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from galcarto.galaxy import isochrones
from galcarto.galaxy.besancon import MASS_RANGE, SUN_RADIUS, Component, galactocentric

METALLICITY_STEP = 0.1  # dex
AGES = 8  # per component; logarithmic for the youngest
MODULUS_STEP = 0.05  # mag, width of the distance bins
MODULUS_RANGE = (-2.0, 18.5)  # 4 pc to 50 kpc
BANDS = tuple(isochrones.BANDS)


class EmptySightlineError(ValueError):
    """A sightline on which the model has no observable star."""


@dataclass(frozen=True)
class _Population:
    """Segments of isochrones of one metallicity, sorted by how faint a limit they need.

    key : ndarray, shape (segment,), mag
        Observable at distance modulus mu where key + mu <= 0.
    number : ndarray, shape (segment + 1,), stars per Msun
        Cumulative number before each segment.
    low, high : ndarray, shape (segment, property)
        Values at the segment's two ends.
    initial : ndarray, shape (segment, 2)
    age : ndarray, shape (segment,), Gyr
    """

    key: np.ndarray
    number: np.ndarray
    low: np.ndarray
    high: np.ndarray
    age: np.ndarray

    def observable(self, modulus: np.ndarray) -> np.ndarray:
        """Stars per Msun that may be seen at each distance modulus."""
        return self.number[np.searchsorted(self.key, -modulus, side="right")]


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


def _populations(component: Component, metallicities: np.ndarray, faintness) -> list[_Population]:
    grid = isochrones.load()
    ages, shares = _ages(component)
    result = []
    for metallicity in metallicities:
        low, high, number, age_of, living = [], [], [], [], 0.0
        for age, share in zip(ages, shares, strict=True):
            for log_mass, values in grid.at(metallicity, age):
                mass = np.clip(10.0**log_mass, *MASS_RANGE)
                living += share * float(_imf_integral(mass[:-1], mass[1:], component.imf, power=1).sum())
                number.append(share * _imf_integral(mass[:-1], mass[1:], component.imf, power=0))
                low.append(np.column_stack([values, mass])[:-1])
                high.append(np.column_stack([values, mass])[1:])
                age_of.append(np.full(len(mass) - 1, age))
        ends = np.concatenate(low), np.concatenate(high)
        counts = np.concatenate(number) / living
        key = np.minimum(faintness(ends[0]), faintness(ends[1]))
        order = np.argsort(key, kind="stable")
        order = order[counts[order] > 0]
        result.append(
            _Population(
                key=key[order],
                number=np.concatenate([[0.0], np.cumsum(counts[order])]),
                low=ends[0][order].astype(np.float32),
                high=ends[1][order].astype(np.float32),
                age=np.concatenate(age_of)[order].astype(np.float32),
            )
        )
    return result


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
        self._metallicities = []
        self._populations = []
        for component in components:
            mean, sigma = component.overall_metallicity(), component.metallicity[1]
            reach = 3 * sigma + abs(component.gradient) * SUN_RADIUS
            nodes = np.arange(mean - reach, mean + reach + METALLICITY_STEP, METALLICITY_STEP)
            nodes = np.unique(np.clip(nodes, grid[0], grid[-1]))
            self._metallicities.append(nodes)
            self._populations.append(_populations(component, nodes, self._faintness))
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
        for component, nodes, populations in zip(self.components, self._metallicities, self._populations, strict=True):
            mass = component.density(x, y, z) * volume
            mean = component.overall_metallicity() + component.gradient * (radius - SUN_RADIUS)
            mean = np.clip(mean, nodes[0], nodes[-1])
            share = np.exp(-0.5 * ((nodes[:, None] - mean) / component.metallicity[1]) ** 2)
            share /= share.sum(axis=0)
            seen = np.stack([population.observable(modulus) for population in populations])
            result.append(mass * share * seen)
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
        for number, (expected, nodes, populations) in enumerate(
            zip(self.expected(l, b), self._metallicities, self._populations, strict=True)
        ):
            counts = rng.poisson(expected * area)
            for node, population, drawn in zip(nodes, populations, counts, strict=True):
                if drawn.sum() > 0:
                    parts.append((number, node, *self._stars(population, drawn, rng)))
        total = sum(len(part[2]) for part in parts)
        if total == 0:
            raise EmptySightlineError(
                f"no observable star at l = {l:g}, b = {b:g} deg in {area:g} deg2; expected some: "
                f"check the direction and the limits {self.limits}"
            )
        names = [component.name for component in self.components]
        columns = np.concatenate([part[3] for part in parts])
        frame = pd.DataFrame({"distance": np.concatenate([part[2] for part in parts])})
        for i, band in enumerate(BANDS):
            frame[band] = columns[:, i]
        frame["age"] = np.concatenate([part[4] for part in parts])
        frame["metallicity"] = np.repeat([part[1] for part in parts], [len(part[2]) for part in parts]).astype("f4")
        frame["mass"] = columns[:, len(BANDS)]
        frame["teff"] = 10.0 ** columns[:, len(BANDS) + 1]
        frame["logg"] = columns[:, len(BANDS) + 2]
        codes = np.repeat([part[0] for part in parts], [len(part[2]) for part in parts])
        frame["component"] = pd.Categorical.from_codes(codes, categories=pd.Index(names))
        return frame

    def _stars(self, population: _Population, drawn: np.ndarray, rng: np.random.Generator):
        """Distances, columns (magnitudes apparent) and ages of the stars of one population."""
        bins = np.repeat(np.arange(len(drawn)), drawn)
        near, far = self._edges[bins], self._edges[bins + 1]
        reach = population.observable(5.0 * np.log10(near) + 10.0)
        at = rng.random(len(bins)) * reach
        segment = np.searchsorted(population.number, at, side="right") - 1
        start = population.number[segment]
        fraction = ((at - start) / (population.number[segment + 1] - start)).astype("f4")[:, None]
        columns = population.low[segment] + fraction * (population.high[segment] - population.low[segment])
        distance = np.cbrt(near**3 + rng.random(len(bins)) * (far**3 - near**3)).astype("f4")
        columns[:, : len(BANDS)] += (5.0 * np.log10(distance) + 10.0)[:, None]
        keep = self._faintness(columns) <= 0.0
        return distance[keep], columns[keep], population.age[segment[keep]]
