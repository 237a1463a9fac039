"""Systematics missing from the mock, drawn anew for each example so that the network learns to allow for them.

Differential extinction within a tile, photometric zero points, numbers of stars of the Galactic components and of
binaries, metallicities, R_V. Each is one array of `Nuisances`, with a neutral value where it is switched off.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from galcarto.dustmap.diagrams.kernel import LEVELS

METALLICITY_BIN = 0.5  # standard deviations of a component
LARGEST_SHIFT = 3.0  # largest factor by which a shift of metallicity raises a population's weight


@dataclass(frozen=True)
class Populations:
    """Groups of stars whose numbers vary together."""

    number: np.ndarray  # shape (population,): stars in the list
    component: np.ndarray  # int, shape (population,): Galactic component; -1 for galaxies
    binary: np.ndarray  # bool, shape (population,)
    # shape (population,): mean of the group minus that of its component, in standard deviations of the component
    metallicity: np.ndarray
    sigma: np.ndarray  # shape (population,), dex: standard deviation of the component

    @classmethod
    def single(cls, number: int) -> "Populations":
        """Put all stars into one population."""
        zero = np.zeros(1)
        return cls(np.array([number]), np.zeros(1, int), np.zeros(1, bool), zero, zero)

    @classmethod
    def sort(
        cls, component: np.ndarray, metallicity: np.ndarray, binary: np.ndarray
    ) -> tuple["Populations", np.ndarray]:
        """Sort stars by component, metallicity and binarity.

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
        """Append a population of galaxies."""
        return Populations(
            np.append(self.number, number),
            np.append(self.component, -1),
            np.append(self.binary, False),
            np.append(self.metallicity, 0.0),
            np.append(self.sigma, 0.0),
        )


@dataclass(frozen=True)
class Nuisances:
    """Nuisances of a set of images, as the kernel takes them."""

    weights: np.ndarray  # shape (profile, population): number of stars of a population relative to the list
    # shape (profile, LEVELS): equally probable ratios of a star's A_V to its profile's, of mean 1
    differential_extinction: np.ndarray
    scales: np.ndarray  # shape (profile, band): factor on the extinction of a band
    # shape (profile, band, 2), mag and mag/mag: survey minus true magnitude: at magnitude 13, and per magnitude
    offsets: np.ndarray

    @classmethod
    def none(cls, number: int, populations: int, bands: int) -> "Nuisances":
        """Neutral values: the unperturbed mock."""
        return cls(
            np.ones((number, populations)),
            np.ones((number, LEVELS)),
            np.ones((number, bands)),
            np.zeros((number, bands, 2)),
        )


def population_weights(
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
    """Draw the numbers of stars of the populations relative to the mock, shape (number, population).

    Parameters
    ----------
    normalisation, components, binaries, galaxies : float
        Standard deviations of ln of: the number of all stars, the number in each component, the ratio of binaries to
        single stars (at a fixed total of a component), and the number of galaxies.
    metallicity : float, dex
        Standard deviation of the shift of a component's mean metallicity. Stars are weighted as if drawn from the
        shifted distribution.
    """
    p = populations
    kinds = int(p.component.max()) + 1
    overall = normalisation * rng.standard_normal((number, 1))
    own = components * rng.standard_normal((number, kinds))
    shift = metallicity * rng.standard_normal((number, kinds))
    pairs = binaries * rng.standard_normal((number, 1))
    background = galaxies * rng.standard_normal((number, 1))
    star = p.component >= 0
    at = p.component[star]
    tilt = shift[:, at] / np.maximum(p.sigma[star], 0.05) * p.metallicity[star]
    weight = np.exp(np.clip(tilt, None, np.log(LARGEST_SHIFT)) + pairs * p.binary[star])
    # metallicity and binaries leave the number of stars of a component unchanged
    kept = np.zeros((number, kinds))
    total = np.zeros(kinds)
    for kind in range(kinds):
        members = at == kind
        kept[:, kind] = weight[:, members] @ p.number[star][members]
        total[kind] = p.number[star][members].sum()
    weight *= (np.maximum(total, 1e-9) / np.maximum(kept, 1e-9))[:, at]
    result = np.empty((number, len(p.number)))
    result[:, star] = weight * np.exp(overall + own[:, at])
    result[:, ~star] = np.exp(background)
    return result


def tilts(populations: Populations, *, components: float, metallicity: float, binaries: float) -> np.ndarray:
    """Derivatives of ln `population_weights` with respect to each of their standard normal variables.

    Returns
    -------
    ndarray, shape (variable, population)
        Numbers and metallicities of the components that have stars, then the fraction of binaries.
    """
    p = populations
    star = p.component >= 0
    kinds = np.unique(p.component[star])
    own = (p.component == kinds[:, None]).astype(float)

    def kept(values: np.ndarray) -> np.ndarray:
        """Subtract the mean of each component, so that its number of stars is unchanged."""
        mean = (own @ (values * p.number)) / (own @ p.number)
        return values - mean @ own

    scaled = kept(p.metallicity / np.maximum(p.sigma, 0.05))
    pairs = kept(p.binary * star.astype(float)) * star
    return np.concatenate([components * own, metallicity * own * scaled, binaries * pairs[None]])


def differential_extinction(
    rng: np.random.Generator, number: int, sigma: tuple[float, float], covering: tuple[float, float]
) -> np.ndarray:
    """Draw ratios of a star's A_V to the mean of its tile, shape (number, LEVELS): equally probable, of mean 1.

    Column densities within a cloud are lognormal (Kainulainen et al. 2009, A&A 508, L35); part of a tile may have no
    dust at all.

    Parameters
    ----------
    sigma : (float, float)
        Range of the standard deviation of ln(A_V).
    covering : (float, float)
        Range of the covering fraction of the dust.
    """
    deviation = rng.uniform(*sigma, size=(number, 1))
    covered = rng.uniform(*covering, size=(number, 1))
    level = (np.arange(LEVELS) + 0.5) / LEVELS
    rank = np.clip((level - (1.0 - covered)) / covered, 0.5 / LEVELS, 1.0 - 0.5 / LEVELS)
    value = np.where(level >= 1.0 - covered, np.exp(deviation * ndtri(rank)), 0.0)
    return value / value.mean(axis=1, keepdims=True)
