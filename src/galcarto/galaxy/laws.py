"""Density laws of the Galaxy's components, with parameters from the tables."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat


class Table(BaseModel):
    """Immutable section of a table, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DensityLaw(Table):
    """A density law; `quantity` is mass (Msun/pc3) or number (stars/pc3)."""

    quantity: ClassVar[Literal["mass", "number"]] = "mass"


class Einasto(DensityLaw):
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


class ModifiedExponential(DensityLaw):
    """A radially exponential disc whose vertical profile is a parabola that continues as an exponential.

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


class Sech2(DensityLaw):
    """A radially exponential disc with the vertical profile sech2(z / 2 height), as in the Gaia universe model."""

    law: Literal["sech2"]
    local: PositiveFloat = Field(description="density in the plane at the Sun's radius, Msun/pc3")
    scale: PositiveFloat = Field(description="radial scale length, kpc")
    height: PositiveFloat = Field(description="scale height, kpc")

    def density(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, sun_radius: float) -> np.ndarray:
        """Density at galactocentric positions in kpc."""
        vertical = np.exp(-np.abs(z) / self.height) * (2.0 / (1.0 + np.exp(-np.abs(z) / self.height))) ** 2
        return self.local * np.exp(-(np.hypot(x, y) - sun_radius) / self.scale) * vertical


class PowerLaw(DensityLaw):
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


class DoublePowerLaw(DensityLaw):
    """A cuspy spheroid a^inner (core + a)^outer, a2 = R2 + (z/axis_ratio)2 (halo of the Gaia universe model).

    The slope changes from inner to inner + outer around the core radius; the density is constant in the central parsec.
    """

    law: Literal["double_power_law"]
    local: PositiveFloat = Field(description="density at the Sun's radius, Msun/pc3")
    inner: float
    outer: float
    axis_ratio: PositiveFloat
    core: PositiveFloat = Field(description="kpc")

    def density(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, sun_radius: float) -> np.ndarray:
        """Density at galactocentric positions in kpc."""
        a = np.maximum(np.sqrt(x**2 + y**2 + (z / self.axis_ratio) ** 2), 1e-3)
        return self.local * (a / sun_radius) ** self.inner * ((self.core + a) / (self.core + sun_radius)) ** self.outer


def _bar_axes(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across a bar whose near end is at `angle` degrees from the Sun's direction, at l > 0."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return -x * cos + y * sin, x * sin + y * cos


class TriaxialBulge(DensityLaw):
    """A Gaussian boxy ellipsoid with a smooth edge (Robin et al. 2003, table 3).

    ``central`` exp(-rs2/2), rs4 = ((x/x0)2 + (y/y0)2)2 + (z/z0)4, times exp(-2 (R - edge)2) beyond the edge.
    """

    quantity: ClassVar[Literal["mass", "number"]] = "number"

    law: Literal["triaxial_bulge"]
    central: PositiveFloat = Field(description="density at the centre: stars/pc3")
    scales: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(description="x0, y0, z0, kpc")
    angle: float = Field(description="of the major axis from the Sun's direction, near end at l > 0, deg")
    edge: PositiveFloat = Field(description="kpc")

    def density(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, sun_radius: float) -> np.ndarray:
        """Density at galactocentric positions in kpc."""
        along, across = _bar_axes(x, y, self.angle)
        x0, y0, z0 = self.scales
        rs2 = np.sqrt(((along / x0) ** 2 + (across / y0) ** 2) ** 2 + (z / z0) ** 4)
        radius = np.hypot(x, y)
        end = np.where(radius > self.edge, np.exp(-2.0 * (radius - self.edge) ** 2), 1.0)
        return self.central * np.exp(-0.5 * rs2) * end


class BoxyBar(DensityLaw):
    """A boxy, peanut-shaped bar with a sharp edge (Gaia universe model, after Simion et al. 2017, MNRAS 471, 4323).

    ``central`` sech2(rs), rs^c = rp^c + |z/h|^c, rp^p = |x/x0|^p + |y/y0|^p, h = z0 (1 + peanut sin(|x|/wave)).
    """

    quantity: ClassVar[Literal["mass", "number"]] = "number"

    law: Literal["boxy_bar"]
    central: PositiveFloat = Field(description="density at the centre: stars/pc3")
    scales: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(description="x0, y0, z0, kpc")
    angle: float = Field(description="of the major axis from the Sun's direction, near end at l > 0, deg")
    exponents: tuple[PositiveFloat, PositiveFloat] = Field(description="p, c: 2 for an ellipsoid, more for a box")
    peanut: float = Field(description="how much thicker the bar is in its lobes", ge=0, lt=1)
    wave: PositiveFloat = Field(description="kpc")
    edge: PositiveFloat = Field(description="radius of the end, kpc")

    def density(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, sun_radius: float) -> np.ndarray:
        """Density at galactocentric positions in kpc."""
        along, across = _bar_axes(x, y, self.angle)
        x0, y0, z0 = self.scales
        p, c = self.exponents
        height = z0 * (1.0 + self.peanut * np.sin(np.abs(along) / self.wave))
        plane = (np.abs(along / x0) ** p + np.abs(across / y0) ** p) ** (1.0 / p)
        fall = np.exp(-2.0 * (plane**c + np.abs(z / height) ** c) ** (1.0 / c))
        return np.where(np.hypot(x, y) < self.edge, self.central * 4.0 * fall / (1.0 + fall) ** 2, 0.0)


Law = Annotated[
    Einasto | ModifiedExponential | Sech2 | PowerLaw | DoublePowerLaw | TriaxialBulge | BoxyBar,
    Field(discriminator="law"),
]


class Warp(Table):
    """Height of the warped plane: slope (R - start) sin(azimuth - node), upwards at l = 90 deg for a node at 0.

    The azimuth increases from the Sun's direction towards l = 90 deg.
    """

    slope: float
    down: float | None = Field(None, description="the slope where the plane bends down, if it is another")
    start: PositiveFloat = Field(description="kpc")
    node: float = Field(0.0, description="azimuth of the line where the plane stays flat, deg")

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Height of the warped plane, kpc."""
        radius = np.hypot(x, y)
        node = np.radians(self.node)
        up = y * np.cos(node) + x * np.sin(node)
        sine = np.divide(up, radius, out=np.zeros_like(radius), where=radius > 0)
        slope = np.where(sine < 0, self.slope if self.down is None else self.down, self.slope)
        return slope * np.maximum(radius - self.start, 0.0) * sine


class Flare(Table):
    """Increase of the scale heights by a factor 1 + slope (R - start) beyond the start, at constant column density."""

    slope: NonNegativeFloat = Field(description="per kpc")
    start: PositiveFloat = Field(description="kpc")

    def factor(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Factor on the scale heights at galactocentric x and y in kpc."""
        return 1.0 + self.slope * np.maximum(np.hypot(x, y) - self.start, 0.0)
