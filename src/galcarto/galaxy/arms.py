"""Spiral arms: log-periodic spirals with a kink, ln(R / R_kink) = -(azimuth - azimuth_kink) tan(pitch).

The Milky Way's are fitted to the parallaxes of masers in regions of massive star formation: Reid et al. 2019,
ApJ 885, 131, Table 2. The 3-kpc arm is left out, as three masers cover only three degrees of it.
"""

from typing import NamedTuple

import numpy as np

from galcarto.core.sky import SUN_RADIUS

PAST = 0.7  # extrapolation of an arm beyond its masers, as a fraction of its extent in azimuth


class Arm(NamedTuple):
    """A spiral arm; galactocentric azimuths in deg, 0 at the Sun and increasing with the rotation, radius in kpc."""

    name: str
    azimuth: tuple[float, float]
    kink_azimuth: float
    kink_radius: float
    pitch_below: float
    pitch_above: float

    def pitch(self, azimuth: np.ndarray) -> np.ndarray:
        """Pitch angle on either side of the kink, deg."""
        return np.where(azimuth < self.kink_azimuth, self.pitch_below, self.pitch_above)

    def radius(self, azimuth: np.ndarray) -> np.ndarray:
        """Galactocentric radius of the ridge, kpc."""
        turn = np.radians(azimuth - self.kink_azimuth)
        return self.kink_radius * np.exp(-turn * np.tan(np.radians(self.pitch(azimuth))))

    def extent(self) -> tuple[float, float]:
        """Azimuths between which the arm is drawn, deg."""
        beyond = PAST * (self.azimuth[1] - self.azimuth[0])
        return self.azimuth[0] - beyond, self.azimuth[1] + beyond


class Spirals(NamedTuple):
    """The arms of a galaxy, their source, and the distance from the Sun to the centre in kpc."""

    source: str
    centre: float
    arms: tuple[Arm, ...]


REID2019 = Spirals(
    "Reid et al. 2019, ApJ 885, 131",
    SUN_RADIUS,
    (
        Arm("Norma", (5, 54), 18, 4.46, -1.0, 19.5),
        Arm("Sct–Cen", (0, 104), 23, 4.91, 14.1, 12.1),
        Arm("Sgr–Car", (2, 97), 24, 6.04, 17.1, 1.0),
        Arm("Local", (-8, 34), 9, 8.26, 11.4, 11.4),
        Arm("Perseus", (-23, 115), 40, 8.87, 10.3, 8.7),
        Arm("Outer", (-16, 71), 18, 12.24, 3.0, 9.4),
    ),
)


def trace(arm: Arm, azimuth: np.ndarray, centre: float = SUN_RADIUS) -> tuple[np.ndarray, np.ndarray]:
    """Heliocentric x (to the centre) and y (to l = 90) of an arm's ridge, kpc.

    Parameters
    ----------
    arm : Arm
    azimuth : ndarray, deg
        Outside `arm.azimuth` the spiral is extrapolated with the pitch of the same side.
    centre : float, kpc
        From the Sun.
    """
    radius = arm.radius(azimuth)
    return centre - radius * np.cos(np.radians(azimuth)), radius * np.sin(np.radians(azimuth))


class Course(NamedTuple):
    """An arm at the azimuths of points: their indices and radii, radii of the arm (kpc), and cosine of its pitch."""

    points: np.ndarray
    radius: np.ndarray
    arm_radius: np.ndarray
    cosine: np.ndarray


def courses(spirals: Spirals, x: np.ndarray, y: np.ndarray) -> list[Course]:
    """Arms at the azimuths of points, one entry for each arm and turn.

    Parameters
    ----------
    spirals : Spirals
    x, y : ndarray, shape (point,), kpc
        Heliocentric, towards the centre and towards l = 90.
    """
    azimuth = np.degrees(np.arctan2(y, spirals.centre - x))
    radius = np.hypot(spirals.centre - x, y)
    found = []
    for arm in spirals.arms:
        low, high = arm.extent()
        for turn in (-360.0, 0.0, 360.0):
            at = azimuth + turn
            (points,) = np.nonzero((at >= low) & (at <= high))
            if len(points):
                cosine = np.cos(np.radians(arm.pitch(at[points])))
                found.append(Course(points, radius[points], arm.radius(at[points]), cosine))
    return found


def distance(passing: list[Course], number: int, scale: float = 1.0) -> np.ndarray:
    """Distance of points in the plane to the ridge of the nearest arm, perpendicular to it.

    Parameters
    ----------
    passing : list of Course
        From `courses`.
    number : int
        Number of points.
    scale : float
        Factor on the radii of the arms. For an arm of constant pitch it is a rotation.

    Returns
    -------
    ndarray, shape (point,), kpc
        Infinite where no arm extends to that azimuth.
    """
    nearest = np.full(number, np.inf)
    for points, radius, arm_radius, cosine in passing:
        nearest[points] = np.minimum(nearest[points], np.abs(radius - scale * arm_radius) * cosine)
    return nearest
