"""Settings of a map: its grid, the forms in which it is published, and its credits."""

from typing import Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from galcarto.core.settings import Section
from galcarto.core.units import Degree, Kiloparsec


class Tile(Section):
    """The patch of sky of one sightline."""

    size: Degree = Field(gt=0, description="Step in both l and b.")
    min_area_fraction: float = Field(
        0.3,
        gt=0,
        le=1,
        description="Tiles with a smaller observed fraction of their area are left out. The observed fraction of "
        "training tiles is drawn between this and 1.",
    )


class Distance(Section):
    """The distance bins: equal steps from the Sun."""

    step: Kiloparsec = Field(gt=0, description="Width of a bin.")
    max: Kiloparsec = Field(gt=0, description="Outer edge of the last bin: a whole number of steps.")

    @model_validator(mode="after")
    def _whole(self) -> "Distance":
        count = self.max / self.step
        if count < 2 or abs(count - round(count)) > 1e-6:
            raise ValueError(f"found {count:.3f} bins of {self.step:g} kpc; expected a whole number, two or more")
        return self

    def edges(self) -> np.ndarray:
        """Bin edges from 0 to max, shape (distance + 1,), kpc."""
        return np.linspace(0.0, self.max, round(self.max / self.step) + 1)


class FaceOn(Section):
    """The face-on view."""

    pixel: Kiloparsec = Field("0.05 kpc", gt=0, validate_default=True, description="Side of a pixel.")


class Publish(Section):
    """The forms in which the cube is published beside cube.nc."""

    forms: list[Literal["zarr", "healpix", "cartesian", "footprint", "fits"]] = Field(
        [
            "zarr",
            "healpix",
            "cartesian",
            "footprint",
            "fits",
        ],
        description="Forms to write: all or some of these.",
    )
    nside: int | None = Field(
        None,
        description="nside of the HEALPix form, a power of 2; without it, the smallest whose pixels are no larger"
        " than a tile.",
    )
    step: Kiloparsec | None = Field(
        None,
        gt=0,
        description="Side of a Cartesian voxel; without it, the width of the narrowest tile at a quarter of the "
        "distance to the last bin, or more to keep below 30 million voxels.",
    )

    @field_validator("nside")
    @classmethod
    def _power(cls, value: int | None) -> int | None:
        if value is not None and not (1 <= value <= 2**15 and value & (value - 1) == 0):
            raise ValueError(f"found {value}; expected a power of 2, at most 32768")
        return value


class Credits(Section):
    """Authors and terms of use of the map: global attributes of its files, named as in ACDD-1.3."""

    license: str = Field("None", description="Terms of use of the map, preferably a URL; `None` if none are granted.")
    creator_name: str | None = Field(None, description="Author of the map.")
    creator_email: str | None = Field(None, description="Contact of the author.")
    creator_url: str | None = Field(None, description="Web page of the author.")
    institution: str | None = Field(None, description="Institution of the author.")
    project: str | None = Field(None, description="Project to which the map belongs.")
    publisher_name: str | None = Field(None, description="Publisher of the map.")
    publisher_email: str | None = Field(None, description="Contact of the publisher.")
    publisher_url: str | None = Field(None, description="Web page of the publisher.")
    naming_authority: str | None = Field(
        None, description="Organisation that assigns the attribute `id`, such as `org.example`."
    )
    acknowledgement: str | None = Field(None, description="Acknowledgement.")
