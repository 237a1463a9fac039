"""Stellar populations: numbers of stars along isochrones per unit of a component's density."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from galcarto.galaxy import isochrones
from galcarto.galaxy.binaries import DUCHENE_KRAUS2013, Multiplicity, brightness, quantiles
from galcarto.galaxy.components import Component, MassFunction

AGES = 12  # per component
YOUNG = 20.0  # ratio of the limits of a component's ages above which age bins are logarithmic
STRATA = 4  # mass ratios for each segment of an isochrone
REMNANTS = 32  # mass bins of dead primaries
EXTRAS = ("mass", "logte", "logg")  # columns of a segment after its bands
Faintness = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Population:
    """Segments of a component's isochrones, sorted by metallicity and then by the limit that reveals them.

    A segment is a piece of an isochrone for single stars, or for binaries of one mass ratio.
    """

    metallicity: np.ndarray  # shape (metallicity,), dex
    first: np.ndarray  # int, shape (metallicity + 1,): first segment of each metallicity
    # shape (segment,), mag: observable at distance modulus mu where key + mu <= 0; ascending for one metallicity
    key: np.ndarray
    # shape (segment + 1,), stars per unit of the component's density: cumulative number before each segment, over all
    # metallicities
    number: np.ndarray
    # shape (segment, property): values at the segment's two ends
    low: np.ndarray
    high: np.ndarray
    age: np.ndarray  # shape (segment,), Gyr
    ratio: np.ndarray  # shape (segment,): mass ratio of the binary; 0 for a single star

    def observable(self, modulus: np.ndarray) -> np.ndarray:
        """Potentially observable stars at each distance modulus, shape (metallicity, modulus)."""
        ends = [
            start + np.searchsorted(self.key[start:stop], -modulus, side="right")
            for start, stop in pairwise(self.first)
        ]
        return self.number[np.stack(ends)] - self.number[self.first[:-1], None]


def _ages(component: Component) -> tuple[np.ndarray, np.ndarray]:
    """Ages in Gyr and fractions of the stars formed; the bins are logarithmic for components with young stars."""
    start, stop = component.age
    if start == stop:
        return np.array([start]), np.array([1.0])
    if stop / start > YOUNG:
        edges = np.geomspace(start, stop, AGES + 1)
        middle = np.sqrt(edges[1:] * edges[:-1])
    else:
        edges = np.linspace(start, stop, AGES + 1)
        middle = 0.5 * (edges[1:] + edges[:-1])
    time = component.star_formation_time
    formed = np.diff(edges) if time is None else np.diff(np.exp(edges / time))
    return middle, formed / formed.sum()


def _look_up(log_mass: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate isochrones at log initial masses; also returns which masses are on the isochrones.

    Shapes: log_mass (metallicity, point), values (metallicity, point, property), wanted (metallicity, segment,
    stratum).
    """
    row = np.arange(len(log_mass))[:, None]
    apart = 20.0 * row  # one ascending list of all isochrones
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
    """Companions of dead primaries per Msun of their mass: the brightest of each system, and all.

    Shapes: mass (metallicity, segment), last (metallicity, 1): the most massive living star, Msun.
    """
    edges = np.geomspace(last[:, 0], imf.range[1], REMNANTS + 1, axis=-1)  # (metallicity, edge)
    dead = imf.integral(edges[:, :-1], edges[:, 1:], 0)
    primary = np.sqrt(edges[:, :-1] * edges[:, 1:])
    density = multiplicity.density(primary[:, None], mass[..., None] / primary[:, None]) / primary[:, None]
    return (
        (density * (dead * multiplicity.multiplicity_fraction(primary))[:, None]).sum(axis=-1),
        (density * (dead * multiplicity.number(primary))[:, None]).sum(axis=-1),
    )


def _flat(
    low: np.ndarray, high: np.ndarray, number: np.ndarray, ratio: np.ndarray, age: float
) -> tuple[np.ndarray, ...]:
    """Segments of one age as arrays of shape (metallicity, segment, ...), and their ages, shape (segment,)."""
    number, ratio = (values.reshape(len(values), -1) for values in (number, ratio))
    low, high = (values.reshape(len(values), -1, values.shape[-1]) for values in (low, high))
    return low, high, number, ratio, np.full(number.shape[1], age)


