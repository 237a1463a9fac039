"""Extinction laws: the extinction of a band in units of A_V."""

from collections.abc import Mapping
from functools import lru_cache

import astropy.units as u
import numpy as np
from dust_extinction.baseclasses import BaseExtModel
from dust_extinction.parameter_averages import CCM89, F19, F99, G23

LAWS = {
    "G23": G23,  # Gordon et al. 2023, ApJ 950, 86
    "F99": F99,  # Fitzpatrick 1999, PASP 111, 63
    "CCM89": CCM89,  # Cardelli, Clayton & Mathis 1989, ApJ 345, 245
}

# Gaia's bands are so wide that k = A_band / A_0 falls from blue stars to red ones and from thin dust to thick.
# k = sum of value * x^i * A_0^j, with x = (BP-RP)_0 in mag and A_0 the extinction at 0.55 micrometre in mag: DPAC's
# relation for Gaia EDR3 and giants or stars of the upper main sequence, in the form of Danielski et al. 2018 (A&A 614,
# A19), from the passbands of Riello et al. 2021 (A&A 649, A3), Castelli & Kurucz spectra of 3500 to 10 000 K and the
# law of Fitzpatrick et al. 2019 (ApJ 886, 108) at R_V = 3.1: https://www.cosmos.esa.int/web/gaia/edr3-extinction-law
# (file Fitz19_EDR3_HRDTop; DPAC states errors of at most 3.5, 1.5 and 1 % in G, BP and RP).
POWERS = ((0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (1, 2))  # of x and of A_0
WIDE = {
    "G": (
        *(0.996728, -0.161533, 0.0121895, 0.00108655, -0.0378419, 0.00150219, -2.43559e-05),
        *(0.0119453, -0.000900410, -0.000285148),
    ),
    "BP": (
        *(1.15478, -0.0860151, -0.0302071, 0.0140421, -0.0223968, 0.000823545, -1.20366e-05),
        *(0.00699684, -0.000499921, -0.000148687),
    ),
    "RP": (
        *(0.662595, -0.0167122, -0.00144198, -0.00133749, -0.00655783, 3.36125e-05, 1.61357e-06),
        *(2.20749e-05, 0.000178453, 1.03362e-05),
    ),
}
COLOURS = (-0.06, 2.5)  # mag: (BP-RP)_0 of the relation's hottest and coolest stars; beyond, that of the end
THICKEST = 20.0  # mag, in A_0: the relation's end
# Beyond it A_band grows as it does on average from here to the end. (The cubic's own slope falls short at its end, for
# red stars in G: 0.31 where an integral over spectra gives 0.46.)
STRAIGHT = 15.0  # mag
RELATION = F19(Rv=3.1)  # the law behind it
WAVELENGTHS = np.linspace(0.35, 1.3, 951)  # micrometre; the slopes dA_band / dA_0 lie within the law's there
NODES, WEIGHTS = np.polynomial.legendre.leggauss(10)


def coefficients(law: str, r_v: float, wavelengths: Mapping[str, float]) -> dict[str, float]:
    """A_band / A_V at the bands' effective wavelengths.

    Parameters
    ----------
    law : str
        ``G23``, ``F99`` or ``CCM89``.
    r_v : float
        Ratio of total to selective extinction.
    wavelengths : mapping of str to float
        Effective wavelength of each band, micrometre.

    Returns
    -------
    dict of str to float
    """
    curve = LAWS[law](Rv=r_v)
    values = curve(np.array(list(wavelengths.values())) * u.um)
    return {band: float(value) for band, value in zip(wavelengths, values, strict=True)}


def _slope(band: str, colour: np.ndarray, extinction: np.ndarray) -> np.ndarray:
    """dA_band / dA_0 of DPAC's relation, within its range."""
    terms = zip(POWERS, WIDE[band], strict=True)
    return np.sum([(j + 1) * value * colour**i * extinction**j for (i, j), value in terms], axis=0)


def _wide(band: str, curve: BaseExtModel, colour: np.ndarray, extinction: np.ndarray) -> np.ndarray:
    """A_band of a Gaia band for any star, dust and law."""

    def ratio(slope: np.ndarray) -> np.ndarray:
        """The law where DPAC's has this value."""
        where = np.interp(slope, RELATION(WAVELENGTHS * u.um)[::-1], WAVELENGTHS[::-1])
        return curve(where.ravel() * u.um).reshape(where.shape)

    def within(thickness: np.ndarray) -> np.ndarray:
        parts = thickness[..., None] * 0.5 * (NODES + 1.0)
        return 0.5 * thickness * (ratio(_slope(band, colour[..., None], parts)) @ WEIGHTS)

    colour = np.clip(colour, *COLOURS)
    end, before = (within(np.full(colour.shape, value)) for value in (THICKEST, STRAIGHT))
    beyond = np.maximum(extinction - THICKEST, 0.0)
    return within(np.minimum(extinction, THICKEST)) + beyond * (end - before) / (THICKEST - STRAIGHT)


def band_extinction(
    law: str, r_v: float, bands: Mapping[str, float], colour: np.ndarray, extinction: np.ndarray
) -> np.ndarray:
    """Extinction of stars in bands that may be wide.

    Gaia's G, BP and RP follow DPAC's relation, which holds for one law and R_V = 3.1. Each further bit of dust dims a
    band by the law's value at the wavelength of the light that is left, which moves to the red as stars and dust get
    redder. The relation's slope tells this wavelength; another law, or another R_V, is read there, and summed up. Every
    other band, such as those of 2MASS, has the law's value at its effective wavelength, whatever the star and the dust.

    Parameters
    ----------
    law : str
        ``G23``, ``F99`` or ``CCM89``.
    r_v : float
        Ratio of total to selective extinction.
    bands : mapping of str to float
        Effective wavelength of each band, micrometre; not used for Gaia's.
    colour : ndarray, mag
        Intrinsic BP-RP of the stars; outside -0.06 to 2.5 the nearer end is taken.
    extinction : ndarray, mag
        A_V, of a shape that broadcasts with that of `colour`; 0 or more. DPAC's relation ends at 20 mag.

    Returns
    -------
    ndarray, shape (..., band), mag
        It grows with the extinction.
    """
    colour, extinction = np.broadcast_arrays(np.asarray(colour, float), np.asarray(extinction, float))
    columns = [
        _wide(band, LAWS[law](Rv=r_v), colour, extinction)
        if band in WIDE
        else extinction * _narrow(law, r_v, wavelength)
        for band, wavelength in bands.items()
    ]
    return np.stack(columns, axis=-1)


# astropy takes 30 ms for a number, which whoever observes star by star or cell by cell asks a thousand times
@lru_cache(256)
def _narrow(law: str, r_v: float, wavelength: float) -> float:
    return coefficients(law, r_v, {"": wavelength})[""]
