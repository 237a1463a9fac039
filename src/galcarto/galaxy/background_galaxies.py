"""Background galaxies among the point sources of a survey: few, red, and behind all dust."""

import numpy as np

REFERENCE = 14.0  # mag in Ks at which the density is given
BRIGHTEST = 9.0  # mag in Ks; brighter galaxies are resolved and not among point sources
J_H = 0.55  # (J-H) / (J-Ks): J-H = 0.7 and H-Ks = 0.4 mag of local galaxies (Jarrett 2000, PASP 112, 1008)


def expected(area: float, density: float, slope: float, faintest: float) -> float:
    """Expected galaxies in `area` deg2 down to `faintest` in Ks; other parameters as in `draw`."""
    rate = slope * np.log(10.0)
    return area * density / rate * (np.exp(rate * (faintest - REFERENCE)) - np.exp(rate * (BRIGHTEST - REFERENCE)))


def draw(
    rng: np.random.Generator,
    area: float,
    *,
    density: float,
    slope: float,
    colour: tuple[float, float],
    faintest: float,
) -> dict[str, np.ndarray]:
    """Draw galaxies without extinction by the Milky Way.

    Parameters
    ----------
    rng : numpy Generator
    area : float, deg2
    density : float
        Per deg2 and mag at Ks = 14.
    slope : float
        Of lg(counts) with Ks: 0.6 for a uniform density in space, larger among point sources, which lack the bright,
        resolved galaxies.
    colour : (float, float), mag
        Mean and standard deviation of J-Ks.
    faintest : float, mag
        In Ks.

    Returns
    -------
    dict of ndarray, shape (galaxy,), mag
        J, H, Ks.
    """
    number = rng.poisson(expected(area, density, slope, faintest))
    rate = slope * np.log(10.0)
    low, high = np.exp(rate * BRIGHTEST), np.exp(rate * faintest)
    ks = np.log(low + rng.random(number) * (high - low)) / rate
    red = rng.normal(*colour, size=number)
    return {"J": ks + red, "H": ks + (1.0 - J_H) * red, "Ks": ks}
