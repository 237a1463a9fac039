"""Settings of the surveys, their catalogues and archives."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from galcarto.core.settings import Section, increasing
from galcarto.core.units import Degree, Frame, Magnitude, Milliarcsecond, Second


class Axis(Section):
    """One axis of a diagram: a band, or a colour of two."""

    bands: Annotated[list[str], Field(min_length=1, max_length=2)]
    range: tuple[Magnitude, Magnitude]

    _ordered = field_validator("range")(increasing)


class SurveySettings(Section):
    """Limits of a survey, and the axes of its diagrams."""

    name: Literal["2mass", "gaia"] = "2mass"
    limits: dict[str, Magnitude] = Field(description="faint limit per band; other bands are not used")
    bright: Magnitude = Field("4 mag", validate_default=True)
    magnitude: Axis
    colour: Axis
    parallax: tuple[Milliarcsecond, Milliarcsecond] | None = Field(
        None, description="range of a second diagram, of parallax against the same colour; none for no such diagram"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "SurveySettings":
        if len(self.magnitude.bands) != 1 or len(self.colour.bands) != 2:
            raise ValueError("expected one band in magnitude.bands and two in colour.bands")
        missing = [band for band in self.bands() if band not in self.limits]
        if missing:
            raise ValueError(
                f"limits: found limits for {', '.join(self.limits)}; "
                f"expected also {', '.join(missing)}, which the diagram uses"
            )
        if min(self.limits.values()) <= self.bright:
            raise ValueError(f"bright: found {self.bright:g} mag; expected less than each of limits")
        if self.parallax is not None:
            increasing(self.parallax)
        return self

    def bands(self) -> list[str]:
        """Bands that the diagram needs, each once."""
        return list(dict.fromkeys([*self.colour.bands, *self.magnitude.bands]))


class CatalogueFile(Section):
    """A star catalogue on disk."""

    path: str
    survey: str = Field("2mass", description="the survey of its stars")
    columns: dict[str, str] = Field(
        description="our name to the file's: longitude, latitude, each band, and optionally BAND_error"
    )
    flags: dict[str, str] = Field(
        {}, description="columns of the file, and the regular expression that the whole of a good star's value matches"
    )
    frame: Frame = "galactic"
    footprint_cell: Degree = Field("6 arcmin", gt=0, validate_default=True)

    @field_validator("flags")
    @classmethod
    def _expressions(cls, value: dict[str, str]) -> dict[str, str]:
        for column, pattern in value.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{column}: found {pattern!r} ({error}); expected a regular expression") from None
        return value


class ArchiveQuery(Section):
    """An archive from which a survey's stars are fetched."""

    survey: Literal["2mass", "gaia"]
    archive: Literal["vizier-2mass", "irsa-2mass", "gaia-dr3"]
    url: str | None = Field(None, description="another address of the archive's synchronous TAP queries")
    page: int = Field(50_000, ge=100, description="largest number of stars in one response")
    interval: Second = Field("1 s", ge=0, validate_default=True, description="shortest time between two requests")
    timeout: Second = Field(
        "300 s", gt=0, validate_default=True, description="time without a response that counts as a failure"
    )
    retries: int = Field(5, ge=0)


class Catalogues(Section):
    """Observed catalogues from which the surveys' tables are measured; each survey needs all of its own."""

    twomass: tuple[str, str, str] = (
        "../shared/data/twomass_orion/Orion_A_2mass.fits",
        "../shared/data/twomass_orion/CF_2mass.fits",
        "../shared/data/cone_l123_b22/2MASS_results.ecsv",
    )
    gaia: tuple[str, str, str] = (
        "../shared/data/gaia_l120_b-1/field.csv",
        "../shared/data/gaia_l264_b-7/vdbh4.dat",
        "../shared/data/cone_l123_b22/gaia_results.fits",
    )
