"""Settings of tables of stars, and of networks from bands or colours to labels."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from galcarto.core.settings import Section
from galcarto.core.units import Frame, Magnitude

LABELS = {"teff": "K", "feh": "dex", "logg": "dex", "giant": "1"}  # in the order in which the heads follow each other
EXTINCTION = "a_v"  # the feature that is the extinction in front of a star
PLACES = ("longitude", "latitude", "distance", "id")  # other columns that a table of stars may have


def is_colour(name: str) -> bool:
    """Whether a feature is a colour, such as ``u-g``, and no band."""
    return "-" in name


def is_band(name: str) -> bool:
    """Whether a feature is a magnitude, and neither a colour nor an extinction."""
    return not is_colour(name) and name != EXTINCTION


class StarTable(Section):
    """A user's table of stars."""

    path: str = Field(description="FITS, Parquet, CSV, ECSV, VOTable or IPAC file")
    columns: dict[str, str] = Field(
        description="our name to the file's: each band, or each colour such as u-g, and optionally longitude, "
        "latitude, id, the labels teff, feh, logg and giant, and NAME_error of a band, a colour or a label"
    )
    frame: Frame = Field("galactic", description="of longitude and latitude")

    @model_validator(mode="after")
    def _features(self) -> "StarTable":
        names = self.features()
        if not names:
            raise ValueError(
                f"columns: found {', '.join(self.columns) or 'none'}; expected at least one band or colour"
            )
        if len({is_colour(name) for name in names}) > 1:
            raise ValueError(f"columns: found {', '.join(names)}; expected bands, or colours, but not both")
        known = {*names, *LABELS}
        wrong = [name for name in self.columns if name.endswith("_error") and name.removesuffix("_error") not in known]
        if wrong:
            raise ValueError(f"columns: found {', '.join(wrong)}; expected the errors of {', '.join(sorted(known))}")
        return self

    def features(self) -> list[str]:
        """Bands or colours, in the order of the columns."""
        other = (*LABELS, *PLACES)
        return [name for name in self.columns if name not in other and not name.endswith("_error")]


class Split(Section):
    """Shares of the stars that stop and calibrate the training, and that only judge it; the rest trains."""

    valid: float = Field(0.15, gt=0, lt=0.5, description="share of the stars that stop and calibrate the training")
    test: float = Field(0.15, gt=0, lt=0.5, description="share of the stars that only judge it")


class LabelNetwork(Section):
    """A network from bands or colours to labels."""

    name: Literal["residual", "thesis", "thesis_autoencoder"] = Field(
        "residual", description="ours, or the regressor or the auto-encoder of the thesis that the task follows"
    )
    widths: list[int] = Field([64, 128, 64], min_length=2, description="of the residual blocks")
    attention: bool = Field(False, description="over bands, before the blocks")
    components: int = Field(4, ge=1, description="normal distributions in the mixture of each label")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of units dropped in training")
    hide: float = Field(0.6, ge=0, le=1, description="share of the training stars of which some bands are hidden")
    band_weight: float = Field(1.0, ge=0, description="weight of the hidden bands in the loss")
    giant_weight: float = Field(1.0, ge=0, description="weight of the giants' cross-entropy in the loss")

    @field_validator("widths")
    @classmethod
    def _positive(cls, value: list[int]) -> list[int]:
        if min(value) < 1:
            raise ValueError(f"found {value}; expected widths of at least 1")
        return value


class Deredden(Section):
    """Dust in front of the stars."""

    map: str | None = Field(None, description="a cube of Galcarto, or the name of a map of dustmaps, such as sfd")
    a_v: Magnitude = Field("1 mag", gt=0, validate_default=True, description="A_V where a map of dustmaps is 1")
    law: Literal["G23", "F99", "CCM89"] = Field("F99", description="as `dust.law`")
    r_v: float = Field(3.1, gt=2, lt=6, description="A_V / E(B-V)")
    use: Literal["none", "deredden", "input"] = Field(
        "none", description="correct the colours with the map's A_V, or show it to the network beside them"
    )

    @model_validator(mode="after")
    def _named(self) -> "Deredden":
        if (self.map is None) != (self.use == "none"):
            raise ValueError(f"found map {self.map!r} and use {self.use!r}; expected a map and what to use it for")
        return self


class Evaluation(Section):
    """How the network is judged."""

    seeds: int = Field(3, ge=1, description="trainings, each with a split of its own; scores are medians over them")
    alone: list[str] | None = Field(
        None, description="bands without which a network is trained for comparison; by default each in turn"
    )
    cuts: dict[str, dict[str, tuple[float, float]]] = Field(
        {}, description="further sets of stars to score: ranges of bands or colours, mag, by a name"
    )
    baselines: bool = Field(True, description="boosted trees and a cubic polynomial")
    exact: int = Field(0, ge=0, description="mock test stars whose exact posterior is computed")
    pool: int = Field(1_000_000, ge=1000, description="mock stars that the exact posterior is made of")
    thesis: bool = Field(True, description="the thesis' regressor, with and without attention, and its auto-encoder")
    thesis_width: int = Field(
        4096, ge=32, description="largest width of the thesis' networks; that of the thesis: 4096"
    )
