"""Settings of absorbers in quasar spectra: config/absorbers.yaml."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from galcarto.core.settings import Config, Section, increasing
from galcarto.learning.settings import Training, TrainingJob

Range = Annotated[tuple[float, float], AfterValidator(increasing)]
SWITCHES = ("forest", "all_columns", "lyman_limit", "metals", "broad_lines", "sky", "redshift_errors")


class Continuum(Section):
    """Quasars without absorption."""

    path: str = Field(
        "gp_dla_finder",
        description="file of a mean and of components (.npz), as `learn_continuum` writes it; the default is that of "
        "eBOSS quasars in the installed package of that name",
    )


class Mock(Section):
    """What a mock sightline has. With every switch off but `forest` it is the plain mock."""

    redshift: Range = Field(
        (2.1, 5.0), description="of the quasars; their number falls exponentially from the first on"
    )
    redshift_scale: float = Field(0.45, gt=0, description="of that fall")
    snr: Range = Field(
        (1.0, 12.0), description="S/N of a pixel, median between 1041 and 1205 Angstrom; even in the logarithm"
    )
    forest: bool = Field(True, description="Lyman-alpha forest")
    all_columns: bool = Field(
        True, description="absorbers from lg N = 17.2 on; without it from 19.5 on, the least that the network looks for"
    )
    lyman_limit: bool = Field(True, description="no light below an absorber's Lyman limit")
    metals: bool = Field(True, description="metal lines of the absorbers and of other clouds")
    broad_lines: bool = Field(True, description="broad absorption lines, in 12 % of the quasars")
    sky: bool = Field(True, description="residuals of sky lines")
    redshift_errors: bool = Field(True, description="errors of the quasars' redshifts, 400 km/s and a tail")
    spectra: str | None = Field(
        None, description="folder of your absorber-free spectra, to inject into instead of drawing quasars and forest"
    )
    reddening: float = Field(0.0, ge=0, description="A_V of the Galaxy's dust in front, mag")


class Examples(Section):
    """Numbers of sightlines."""

    train: int = Field(gt=0, description="for training, with more absorbers than there are in nature")
    valid: int = Field(gt=0, description="that choose the threshold and calibrate, as in nature")
    test: int = Field(gt=0, description="that only judge, as in nature; of each mock that is judged")
    part: int = Field(5000, gt=0, description="sightlines in a file, which one job makes")


class Network(Section):
    """A network, by name."""

    name: Literal["dilated", "parks2018"] = Field(
        "dilated", description="ours, over the whole spectrum; the sliding windows of Parks et al. 2018"
    )
    width: int = Field(32, gt=0, description="channels of ours")
    blocks: int = Field(
        9, gt=0, description="dilated layers of ours; the dilation doubles seven times, then begins anew"
    )
    stride: int = Field(8, gt=0, description="pixels that ours sums up in its first layer")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the dense layer of `parks2018`")
    offset_loss: Literal["gaussian", "squared"] = Field(
        "gaussian", description="of the offset to the absorber's centre"
    )


class Trial(Section):
    """Another training, for a comparison."""

    seeds: int | None = Field(None, gt=0, description="trainings; by default as many as `seeds`")

    network: dict[str, str | int | float] = Field({}, description="keys of `network` that are other")
    training: dict[str, int | float] = Field({}, description="keys of `training` that are other")


class Settings(Config):
    """All settings of config/absorbers.yaml."""

    name: str = Field("absorbers", pattern="^[A-Za-z0-9_-]+$", description="of the folder of results")
    seed: int = Field(ge=0, description="of every random stream")
    seeds: int = Field(1, ge=1, description="trainings, each with sightlines of its own; scores are medians over them")
    continuum: Continuum = Continuum()
    mock: Mock = Mock()
    examples: Examples
    network: Network = Network()
    training: Training
    training_job: TrainingJob = TrainingJob(threads=2, workers=0, runtime=240)
    ablation: bool = Field(False, description="judge mocks that lack one switch each, too")
    reddened: float = Field(1.0, ge=0, description="A_V of a mock behind the Galaxy's dust, mag; 0: none")
    trials: dict[str, Trial] = Field({}, description="other trainings, by name")
    finder: int = Field(
        0, ge=0, description="hard sightlines that gp-dla-finder searches too; it must be installed; seconds for each"
    )
    spectra: list[str] = Field(
        [], description="real spectra, files or folders, that are searched; left out if not there"
    )
    catalogue: str | None = Field(
        None, description="known absorbers in the real spectra: a table with plate, mjd, fiber, z_dla and log_nhi"
    )

    @model_validator(mode="after")
    def _trials(self) -> "Settings":
        for trial in self.trials:
            self.trained(trial)  # refuses unknown keys
        return self

    def trained(self, trial: str) -> "Settings":
        """Settings of a trial; of the main training where its name is empty."""
        if not trial:
            return self
        other = self.trials[trial]
        network = Network.model_validate(self.network.model_dump() | other.network)
        training = Training.model_validate(self.training.model_dump() | other.training)
        return self.model_copy(update={"network": network, "training": training})

    def mocks(self) -> dict[str, Mock]:
        """The mocks that are judged, by name."""
        plain = {name: name == "forest" for name in SWITCHES}
        made = {"hard": self.mock, "plain": self.mock.model_copy(update=plain)}
        if self.reddened:
            made["reddened"] = self.mock.model_copy(update={"reddening": self.reddened})
        if self.ablation:
            on = [name for name in SWITCHES if getattr(self.mock, name)]
            made |= {f"without_{name}": self.mock.model_copy(update={name: False}) for name in on}
        return made
