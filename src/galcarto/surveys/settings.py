"""Settings of the surveys, their catalogues and archives."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from galcarto.core.settings import Section, increasing
from galcarto.core.units import Degree, Frame, Magnitude, Milliarcsecond, Second


class Axis(Section):
    """One axis of a diagram: a band, or a colour of two."""

    bands: list[str] = Field(
        min_length=1,
        max_length=2,
        description="One band, such as `[Ks]`; for a colour two, the first minus the second: `[J, Ks]`.",
    )
    range: tuple[Magnitude, Magnitude] = Field(description="Bright end first, or blue end.")

    _ordered = field_validator("range")(increasing)


class SurveySettings(Section):
    """Limits of a survey, and the axes of its diagrams."""

    name: Literal["2mass", "gaia"] = Field(
        "2mass", description="The survey whose errors and completeness the mock has."
    )
    limits: dict[str, Magnitude] = Field(
        description="Faint limit of each band, such as `{J: 16.3 mag, Ks: 14.8 mag}`. Bands of 2MASS: J, H, Ks. A"
        " star counts when it is measured in all bands named here; the diagram's bands must be among "
        "them."
    )
    bright: Magnitude = Field(
        "4 mag", validate_default=True, description="Bright limit, in every band; below the faint limits."
    )
    magnitude: Axis
    colour: Axis
    parallax: tuple[Milliarcsecond, Milliarcsecond] | None = Field(
        None,
        description="Rows of a second diagram, of parallax against the same colour, such as `[-1 mas, 6 mas]`; "
        "without it there is no such diagram. The survey must have parallaxes.",
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

    path: str = Field(
        description="FITS, ECSV (Gaia's bulk files too), text in columns (`.csv`, `.tsv`, `.dat`; any delimiter, "
        "comments after `#`), IPAC's `.tbl`, VOTable (`.vot`, `.xml`) or Parquet, recognised by the "
        "suffix; `.gz` may follow. Of several tables the first with all columns is read."
    )
    survey: str = Field("2mass", description="The survey of its stars: a name in `surveys`.")
    columns: dict[str, str] = Field(
        description="Column names of the file: `longitude` and `latitude`, every band of the survey's `limits`, "
        "and optionally `BAND_error` and `parallax`. Units that the file states are converted; "
        "without one they are deg, mag and mas. In a VOTable, names or IDs."
    )
    flags: dict[str, str] = Field(
        {},
        description="Columns of the file, and for each a regular expression that the whole of a good star's value"
        " matches; other rows are dropped. For 2MASS with J and Ks, for example, `{Qflg: "
        '"[ABC].[ABC]", Cflg: "0.0"}`: measured well, and not contaminated.',
    )
    frame: Frame = Field(
        "galactic",
        description="Frame of the two angles: `galactic`, `icrs`, `fk5`, `fk4`, `fk4noeterms`, `supergalactic`, "
        "`barycentricmeanecliptic` or `barycentrictrueecliptic`.",
    )
    footprint_cell: Degree = Field(
        "6 arcmin",
        gt=0,
        validate_default=True,
        description="The observed area is counted in cells of about this size: a cell without any source is taken"
        " as not observed, a cell next to it as half observed. Choose it so large that an observed "
        "cell is hardly ever empty; with several files the largest is used.",
    )

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

    survey: Literal["2mass", "gaia"] = Field(description="The survey whose stars are fetched.")
    archive: Literal["vizier-2mass", "irsa-2mass", "gaia-dr3"] = Field(
        description="2MASS at VizieR (II/246) or at IRSA, or Gaia DR3 at ESA."
    )
    url: str | None = Field(
        None, description="Another address for synchronous TAP queries, such as a mirror with the same tables."
    )
    page: int = Field(
        50_000,
        ge=100,
        description="Largest number of stars in one response. Lower it if the service truncates responses.",
    )
    interval: Second = Field("1 s", ge=0, validate_default=True, description="Shortest time between two requests.")
    timeout: Second = Field(
        "300 s", gt=0, validate_default=True, description="Time without a response after which a request has failed."
    )
    retries: int = Field(5, ge=0, description="Retries after a temporary failure.")


class Catalogues(Section):
    """Observed catalogues from which the surveys' tables are measured; each survey needs all of its own."""

    twomass: tuple[str, str, str] = Field(
        (
            "../shared/data/twomass_orion/Orion_A_2mass.fits",
            "../shared/data/twomass_orion/CF_2mass.fits",
            "../shared/data/cone_l123_b22/2MASS_results.ecsv",
        ),
        description="2MASS: a cloud (Orion A), a field with hardly any dust, a cone; FITS, ECSV or CSV.",
    )
    gaia: tuple[str, str, str] = Field(
        (
            "../shared/data/gaia_l120_b-1/field.csv",
            "../shared/data/gaia_l264_b-7/vdbh4.dat",
            "../shared/data/cone_l123_b22/gaia_results.fits",
        ),
        description="Gaia: a field in the plane, a deep one (G < 21), and a cone with separate G, BP and RP.",
    )
