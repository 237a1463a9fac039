"""Surveys in the forward model: bands with errors and completeness as functions of magnitude.

A survey is defined by a YAML file of `tables/`, which the rule measure_surveys makes from observed catalogues, or which
holds numbers from the literature.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_validator

from galcarto.core.errors import UserError
from galcarto.core.settings import SettingsError, load_yaml

TABLES = Path(__file__).parent / "tables"


class SurveyTableError(UserError):
    """A survey table that does not exist or is invalid."""


@dataclass(frozen=True)
class Errors:
    """A tabulated error as a function of magnitude."""

    magnitude: tuple[float, ...]  # mag: ascending
    error: tuple[float, ...]  # median error at each magnitude; never decreasing

    def at(self, magnitude: np.ndarray) -> np.ndarray:
        """Interpolate the logarithm of the error.

        Brighter than the table, the error is constant. Fainter than it, the error increases as 1/flux, as if it came
        from the background.
        """
        magnitude = np.asarray(magnitude, float)
        inside = np.exp(np.interp(magnitude, self.magnitude, np.log(self.error)))
        return inside * 10.0 ** (0.4 * np.maximum(magnitude - self.magnitude[-1], 0.0))


@dataclass(frozen=True)
class Conversion:
    """A magnitude from another system's: that of `band`, plus a straight line in the colour of two bands."""

    band: str
    colour: tuple[str, str]
    terms: tuple[float, float]  # mag, and mag per mag of the colour

    def magnitude(self, magnitudes: Mapping[str, np.ndarray]) -> np.ndarray:
        """The magnitude from those of the other system, mag."""
        blue, red = self.colour
        return magnitudes[self.band] + self.terms[0] + self.terms[1] * (magnitudes[blue] - magnitudes[red])


@dataclass(frozen=True)
class Band:
    """One band of a survey."""

    wavelength: float  # micrometre: effective wavelength
    floor: float  # mag: photometric error of bright stars
    ten_sigma: float  # mag: magnitude at which the background alone gives a signal-to-noise ratio of ten
    half: float  # mag: magnitude at which half of the stars are detected
    width: float  # mag: scale of the logistic decline of the detected fraction
    errors: Errors | None = None  # table that replaces the error from floor and background
    conversion: Conversion | None = None  # how stars without dust get the magnitude, where the isochrones lack the band

    def error(self, magnitude: np.ndarray) -> np.ndarray:
        """Standard deviation of the measured magnitude, mag.

        Without a table, an error from the background, proportional to 1/flux, adds in quadrature to the floor.
        """
        if self.errors is not None:
            return self.errors.at(magnitude)
        background = 0.1 * 2.5 / np.log(10) * 10.0 ** (0.4 * (np.asarray(magnitude) - self.ten_sigma))
        return np.hypot(self.floor, background)

    def completeness(self, magnitude: np.ndarray) -> np.ndarray:
        """Fraction of the stars of true `magnitude` that the survey detects in this band.

        The tables' half points and widths were fitted to measured magnitudes. Their use for true magnitudes is accurate
        if errors are small compared with the distance to `half`.
        """
        return logistic(magnitude, self.half, self.width)


@dataclass(frozen=True)
class Parallax:
    """Parallaxes of a survey."""

    band: str  # band whose magnitude determines the error
    errors: Errors  # in mas
    zero_point: float  # mas: published mean of the parallaxes measured for distant sources; not part of the error
    # mag: decline of the fraction of detected stars with a parallax, as in `Band`
    half: float
    width: float

    def error(self, magnitude: np.ndarray) -> np.ndarray:
        """Standard deviation of the measured parallax, mas."""
        return self.errors.at(magnitude)

    def completeness(self, magnitude: np.ndarray) -> np.ndarray:
        """Fraction of the stars of `magnitude`, detected in the band, that have a parallax."""
        return logistic(magnitude, self.half, self.width)


def logistic(magnitude: np.ndarray, half: float, width: float) -> np.ndarray:
    """Logistic decline from 1 to 0 around `half`."""
    argument = np.clip((np.asarray(magnitude) - half) / width, -50.0, 50.0)
    return 1.0 / (1.0 + np.exp(argument))


