"""Settings of the extinction law, the prior over extinction profiles and the synthetic sky."""

from typing import Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from galcarto.core.settings import Section, increasing
from galcarto.core.units import Degree, Kiloparsec, Magnitude

FLOOR_DENSITY = 0.02  # mag/kpc: far below what a sightline can measure


class Dust(Section):
    """The extinction law."""

    law: Literal["G23", "F99", "CCM89"] = Field(
        "G23", description="Gordon et al. 2023, Fitzpatrick 1999, or Cardelli, Clayton & Mathis 1989."
    )
    r_v: float = Field(3.1, ge=2.3, le=5.6, description="A_V / E(B-V); the bounds are the range of G23.")


class Clouds(Section):
    """Discrete thin clouds of the prior: steps in a profile."""

    mean: float = Field(
        1.5, ge=0, description="Mean of their number on a sightline, which is Poisson-distributed; 0 for none."
    )
    extinction: tuple[Magnitude, Magnitude] = Field(
        ("0.1 mag", "15 mag"), validate_default=True, description="A_V of a cloud, log-uniform; above 0."
    )
    distance: tuple[Kiloparsec, Kiloparsec] = Field(
        ("0.08 kpc", "5 kpc"),
        validate_default=True,
        description="Distance of its centre, uniform: each kpc of a sightline has as many clouds. Above 0, and "
        "not nearer than the bubble's wall.",
    )
    width: tuple[Kiloparsec, Kiloparsec] = Field(
        ("0.005 kpc", "0.05 kpc"),
        validate_default=True,
        description="Standard deviation of its density along the sightline, log-uniform; above 0.",
    )

    _ordered = field_validator("extinction", "distance", "width")(increasing)

    @model_validator(mode="after")
    def _positive(self) -> "Clouds":
        for name in ("extinction", "width"):
            low = getattr(self, name)[0]
            if low <= 0:
                raise ValueError(
                    f"{name}: found a lower end of {low:g}; expected more than 0, as it is drawn in its logarithm"
                )
        if self.distance[0] <= 0:
            raise ValueError(f"distance: found a lower end of {self.distance[0]:g}; expected more than 0")
        return self


class ProfileSettings(Section):
    """The prior over extinction profiles (chosen for this project; see config/README.md)."""

    slope: float = Field(2.0, gt=0, description="Spectral index of the field: its power scales as k to minus this.")
    contrast: tuple[float, float] = Field(
        (0.2, 1.5), description="Standard deviation of ln(density), uniform between the two; not below 0."
    )
    envelope: tuple[Kiloparsec, Kiloparsec] = Field(
        ("1 kpc", "20 kpc"), validate_default=True, description="Scale length of the exponential, log-uniform; above 0."
    )
    smooth: tuple[Magnitude, Magnitude] = Field(
        ("0.05 mag", "30 mag"),
        validate_default=True,
        description="A_V of the smooth dust at the last bin's outer edge, log-uniform; above 0.",
    )
    bubble: tuple[Kiloparsec, Kiloparsec] = Field(
        ("0.06 kpc", "0.2 kpc"),
        validate_default=True,
        description="Distance to the Local Bubble's wall, uniform; not below 0.",
    )
    bubble_density: tuple[float, float] = Field(
        (0.02, 0.5),
        description="Density of the smooth dust inside the bubble over that without it, log-uniform; above 0.",
    )
    clouds: Clouds = Clouds()
    max_extinction: Magnitude = Field(
        "40 mag",
        validate_default=True,
        gt=0,
        description="A profile with more is redrawn; at least the upper end of `profiles.smooth`.",
    )

    _ordered = field_validator("contrast", "envelope", "smooth", "bubble", "bubble_density")(increasing)

    @model_validator(mode="after")
    def _positive(self) -> "ProfileSettings":
        for name in ("envelope", "smooth", "bubble_density"):
            low = getattr(self, name)[0]
            if low <= 0:
                raise ValueError(
                    f"{name}: found a lower end of {low:g}; expected more than 0, as it is drawn in its logarithm"
                )
        for name in ("contrast", "bubble"):
            low = getattr(self, name)[0]
            if low < 0:
                raise ValueError(f"{name}: found a lower end of {low:g}; expected 0 or more")
        if self.clouds.distance[1] <= self.bubble[1]:
            raise ValueError(
                f"clouds.distance: found an end of {self.clouds.distance[1]:g} kpc; expected more than the "
                f"{self.bubble[1]:g} kpc to which the bubble reaches, as there are no clouds inside it"
            )
        if self.max_extinction < self.smooth[1]:
            raise ValueError(
                f"max_extinction: found {self.max_extinction:g} mag; expected at least the {self.smooth[1]:g} mag "
                "that the smooth part reaches"
            )
        return self

    def support(self, step: float) -> tuple[float, float]:
        """Least extinction in a distance bin of `step` kpc and largest total extinction of a posterior, mag."""
        return FLOOR_DENSITY * step, self.max_extinction


class SyntheticSky(Section):
    """The dust of the synthetic sky, whose true extinction is known."""

    local_density: float = Field(0.7, gt=0, description="Mean A_V per kpc at the Sun, mag/kpc.")
    scale_length: Kiloparsec = Field("3.5 kpc", gt=0, validate_default=True, description="Radial scale of the disc.")
    scale_height: Kiloparsec = Field(
        "0.125 kpc", gt=0, validate_default=True, description="Vertical scale of the disc."
    )
    arm_contrast: float = Field(
        2.0, ge=0, description="Density on an arm's ridge over that between the arms, minus one."
    )
    turbulence: float = Field(0.7, ge=0, description="Standard deviation of ln(density).")
    turbulence_slope: float = Field(
        11 / 3, gt=0, description="Spectral index of the field: its power scales as k to minus this (11/3)."
    )
    outer_scale: Kiloparsec = Field(
        "0.5 kpc", gt=0, validate_default=True, description="Longest wavelength of the field."
    )
    inner_scale: Kiloparsec = Field(
        "0.03 kpc", gt=0, validate_default=True, description="Shortest wavelength of the field; below the longest."
    )
    clouds: int = Field(12, ge=0, description="Clouds placed in the window.")
    pixels_per_tile: int = Field(
        3,
        ge=1,
        description="Dust pixels along a tile's side. With 1 a tile has one A_V at each distance, as in training.",
    )
    planck_nside: int = Field(256, ge=64, description="Nside of the Planck-like map, a power of two.")
    planck_beam: Degree = Field(
        "15 arcmin",
        gt=0,
        validate_default=True,
        description="Its beam, full width at half maximum; at least a pixel of the map.",
    )
    planck_noise: Magnitude = Field("0.05 mag", ge=0, validate_default=True, description="Its noise per pixel, in A_V.")

    @model_validator(mode="after")
    def _resolved(self) -> "SyntheticSky":
        if self.inner_scale >= self.outer_scale:
            raise ValueError(
                f"found inner_scale {self.inner_scale:g} kpc and outer_scale {self.outer_scale:g} kpc; "
                "expected the inner one smaller"
            )
        if self.planck_nside & (self.planck_nside - 1):
            raise ValueError(f"planck_nside: found {self.planck_nside}; expected a power of 2")
        pixel = np.degrees(np.sqrt(np.pi / 3.0)) / self.planck_nside
        if self.planck_beam < pixel:
            raise ValueError(
                f"planck_beam: found {60 * self.planck_beam:g} arcmin, less than the map's pixels of "
                f"{60 * pixel:.1f} arcmin; expected a wider beam or a larger planck_nside"
            )
        return self
