"""Star lists of a sightline, drawn from a model's densities, ages, metallicities and IMF."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.special import ndtr

from galcarto.errors import UserError
from galcarto.galaxy import isochrones
from galcarto.galaxy.binaries import DUCHENE_KRAUS2013, Multiplicity, brightness, quantiles
from galcarto.galaxy.components import Component, Galaxy, MassFunction
from galcarto.galaxy.hess import Hess

METALLICITY_STEP = 0.1  # dex
AGES = 12  # per component
STRATA = 4  # mass ratios for each stretch of an isochrone
REMNANTS = 32  # masses of the primaries that are dead
MODULUS_STEP = 0.05  # mag, width of the distance bins
MODULUS_RANGE = (-2.0, 18.5)  # 4 pc to 50 kpc
BLOCK = 1 << 16  # stars that share a stream of random numbers
BANDS = tuple(isochrones.BANDS)
EXTRAS = ("mass", "logte", "logg")  # columns of a segment after its bands
Faintness = Callable[[np.ndarray], np.ndarray]


class StarModelError(UserError):
    """Limits or a direction for which no star list can be made."""


class EmptySightlineError(StarModelError):
    """A sightline on which the model has no observable star."""


@dataclass(frozen=True)
class _Population:
    """Segments of a component's isochrones: by metallicity, then by how faint a limit they need.

    A segment is a stretch of an isochrone, of single stars or of binaries with one mass ratio.

    Attributes
    ----------
    metallicity : ndarray, shape (metallicity,), dex
    first : ndarray of int, shape (metallicity + 1,)
        Where the segments of each metallicity begin.
    key : ndarray, shape (segment,), mag
        Observable at distance modulus mu where key + mu <= 0; ascending for one metallicity.
    number : ndarray, shape (segment + 1,), stars per unit of the component's density
        Cumulative number before each segment, over all metallicities.
    low, high : ndarray, shape (segment, property)
        Values at the segment's two ends.
    age : ndarray, shape (segment,), Gyr
    ratio : ndarray, shape (segment,)
        Mass ratio of the binary; 0 for a single star.
    """

    metallicity: np.ndarray
    first: np.ndarray
    key: np.ndarray
    number: np.ndarray
    low: np.ndarray
    high: np.ndarray
    age: np.ndarray
    ratio: np.ndarray

    def observable(self, modulus: np.ndarray) -> np.ndarray:
        """Stars that may be seen at each distance modulus, shape (metallicity, modulus)."""
        ends = [
            start + np.searchsorted(self.key[start:stop], -modulus, side="right")
            for start, stop in pairwise(self.first)
        ]
        return self.number[np.stack(ends)] - self.number[self.first[:-1], None]


def _ages(component: Component) -> tuple[np.ndarray, np.ndarray]:
    """Ages in Gyr and their shares of the star formation: logarithmic steps where young stars are among them."""
    start, stop = component.age
    if start == stop:
        return np.array([start]), np.array([1.0])
    edges = np.geomspace(start, stop, AGES + 1) if stop / start > 20 else np.linspace(start, stop, AGES + 1)
    middle = np.sqrt(edges[1:] * edges[:-1]) if stop / start > 20 else 0.5 * (edges[1:] + edges[:-1])
    time = component.star_formation_time
    formed = np.diff(edges) if time is None else np.diff(np.exp(edges / time))
    return middle, formed / formed.sum()


def _look_up(log_mass: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stars of given log initial masses on isochrones, and which of them the isochrones hold.

    Shapes: log_mass (metallicity, point), values (metallicity, point, property), wanted (metallicity, segment,
    stratum).
    """
    row = np.arange(len(log_mass))[:, None]
    apart = 20.0 * row  # makes one ascending list of all the isochrones
    nodes = (log_mass + apart).ravel()
    at = np.searchsorted(nodes, wanted + apart[..., None], side="right") - 1
    first = (row * log_mass.shape[1])[..., None]
    held = (at >= first) & (at < first + log_mass.shape[1] - 1)
    at = np.where(held, at, 0)
    width = nodes[at + 1] - nodes[at]
    fraction = np.divide(wanted + apart[..., None] - nodes[at], width, out=np.zeros_like(wanted), where=width > 0)
    flat = values.reshape(len(nodes), -1)
    return flat[at] + fraction[..., None].astype("f4") * (flat[at + 1] - flat[at]), held