def build(
    component: Component, metallicities: np.ndarray, bands: Sequence[str], faintness: Faintness, binaries: bool
) -> Population:
    """Compute the stars of one unit of a component's density at each of several metallicities.

    A density in Msun includes all living stars, also companions and stars below the lowest mass of the isochrones; the
    IMF is that of the primaries. A density in stars counts systems.

    Parameters
    ----------
    component : Component
    metallicities : ndarray, shape (metallicity,), dex
        [M/H].
    bands : sequence of str
    faintness : callable
        Mag by which stars of given absolute magnitudes, shape (star, band or more), are fainter than the limits.
    binaries : bool
    """
    multiplicity = DUCHENE_KRAUS2013
    grid, imf = isochrones.load(), component.imf
    columns = [isochrones.PROPERTIES.index(name) for name in (*bands, *EXTRAS)]
    living = np.zeros(len(metallicities))  # Msun or stars, for one unit of the IMF
    segments = []
    for age, fraction in zip(*_ages(component), strict=True):
        phases = grid.at(metallicities, age)
        log_mass = np.concatenate([phase[0] for phase in phases], axis=1)
        values = np.concatenate([phase[1][..., columns] for phase in phases], axis=1).astype("f4")
        mass = 10.0**log_mass
        below = np.full_like(mass[:, :1], imf.range[0])
        living += fraction * _living(
            component, np.concatenate([below, mass], axis=1), multiplicity if binaries else None
        )
        number = fraction * imf.integral(mass[:, :-1], mass[:, 1:], 0)
        if binaries:
            middle, width = 0.5 * (mass[:, :-1] + mass[:, 1:]), np.diff(mass, axis=1)
            pairs = number * multiplicity.multiplicity_fraction(middle)
            ratio = multiplicity.ratio(middle[..., None], quantiles(middle.shape[1], STRATA))
            low, high = _pairs(log_mass, values, ratio, len(bands))
            segments.append(_flat(low, high, np.repeat(pairs[..., None] / STRATA, STRATA, axis=2), ratio, age))
            # a companion that has outlived its primary appears as a single star
            widows, _ = _widows(imf, multiplicity, middle, mass[:, -1:])
            number = number - pairs + fraction * widows * width
        segments.append(_flat(values[:, :-1], values[:, 1:], number, np.zeros_like(number), age))
    return _sorted(segments, living, metallicities, faintness)


def _living(component: Component, mass: np.ndarray, multiplicity: Multiplicity | None) -> np.ndarray:
    """Living mass or number for one unit of the IMF between the edges `mass`, shape (metallicity, edge), Msun."""
    imf, low, high = component.imf, mass[:, :-1], mass[:, 1:]
    if component.normalisation == "number":
        return imf.integral(low, high, 0).sum(axis=1)
    amount = imf.integral(low, high, 1)
    if multiplicity is not None:
        middle = 0.5 * (low + high)
        amount = amount * (1.0 + multiplicity.number(middle) * multiplicity.mean_ratio(middle))
        _, widows = _widows(imf, multiplicity, middle, mass[:, -1:])
        amount = amount + widows * middle * np.diff(mass, axis=1)
    return amount.sum(axis=1)


def _pairs(log_mass: np.ndarray, values: np.ndarray, ratio: np.ndarray, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Combined properties at both ends of each segment, shape (metallicity, segment, stratum, property)."""
    ends = []
    for points in (slice(None, -1), slice(1, None)):
        second, held = _look_up(log_mass, values[..., :bands], log_mass[:, points, None] + np.log10(ratio))
        second[~held] = np.inf  # below the isochrones: dark
        pair = np.repeat(values[:, points, None], ratio.shape[2], axis=2)
        pair[..., :bands] = brightness(pair[..., :bands], second)
        ends.append(pair)
    return ends[0], ends[1]


def _sorted(
    segments: list[tuple[np.ndarray, ...]], living: np.ndarray, metallicities: np.ndarray, faintness: Faintness
) -> Population:
    """Sort the segments with stars by metallicity and then by the limit that reveals them."""
    *columns, ages = zip(*segments, strict=True)
    low, high, number, ratio = (np.concatenate(column, axis=1) for column in columns)
    age = np.concatenate(ages)
    parts = []
    for i in range(len(metallicities)):
        real = np.flatnonzero(number[i] > 0)
        key = np.minimum(faintness(low[i, real]), faintness(high[i, real]))
        order = np.argsort(key, kind="stable")
        at = real[order]
        parts.append((key[order], number[i, at] / living[i], low[i, at], high[i, at], age[at], ratio[i, at]))
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Population(
        metallicity=metallicities,
        first=np.cumsum([0, *(len(part[0]) for part in parts)]),
        key=joined[0],
        number=np.concatenate([[0.0], np.cumsum(joined[1])]),
        low=joined[2],
        high=joined[3],
        age=joined[4].astype(np.float32),
        ratio=joined[5].astype(np.float32),
    )
