"""Settings of the mock stars, and of the maps that the labels make."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from galcarto.core.settings import Config, Section, increasing
from galcarto.core.units import Degree, Kiloparsec, Magnitude
from galcarto.dust.settings import Dust
from galcarto.galaxy.settings import GalaxySettings
from galcarto.labels.settings import Deredden, Evaluation, LabelNetwork, Split, StarTable
from galcarto.learning.settings import Training, TrainingJob
from galcarto.surveys import SURVEYS
from galcarto.surveys.survey import Band

LOWEST = 10.0  # deg: least latitude of a mock field, for its dust to be a thin screen


class MockField(Section):
    """A direction; all stars of a field are simulated at its centre."""

    l: Degree = Field(description="galactic longitude")
    b: Degree = Field(description="galactic latitude, at least 10 deg from the plane, where the dust is a thin screen")

    @field_validator("b")
    @classmethod
    def _off_the_plane(cls, value: float) -> float:
        if not LOWEST <= abs(value) <= 90.0:
            raise ValueError(
                f"found {value:g} deg; expected {LOWEST:g} to 90 deg on either side of the plane, where the dust is a "
                "thin screen"
            )
        return value


class LabelErrors(Section):
    """Errors of the mock stars' spectroscopic labels: those of SEGUE's (Lee et al. 2008, AJ 136, 2022)."""

    teff: float = Field(157.0, gt=0, description="median error of Teff, K")
    feh: float = Field(0.24, gt=0, description="median error of [Fe/H], dex")
    logg: float = Field(0.29, gt=0, description="median error of log g, dex")
    scatter: float = Field(0.3, ge=0, description="of a star's error about the median, in ln")
    missing: float = Field(0.05, ge=0, lt=1, description="share of each label that is missing")


class Mock(Section):
    """Mock stars of known labels."""

    fields: Annotated[list[MockField], Field(min_length=1, description="directions of the stars")] = [
        MockField.model_validate({"l": f"{l} deg", "b": f"{b} deg"})
        for l, b in ((0, 30), (60, 15), (90, 45), (120, -60), (180, 20), (180, 75), (240, 35), (300, -30))
    ]
    stars: int = Field(60_000, ge=100, description="bare stars, as many in each field; fewer are seen")
    surveys: list[Literal["2mass", "gaia", "sdss", "cfis", "ps1"]] = Field(
        ["sdss", "gaia"], min_length=1, description="of the bands; the first that has a band gives its errors"
    )
    limits: dict[str, Magnitude] = Field(
        {"u": "21 mag", "g": "20 mag", "r": "20 mag", "i": "20 mag", "z": "19.5 mag", "G": "19.5 mag"},
        validate_default=True,
        description="bands of the stars, and the faint limit of the measured magnitude in each",
    )
    bright: Magnitude = Field("14 mag", validate_default=True, description="saturation in every band")
    required: list[str] = Field(["g", "r", "i"], min_length=1, description="bands in which every star is seen")
    hidden: float = Field(0.0, ge=0, lt=1, description="share of the other bands that is missing at random")
    screen: Magnitude = Field(
        "0.06 mag", validate_default=True, ge=0, description="median A_V towards the pole; elsewhere over sin |b|"
    )
    screen_scatter: float = Field(0.3, ge=0, description="of the stars' A_V about it, in ln")
    label_errors: LabelErrors = LabelErrors()

    @model_validator(mode="after")
    def _consistent(self) -> "Mock":
        known = {name for survey in self.surveys for name in SURVEYS[survey].bands}
        if unknown := [band for band in self.limits if band not in known]:
            raise ValueError(f"limits: found {', '.join(unknown)}; expected bands of {', '.join(self.surveys)}")
        if unknown := [band for band in self.required if band not in self.limits]:
            raise ValueError(f"required: found {', '.join(unknown)}; expected bands of limits")
        if min(self.limits.values()) <= self.bright:
            raise ValueError(f"bright: found {self.bright:g} mag; expected less than each of limits")
        return self

    def bands(self) -> dict[str, Band]:
        """Each band of the stars, as its survey sees it."""
        every = {name: band for survey in reversed(self.surveys) for name, band in SURVEYS[survey].bands.items()}
        return {name: every[name] for name in self.limits}


class MapSettings(Section):
    """The maps of mean metallicity, which stars make them, and the selection that is taken out."""

    radius: tuple[Kiloparsec, Kiloparsec] = Field(
        ("4 kpc", "14 kpc"), validate_default=True, description="range of galactocentric R"
    )
    height: Kiloparsec = Field("6 kpc", validate_default=True, gt=0, description="largest distance from the plane")
    step: Kiloparsec = Field("0.5 kpc", validate_default=True, gt=0, description="of the map against R and |Z|")
    half_side: Kiloparsec = Field("5 kpc", validate_default=True, gt=0, description="of the map against x, y and z")
    voxel: Kiloparsec = Field("1 kpc", validate_default=True, gt=0, description="side of a cell of that map")
    least: int = Field(20, ge=2, description="stars in a cell for a mean")
    distance: Literal["distance", "distance_ivezic"] = Field("distance", description="column of the label file")
    distance_error: float = Field(0.5, gt=0, description="largest relative error of a star's distance")
    stars: Literal["dwarfs", "giants", "all"] = Field("dwarfs", description="by the probability of being a giant")
    teff: tuple[float, float] = Field((5000.0, 6500.0), description="range of Teff, K")
    limits: dict[str, Magnitude] | None = Field(
        None, description="faint limits that every star passes; none: the mock's, or of a table none that is known"
    )
    bright: Magnitude = Field("14 mag", validate_default=True, description="bright limit in the bands of limits")
    seen: float = Field(
        0.2, gt=0, le=1, description="least share of the stars of any [Fe/H] that the limits let pass at a distance"
    )
    quality: int = Field(0b11110, ge=0, le=255, description="flags of the label file that exclude a star, added up")

    _ordered = field_validator("radius", "teff")(increasing)

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Edges of the cells in R and in |Z|, kpc."""
        low, high = self.radius
        return (
            np.linspace(low, high, max(1, round((high - low) / self.step)) + 1),
            np.linspace(0.0, self.height, max(1, round(self.height / self.step)) + 1),
        )

    def voxels(self) -> np.ndarray:
        """Edges of the voxels along each axis, heliocentric, kpc."""
        return np.linspace(-self.half_side, self.half_side, max(1, round(2 * self.half_side / self.voxel)) + 1)