@dataclass(frozen=True)
class Survey:
    """A photometric survey."""

    name: str
    title: str  # name for readers
    bands: dict[str, Band]
    parallax: Parallax | None = None

    def observe(
        self,
        magnitudes: dict[str, np.ndarray],
        limits: dict[str, float],
        bright: float,
        rng: np.random.Generator,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
        """Simulate measurements of stars.

        Parameters
        ----------
        magnitudes : dict of ndarray, shape (star,), mag
            True apparent magnitudes of the bands in `limits`.
        limits : dict of float, mag
            Faint limit of the measured magnitude in each band.
        bright : float, mag
            Bright (saturation) limit in every band.
        rng : numpy Generator

        Returns
        -------
        measured, errors : dict of ndarray, shape (star,), mag
        seen : ndarray of bool, shape (star,)
            Detected in all bands and within the limits.
        """
        measured, errors = {}, {}
        seen = np.ones(len(next(iter(magnitudes.values()))), bool)
        for band, limit in limits.items():
            true = magnitudes[band]
            errors[band] = self.bands[band].error(true)
            measured[band] = true + errors[band] * rng.standard_normal(len(true))
            seen &= rng.random(len(true)) < self.bands[band].completeness(true)
            seen &= (measured[band] < limit) & (measured[band] >= bright)
        return measured, errors, seen


class _Part(BaseModel):
    """A section of a survey table, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ErrorTable(_Part):
    """Errors as a function of magnitude."""

    magnitude: Annotated[tuple[float, ...], Field(min_length=2)]
    error: tuple[PositiveFloat, ...]
    scatter: PositiveFloat = Field(description="of a star's error about the median, relative")
    residual: dict[str, Any] = Field({}, description="how well it fits the catalogues")

    @model_validator(mode="after")
    def _consistent(self) -> "ErrorTable":
        if len(self.magnitude) != len(self.error):
            raise ValueError(
                f"found {len(self.magnitude)} magnitudes and {len(self.error)} errors; expected as many of each"
            )
        if list(self.magnitude) != sorted(set(self.magnitude)):
            raise ValueError(f"found magnitudes {self.magnitude}; expected them to ascend")
        if list(self.error) != sorted(self.error):
            raise ValueError(f"found errors {self.error}; expected none smaller than the one before")
        return self


class CompletenessTable(_Part):
    """Decline of a fraction with magnitude."""

    half: float = Field(description="mag")
    width: PositiveFloat = Field(description="mag")
    half_error: PositiveFloat | None = Field(None, description="mag")
    width_error: PositiveFloat | None = Field(None, description="mag")
    kind: Literal["measured", "extrapolated", "lower limit", "not measured"]
    note: str = ""


class ConversionTable(_Part):
    """A band from those of the isochrones."""

    band: str
    colour: tuple[str, str]
    terms: tuple[float, float] = Field(description="mag, and mag per mag of the colour")
    scatter: PositiveFloat | None = Field(None, description="of stars about it, mag")
    note: str = ""


class BandTable(_Part):
    """A band."""

    wavelength: PositiveFloat = Field(description="micrometre")
    floor: PositiveFloat = Field(description="mag")
    ten_sigma: float = Field(description="mag")
    errors: ErrorTable | None = Field(None, description="none: floor and background")
    completeness: CompletenessTable
    conversion: ConversionTable | None = None


class ParallaxTable(_Part):
    """Parallaxes."""

    band: str
    zero_point: float = Field(description="mas")
    errors: ErrorTable
    completeness: CompletenessTable


class SurveyTable(_Part):
    """A survey table."""

    version: Literal[1]
    name: str
    title: str
    references: dict[str, str]
    bands: Annotated[dict[str, BandTable], Field(min_length=1)]
    parallax: ParallaxTable | None = None
    provenance: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> "SurveyTable":
        if self.parallax is not None and self.parallax.band not in self.bands:
            raise ValueError(f"parallax.band: found {self.parallax.band}; expected one of {', '.join(self.bands)}")
        return self

    def survey(self) -> Survey:
        """Survey object for the forward model."""

        def of(table: BandTable | ParallaxTable) -> dict[str, Any]:
            completeness, errors = table.completeness, table.errors
            tabulated = None if errors is None else Errors(errors.magnitude, errors.error)
            return {"half": completeness.half, "width": completeness.width, "errors": tabulated}

        def conversion(table: ConversionTable | None) -> Conversion | None:
            return None if table is None else Conversion(table.band, table.colour, table.terms)

        bands = {
            name: Band(band.wavelength, band.floor, band.ten_sigma, **of(band), conversion=conversion(band.conversion))
            for name, band in self.bands.items()
        }
        found = self.parallax
        parallax = None if found is None else Parallax(found.band, zero_point=found.zero_point, **of(found))
        return Survey(self.name, self.title, bands, parallax)


def read_table(path: str | Path) -> SurveyTable:
    """Read a survey table.

    Raises
    ------
    SurveyTableError
        If there is no such file, or its content is invalid, with one line for each fault.
    """
    path = Path(path)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in TABLES.glob("*.yaml")))
        raise SurveyTableError(f"{path}: not found; expected a survey's table such as those of {known}")
    try:
        return SurveyTable.model_validate(load_yaml(path))
    except SettingsError as error:
        raise SurveyTableError(str(error)) from None
    except ValidationError as error:
        faults = "\n".join(f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SurveyTableError(faults) from None


@cache
def load(name: str) -> Survey:
    """Load a survey of the package.

    Raises
    ------
    SurveyTableError
        If there is none of this name, or its table is invalid.
    """
    return read_table(TABLES / f"{name}.yaml").survey()
