"""Synthetic dust of a galaxy, with known extinction at any point.

An exponential disc, logarithmic spiral arms, a lognormal turbulent field of random plane waves, and a few discrete
clouds. It is a test bed that resembles a galaxy, not a model of the Milky Way.
"""

from dataclasses import dataclass

import healpy as hp
import numba
import numpy as np

from galcarto.core.jit import CACHE
from galcarto.core.sky import cartesian

CENTRE = 8.5  # kpc from the Sun to the Galactic centre
SUN_HEIGHT = 0.015  # kpc
# Four arms, given by the radii at which they cross the line from the Sun to the centre; pitch angle 13 deg, a mean over
# tracers (Vallée 2017, New Astronomy Reviews 79, 49).
PITCH = np.radians(13.0)
ARM_RADII = (3.4, 5.2, 7.0, 9.9)  # kpc
ARM_WIDTH = 0.35  # kpc
MODES = 256
CLOUD_RADIUS = (0.015, 0.04)  # kpc; large enough for integration in steps of 0.02 kpc
CLOUD_EXTINCTION = (0.5, 4.0)  # mag through the centre
CLOUD_DISTANCE = (0.3, 3.0)  # kpc


@dataclass(frozen=True)
class SyntheticDust:
    """Dust density of the synthetic sky."""

    local_density: float  # mag/kpc
    scale_length: float  # kpc
    scale_height: float  # kpc
    arm_contrast: float  # density on the ridge of an arm relative to that between arms, minus one
    turbulence: float  # standard deviation of ln(density)
    waves: np.ndarray  # shape (mode, 3), rad/kpc
    phases: np.ndarray  # shape (mode,), rad
    clouds: np.ndarray  # shape (cloud, 5): x, y, z, Gaussian radius (kpc), central density (mag/kpc)

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        window: tuple[tuple[float, float], tuple[float, float]],
        *,
        local_density: float,
        scale_length: float,
        scale_height: float,
        arm_contrast: float,
        turbulence: float,
        turbulence_slope: float,
        outer_scale: float,
        inner_scale: float,
        clouds: int,
    ) -> "SyntheticDust":
        """Draw turbulence and clouds.

        Parameters
        ----------
        rng : numpy Generator
        window : ((float, float), (float, float)), deg
            Ranges of l and b that contain the clouds.
        turbulence_slope : float
            The three-dimensional power spectrum goes as k^-slope between the outer and inner scales.
        outer_scale, inner_scale : float, kpc
        clouds : int
            Number of clouds. The other parameters are attributes of the class.
        """
        # isotropic wave numbers from p(k) ~ k^(2 - slope), so that equal amplitudes give the spectrum
        low, high = 2 * np.pi / outer_scale, 2 * np.pi / inner_scale
        power = 3.0 - turbulence_slope
        u = rng.random(MODES)
        if abs(power) < 1e-9:
            k = low * (high / low) ** u
        else:
            k = (low**power + u * (high**power - low**power)) ** (1 / power)
        direction = rng.standard_normal((MODES, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        distance = rng.uniform(*CLOUD_DISTANCE, size=clouds)
        position = np.stack(
            cartesian(rng.uniform(*window[0], size=clouds), rng.uniform(*window[1], size=clouds), distance),
            axis=1,
        )
        radius = _log_uniform(rng, CLOUD_RADIUS, clouds)
        depth = _log_uniform(rng, CLOUD_EXTINCTION, clouds)
        return cls(
            local_density,
            scale_length,
            scale_height,
            arm_contrast,
            turbulence,
            waves=k[:, None] * direction,
            phases=rng.uniform(0, 2 * np.pi, MODES),
            clouds=np.column_stack([position, radius, depth / (np.sqrt(2 * np.pi) * radius)]),
        )

    def density(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """dA_V/ds at heliocentric galactic positions in kpc, mag/kpc."""
        shape = np.shape(x)
        x, y, z = (np.ascontiguousarray(v, dtype=float).ravel() for v in (x, y, z))
        radius = np.maximum(np.hypot(x - CENTRE, y), 1e-6)
        height = z + SUN_HEIGHT
        azimuth = np.arctan2(y, CENTRE - x)
        arms = np.zeros_like(radius)
        for crossing in ARM_RADII:
            # distance to the nearest turn of the spiral, across the arm
            turn = (np.log(radius / crossing) + azimuth * np.tan(PITCH)) / (2 * np.pi * np.tan(PITCH))
            across = (turn - np.round(turn)) * 2 * np.pi * np.tan(PITCH) * radius * np.cos(PITCH)
            arms += np.exp(-0.5 * (across / ARM_WIDTH) ** 2)
        disc = np.exp(-(radius - CENTRE) / self.scale_length - np.abs(height) / self.scale_height)
        lognormal = np.exp(self.turbulence * _waves(x, y, z, self.waves, self.phases) - 0.5 * self.turbulence**2)
        value = self.local_density * disc * (1.0 + self.arm_contrast * arms) * lognormal
        for cx, cy, cz, size, centre in self.clouds:
            value += centre * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / size**2)
        return value.reshape(shape)

    def extinction(self, l: np.ndarray, b: np.ndarray, edges: np.ndarray, step: float = 0.02) -> np.ndarray:
        """Integrate A_V by the midpoint rule.

        Parameters
        ----------
        l, b : ndarray, shape (sightline,), deg
        edges : ndarray, shape (distance + 1,), kpc
        step : float, kpc
            Largest step of the integration.

        Returns
        -------
        ndarray, shape (sightline, distance), mag
            Cumulative A_V from the first edge to the outer edge of each bin.
        """
        per_bin = np.maximum(np.ceil(np.diff(edges) / step).astype(int), 1)
        width = np.repeat(np.diff(edges) / per_bin, per_bin)
        offset = np.concatenate([np.arange(n) + 0.5 for n in per_bin])
        middle = np.repeat(edges[:-1], per_bin) + offset * width
        starts = np.concatenate([[0], np.cumsum(per_bin)[:-1]])
        result = np.empty((len(l), len(per_bin)))
        for i, (one_l, one_b) in enumerate(zip(l, b, strict=True)):
            density = self.density(*cartesian(one_l, one_b, middle))
            result[i] = np.cumsum(np.add.reduceat(density * width, starts))
        return result


def _log_uniform(rng: np.random.Generator, ends: tuple[float, float], number: int) -> np.ndarray:
    return np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]), size=number))