def _widows(imf: MassFunction, multiplicity: Multiplicity, mass: np.ndarray, last: np.ndarray):
    """Companions of dead primaries per Msun of their own mass: the brightest of each system, and all.

    Shapes: mass (metallicity, segment), last (metallicity, 1): the heaviest star that lives, Msun.
    """
    edges = np.geomspace(last[:, 0], imf.range[1], REMNANTS + 1, axis=-1)  # (metallicity, edge)
    dead = imf.integral(edges[:, :-1], edges[:, 1:], 0)
    primary = np.sqrt(edges[:, :-1] * edges[:, 1:])
    spread = multiplicity.density(primary[:, None], mass[..., None] / primary[:, None]) / primary[:, None]
    return (
        (spread * (dead * multiplicity.share(primary))[:, None]).sum(axis=-1),
        (spread * (dead * multiplicity.number(primary))[:, None]).sum(axis=-1),
    )


@dataclass
class _Segments:
    """Stretches of the isochrones of several metallicities, gathered; shapes (metallicity, segment, ...)."""

    low: list[np.ndarray]
    high: list[np.ndarray]
    number: list[np.ndarray]
    ratio: list[np.ndarray]
    age: list[np.ndarray]

    def add(self, low: np.ndarray, high: np.ndarray, number: np.ndarray, ratio: np.ndarray, age: float) -> None:
        count = len(number)
        self.low.append(low.reshape(count, -1, low.shape[-1]))
        self.high.append(high.reshape(count, -1, high.shape[-1]))
        self.number.append(number.reshape(count, -1))
        self.ratio.append(ratio.reshape(count, -1))
        self.age.append(np.full(self.number[-1].shape[1], age))


def _population(
    component: Component, metallicities: np.ndarray, bands: Sequence[str], faintness: Faintness, binaries: bool
) -> _Population:
    grid, imf, multiplicity = isochrones.load(), component.imf, DUCHENE_KRAUS2013
    by_mass = component.normalisation == "mass"
    columns = [isochrones.PROPERTIES.index(name) for name in (*bands, *EXTRAS)]
    light = slice(len(bands))
    living = np.zeros(len(metallicities))  # Msun or stars, for one unit of the IMF
    segments = _Segments([], [], [], [], [])
    for age, share in zip(*_ages(component), strict=True):
        phases = grid.at(metallicities, age)
        log_mass = np.concatenate([phase[0] for phase in phases], axis=1)
        values = np.concatenate([phase[1][..., columns] for phase in phases], axis=1).astype("f4")
        mass, low, high = 10.0**log_mass, values[:, :-1], values[:, 1:]
        number = share * imf.integral(mass[:, :-1], mass[:, 1:], 0)
        dark = np.full_like(mass[:, :1], imf.range[0]), mass[:, :1]  # lighter than the grid's first star
        for a, b in ((mass[:, :-1], mass[:, 1:]), dark):
            company = multiplicity.number(0.5 * (a + b)) * multiplicity.mean_ratio(0.5 * (a + b)) * binaries
            amount = imf.integral(a, b, 1) * (1.0 + company) if by_mass else imf.integral(a, b, 0)
            living += share * amount.sum(axis=1)
        if not binaries:
            segments.add(low, high, number, np.zeros_like(number), age)
            continue
        # a companion that has outlived its primary is seen as a single star; a pair is seen as one star
        middle, width = 0.5 * (mass[:, :-1] + mass[:, 1:]), np.diff(mass, axis=1)
        widows, company = _widows(imf, multiplicity, middle, mass[:, -1:])
        living += share * by_mass * (company * width * middle).sum(axis=1)
        pairs = number * multiplicity.share(middle)
        segments.add(low, high, number - pairs + share * widows * width, np.zeros_like(number), age)
        ratio = multiplicity.ratio(middle[..., None], quantiles(middle.shape[1], STRATA))
        ends = []
        for end, at in ((low, log_mass[:, :-1]), (high, log_mass[:, 1:])):
            second, held = _look_up(log_mass, values[..., light], at[..., None] + np.log10(ratio))
            second[~held] = np.inf
            pair = np.repeat(end[:, :, None], STRATA, axis=2)
            pair[..., light] = brightness(pair[..., light], second)
            ends.append(pair)
        segments.add(ends[0], ends[1], np.repeat(pairs[..., None] / STRATA, STRATA, axis=2), ratio, age)
    low_all, high_all, count, ratio_all = (
        np.concatenate(parts, axis=1) for parts in (segments.low, segments.high, segments.number, segments.ratio)
    )
    age_all = np.concatenate(segments.age)
    parts = []
    for i in range(len(metallicities)):
        real = np.flatnonzero(count[i] > 0)
        key = np.minimum(faintness(low_all[i, real]), faintness(high_all[i, real]))
        order = np.argsort(key, kind="stable")
        at = real[order]
        parts.append(
            (key[order], count[i, at] / living[i], low_all[i, at], high_all[i, at], age_all[at], ratio_all[i, at])
        )
    key, counts, low, high, age_of, ratio_of = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return _Population(
        metallicity=metallicities,
        first=np.cumsum([0, *(len(part[0]) for part in parts)]),
        key=key,
        number=np.concatenate([[0.0], np.cumsum(counts)]),
        low=low,
        high=high,
        age=age_of.astype(np.float32),
        ratio=ratio_of.astype(np.float32),
    )


