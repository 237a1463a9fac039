"""Fractions and mass ratios of unresolved binaries."""

from dataclasses import dataclass

import numpy as np

GOLDEN = 0.6180339887498949  # multiples modulo 1 are evenly distributed


@dataclass(frozen=True)
class Multiplicity:
    """Multiplicity fraction and distribution of mass ratios by the mass of the primary."""

    # shape (node,), Msun: of the primary. The other columns are linear in its logarithm between nodes and constant
    # beyond them
    mass: np.ndarray
    fraction: np.ndarray  # shape (node,): fraction of primaries with a companion
    companions: np.ndarray  # shape (node,): companions per primary, including those of higher multiples
    exponent: np.ndarray  # shape (node,): f(q) ~ q^exponent between `least_ratio` and 1
    least_ratio: float

    def multiplicity_fraction(self, mass: np.ndarray) -> np.ndarray:
        """Fraction of primaries with a companion."""
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
# log mass) of each of their ranges, and companions per primary, which count every member of a triple. The fractions
# above 1.5 Msun are lower limits. The rows above 5 Msun were not verified against the paper; they matter for few stars.
DUCHENE_KRAUS2013 = Multiplicity(
    mass=np.array([0.09, 0.22, 0.95, 2.7, 11.3, 25.0]),
    fraction=np.array([0.22, 0.26, 0.44, 0.50, 0.60, 0.80]),
    companions=np.array([0.22, 0.33, 0.62, 1.00, 1.00, 1.30]),
    exponent=np.array([4.2, 0.4, 0.3, -0.5, -0.5, -0.1]),
    least_ratio=0.1,
)


def quantiles(segments: int, strata: int) -> np.ndarray:
    """Stratified quantiles of the mass ratio, shape (segment, stratum), with a low-discrepancy offset per segment."""
    place = (GOLDEN * np.arange(1, segments + 1)) % 1.0
    return (np.arange(strata) + place[:, None]) / strata


def brightness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Combined magnitude of two stars; the second may be infinitely faint."""
    return first - 2.5 * np.log10(1.0 + 10.0 ** (0.4 * (first - second)))