def through_beam(nside: int, pixels: np.ndarray, values: np.ndarray, fwhm: float) -> np.ndarray:
    """Smooth a patch of the sphere by a Gaussian beam, normalised over the pixels of the patch, shape (pixel,).

    Parameters
    ----------
    nside : int
    pixels : ndarray, shape (pixel,)
        RING indices.
    values : ndarray, shape (pixel,)
    fwhm : float, deg
    """
    vectors = np.stack(hp.pix2vec(nside, pixels), axis=1)
    sigma = np.radians(fwhm) / np.sqrt(8 * np.log(2))
    result = np.empty(len(pixels))
    for start in range(0, len(pixels), 1000):
        angle2 = 2.0 - 2.0 * (vectors[start : start + 1000] @ vectors.T)
        weight = np.exp(-0.5 * angle2 / sigma**2)
        result[start : start + 1000] = weight @ values / weight.sum(axis=1)
    return result


@numba.njit(parallel=True, cache=CACHE, fastmath=True)
def _waves(x, y, z, waves, phases):
    """Gaussian random field of unit variance, as a sum of plane waves."""
    result = np.empty(x.size)
    for i in numba.prange(x.size):
        total = 0.0
        for m in range(phases.size):
            total += np.cos(waves[m, 0] * x[i] + waves[m, 1] * y[i] + waves[m, 2] * z[i] + phases[m])
        result[i] = total * np.sqrt(2.0 / phases.size)
    return result
