"""Settings of a region's dust map: the root of config/*.yaml, and the sections that only the dust map has.

The JSON schema that Snakemake validates against (config/schema.json) is generated from these
models by ``galcarto schema``.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from galcarto.core.settings import Config, Section, SettingsError, increasing, load
from galcarto.core.sky import Tiles, separation, sightline_name
from galcarto.core.units import Degree, Frame, Kiloparsec, Magnitude
from galcarto.dust.settings import Dust, ProfileSettings, SyntheticSky
from galcarto.galaxy.settings import BackgroundGalaxies, GalaxySettings, Validation
from galcarto.learning.settings import InferenceJob, Network, Training, TrainingJob
from galcarto.maps.settings import Credits, Distance, FaceOn, Publish, Tile
from galcarto.surveys.settings import ArchiveQuery, CatalogueFile, Catalogues, SurveySettings

FAR = 10.0  # deg; farther from the window the stars are others than the map's
CHUNK = 1024  # examples rendered at once, with their own random numbers; files are divided between chunks


class Sky(Section):
    """The window to map and where its stars come from."""

    source: Literal["synthetic", "files", "archive"] = Field(
        description="Mock stars behind known dust, catalogues on disk, or an archive on the network."
    )
    l: tuple[Degree, Degree] = Field(
        description="Galactic longitudes; at most 360 deg, a whole number of tiles. May pass 360 deg: `[355 deg, "
        "365 deg]`."
    )
    b: tuple[Degree, Degree] = Field(description="Galactic latitudes within -90 to 90 deg, a whole number of tiles.")
    strip_columns: int = Field(
        6, ge=1, description="Columns of tiles in longitude that one job processes. The map does not depend on it."
    )
    files: list[CatalogueFile] = Field(
        [], description="Catalogues; at least one where the source is `files`. Those of one survey are joined."
    )
    archives: list[ArchiveQuery] = Field(
        [], description="Where the source is `archive`: one entry for each of `surveys`."
    )
    # files do not depend on it, so rules do not pass it to their stages
    offline: bool = Field(
        False, exclude=True, description="Send no request, also for maps: use what was fetched before."
    )

    _ordered = field_validator("l", "b")(increasing)

    @model_validator(mode="after")
    def _consistent(self) -> "Sky":
        if self.source == "files" and not self.files:
            raise ValueError("found source 'files' and no entry in sky.files; expected at least one catalogue")
        if self.source == "archive" and not self.archives:
            raise ValueError("found source 'archive' and no entry in sky.archives; expected one for the survey")
        if not -90 <= self.b[0] < self.b[1] <= 90 or self.l[1] - self.l[0] > 360:
            raise ValueError("expected b within -90 to 90 deg and l spanning at most 360 deg")
        return self

    def grid(self, tile: float) -> Tiles:
        """The tiles of `tile` degrees that cover the window."""
        return Tiles.cover(self.l, self.b, tile)

    def strips(self, tile: float) -> list[str]:
        """Names of the strips of longitude columns that are processed as one job."""
        return [f"{i:04d}" for i in range(-(-self.grid(tile).shape[0] // self.strip_columns))]

    def strip(self, tile: float, name: str) -> Tiles:
        """The tiles of one strip."""
        start = int(name) * self.strip_columns
        return self.grid(tile).columns(start, start + self.strip_columns)


class Control(Section):
    """A nearly dust-free field, in which differences between real and mock stars are measured."""

    files: list[CatalogueFile] = Field(
        min_length=1, description="Catalogues of the field, with the keys of `sky.files`; one or more."
    )
    l: tuple[Degree, Degree] = Field(description="Galactic longitudes of the field.")
    b: tuple[Degree, Degree] = Field(description="Galactic latitudes of the field.")
    extinction: Magnitude = Field(
        "0.1 mag", validate_default=True, ge=0, description="A_V in front of all stars of the field, as assumed."
    )
    extinction_sd: Magnitude = Field(
        "0.05 mag",
        validate_default=True,
        ge=0,
        description="Its standard deviation. It adds to the error of the zero point of the colour.",
    )

    _ordered = field_validator("l", "b")(increasing)


class Realism(Section):
    """Systematics missing from the mock, drawn for each training example around the control field's values.

    A width of 0 switches a nuisance off, whatever the error of the control field.
    """

    spread: tuple[float, float] = Field(
        (0.1, 0.9),
        description="Differential extinction: standard deviation of ln(A_V) among the stars of a tile; 0 to 3.",
    )
    covering: tuple[float, float] = Field(
        (0.95, 1.0), description="Covering fraction: the part of a tile's area behind dust; above 0, at most 1."
    )
    colour: Magnitude = Field("0.02 mag", ge=0, validate_default=True, description="Zero point of the colour.")
    colour_slope: float = Field(0.005, ge=0, description="Slope of the colour's zero point with magnitude, mag/mag.")
    magnitude: Magnitude = Field(
        "0.02 mag", ge=0, validate_default=True, description="Zero point common to all bands of a survey."
    )
    normalisation: float = Field(0.1, ge=0, description="ln of the number of all stars.")
    components: float = Field(0.15, ge=0, description="ln of the number of a Galactic component's stars.")
    metallicity: float = Field(
        0.1,
        ge=0,
        description="Shift of a component's metallicity, dex. No group of stars grows by more than a factor of 3,"
        " so the shift is smaller in components with little scatter.",
    )
    binaries: float = Field(0.2, ge=0, description="ln of the number of binaries over that of single stars.")
    r_v: float = Field(0.2, ge=0, description="R_V, one for a tile; within the 2.3 to 5.6 of G23.")
    galaxies: float = Field(0.3, ge=0, description="ln of the number of background galaxies.")

    @model_validator(mode="after")
    def _ranges(self) -> "Realism":
        for name, (low, high), top in (("spread", self.spread, 3.0), ("covering", self.covering, 1.0)):
            if not 0 <= low <= high <= top:
                raise ValueError(f"{name}: found {low:g} to {high:g}; expected 0 to {top:g}, the lower end first")
        if self.covering[0] <= 0:
            raise ValueError("covering: found a lower end of 0; expected more, as dust covers part of each tile")
        return self


class DiagramSettings(Section):
    """Sections that describe the diagrams: of stages that need no mock star."""

    surveys: list[SurveySettings]
    pixels: int
    dust: Dust
    distance: Distance


class InstrumentSettings(DiagramSettings):
    """Sections that describe the whole forward model: of stages that simulate diagrams."""

    galaxy: GalaxySettings
    realism: Realism
    galaxies: BackgroundGalaxies


class Position(Section):
    """A direction on the sky."""

    l: Degree = Field(description="Galactic longitude, 0 to 360 deg.")
    b: Degree = Field(description="Galactic latitude, -90 to 90 deg.")

    @model_validator(mode="after")
    def _on_the_sphere(self) -> "Position":
        if not (0 <= self.l < 360 and -90 <= self.b <= 90):
            raise ValueError(f"found l = {self.l:g}, b = {self.b:g} deg; expected l in 0-360 and b in -90 to 90 deg")
        return self

    def name(self) -> str:
        """The sightline's name in files."""
        return sightline_name(self.l, self.b)


