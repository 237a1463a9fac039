"""Absorption lines: Voigt profiles of hydrogen, and lines of metals."""

from typing import NamedTuple

import numpy as np
from scipy.special import wofz

LIGHT = 299_792.458  # km/s
# pi e^2 / (m_e c) in cm^2 Hz, over sqrt(pi), times 1e-8 cm/Angstrom over 1e5 cm s-1/km s-1
STRENGTH = 0.0149736 * 1e-13


class Line(NamedTuple):
    """A line in absorption."""

    wavelength: float  # Angstrom, in vacuum
    oscillator: float  # oscillator strength
    damping: float  # s-1


# Morton 2003, ApJS 149, 205
LYMAN_ALPHA = Line(1215.6701, 0.4164, 6.265e8)
LYMAN_BETA = Line(1025.7223, 0.07912, 1.897e8)
LYMAN_LIMIT = 911.7633  # Angstrom
LIMIT_CROSS_SECTION = 6.30e-18  # cm2 at the limit; falls as the wavelength cubed (Osterbrock & Ferland 2006)

# strong lines of metals in damped absorbers: wavelength (Angstrom) and f times wavelength relative to Si II 1260
# (Morton 2003); those that can lie among the Lyman-alpha lines of a quasar of higher redshift
METALS = {
    "C III 977": (977.020, 0.50),
    "O VI 1031": (1031.926, 0.09),
    "O VI 1037": (1037.617, 0.05),
    "Fe II 1144": (1144.938, 0.064),
    "Si II 1190": (1190.416, 0.235),
    "Si II 1193": (1193.290, 0.47),
    "Si III 1206": (1206.500, 1.33),
    "N V 1238": (1238.821, 0.13),
    "N V 1242": (1242.804, 0.066),
    "Si II 1260": (1260.422, 1.00),
    "O I 1302": (1302.169, 0.042),
    "Si II 1304": (1304.370, 0.076),
    "C II 1334": (1334.532, 0.115),
    "Si IV 1393": (1393.755, 0.48),
    "Si IV 1402": (1402.770, 0.24),
    "Si II 1526": (1526.707, 0.137),
    "C IV 1548": (1548.195, 0.20),
    "C IV 1550": (1550.770, 0.10),
    "Fe II 1608": (1608.451, 0.063),
    "Al II 1670": (1670.787, 1.95),
    "Fe II 2382": (2382.765, 0.51),
    "Fe II 2600": (2600.173, 0.42),
    "Mg II 2796": (2796.354, 1.15),
    "Mg II 2803": (2803.531, 0.58),
}


def optical_depth(wavelength: np.ndarray, line: Line, redshift: float, log_n: float, width: float) -> np.ndarray:
    """Optical depth of a Voigt profile.

    Parameters
    ----------
    wavelength : ndarray, shape (pixel,), Angstrom
        Observed, in vacuum.
    line : Line
    redshift : float
        Of the absorber.
    log_n : float
        lg of the column density in cm-2.
    width : float, km/s
        Doppler parameter b.

    Returns
    -------
    ndarray, shape (pixel,)
    """
    velocity = LIGHT * (wavelength / (line.wavelength * (1 + redshift)) - 1)
    a = line.damping * line.wavelength * 1e-13 / (4 * np.pi * width)
    centre = STRENGTH * 10**log_n * line.oscillator * line.wavelength / width
    return centre * wofz(velocity / width + 1j * a).real


def limit_depth(wavelength: np.ndarray, redshift: float, log_n: float) -> np.ndarray:
    """Optical depth of the ionisation of hydrogen below an absorber's Lyman limit; see `optical_depth`."""
    rest = wavelength / (1 + redshift) / LYMAN_LIMIT
    return np.where(rest < 1, 10**log_n * LIMIT_CROSS_SECTION * rest * rest * rest, 0.0)


def transmission(wavelength: np.ndarray, redshift: float, log_n: float, width: float) -> np.ndarray:
    """Transmitted share of the light: Lyman alpha, Lyman beta and the limit; arguments as `optical_depth`."""
    depth = limit_depth(wavelength, redshift, log_n)
    for line in (LYMAN_ALPHA, LYMAN_BETA):
        depth += optical_depth(wavelength, line, redshift, log_n, width)
    return np.exp(-depth)


def metal_transmission(wavelength: np.ndarray, redshift: float, strength: float, width: float) -> np.ndarray:
    """Transmitted share of the light past an absorber's metals.

    Parameters
    ----------
    wavelength : ndarray, shape (pixel,), Angstrom
        Evenly spaced in the logarithm.
    redshift : float
    strength : float
        Optical depth at the centre of Si II 1260; those of the other lines are in proportion.
    width : float, km/s
        Doppler parameter of the whole system of clouds.
    """
    depth = np.zeros_like(wavelength)
    step = np.log(wavelength[1] / wavelength[0])
    reach = int(5 * width / LIGHT / step) + 1
    for centre, relative in METALS.values():
        here = centre * (1 + redshift)
        middle = round(np.log(here / wavelength[0]) / step)
        if -reach < middle < len(wavelength) + reach:
            near = slice(max(middle - reach, 0), max(middle + reach + 1, 0))
            depth[near] += strength * relative * np.exp(-((LIGHT * (wavelength[near] / here - 1) / width) ** 2))
    return np.exp(-depth)