class LabelComparison(Section):
    """Colour excess of labelled stars beside a cube."""

    labels: Literal["known", "predicted"] = Field(
        "known",
        description="Teff, [Fe/H] and log g of the table of stars, or of the label file; a network that has seen the "
        "reddened colours takes their dust for a low Teff, and its labels leave no excess",
    )
    colour: tuple[str, str] = Field(("g", "i"), description="bands of the colour")
    band: str = Field("r", description="band of the distances")
    step: Kiloparsec = Field("0.5 kpc", validate_default=True, gt=0, description="of the distance bins")
    least: int = Field(10, ge=2, description="stars in a distance bin for a mean")
    radius: Degree = Field("0.5 deg", validate_default=True, gt=0, description="of the cone around a tile's centre")
    sightlines: int = Field(6, ge=1, description="tiles of most stars that are compared")


class Settings(Config):
    """All settings of the task: the root of config/metallicity.yaml."""

    name: str = Field("metallicity", pattern="^[A-Za-z0-9_-]+$", description="of the folder of results")
    seed: int = Field(ge=0, description="of every random stream")
    source: Literal["mock", "table"] = Field("mock", description="mock stars, or the user's table of stars")
    galaxy: GalaxySettings = GalaxySettings()
    dust: Dust = Dust()
    mock: Mock = Mock()
    stars: StarTable | None = None
    deredden: Deredden = Deredden()
    split: Split = Split()
    network: LabelNetwork = LabelNetwork()
    training: Training = Training(epochs=20, learning_rate=2e-3, rounds=1, precision="32-true")
    training_job: TrainingJob = TrainingJob()
    evaluation: Evaluation = Evaluation()
    map: MapSettings = MapSettings()
    comparison: LabelComparison = LabelComparison()
    cube: str | None = Field(None, description="a cube whose window holds the stars, for compare_labels")

    @model_validator(mode="after")
    def _table(self) -> "Settings":
        if self.source == "table" and self.stars is None:
            raise ValueError("stars: found none beside source 'table'; expected a table of stars and its columns")
        if self.evaluation.alone is not None and (unknown := set(self.evaluation.alone) - set(self.features())):
            raise ValueError(
                f"evaluation.alone: found {', '.join(sorted(unknown))}; expected some of {', '.join(self.features())}"
            )
        return self

    def features(self) -> list[str]:
        """Bands or colours of the stars, and the extinction where it is an input."""
        names = self.stars.features() if self.source == "table" and self.stars is not None else list(self.mock.limits)
        return [*names, *(["a_v"] if self.deredden.use == "input" else [])]

    def variants(self) -> dict[str, tuple[LabelNetwork, int, str]]:
        """Trainings by name: the network's settings, which of the seeds, and the band that it never sees or ""."""
        thesis = thesis_widths(self.evaluation.thesis_width)
        found = {"network": (self.network, 0, "")}
        found |= {f"seed_{number}": (self.network, number, "") for number in range(1, self.evaluation.seeds)}
        alone = self.features() if self.evaluation.alone is None else self.evaluation.alone
        plain = self.network.model_copy(update={"hide": 0.0})
        for number in range(self.evaluation.seeds):
            found |= {f"without_{name}{f'_seed_{number}' if number else ''}": (plain, number, name) for name in alone}
        if self.evaluation.thesis:
            options: dict[str, dict[str, Any]] = {
                "thesis": {"name": "thesis", "hide": 0.0},
                "thesis_attention": {"name": "thesis", "attention": True, "hide": 0.0},
                "thesis_autoencoder": {"name": "thesis_autoencoder"},
            }
            found |= {
                name: (self.network.model_copy(update={"widths": thesis} | changes), 0, "")
                for name, changes in options.items()
            }
        return found


def thesis_widths(largest: int) -> list[int]:
    """Widths of the thesis' encoder and decoder: from 32 up to the largest in six steps of one ratio, and back."""
    up = [round(32 * (largest / 32) ** (step / 6)) for step in range(7)]
    return [*up, *up[-2::-1]]
