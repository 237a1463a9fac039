"""Unresolved binaries: how many, and with which mass ratios."""

from dataclasses import dataclass

import numpy as np

GOLDEN = 0.6180339887498949  # its multiples fill the unit interval evenly


@dataclass(frozen=True)
class Multiplicity:
    """Share of stars with a companion and exponent of its mass ratio, by the primary's mass.

    Attributes
    ----------
    mass : ndarray, shape (node,), Msun
        Of the primary; between nodes the other columns are linear in its logarithm, beyond them constant.
    fraction : ndarray, shape (node,)
    companions : ndarray, shape (node,)
        Companions per primary, those of higher multiples included.
    exponent : ndarray, shape (node,)
        f(q) ~ q^exponent between `least_ratio` and 1.
    least_ratio : float
    """

    mass: np.ndarray
    fraction: np.ndarray
    companions: np.ndarray
    exponent: np.ndarray
    least_ratio: float

    def share(self, mass: np.ndarray) -> np.ndarray:
        """Share of primaries that have a companion."""
        return np.interp(np.log(mass), np.log(self.mass), self.fraction)

    def number(self, mass: np.ndarray) -> np.ndarray:
        """Companions per primary."""
        return np.interp(np.log(mass), np.log(self.mass), self.companions)

    def ratio(self, mass: np.ndarray, quantile: np.ndarray) -> np.ndarray:
        """Quantile of the mass ratio."""
        power = 1.0 + np.interp(np.log(mass), np.log(self.mass), self.exponent)
        start = self.least_ratio**power
        return (start + quantile * (1.0 - start)) ** (1.0 / power)

    def density(self, mass: np.ndarray, ratio: np.ndarray) -> np.ndarray:
        """Probability density of a mass ratio."""
        exponent = np.interp(np.log(mass), np.log(self.mass), self.exponent)
        inside = (ratio >= self.least_ratio) & (ratio <= 1.0)
        norm = (1.0 + exponent) / (1.0 - self.least_ratio ** (1.0 + exponent))
        return np.where(inside, norm * np.maximum(ratio, self.least_ratio) ** exponent, 0.0)

    def mean_ratio(self, mass: np.ndarray) -> np.ndarray:
        """Mean of the mass ratio."""
        power = 1.0 + np.interp(np.log(mass), np.log(self.mass), self.exponent)
        least = self.least_ratio
        return power / (power + 1.0) * (1.0 - least ** (power + 1.0)) / (1.0 - least**power)


# Duchêne & Kraus 2013 (ARA&A 51, 269), table 1: multiplicity fraction and mass-ratio exponent at the middle (in
# log mass) of each of their ranges, and companions per primary, which count every member of a triple. Their fractions
# above 1.5 Msun are lower limits; the rows above 5 Msun could not be checked against the paper, and few stars use them.
DUCHENE_KRAUS2013 = Multiplicity(
    mass=np.array([0.09, 0.22, 0.95, 2.7, 11.3, 25.0]),
    fraction=np.array([0.22, 0.26, 0.44, 0.50, 0.60, 0.80]),
    companions=np.array([0.22, 0.33, 0.62, 1.00, 1.00, 1.30]),
    exponent=np.array([4.2, 0.4, 0.3, -0.5, -0.5, -0.1]),
    least_ratio=0.1,
)


def quantiles(segments: int, strata: int) -> np.ndarray:
    """Quantiles of the mass ratio, shape (segment, stratum): one in each stratum, its place moves evenly."""
    place = (GOLDEN * np.arange(1, segments + 1)) % 1.0
    return (np.arange(strata) + place[:, None]) / strata


def brightness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Magnitude of two stars seen as one; the second may be infinitely faint."""
    return first - 2.5 * np.log10(1.0 + 10.0 ** (0.4 * (first - second)))
