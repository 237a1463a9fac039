"""What real stars do beyond the mock: drawn anew for each example, so that a network learns not to trust it.

Differential extinction inside a tile, zero points, numbers of the Galactic components and of binaries, metallicities,
R_V. Each is one array of `Nuisances`; what is switched off has the value that leaves the mock as it is.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from galcarto.dustmap.diagrams.kernel import LEVELS

METALLICITY_BIN = 0.5  # of a component's standard deviation
LARGEST_SHIFT = 3.0  # a population's share grows by this factor at most


@dataclass(frozen=True)
class Populations:
    """Groups of stars whose numbers vary together.

    Attributes
    ----------
    number : ndarray, shape (population,)
        Stars in the list.
    component : ndarray of int, shape (population,)
        Galactic component; -1 for galaxies.
    binary : ndarray of bool, shape (population,)
    metallicity : ndarray, shape (population,)
        Mean of the group less that of its component, in units of the component's standard deviation.
    sigma : ndarray, shape (population,), dex
        That standard deviation.
    """

    number: np.ndarray
    component: np.ndarray
    binary: np.ndarray
    metallicity: np.ndarray
    sigma: np.ndarray

    @classmethod
    def single(cls, number: int) -> "Populations":
        """All stars as one population."""
        zero = np.zeros(1)
        return cls(np.array([number]), np.zeros(1, int), np.zeros(1, bool), zero, zero)

    @classmethod
    def sort(
        cls, component: np.ndarray, metallicity: np.ndarray, binary: np.ndarray
    ) -> tuple["Populations", np.ndarray]:
        """Sort stars into groups.

        Parameters
        ----------
        component : ndarray of int, shape (star,)
        metallicity : ndarray, shape (star,), dex
        binary : ndarray of bool, shape (star,)

        Returns
        -------
        Populations
        ndarray of int32, shape (star,)
            Group of each star.
        """
        kinds = int(component.max(initial=0)) + 1
        number = np.maximum(np.bincount(component, minlength=kinds), 1)
        mean = np.bincount(component, metallicity, minlength=kinds) / number
        variance = np.bincount(component, (metallicity - mean[component]) ** 2, minlength=kinds) / number
        sigma = np.sqrt(variance)
        scaled = (metallicity - mean[component]) / np.maximum(sigma[component], 1e-6)
        bins = np.clip(np.floor(scaled / METALLICITY_BIN), -8, 8).astype(np.int64) + 8
        key = (component.astype(np.int64) * 2 + binary) * 32 + bins
        keys, group = np.unique(key, return_inverse=True)
        count = np.bincount(group)
        populations = cls(
            number=count,
            component=keys // 64,
            binary=(keys // 32 % 2).astype(bool),
            metallicity=np.bincount(group, scaled) / count,
            sigma=sigma[keys // 64],
        )
        return populations, group.astype(np.int32)

    def with_galaxies(self, number: int) -> "Populations":
        """With one more population, of galaxies."""
        return Populations(
            np.append(self.number, number),
            np.append(self.component, -1),
            np.append(self.binary, False),
            np.append(self.metallicity, 0.0),
            np.append(self.sigma, 0.0),
        )


@dataclass(frozen=True)
class Nuisances:
    """Nuisances of a set of images, as the kernel takes them.

    Attributes
    ----------
    shares : ndarray, shape (profile, population)
        Stars of a population over those in the list.
    spreads : ndarray, shape (profile, LEVELS)
        A star's A_V over its profile's; equally probable values of mean 1.
    scales : ndarray, shape (profile, band)
        Factor on a band's extinction.
    offsets : ndarray, shape (profile, band, 2), mag and mag/mag
        From the true magnitude to the survey's: at magnitude 13, and per magnitude.
    """

    shares: np.ndarray
    spreads: np.ndarray
    scales: np.ndarray
    offsets: np.ndarray

    @classmethod
    def none(cls, number: int, populations: int, bands: int) -> "Nuisances":
        """The mock as it is."""
        return cls(
            np.ones((number, populations)),
            np.ones((number, LEVELS)),
            np.ones((number, bands)),
            np.zeros((number, bands, 2)),
        )


@dataclass(frozen=True)
class Widths:
    """Standard deviations and ranges of the nuisances that a diagram's own likelihood can marginalise.

    Attributes
    ----------
    normalisation, galaxies : float
        Of the ln of the numbers of stars and galaxies.
    spread, covering : (float, float)
        See `spreads`.
    r_v : float
        Of the ln of the colour excess for an A_V, from R_V.
    zero_points : (float, float, float)
        Of the colour (mag) and its slope (mag/mag), and of the magnitude (mag).
    """

    normalisation: float = 0.0
    galaxies: float = 0.0
    spread: tuple[float, float] = (0.0, 0.0)
    covering: tuple[float, float] = (1.0, 1.0)
    r_v: float = 0.0
    zero_points: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Mix:
    """Mock stars that tell how the diagram changes with the mix of the stars.

    Attributes
    ----------
    position : ndarray, shape (star,)
        Distance as a fractional index into the bin edges.
    place : ndarray, shape (star, 2), mag
        Apparent magnitude and colour without dust and errors.
    tilt : ndarray, shape (variable, star)
        From `tilts`.
    """

    position: np.ndarray
    place: np.ndarray
    tilt: np.ndarray


def shares(
    rng: np.random.Generator,
    number: int,
    populations: Populations,
    *,
    normalisation: float,
    components: float,
    metallicity: float,
    binaries: float,
    galaxies: float,
) -> np.ndarray:
    """Numbers of the populations' stars over those of the mock, shape (number, population).

    Parameters
    ----------
    normalisation, components, binaries, galaxies : float
        Standard deviations of the ln of the numbers of all stars, of each component, of the ratio of binaries to single
        stars (a component's total stays), and of the galaxies.
    metallicity : float, dex
        Standard deviation of the shift of a component's mean metallicity: stars are weighted as if they were drawn
        from the shifted distribution.
    """
    p = populations
    kinds = int(p.component.max()) + 1
    overall = normalisation * rng.standard_normal((number, 1))
    own = components * rng.standard_normal((number, kinds))
    shift = metallicity * rng.standard_normal((number, kinds))
    pairs = binaries * rng.standard_normal((number, 1))
    stray = galaxies * rng.standard_normal((number, 1))
    star = p.component >= 0
    at = p.component[star]
    tilt = shift[:, at] / np.maximum(p.sigma[star], 0.05) * p.metallicity[star]
    weight = np.exp(np.clip(tilt, None, np.log(LARGEST_SHIFT)) + pairs * p.binary[star])
    # a component keeps its number whatever its metallicity and binaries
    kept = np.zeros((number, kinds))
    total = np.zeros(kinds)
    for kind in range(kinds):
        members = at == kind
        kept[:, kind] = weight[:, members] @ p.number[star][members]
        total[kind] = p.number[star][members].sum()
    weight *= (np.maximum(total, 1e-9) / np.maximum(kept, 1e-9))[:, at]
    result = np.empty((number, len(p.number)))
    result[:, star] = weight * np.exp(overall + own[:, at])
    result[:, ~star] = np.exp(stray)
    return result


def tilts(populations: Populations, *, components: float, metallicity: float, binaries: float) -> np.ndarray:
    """Derivatives of the ln of the populations' `shares` with each of their normal variables.

    Returns
    -------
    ndarray, shape (variable, population)
        Numbers and metallicities of the components that have stars, then the share of binaries.
    """
    p = populations
    star = p.component >= 0
    kinds = np.unique(p.component[star])
    own = (p.component == kinds[:, None]).astype(float)

    def kept(values: np.ndarray) -> np.ndarray:
        """A component keeps its number."""
        mean = (own @ (values * p.number)) / (own @ p.number)
        return values - mean @ own

    scaled = kept(p.metallicity / np.maximum(p.sigma, 0.05))
    pairs = kept(p.binary * star.astype(float)) * star
    return np.concatenate([components * own, metallicity * own * scaled, binaries * pairs[None]])


def spreads(
    rng: np.random.Generator, number: int, spread: tuple[float, float], covering: tuple[float, float]
) -> np.ndarray:
    """A star's A_V over the tile's mean, shape (number, LEVELS): equally probable values of mean 1.

    Column densities inside a cloud are lognormal (Kainulainen et al. 2009, A&A 508, L35); part of a tile may have no
    dust at all.

    Parameters
    ----------
    spread : (float, float)
        Range of the standard deviation of ln(A_V).
    covering : (float, float)
        Range of the share of the tile that dust covers.
    """
    sigma = rng.uniform(*spread, size=(number, 1))
    covered = rng.uniform(*covering, size=(number, 1))
    level = (np.arange(LEVELS) + 0.5) / LEVELS
    rank = np.clip((level - (1.0 - covered)) / covered, 0.5 / LEVELS, 1.0 - 0.5 / LEVELS)
    value = np.where(level >= 1.0 - covered, np.exp(sigma * ndtri(rank)), 0.0)
    return value / value.mean(axis=1, keepdims=True)
