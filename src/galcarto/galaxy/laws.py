"""Density laws of the Galaxy's components; their parameters stand in the tables."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat


class Table(BaseModel):
    """A part of a table: no unknown keys, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Einasto(Table):
    """An ellipsoidal disc with a central hole (Robin et al. 2003, table 3, after Einasto 1979).

    ``gaussian`` (the youngest disc): exp(-a2/scale2) - exp(-a2/hole2); ``exponential``:
    exp(-sqrt(1/4 + a2/scale2)) - exp(-sqrt(1/4 + a2/hole2)); a2 = R2 + (z/axis_ratio)2.
    """

    law: Literal["einasto"]
    profile: Literal["gaussian", "exponential"]
    local: PositiveFloat = Field(description="density in the plane at the Sun's radius, Msun/pc3")
    axis_ratio: PositiveFloat
    scale: PositiveFloat = Field(description="kpc")
    hole: PositiveFloat = Field(description="kpc")
    edge: PositiveFloat = Field(description="radius of the disc's end, kpc")

    def _shape(self, a2: np.ndarray) -> np.ndarray:
        if self.profile == "gaussian":
            return np.exp(-a2 / self.scale**2) - np.exp(-a2 / self.hole**2)
        return np.exp(-np.sqrt(0.25 + a2 / self.scale**2)) - np.exp(-np.sqrt(0.25 + a2 / self.hole**2))

    def density(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, sun_radius: float) -> np.ndarray:
        """Density at galactocentric positions in kpc."""
        radius2 = x**2 + y**2
        value = self._shape(radius2 + (z / self.axis_ratio) ** 2) / self._shape(np.array(sun_radius**2))
        return np.where(radius2 < self.edge**2, self.local * np.maximum(value, 0.0), 0.0)


class ModifiedExponential(Table):
    """A radially exponential disc whose height law is a parabola that joins an exponential.

    Robin et al. 2003, table 3 (the thick disc).
    """

    law: Literal["modified_exponential"]
    local: PositiveFloat = Field(description="density in the plane at the Sun's radius, Msun/pc3")
    scale: PositiveFloat = Field(description="radial scale length, kpc")
    height: PositiveFloat = Field(description="scale height, kpc")
    joint: PositiveFloat = Field(description="height where the parabola ends, kpc")

    def density(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, sun_radius: float) -> np.ndarray:
        """Density at galactocentric positions in kpc."""
        z = np.abs(z)
        inner = 1.0 - z**2 / (self.joint * (2.0 * self.height + self.joint))
        outer = np.exp((self.joint - z) / self.height) / (1.0 + self.joint / (2.0 * self.height))
        vertical = np.where(z <= self.joint, inner, outer)
        return self.local * np.exp(-(np.hypot(x, y) - sun_radius) / self.scale) * vertical


class Sech2(Table):
    """A radially exponential disc with the height law sech2(z / 2 height) (the Gaia universe model's)."""

    law: Literal["sech2"]
    local: PositiveFloat = Field(description="density in the plane at the Sun's radius, Msun/pc3")
    scale: PositiveFloat = Field(description="radial scale length, kpc")
    height: PositiveFloat = Field(description="scale height, kpc")

    def density(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, sun_radius: float) -> np.ndarray:
        """Density at galactocentric positions in kpc."""
        vertical = np.exp(-np.abs(z) / self.height) * (2.0 / (1.0 + np.exp(-np.abs(z) / self.height))) ** 2
        return self.local * np.exp(-(np.hypot(x, y) - sun_radius) / self.scale) * vertical


class PowerLaw(Table):
    """A spheroid a^slope with a core, a2 = R2 + (z/axis_ratio)2 (Robin et al. 2003, table 3)."""

    law: Literal["power_law"]
    local: PositiveFloat = Field(description="density at the Sun's radius, Msun/pc3")
    slope: float
    axis_ratio: PositiveFloat
    core: PositiveFloat = Field(description="the density is constant within, kpc")

    def density(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, sun_radius: float) -> np.ndarray:
        """Density at galactocentric positions in kpc."""
        a = np.sqrt(x**2 + y**2 + (z / self.axis_ratio) ** 2)
        return self.local * (np.maximum(a, self.core) / sun_radius) ** self.slope


class TriaxialBulge(Table):
    """A Gaussian boxy ellipsoid with a smooth end (Robin et al. 2003, table 3).

    ``central`` exp(-rs2/2), rs4 = ((x/x0)2 + (y/y0)2)2 + (z/z0)4, times exp(-2 (R - edge)2) beyond the edge.
    """

    law: Literal["triaxial_bulge"]
    central: PositiveFloat = Field(description="density at the centre: stars/pc3")
    scales: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(description="x0, y0, z0, kpc")
    angle: float = Field(description="of the major axis from the Sun's direction, near end at l > 0, deg")
    edge: PositiveFloat = Field(description="kpc")

    def density(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, sun_radius: float) -> np.ndarray:
        """Density at galactocentric positions in kpc."""
        angle = np.radians(self.angle)
        along = -x * np.cos(angle) + y * np.sin(angle)
        across = x * np.sin(angle) + y * np.cos(angle)
        x0, y0, z0 = self.scales
        rs2 = np.sqrt(((along / x0) ** 2 + (across / y0) ** 2) ** 2 + (z / z0) ** 4)
        radius = np.hypot(x, y)
        end = np.where(radius > self.edge, np.exp(-2.0 * (radius - self.edge) ** 2), 1.0)
        return self.central * np.exp(-0.5 * rs2) * end


Law = Annotated[
    Einasto | ModifiedExponential | Sech2 | PowerLaw | TriaxialBulge,
    Field(discriminator="law"),
]


class Warp(Table):
    """The height of the plane: slope (R - start) sin(azimuth), up at l = 90 deg."""

    slope: float
    start: PositiveFloat = Field(description="kpc")

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Height of the warped plane, kpc."""
        radius = np.hypot(x, y)
        sine = np.divide(y, radius, out=np.zeros_like(radius), where=radius > 0)
        return self.slope * np.maximum(radius - self.start, 0.0) * sine


class Flare(Table):
    """Scale heights grow by the factor 1 + slope (R - start) beyond the start; the column is conserved."""

    slope: NonNegativeFloat = Field(description="per kpc")
    start: PositiveFloat = Field(description="kpc")

    def factor(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Factor on the scale heights."""
        return 1.0 + self.slope * np.maximum(np.hypot(x, y) - self.start, 0.0)
