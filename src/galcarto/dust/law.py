"""Extinction laws: the extinction of a band in units of A_V."""

from collections.abc import Mapping

import astropy.units as u
import numpy as np
from dust_extinction.parameter_averages import CCM89, F99, G23

LAWS = {
    "G23": G23,  # Gordon et al. 2023, ApJ 950, 86
    "F99": F99,  # Fitzpatrick 1999, PASP 111, 63
    "CCM89": CCM89,  # Cardelli, Clayton & Mathis 1989, ApJ 345, 245
}


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