class StarModel:
    """Draws the bare stars of any sightline down to given limits.

    Parameters
    ----------
    galaxy : Galaxy
    limits : sequence of mapping
        For each survey, the faint limit of each band it needs, mag. A star is drawn where it is brighter than
        all the limits of at least one survey: only observable stars are ever drawn.
    bands : sequence of str
        Bands of the star lists; those of the limits are among them.
    binaries : bool
        Unresolved binaries (Duchêne & Kraus 2013), whose companions have their part in the local density.

    Raises
    ------
    StarModelError
        If a band is unknown, a limit is not a number, or no star of the model is that bright.
    """

    def __init__(
        self,
        galaxy: Galaxy,
        limits: Sequence[Mapping[str, float]],
        bands: Sequence[str] = BANDS,
        binaries: bool = True,
    ) -> None:
        self.galaxy = galaxy
        self.limits = [dict(survey) for survey in limits]
        self.bands = tuple(bands)
        unknown = [band for band in self.bands if band not in BANDS]
        if unknown:
            raise StarModelError(f"bands: found {', '.join(unknown)}; expected some of {', '.join(BANDS)}")
        for survey in self.limits or [{}]:
            unknown = [band for band in survey if band not in self.bands]
            if unknown or not survey:
                raise StarModelError(
                    f"limits: found {', '.join(unknown) or 'none'}; expected some of {', '.join(self.bands)}"
                )
            if not np.isfinite(list(survey.values())).all():
                raise StarModelError(f"limits: found {survey}; expected finite magnitudes")
        grid = isochrones.load().metallicity
        self._populations = []
        for component in galaxy.components:
            mean, sigma = component.overall_metallicity, component.metallicity[1]
            reach = 3 * sigma + abs(component.gradient) * galaxy.sun.radius
            nodes = np.arange(mean - reach, mean + reach + METALLICITY_STEP, METALLICITY_STEP)
            nodes = np.unique(np.clip(nodes, grid[0], grid[-1]))
            self._populations.append(_population(component, nodes, self.bands, self._faintness, binaries))
        edges = np.arange(MODULUS_RANGE[0], MODULUS_RANGE[1] + MODULUS_STEP / 2, MODULUS_STEP)
        self.edges = 10.0 ** (0.2 * edges - 2.0)  # kpc
        self._reach = [population.observable(edges[:-1]) for population in self._populations]
        brightest = min(population.key.min() for population in self._populations)
        if brightest + MODULUS_RANGE[0] > 0:
            raise StarModelError(
                f"limits: found {self.limits}; the brightest star of the model, {1e3 * self.edges[0]:.1f} pc away, is "
                f"{brightest + MODULUS_RANGE[0]:.1f} mag fainter: expected fainter limits"
            )

    def _faintness(self, values: np.ndarray) -> np.ndarray:
        """How far, in mag, a star is below what the surveys need; observable where <= 0."""
        magnitude = dict(zip(self.bands, values.T, strict=False))
        surveys = [[magnitude[band] - np.float32(limit) for band, limit in survey.items()] for survey in self.limits]
        return np.min([np.max(survey, axis=0) for survey in surveys], axis=0)

    def content(self, l: float, b: float) -> list[np.ndarray]:
        """What a square degree holds: Msun (the bulge: stars) per component, shape (metallicity, distance bin).

        Raises
        ------
        StarModelError
            If the direction is not on the sphere.
        """
        if not (np.isfinite(l) and -90.0 <= b <= 90.0):
            raise StarModelError(f"found l = {l}, b = {b} deg; expected a finite l and b in -90 to 90 deg")
        near, far = self.edges[:-1], self.edges[1:]
        x, y, z = self.galaxy.position(l, b, np.sqrt(near * far))
        radius = np.hypot(x, y)
        volume = np.radians(1.0) ** 2 * (far**3 - near**3) / 3.0 * 1e9  # pc3 per deg2
        result = []
        for component, population in zip(self.galaxy.components, self._populations, strict=True):
            nodes = population.metallicity
            amount = self.galaxy.density(component, x, y, z) * volume
            mean = component.overall_metallicity + component.gradient * (radius - self.galaxy.sun.radius)
            # a normal distribution over the nodes' intervals; its tails fall to the grid's end nodes
            borders = 0.5 * (nodes[1:, None] + nodes[:-1, None])
            below = ndtr((borders - mean) / component.metallicity[1])
            result.append(amount * np.diff(below, axis=0, prepend=0.0, append=1.0))
        return result

    def expected(self, l: float, b: float) -> list[np.ndarray]:
        """Expected stars per deg2, for each component an array of shape (metallicity, distance bin)."""
        return [content * reach for content, reach in zip(self.content(l, b), self._reach, strict=True)]

    def hess(self, axes: Sequence[tuple[str, ...]], step: Sequence[float]) -> Hess:
        """All stars, seen or not, of one unit of each component's density in cells of absolute magnitude and colour.

        Parameters
        ----------
        axes : sequence of tuple of str
            A magnitude, ``("Ks",)``, or a colour, ``("J", "Ks")``.
        step : sequence of float, mag
            Width of the cells along each axis.
        """
        signs = np.zeros((len(self.bands), len(axes)))
        for column, axis in enumerate(axes):
            for sign, band in zip((1.0, -1.0), axis, strict=False):
                signs[self.bands.index(band), column] += sign
        light = slice(len(self.bands))
        return Hess.fold(
            np.array(step),
            [
                (
                    np.diff(p.number),
                    p.low[:, light] @ signs,
                    p.high[:, light] @ signs,
                    np.repeat(np.arange(len(p.first) - 1), np.diff(p.first)),
                )
                for p in self._populations
            ],
        )

    def density(self, l: float, b: float) -> float:
        """Expected number of drawn candidates per deg2, an upper bound of the observable stars."""
        return float(sum(component.sum() for component in self.expected(l, b)))

    def chunks(
        self, l: float, b: float, area: float, rng: np.random.Generator, blocks: int = 16
    ) -> Iterator[pd.DataFrame]:
        """A random star list in parts, so that a field of any size takes bounded memory.

        Parameters
        ----------
        l, b : float, deg
            Direction; every star gets the density of this direction.
        area : float, deg2
        rng : numpy Generator
        blocks : int
            Blocks of `BLOCK` candidates in one part. The whole list does not depend on it.

        Yields
        ------
        DataFrame
            ``distance`` (kpc), bare apparent magnitudes of `BANDS` (mag; 2MASS and Gaia EDR3 Vega, SDSS AB), ``age``
            (Gyr), ``metallicity`` ([M/H], dex), ``mass`` (Msun, today's), ``teff`` (K) and ``logg`` (cgs dex) of the
            primary, ``mass_ratio`` (0 for a single star), ``component``.

        Raises
        ------
        StarModelError
            If the area is not positive or the direction is not on the sphere.
        """
        if not (np.isfinite(area) and area > 0):
            raise StarModelError(f"found an area of {area} deg2; expected more than 0")
        counts = [rng.poisson(expected * area) for expected in self.expected(l, b)]
        sizes = [-(-int(count.sum()) // BLOCK) for count in counts]
        streams = rng.spawn(sum(sizes))
        todo = [(number, block) for number, size in enumerate(sizes) for block in range(size)]
        totals = [np.cumsum(count) for count in counts]
        for start in range(0, len(todo), blocks):
            parts = []
            for (number, block), stream in zip(
                todo[start : start + blocks], streams[start : start + blocks], strict=True
            ):
                ends = totals[number]
                stars = np.arange(block * BLOCK, min((block + 1) * BLOCK, ends[-1]))
                node, bins = np.divmod(np.searchsorted(ends, stars, side="right"), counts[number].shape[1])
                parts.append((number, *self._stars(number, node, bins, stream)))
            yield self._frame(parts)

    def draw(self, l: float, b: float, area: float, rng: np.random.Generator) -> pd.DataFrame:
        """A random star list: the `chunks` together.

        Raises
        ------
        EmptySightlineError
            If not one star is observable.
        StarModelError
            If the area is not positive or the direction is not on the sphere.
        """
        parts = list(self.chunks(l, b, area, rng))
        if sum(map(len, parts)) == 0:
            raise EmptySightlineError(
                f"no observable star at l = {l:g}, b = {b:g} deg in {area:g} deg2; expected some: "
                f"check the direction and the limits {self.limits}"
            )
        return pd.concat(parts, ignore_index=True)

    def _frame(self, parts: list) -> pd.DataFrame:
        distance, columns, age, metallicity, ratio = (np.concatenate([part[i] for part in parts]) for i in range(1, 6))
        frame = pd.DataFrame({"distance": distance})
        for i, band in enumerate(self.bands):
            frame[band] = columns[:, i]
        frame["age"] = age
        frame["metallicity"] = metallicity
        frame["mass"] = columns[:, len(self.bands)]
        frame["teff"] = 10.0 ** columns[:, len(self.bands) + 1]
        frame["logg"] = columns[:, len(self.bands) + 2]
        frame["mass_ratio"] = ratio
        codes = np.repeat([part[0] for part in parts], [len(part[1]) for part in parts])
        names = [component.name for component in self.galaxy.components]
        frame["component"] = pd.Categorical.from_codes(codes, categories=pd.Index(names))
        return frame

    def _stars(self, number: int, node: np.ndarray, bins: np.ndarray, rng: np.random.Generator):
        """Distances, columns (magnitudes apparent), ages, metallicities and mass ratios of a component's stars."""
        near, far = self.edges[:-1], self.edges[1:]
        population, reach = self._populations[number], self._reach[number]
        at = population.number[population.first[node]] + rng.random(len(bins)) * reach[node, bins]
        segment = np.searchsorted(population.number, at, side="right") - 1
        start = population.number[segment]
        fraction = ((at - start) / (population.number[segment + 1] - start)).astype("f4")[:, None]
        columns = population.low[segment] + fraction * (population.high[segment] - population.low[segment])
        cubes = near[bins] ** 3 + rng.random(len(bins)) * (far[bins] ** 3 - near[bins] ** 3)
        distance = np.cbrt(cubes).astype("f4")
        columns[:, : len(self.bands)] += (5.0 * np.log10(distance) + 10.0)[:, None]
        keep = self._faintness(columns) <= 0.0
        metallicity = population.metallicity[node[keep]].astype("f4")
        segment = segment[keep]
        return distance[keep], columns[keep], population.age[segment], metallicity, population.ratio[segment]
