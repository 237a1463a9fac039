"""Settings of a map: its grid, the forms in which it is published, and its credits."""

from typing import Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from galcarto.core.settings import Section
from galcarto.core.units import Degree, Kiloparsec


class Tile(Section):
    """The patch of sky of one sightline."""

    size: Degree = Field(gt=0)
    min_area_fraction: float = Field(0.3, gt=0, le=1, description="tiles with less of their area observed are left out")


class Distance(Section):
    """The distance bins: equal steps from the Sun."""

    step: Kiloparsec = Field(gt=0)
    max: Kiloparsec = Field(gt=0)

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

    pixel: Kiloparsec = Field("0.05 kpc", gt=0, validate_default=True)


class Publish(Section):
    """The forms in which the cube is published beside cube.nc."""

    forms: list[Literal["zarr", "healpix", "cartesian", "footprint", "fits"]] = [
        "zarr",
        "healpix",
        "cartesian",
        "footprint",
        "fits",
    ]
    nside: int | None = Field(
        None, description="of the HEALPix form; none for the least with pixels no larger than a tile"
    )
    step: Kiloparsec | None = Field(
        None, gt=0, description="side of a Cartesian voxel; none for the narrowest tile's width at a quarter of the way"
    )

    @field_validator("nside")
    @classmethod
    def _power(cls, value: int | None) -> int | None:
        if value is not None and not (1 <= value <= 2**15 and value & (value - 1) == 0):
            raise ValueError(f"found {value}; expected a power of 2, at most 32768")
        return value


class Credits(Section):
    """Authors and terms of use of the map: global attributes of its files, named as in ACDD-1.3."""

    license: str = Field("None", description="terms of use of the map; None where none are granted")
    creator_name: str | None = None
    creator_email: str | None = None
    creator_url: str | None = None
    institution: str | None = None
    project: str | None = None
    publisher_name: str | None = None
    publisher_email: str | None = None
    publisher_url: str | None = None
    naming_authority: str | None = Field(None, description="organisation that assigns the id, such as org.example")
    acknowledgement: str | None = None
