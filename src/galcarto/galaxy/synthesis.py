"""Draw star lists of a sightline from the densities and stellar populations of a Galaxy model."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr

from galcarto.core.errors import UserError
from galcarto.galaxy import isochrones, populations
from galcarto.galaxy.components import GalaxyModel
from galcarto.galaxy.hess import Hess

METALLICITY_STEP = 0.1  # dex
MODULUS_STEP = 0.05  # mag, width of the distance bins
MODULUS_RANGE = (-2.0, 18.5)  # 4 pc to 50 kpc
BLOCK = 1 << 16  # stars per stream of random numbers
BANDS = tuple(isochrones.BANDS)


class StarModelError(UserError):
    """Limits or a direction without a possible star list."""


class EmptySightlineError(StarModelError):
    """A sightline without observable stars."""


class StarModel:
    """Draw the bare stars of any sightline down to given limits.

    Parameters
    ----------
    galaxy : GalaxyModel
    limits : sequence of mapping
        For each survey, the faint limit of each required band, mag. Only observable stars are drawn: those brighter
        than all limits of at least one survey.
    bands : sequence of str
        Bands of the star lists, which include those of the limits.
    binaries : bool
        Include unresolved binaries (Duchêne & Kraus 2013), whose companions contribute to the local density.

    Raises
    ------
    StarModelError
        If a band is unknown, a limit is not a number, or no star of the model is that bright.
    """

    def __init__(
        self,
        galaxy: GalaxyModel,
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
        self.populations = []
        for component in galaxy.components:
            mean, sigma = component.overall_metallicity, component.metallicity[1]
            width = 3 * sigma + abs(component.gradient) * galaxy.sun.radius
            nodes = np.arange(mean - width, mean + width + METALLICITY_STEP, METALLICITY_STEP)
            nodes = np.unique(np.clip(nodes, grid[0], grid[-1]))
            self.populations.append(populations.build(component, nodes, self.bands, self.faintness, binaries))
        edges = np.arange(MODULUS_RANGE[0], MODULUS_RANGE[1] + MODULUS_STEP / 2, MODULUS_STEP)
        self.edges = 10.0 ** (0.2 * edges - 2.0)  # kpc
        self._observable = [population.observable(edges[:-1]) for population in self.populations]
        brightest = min(population.key.min() for population in self.populations)
        if brightest + MODULUS_RANGE[0] > 0:
            raise StarModelError(
                f"limits: found {self.limits}; the brightest star of the model, {1e3 * self.edges[0]:.1f} pc away, is "
                f"{brightest + MODULUS_RANGE[0]:.1f} mag fainter: expected fainter limits"
            )

    def faintness(self, values: np.ndarray) -> np.ndarray:
        """Mag by which stars are fainter than the limits; observable where <= 0."""
        magnitude = dict(zip(self.bands, values.T, strict=False))
        surveys = [[magnitude[band] - np.float32(limit) for band, limit in survey.items()] for survey in self.limits]
        return np.min([np.max(survey, axis=0) for survey in surveys], axis=0)

    def content(self, l: float, b: float) -> list[np.ndarray]:
        """Contents of a square degree: Msun (bulge: stars) per component, shape (metallicity, distance bin).

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
        for component, population in zip(self.galaxy.components, self.populations, strict=True):
            nodes = population.metallicity
            amount = self.galaxy.density(component, x, y, z) * volume
            mean = component.overall_metallicity + component.gradient * (radius - self.galaxy.sun.radius)
            # integrals of a normal distribution around the nodes; the outermost nodes get the tails
            borders = 0.5 * (nodes[1:, None] + nodes[:-1, None])
            below = ndtr((borders - mean) / component.metallicity[1])
            result.append(amount * np.diff(below, axis=0, prepend=0.0, append=1.0))
        return result

    def expected(self, l: float, b: float) -> list[np.ndarray]:
        """Expected stars per deg2, for each component an array of shape (metallicity, distance bin)."""
        return [content * observable for content, observable in zip(self.content(l, b), self._observable, strict=True)]

    def hess(self, axes: Sequence[tuple[str, ...]], step: Sequence[float]) -> Hess:
        """Hess diagram of all stars, observable or not, for one unit of each component's density.

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
                for p in self.populations
            ],
        )

    def density(self, l: float, b: float) -> float:
        """Expected candidates per deg2, an upper limit of the number of observable stars."""
        return float(sum(component.sum() for component in self.expected(l, b)))

    def chunks(
        self, l: float, b: float, area: float, rng: np.random.Generator, blocks: int = 16
    ) -> Iterator[pd.DataFrame]:
        """Draw a star list in parts, to bound the memory for fields of any size.

        Parameters
        ----------
        l, b : float, deg
            Direction, at which the densities are evaluated for all stars.
        area : float, deg2
        rng : numpy Generator
        blocks : int
            Blocks of `BLOCK` candidates in one part. The stars do not depend on it.

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
        todo = [(number, block) for number, size in enumerate(sizes) for block in range(size)]
        totals = [np.cumsum(count) for count in counts]
        for start in range(0, len(todo), blocks):
            parts = []
            some = todo[start : start + blocks]
            # spawned streams are numbered consecutively: the stream of a block does not depend on `blocks`
            for (number, block), stream in zip(some, rng.spawn(len(some)), strict=True):
                ends = totals[number]
                stars = np.arange(block * BLOCK, min((block + 1) * BLOCK, ends[-1]))
                node, bins = np.divmod(np.searchsorted(ends, stars, side="right"), counts[number].shape[1])
                parts.append((number, *self._stars(number, node, bins, stream)))
            yield self._frame(parts)

    def draw(self, l: float, b: float, area: float, rng: np.random.Generator) -> pd.DataFrame:
        """Draw a star list: all `chunks` in one.

        Raises
        ------
        EmptySightlineError
            If no star is observable.
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
        """Distances, columns (apparent magnitudes, ...), ages, metallicities and mass ratios of a component's stars."""
        near, far = self.edges[:-1], self.edges[1:]
        population, observable = self.populations[number], self._observable[number]
        at = population.number[population.first[node]] + rng.random(len(bins)) * observable[node, bins]
        segment = np.searchsorted(population.number, at, side="right") - 1
        start = population.number[segment]
        fraction = ((at - start) / (population.number[segment + 1] - start)).astype("f4")[:, None]
        columns = population.low[segment] + fraction * (population.high[segment] - population.low[segment])
        cubes = near[bins] ** 3 + rng.random(len(bins)) * (far[bins] ** 3 - near[bins] ** 3)
        distance = np.cbrt(cubes).astype("f4")
        columns[:, : len(self.bands)] += (5.0 * np.log10(distance) + 10.0)[:, None]
        keep = self.faintness(columns) <= 0.0
        metallicity = population.metallicity[node[keep]].astype("f4")
        segment = segment[keep]
        return distance[keep], columns[keep], population.age[segment], metallicity, population.ratio[segment]
