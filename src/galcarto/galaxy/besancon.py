"""The Galaxy model of Robin et al. 2003 (A&A 409, 523), as tables.

Densities of living stars, laws, ages, metallicities and initial mass functions of the "Besançon"
model. Values: Robin et al. 2003, tables 1 to 3, as kept by Galaxia (Sharma et al. 2011, ApJ 730, 3)
and SynthPop. Another model is another tuple of components.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from galcarto.sky import cartesian

SUN_RADIUS = 8.5  # kpc from the Galactic centre; Robin et al. 2003
SUN_HEIGHT = 0.015  # kpc above the plane; Robin et al. 2003
# The slope of the warp's height, which starts at 8.4 kpc. Reylé et al. 2009 (A&A 495, 819) find half of the
# 0.18 of Robin et al. 2003 from 2MASS counts.
WARP_SLOPE = 0.09
WARP_RADIUS = 8.4  # kpc
DISC_EDGE = 14.0  # kpc; Robin et al. 2003
MASS_RANGE = (0.09, 100.0)  # Msun; the isochrones begin at 0.09

Density = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Component:
    """One stellar population.

    Attributes
    ----------
    name : str
    age : tuple of float, Gyr
        Stars form at a constant rate between the two.
    metallicity : tuple of float, dex
        Mean [Fe/H] at the Sun and standard deviation.
    gradient : float, dex/kpc
        d[Fe/H]/dR.
    alpha : float, dex
        [alpha/Fe], which raises [M/H] over [Fe/H] (Salaris et al. 1993, ApJ 414, 580).
    imf : tuple of float
        Slopes of dN/dm ~ m^-slope below and above 1 Msun.
    density : callable
        Mass density of living stars, Msun/pc3, at galactocentric (x, y, z) in kpc with
        the Sun at (-SUN_RADIUS, 0, SUN_HEIGHT).
    """

    name: str
    age: tuple[float, float]
    metallicity: tuple[float, float]
    gradient: float
    alpha: float
    imf: tuple[float, float]
    density: Density

    def overall_metallicity(self) -> float:
        """Mean [M/H] at the Sun, dex."""
        return self.metallicity[0] + float(np.log10(0.638 * 10**self.alpha + 0.362))


def _warped(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Height over the warped plane, kpc."""
    radius = np.hypot(x, y)
    sine = np.divide(y, radius, out=np.zeros_like(radius), where=radius > 0)
    return z - WARP_SLOPE * np.maximum(radius - WARP_RADIUS, 0.0) * sine


def _einasto(local: float, axis_ratio: float, young: bool) -> Density:
    def law(a2: np.ndarray) -> np.ndarray:
        if young:
            return np.exp(-a2 / 5.0**2) - np.exp(-a2 / 3.0**2)
        return np.exp(-np.sqrt(0.25 + a2 / 2.53**2)) - np.exp(-np.sqrt(0.25 + a2 / 1.32**2))

    at_sun = float(law(np.array(SUN_RADIUS**2)))

    def density(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        radius2 = x**2 + y**2
        value = local * law(radius2 + (_warped(x, y, z) / axis_ratio) ** 2) / at_sun
        return np.where(radius2 < DISC_EDGE**2, np.maximum(value, 0.0), 0.0)

    return density


def _thick_disc(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    local, scale, height, break_height = 1.34e-3, 2.5, 0.8, 0.4
    z = np.abs(_warped(x, y, z))
    inner = 1.0 - z**2 / (break_height * (2.0 * height + break_height))
    outer = np.exp((break_height - z) / height) / (1.0 + break_height / (2.0 * height))
    vertical = np.where(z <= break_height, inner, outer)
    return local * np.exp(-(np.hypot(x, y) - SUN_RADIUS) / scale) * vertical


def _halo(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    a = np.sqrt(x**2 + y**2 + (z / 0.76) ** 2)
    return 9.32e-6 * (np.maximum(a, 0.5) / SUN_RADIUS) ** -2.44


# Mean mass of the bulge's living stars in Msun, as its density is published in stars/pc3 (13.70): that of the
# slope 2.35 from 0.09 to the turn-off near 1 Msun.
_BULGE_MEAN_MASS = 0.206


def _bulge(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    angle, cutoff = np.radians(11.1), 2.54
    along = -x * np.cos(angle) + y * np.sin(angle)  # the near end lies at positive longitude
    across = x * np.sin(angle) + y * np.cos(angle)
    rs2 = np.sqrt(((along / 1.59) ** 2 + (across / 0.424) ** 2) ** 2 + (z / 0.424) ** 4)
    radius = np.hypot(x, y)
    edge = np.where(radius > cutoff, np.exp(-2.0 * (radius - cutoff) ** 2), 1.0)
    return 13.70 * _BULGE_MEAN_MASS * np.exp(-0.5 * rs2) * edge


def _thin(number: int, age: tuple[float, float], feh: tuple[float, float], axis_ratio: float, local: float):
    return Component(
        name=f"thin{number}",
        age=age,
        metallicity=feh,
        gradient=-0.07,
        alpha=0.0,
        imf=(1.6, 3.0),
        density=_einasto(local, axis_ratio, young=number == 1),
    )


ROBIN2003 = (
    _thin(1, (0.001, 0.15), (0.01, 0.12), 0.0140, 4.0e-3),
    _thin(2, (0.15, 1.0), (0.03, 0.12), 0.0268, 7.9e-3),
    _thin(3, (1.0, 2.0), (0.03, 0.10), 0.0375, 6.2e-3),
    _thin(4, (2.0, 3.0), (0.01, 0.11), 0.0551, 4.0e-3),
    _thin(5, (3.0, 5.0), (-0.07, 0.18), 0.0696, 5.8e-3),
    _thin(6, (5.0, 7.0), (-0.14, 0.17), 0.0785, 4.9e-3),
    _thin(7, (7.0, 10.0), (-0.37, 0.20), 0.0791, 6.6e-3),
    Component("thick", (11.0, 11.0), (-0.78, 0.30), 0.0, 0.25, (0.5, 0.5), _thick_disc),
    Component("halo", (14.0, 14.0), (-1.78, 0.50), 0.0, 0.35, (0.5, 0.5), _halo),
    Component("bulge", (10.0, 10.0), (0.00, 0.40), 0.0, 0.10, (2.35, 2.35), _bulge),
)

MODELS = {"robin2003": ROBIN2003}


def galactocentric(l: float, b: float, distance: np.ndarray):
    """Galactocentric (x, y, z) in kpc along a sightline; the Sun lies at x = -SUN_RADIUS."""
    x, y, z = cartesian(l, b, distance)
    return x - SUN_RADIUS, y, z + SUN_HEIGHT