class Sightlines(Section):
    """Sightlines whose mock stars train and test the network."""

    train: list[Position] = Field(
        min_length=1,
        description="Directions for training and validation; one or more, at most 10 deg from the nearest tile: "
        "farther away the stars are others than the map's.",
    )
    test: list[Position] = Field(
        min_length=1, description="Directions for the held-out scores, with the same keys; one or more, as near."
    )

    @model_validator(mode="after")
    def _unseen(self) -> "Sightlines":
        names = [p.name() for p in (*self.train, *self.test)]
        if len(set(names)) < len(names):
            raise ValueError("found a sightline twice; expected test sightlines that are not trained on")
        return self

    def names(self, split: str) -> list[str]:
        """Sightlines of a split: ``valid`` shares those of ``train``."""
        return [p.name() for p in (self.test if split == "test" else self.train)]


class Examples(Section):
    """Examples per sightline in each split."""

    train: int = Field(gt=0, description="For training, on each training sightline.")
    valid: int = Field(gt=0, description="For early stopping and calibration, on each training sightline.")
    test: int = Field(gt=0, description="For the held-out scores, on each test sightline.")
    shards: int = Field(
        1,
        gt=0,
        description="Number of files of a sightline's training examples, `cmds/train/SIGHTLINE.0000.nc` and so "
        "on; each is a job. The examples do not depend on it. At most one for each 1024 examples.",
    )
    together: bool = Field(
        False,
        description="One job draws the stars of all sightlines, and one renders all their examples: for regions of "
        "minutes, in which the start of a job for each would take most of the time. Counts do not depend on it, and "
        "references to 0.5 %. Needs `shards: 1`.",
    )

    @model_validator(mode="after")
    def _enough(self) -> "Examples":
        chunks = -(-self.train // CHUNK)
        if self.shards > chunks:
            raise ValueError(
                f"shards: found {self.shards}; expected at most {chunks}, as {self.train} training examples are "
                f"rendered {CHUNK} at a time"
            )
        if self.together and self.shards > 1:
            raise ValueError(f"shards: found {self.shards} with together: true; expected 1, or together: false")
        return self

    def parts(self, split: str) -> list[tuple[int, int]]:
        """First example and number of examples of each file of a sightline."""
        number = getattr(self, split)
        chunks, shards = -(-number // CHUNK), self.shards if split == "train" else 1
        starts = [CHUNK * (chunks * shard // shards) for shard in range(shards + 1)]
        return [(first, min(end, number) - first) for first, end in pairwise(starts)]


class Inference(Section):
    """Sampling of the posterior."""

    samples: int = Field(100, ge=16, description="Posterior samples per tile.")
    min_stars: float = Field(
        20.0,
        gt=0,
        description="Expected detectable stars that must lie in or beyond a bin for it to be within "
        "`distance_max`, and in or before it for `distance_min`. Both also require a posterior "
        "narrower than the prior.",
    )


class Ablation(Section):
    """Training of each variant of the ablation, from scratch."""

    train: int = Field(20_000, gt=0, description="Training examples of a variant, on each training sightline.")
    valid: int = Field(
        800, gt=0, description="Examples for its early stopping and calibration, on each training sightline."
    )
    epochs: int = Field(1, gt=0, description="Passes over them. The rest is as in `training`.")


class PlanckMap(Section):
    """A HEALPix map of dust to compare with in the plane of the sky."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        description="Name in files and metrics, one for each map; letters, digits, `_` and `-`.",
    )
    path: str | None = Field(
        None,
        description="FITS file. That of the synthetic sky is `results/REGION/sky/planck.fits`. Either this or `url`.",
    )
    url: str | None = Field(
        None, description="Address of a FITS file, which is fetched once into `results/REGION/planck/NAME.fits`."
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="Digest that the fetched file must have. Without it, that of the first download is logged, "
        "written to `NAME.fits.sha256`, and required from then on.",
    )
    quantity: Literal["tau353", "ebv", "av"] = Field(
        description="Optical depth at 353 GHz, turned into E(B-V) with 1.49e4 mag (Planck 2013 results XI); "
        "E(B-V); or A_V. The file's unit must agree: none for `tau353`, `mag` or `mmag` for the "
        "others."
    )
    ordering: Literal["ring", "nested"] = Field(
        description="Order of the pixels; a file whose header states the other is refused."
    )
    frame: Frame = Field(
        description="Frame of the map, as in `sky.files[].frame`; a file whose header (`COORDSYS`) states another"
        " is refused."
    )
    column: str | None = Field(None, description="Table column; absent for an image.")
    hdu: int = Field(1, description="Number of the HDU; 0 is the primary one.")
    ceiling: Magnitude = Field(
        "100 mag", validate_default=True, description="Tiles where the map's A_V is at least this are not compared."
    )
    line_below: Magnitude = Field(
        "100 mag",
        validate_default=True,
        description="The straight line and its scatter are fitted to tiles where the map's A_V is below this; the"
        " rank correlation uses all.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "PlanckMap":
        if (self.path is None) == (self.url is None):
            raise ValueError(f"found path {self.path!r} and url {self.url!r}; expected one of them")
        if self.sha256 and self.url is None:
            raise ValueError("found sha256 without url; expected both, or a path alone")
        return self


class PublishedMap(Section):
    """A published map of dust in three dimensions to compare with."""

    name: Literal["marshall06", "bayestar19", "edenhofer24", "lallement22"] = Field(
        description="Name of the map; each once."
    )
    path: str | None = Field(
        None,
        description="Its file. Without it the map is fetched into `results/REGION/maps`, up to several GB; a "
        "failure is noted in metrics and report and does not stop the workflow.",
    )


class KnownDistance(Section):
    """A published distance of the cloud, drawn in the figure."""

    l: Degree = Field(description="Galactic longitude at which it was measured.")
    distance: Kiloparsec = Field(description="The distance.")
    source: str = Field(description="Reference: its label in the figure.")


class Structure(Section):
    """Distance of the dust in tiles of high extinction."""

    map: str = Field(description="Name of that map in `compare.planck`.")
    above: Magnitude = Field("4 mag", validate_default=True, description="Tiles above this A_V of the map are used.")
    total: Kiloparsec = Field(
        "1 kpc", validate_default=True, description="Behind the cloud: half of the A_V to here is the half-rise."
    )
    window: tuple[Kiloparsec, Kiloparsec] = Field(
        ("0.34 kpc", "0.48 kpc"), validate_default=True, description="Where the half-rise is expected."
    )
    foreground: Kiloparsec = Field(
        "0.25 kpc", validate_default=True, description="Before the cloud: the fraction of A_V to here is foreground."
    )
    far: Kiloparsec = Field(
        "1.5 kpc", validate_default=True, description="Well behind the cloud: A_V added to here is background."
    )
    known: list[KnownDistance] = Field(
        [], description="Published distances of the cloud, drawn in the figure and not used otherwise."
    )

    _ordered = field_validator("window")(increasing)


class Limit(Section):
    """Comparison of the network with the information limit and with colour excesses."""

    examples: int = Field(24, ge=2, description="Test examples of the first test sightline, for all three.")
    particles: int = Field(
        512, ge=32, description="Posterior samples of the solver, to which its time is proportional."
    )
    excess: int = Field(
        1000,
        ge=2,
        description="Test examples for the network and the colour excesses alone, a quarter of a second each; all"
        " if there are fewer.",
    )


class Compare(Section):
    """Reference maps, and other solutions of the same diagrams."""

    planck: list[PlanckMap] = Field([], description="HEALPix maps of the whole line of sight.")
    maps: list[PublishedMap] = Field(
        [],
        description="Published maps of dust in three dimensions, compared bin by bin of distance "
        "([docs/comparing.md](../docs/comparing.md)).",
    )
    distance: Kiloparsec | None = Field(
        None,
        description="The cube's A_V to this distance, or to `distance_max` if that is nearer, is compared with "
        "the maps; without it, always to `distance_max`.",
    )
    structure: Structure | None = None
    limit: Limit | None = None

    @model_validator(mode="after")
    def _distinct(self) -> "Compare":
        for key, entries in (("maps", self.maps), ("planck", self.planck)):
            names = [entry.name for entry in entries]
            if len(set(names)) < len(names):
                raise ValueError(f"{key}: found the names {', '.join(names)}; expected each once")
        if self.structure is not None and self.structure.map not in names:
            raise ValueError(
                f"structure.map: found {self.structure.map!r}; expected one of compare.planck: {', '.join(names)}"
            )
        return self


class Tracers(Section):
    """Spiral arms and young objects, with which the dust is compared."""

    arms: Literal["reid2019", "synthetic"] = Field(
        "reid2019",
        description="The Milky Way's arms (Reid et al. 2019, ApJ 885, 131), or those of the synthetic sky, with "
        "which the dust is compared; the face-on view of a synthetic sky always has its own.",
    )
    masers: list[str] = Field(
        [],
        description="Tables of masers with parallaxes in the format of Reid et al. 2019 (ApJ 885, 131) and Xu et "
        "al. 2023 (ApJ 947, 54): `plx`, `e_plx` and positions. A maser in two tables is used once.",
    )
    hii: str | None = Field(
        None,
        description="VOTable of the HII regions of Hou & Han 2014 (A&A 569, A125, table A.1), or the URL from "
        "which it is fetched once: see `config/orion.yaml`.",
    )
    arm_width: Kiloparsec = Field(
        "0.35 kpc",
        gt=0,
        validate_default=True,
        description="Half the width of an arm. Masers give widths of 0.3 to 0.5 kpc, except for the Outer arm (Xu"
        " et al. 2023, Table 2).",
    )
    height: Kiloparsec = Field(
        "0.2 kpc", gt=0, validate_default=True, description="Cells farther from the plane are left out."
    )


class Settings(Config):
    """All settings of a region."""

    region: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        description="Name of the region and of its folder `results/REGION`; letters, digits, `_` and `-`.",
    )
    seed: int = Field(ge=0, description="Seed of every random stream.")
    sky: Sky
    synthetic: SyntheticSky = SyntheticSky()
    tile: Tile
    distance: Distance
    galaxy: GalaxySettings = GalaxySettings()
    dust: Dust = Dust()
    surveys: list[SurveySettings] = Field(min_length=1, description="One or more surveys, each once.")
    pixels: int = Field(64, ge=16, description="Pixels along each side of every diagram.")
    control: Control | None = None
    realism: Realism = Realism()
    galaxies: BackgroundGalaxies = BackgroundGalaxies()
    profiles: ProfileSettings = ProfileSettings()
    examples: Examples
    sightlines: Sightlines
    network: Network = Network()
    training: Training
    training_job: TrainingJob = TrainingJob()
    inference_job: InferenceJob = InferenceJob()
    inference: Inference = Inference()
    compare: Compare = Compare()
    credits: Credits = Credits()
    faceon: FaceOn = FaceOn()
    publish: Publish = Publish()
    tracers: Tracers = Tracers()
    ablation: Ablation = Ablation()
    validation: Validation = Validation()
    catalogues: Catalogues = Catalogues()

    @field_validator("region")
    @classmethod
    def _free(cls, value: str) -> str:
        if value == "galaxy":
            raise ValueError(
                "found 'galaxy', whose folder holds the validation of the mock Galaxy; expected another name"
            )
        if value == "surveys":
            raise ValueError("found 'surveys', whose folder holds the measured surveys; expected another name")
        return value

    @model_validator(mode="after")
    def _known_surveys(self) -> "Settings":
        names = [survey.name for survey in self.surveys]
        if len(set(names)) < len(names):
            raise ValueError(f"surveys: found {', '.join(names)}; expected each once")
        named = [(f"sky.files.{i}", file.survey) for i, file in enumerate(self.sky.files)]
        if self.control is not None:
            named += [(f"control.files.{i}", file.survey) for i, file in enumerate(self.control.files)]
        for path, name in named:
            if name not in names:
                raise ValueError(f"{path}.survey: found {name!r}; expected one of surveys: {', '.join(names)}")
        self.sky.grid(self.tile.size)
        return self

    @model_validator(mode="after")
    def _near(self) -> "Settings":
        grid = self.sky.grid(self.tile.size)
        l, b = np.meshgrid(grid.l, grid.b)
        for split, positions in (("train", self.sightlines.train), ("test", self.sightlines.test)):
            for i, position in enumerate(positions):
                distance = float(separation(position.l, position.b, l, b).min())
                if distance > FAR:
                    raise ValueError(
                        f"sightlines.{split}.{i}: found l = {position.l:g}, b = {position.b:g} deg, {distance:.0f} deg "
                        f"from the nearest tile; expected at most {FAR:g} deg; move it into the window (sky.l, sky.b)"
                    )
        return self

    @model_validator(mode="after")
    def _batches(self) -> "Settings":
        sightlines = len(self.sightlines.train)
        for key, number in (("examples.train", self.examples.train), ("ablation.train", self.ablation.train)):
            if self.training.batch > number * sightlines:
                raise ValueError(
                    f"training.batch: found {self.training.batch}; expected at most {number * sightlines}, the "
                    f"training examples of {key} on {sightlines} sightlines; lower it, or raise {key}"
                )
        return self

    @model_validator(mode="after")
    def _archives(self) -> "Settings":
        asked, known = [entry.survey for entry in self.sky.archives], [survey.name for survey in self.surveys]
        if self.sky.source == "archive" and sorted(asked) != sorted(known):
            raise ValueError(
                f"sky.archives: found the surveys {', '.join(asked)}; expected each of surveys once: {', '.join(known)}"
            )
        return self


def read_settings(config: Mapping[str, Any] | str | Path) -> Settings:
    """Read the settings of a region from a mapping or a YAML file; raises SettingsError if they are invalid."""
    return load(config, Settings)


def check_merge(default: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Check settings that Snakemake merges into those of the default file, the demo.

    Parameters
    ----------
    default, given : mapping
        The default file, and what is merged into it.

    Returns
    -------
    str
        A warning that lists the sections that are the default's; empty if there is none, or for the default's region.

    Raises
    ------
    SettingsError
        If the stars are real: the demo's have no nuisances.
    """
    left = [key for key, value in default.items() if key not in given or _lacks(given[key], value)]
    source = (given.get("sky") or {}).get("source", "synthetic")
    region = given.get("region", default["region"])
    if not left or (source == "synthetic" and region == default["region"]):
        return ""
    remedy = f"add --replace-workflow-config, or write {'them' if len(left) > 1 else 'it'}"
    if source != "synthetic":
        raise SettingsError(
            f"sky.source: found {source!r}, real stars, with sections of the demo, whose sky has no nuisances: "
            f"{', '.join(left)}; expected all of region {region!r}; {remedy}"
        )
    return (
        f"region {region}: these sections are the demo's, whole or in part: {', '.join(left)}; if not meant, {remedy}"
    )


def _lacks(given: Any, default: Any) -> bool:
    """Whether a merged section keeps a key of the default."""
    if not (isinstance(given, Mapping) and isinstance(default, Mapping)):
        return False
    return any(key not in given or _lacks(given[key], value) for key, value in default.items())


def schema() -> dict[str, Any]:
    """Return the JSON schema of a config file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
