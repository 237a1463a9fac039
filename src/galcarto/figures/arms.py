"""Spiral arms of the Milky Way, from the parallaxes of masers in regions of massive star formation.

Reid et al. 2019, ApJ 885, 131, Table 2: log-periodic spirals with a kink,
ln(R / R_kink) = -(azimuth - azimuth_kink) tan(pitch). The 3-kpc arm is left out: three masers
place only three degrees of it.
"""

from typing import NamedTuple

import numpy as np

from galcarto.sky import SUN_RADIUS


class Arm(NamedTuple):
    """An arm: galactocentric azimuth in deg, 0 at the Sun and growing with the rotation; radius in kpc."""

    name: str
    azimuth: tuple[float, float]
    kink_azimuth: float
    kink_radius: float
    pitch_below: float
    pitch_above: float


ARMS = (
    Arm("Norma", (5, 54), 18, 4.46, -1.0, 19.5),
    Arm("Sct–Cen", (0, 104), 23, 4.91, 14.1, 12.1),
    Arm("Sgr–Car", (2, 97), 24, 6.04, 17.1, 1.0),
    Arm("Local", (-8, 34), 9, 8.26, 11.4, 11.4),
    Arm("Perseus", (-23, 115), 40, 8.87, 10.3, 8.7),
    Arm("Outer", (-16, 71), 18, 12.24, 3.0, 9.4),
)


def trace(arm: Arm, azimuth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heliocentric x (to the centre) and y (to l = 90) of an arm's ridge, kpc.

    Parameters
    ----------
    arm : Arm
    azimuth : ndarray, deg
        Outside `arm.azimuth` the spiral is extrapolated with the pitch of that side.
    """
    pitch = np.where(azimuth < arm.kink_azimuth, arm.pitch_below, arm.pitch_above)
    turn = np.radians(azimuth - arm.kink_azimuth)
    radius = arm.kink_radius * np.exp(-turn * np.tan(np.radians(pitch)))
    return SUN_RADIUS - radius * np.cos(np.radians(azimuth)), radius * np.sin(np.radians(azimuth))
