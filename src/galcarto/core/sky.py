"""Tiles of equal size in galactic longitude and latitude, and coordinate transformations."""

from dataclasses import dataclass

import numpy as np

SUN_RADIUS = 8.15  # kpc from the Galactic centre: Reid et al. 2019 (ApJ 885, 131), as for the spiral arms


@dataclass(frozen=True)
class Tiles:
    """A grid of tiles of equal size in l and b."""

    # deg: edges of the tiles; l increases and may pass 360
    l_edges: np.ndarray
    b_edges: np.ndarray

    @classmethod
    def cover(cls, l_range: tuple[float, float], b_range: tuple[float, float], size: float) -> "Tiles":
        """Cover a window with tiles of `size` degrees.

        Raises
        ------
        ValueError
            If the window is not a whole number of tiles.
        """
        edges = []
        for name, (low, high) in (("l", l_range), ("b", b_range)):
            count = (high - low) / size
            if abs(count - round(count)) > 1e-6 or round(count) < 1:
                raise ValueError(
                    f"sky.{name}: found {low} to {high} deg, which is {count:.3f} tiles of {size} deg; "
                    "expected a whole number of tiles"
                )
            edges.append(low + size * np.arange(round(count) + 1))
        return cls(*edges)

    @property
    def l(self) -> np.ndarray:
        """Longitudes of the tile centres, deg."""
        return 0.5 * (self.l_edges[1:] + self.l_edges[:-1])

    @property
    def b(self) -> np.ndarray:
        """Latitudes of the tile centres, deg."""
        return 0.5 * (self.b_edges[1:] + self.b_edges[:-1])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of tiles along l and b."""
        return len(self.l_edges) - 1, len(self.b_edges) - 1

    def area(self) -> np.ndarray:
        """Solid angle of each tile, shape (l, b), deg2."""
        band = np.diff(np.sin(np.radians(self.b_edges)))
        return np.degrees(np.diff(self.l_edges)[:, None] * band[None, :])

    def points(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Evenly spaced points in every tile, `number` along each side.

        Returns
        -------
        l, b : ndarray, shape (l, b, number**2), deg
            l may pass 360.
        """
        offset = (np.arange(number) + 0.5) / number
        l, b = (edges[:-1, None] + np.diff(edges)[:, None] * offset for edges in (self.l_edges, self.b_edges))
        shape = (*self.shape, number, number)
        return (
            np.broadcast_to(l[:, None, :, None], shape).reshape(*self.shape, -1),
            np.broadcast_to(b[None, :, None, :], shape).reshape(*self.shape, -1),
        )

    def columns(self, start: int, stop: int) -> "Tiles":
        """Tiles of the longitude columns from `start` up to, but not including, `stop`."""
        return Tiles(self.l_edges[start : stop + 1], self.b_edges)

    def unwrap(self, l: np.ndarray) -> np.ndarray:
        """Move longitudes by whole turns to within 360 degrees of the first edge."""
        return self.l_edges[0] + np.mod(np.asarray(l) - self.l_edges[0], 360.0)

    def index(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Flat index (l-major) of the tile that contains each point; -1 outside the window."""
        i = np.searchsorted(self.l_edges, self.unwrap(l), side="right") - 1
        j = np.searchsorted(self.b_edges, b, side="right") - 1
        inside = (i >= 0) & (i < self.shape[0]) & (j >= 0) & (j < self.shape[1])
        return np.where(inside, i * self.shape[1] + j, -1)


def sightline_name(l: float, b: float) -> str:
    """Name of a sightline for file names, such as ``l285.000_b-00.500``."""
    # + 0.0 turns minus zero into zero
    return f"l{round(l, 3) % 360:07.3f}_b{round(b, 3) + 0.0:+07.3f}"


def sightline_position(name: str) -> tuple[float, float]:
    """Galactic longitude and latitude from a sightline's name, deg."""
    l_text, b_text = name.split("_")
    return float(l_text[1:]), float(b_text[1:])


def separation(l: float, b: float, others_l: np.ndarray, others_b: np.ndarray) -> np.ndarray:
    """Angle between a direction and others, all in degrees."""
    b_rad, others = np.radians(b), np.radians(others_b)
    across = np.cos(b_rad) * np.cos(others) * np.cos(np.radians(others_l - l))
    return np.degrees(np.arccos(np.clip(np.sin(b_rad) * np.sin(others) + across, -1.0, 1.0)))


def to_galactic(longitude: np.ndarray, latitude: np.ndarray, frame: str) -> tuple[np.ndarray, np.ndarray]:
    """Convert coordinates in any astropy frame to galactic (l, b), all in degrees."""
    if frame == "galactic":
        return np.asarray(longitude, float) % 360.0, np.asarray(latitude, float)
    import astropy.units as u  # on demand here and below: half the time that reading the settings takes
    from astropy.coordinates import SkyCoord

    galactic = SkyCoord(longitude * u.deg, latitude * u.deg, frame=frame).galactic
    return galactic.l.deg, galactic.b.deg


def to_icrs(l: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert galactic coordinates to right ascension and declination (ICRS), all in degrees."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    icrs = SkyCoord(l * u.deg, b * u.deg, frame="galactic").icrs
    return icrs.ra.deg, icrs.dec.deg


def cartesian(
    l: np.ndarray | float, b: np.ndarray | float, distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heliocentric galactic x (towards the centre), y (towards l = 90) and z (towards the pole), kpc.

    Angles in deg and distance in kpc broadcast against each other.
    """
    l_rad, b_rad = np.radians(l), np.radians(b)
    return (
        distance * np.cos(b_rad) * np.cos(l_rad),
        distance * np.cos(b_rad) * np.sin(l_rad),
        distance * np.sin(b_rad),
    )
