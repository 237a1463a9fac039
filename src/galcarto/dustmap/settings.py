"""The settings of a region: what config/*.yaml may say, with units and defaults.

The JSON schema that Snakemake validates against (config/schema.json) is generated from these
models by ``galcarto schema``.
"""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from astropy.coordinates import frame_transform_graph
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from galcarto.core.errors import UserError
from galcarto.core.sky import Tiles, sightline_name
from galcarto.core.units import Degree, Kiloparsec, Magnitude, Milliarcsecond, Second

CHUNK = 1024  # examples that are rendered at once, from random numbers of their own: files are cut between chunks


class SettingsError(UserError):
    """Settings that cannot be used; the message begins with the key's path."""


class Section(BaseModel):
    """A block of settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _increasing(value: tuple[float, float]) -> tuple[float, float]:
    if not value[0] < value[1]:
        raise ValueError(f"found {value[0]:g} to {value[1]:g}; expected the lower end first")
    return value


class CatalogueFile(Section):
    """A star catalogue on disk."""

    path: str
    survey: str = Field("2mass", description="the survey of its stars")
    columns: dict[str, str] = Field(
        description="our name to the file's: longitude, latitude, each band, and optionally BAND_error"
    )
    frame: str = "galactic"
    footprint_cell: Degree = Field("6 arcmin", gt=0, validate_default=True)


class ArchiveQuery(Section):
    """An archive to ask for a survey's stars."""

    survey: Literal["2mass", "gaia"]
    archive: Literal["vizier-2mass", "irsa-2mass", "gaia-dr3"]
    url: str | None = Field(None, description="another address of the archive's synchronous TAP queries")
    page: int = Field(50_000, ge=100, description="most stars in one answer")
    interval: Second = Field("1 s", ge=0, validate_default=True, description="least time between two requests")
    timeout: Second = Field("300 s", gt=0, validate_default=True, description="silence that counts as a fault")
    retries: int = Field(5, ge=0)


class SyntheticSky(Section):
    """The dust of the embedded synthetic sky, whose truth is known."""

    local_density: float = Field(0.7, gt=0, description="mean A_V per kpc at the Sun, mag/kpc")
    scale_length: Kiloparsec = Field("3.5 kpc", gt=0, validate_default=True)
    scale_height: Kiloparsec = Field("0.125 kpc", gt=0, validate_default=True)
    arm_contrast: float = Field(2.0, ge=0)
    turbulence: float = Field(0.7, ge=0, description="standard deviation of ln(density)")
    turbulence_slope: float = Field(11 / 3, gt=0)
    outer_scale: Kiloparsec = Field("0.5 kpc", gt=0, validate_default=True)
    inner_scale: Kiloparsec = Field("0.03 kpc", gt=0, validate_default=True)
    clouds: int = Field(12, ge=0)
    pixels_per_tile: int = Field(3, ge=1, description="dust pixels along a tile's side")
    planck_nside: int = Field(256, ge=64)
    planck_beam: Degree = Field("15 arcmin", gt=0, validate_default=True)
    planck_noise: Magnitude = Field("0.05 mag", ge=0, validate_default=True)

    @model_validator(mode="after")
    def _resolved(self) -> "SyntheticSky":
        if self.inner_scale >= self.outer_scale:
            raise ValueError(
                f"found inner_scale {self.inner_scale:g} kpc and outer_scale {self.outer_scale:g} kpc; "
                "expected the inner one smaller"
            )
        if self.planck_nside & (self.planck_nside - 1):
            raise ValueError(f"planck_nside: found {self.planck_nside}; expected a power of 2")
        pixel = np.degrees(np.sqrt(np.pi / 3.0)) / self.planck_nside
        if self.planck_beam < pixel:
            raise ValueError(
                f"planck_beam: found {60 * self.planck_beam:g} arcmin, less than the map's pixels of "
                f"{60 * pixel:.1f} arcmin; expected a wider beam or a larger planck_nside"
            )
        return self


class Sky(Section):
    """The window to map and where its stars come from."""

    source: Literal["synthetic", "files", "archive"]
    l: tuple[Degree, Degree]
    b: tuple[Degree, Degree]
    strip_columns: int = Field(6, ge=1)
    files: list[CatalogueFile] = []
    archives: list[ArchiveQuery] = []
    # no part of what a file depends on: it stays out of what rules pass to their stages
    offline: bool = Field(False, exclude=True, description="use what was fetched before; ask no server")

    _ordered = field_validator("l", "b")(_increasing)

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


class Tile(Section):
    """One sightline's patch of sky."""

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


class Galaxy(Section):
    """The mock Galaxy."""

    model: str = Field("robin2003", description="a table of the package, or the path of a .yaml file")
    binaries: bool = Field(True, description="unresolved binaries")
    stars: int = Field(300_000, ge=1000, description="bare stars in a sightline's list")


class Dust(Section):
    """The extinction law."""

    law: Literal["G23", "F99", "CCM89"] = "G23"
    r_v: float = Field(3.1, ge=2.3, le=5.6, description="the range of G23")


class Axis(Section):
    """One axis of a diagram: a band, or a colour of two."""

    bands: Annotated[list[str], Field(min_length=1, max_length=2)]
    range: tuple[Magnitude, Magnitude]

    _ordered = field_validator("range")(_increasing)


class Survey(Section):
    """What a survey sees, and the diagrams it is shown in."""

    name: Literal["2mass", "gaia"] = "2mass"
    limits: dict[str, Magnitude] = Field(description="faint limit per band; other bands are not asked for")
    bright: Magnitude = Field("4 mag", validate_default=True)
    magnitude: Axis
    colour: Axis
    parallax: tuple[Milliarcsecond, Milliarcsecond] | None = Field(
        None, description="range of a second diagram, of parallax against the same colour; none for no such diagram"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Survey":
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
            _increasing(self.parallax)
        return self

    def bands(self) -> list[str]:
        """Bands that the diagram needs, each once."""
        return list(dict.fromkeys([*self.colour.bands, *self.magnitude.bands]))


class Control(Section):
    """A nearly dust-free field: how real stars differ from the mock's is measured there."""

    files: list[CatalogueFile] = Field(min_length=1)
    l: tuple[Degree, Degree]
    b: tuple[Degree, Degree]
    extinction: Magnitude = Field("0.1 mag", validate_default=True, ge=0, description="A_V of the field, as assumed")
    extinction_sd: Magnitude = Field("0.05 mag", validate_default=True, ge=0)

    _ordered = field_validator("l", "b")(_increasing)


class Realism(Section):
    """What real stars do beyond the mock; drawn anew for each training example around the control field's values.

    A width of 0 switches a nuisance off, whatever error the control field leaves.
    """

    spread: tuple[float, float] = Field(
        (0.1, 0.9), description="range of the standard deviation of ln(A_V) among the stars of a tile"
    )
    covering: tuple[float, float] = Field(
        (0.95, 1.0), description="range of the share of a tile's area that dust covers"
    )
    colour: Magnitude = Field("0.02 mag", ge=0, validate_default=True, description="zero point of the colour")
    colour_slope: float = Field(0.005, ge=0, description="slope of the colour's zero point, mag per mag")
    magnitude: Magnitude = Field("0.02 mag", ge=0, validate_default=True, description="zero point of the magnitude")
    normalisation: float = Field(0.1, ge=0, description="ln of the number of all stars")
    components: float = Field(0.15, ge=0, description="ln of the number of a Galactic component's stars")
    metallicity: float = Field(0.1, ge=0, description="shift of a component's metallicity, dex")
    binaries: float = Field(0.2, ge=0, description="ln of the share of binaries")
    r_v: float = Field(0.2, ge=0, description="R_V")
    galaxies: float = Field(0.3, ge=0, description="ln of the number of stray galaxies")

    @model_validator(mode="after")
    def _ranges(self) -> "Realism":
        for name, (low, high), top in (("spread", self.spread, 3.0), ("covering", self.covering, 1.0)):
            if not 0 <= low <= high <= top:
                raise ValueError(f"{name}: found {low:g} to {high:g}; expected 0 to {top:g}, the lower end first")
        if self.covering[0] <= 0:
            raise ValueError("covering: found a lower end of 0; expected more, as some of a tile holds its dust")
        return self


class Galaxies(Section):
    """Stray galaxies among a survey's point sources: a power law of counts, behind all dust."""

    density: float | None = Field(
        None, ge=0, description="per deg2 and mag at Ks = 14; by default as the control field says, without one none"
    )
    slope: float = Field(0.75, gt=0, description="of lg(counts) with Ks")
    colour: tuple[Magnitude, Magnitude] = Field(
        ("1.3 mag", "0.2 mag"), validate_default=True, description="mean and standard deviation of J-Ks"
    )


class Examples(Section):
    """Examples per sightline in each split."""

    train: int = Field(gt=0)
    valid: int = Field(gt=0)
    test: int = Field(gt=0)
    shards: int = Field(1, gt=0, description="files of the training examples of a sightline; each is a job")

    @model_validator(mode="after")
    def _enough(self) -> "Examples":
        chunks = -(-self.train // CHUNK)
        if self.shards > chunks:
            raise ValueError(
                f"shards: found {self.shards}; expected at most {chunks}, as {self.train} training examples are "
                f"rendered {CHUNK} at a time"
            )
        return self

    def parts(self, split: str) -> list[tuple[int, int]]:
        """First example and number of examples of each file of a sightline."""
        number = getattr(self, split)
        chunks, shards = -(-number // CHUNK), self.shards if split == "train" else 1
        starts = [CHUNK * (chunks * shard // shards) for shard in range(shards + 1)]
        return [(first, min(end, number) - first) for first, end in pairwise(starts)]


class Ablation(Section):
    """How much each variant of the ablation learns from; each starts anew."""

    train: int = Field(20_000, gt=0, description="examples to learn from, on each training sightline")
    valid: int = Field(800, gt=0, description="examples to stop and to calibrate, on each training sightline")
    epochs: int = Field(1, gt=0, description="passes over them")


class Clouds(Section):
    """Discrete thin clouds of the prior: steps in a profile."""

    mean: float = Field(1.5, ge=0, description="mean of their Poisson-distributed number")
    extinction: tuple[Magnitude, Magnitude] = Field(("0.1 mag", "15 mag"), validate_default=True)
    distance: tuple[Kiloparsec, Kiloparsec] = Field(("0.08 kpc", "5 kpc"), validate_default=True)
    width: tuple[Kiloparsec, Kiloparsec] = Field(
        ("0.005 kpc", "0.05 kpc"), validate_default=True, description="standard deviation along the sightline"
    )

    _ordered = field_validator("extinction", "distance", "width")(_increasing)

    @model_validator(mode="after")
    def _positive(self) -> "Clouds":
        for name in ("extinction", "width"):
            low = getattr(self, name)[0]
            if low <= 0:
                raise ValueError(
                    f"{name}: found a lower end of {low:g}; expected more than 0, as it is drawn in its logarithm"
                )
        if self.distance[0] <= 0:
            raise ValueError(f"distance: found a lower end of {self.distance[0]:g}; expected more than 0")
        return self


class Profiles(Section):
    """The prior over extinction profiles (a choice of ours; see config/README.md)."""

    slope: float = Field(2.0, gt=0)
    contrast: tuple[float, float] = (0.2, 1.5)
    envelope: tuple[Kiloparsec, Kiloparsec] = Field(("1 kpc", "20 kpc"), validate_default=True)
    smooth: tuple[Magnitude, Magnitude] = Field(
        ("0.05 mag", "30 mag"), validate_default=True, description="A_V of the smooth part at the last distance"
    )
    bubble: tuple[Kiloparsec, Kiloparsec] = Field(
        ("0.06 kpc", "0.2 kpc"), validate_default=True, description="range of the distance to the Local Bubble's wall"
    )
    bubble_density: tuple[float, float] = Field(
        (0.02, 0.5), description="range of the smooth dust's density inside the bubble over that outside"
    )
    clouds: Clouds = Clouds()
    max_extinction: Magnitude = Field(
        "40 mag", validate_default=True, gt=0, description="profiles with more are drawn again"
    )

    _ordered = field_validator("contrast", "envelope", "smooth", "bubble", "bubble_density")(_increasing)

    @model_validator(mode="after")
    def _positive(self) -> "Profiles":
        for name in ("envelope", "smooth", "bubble_density"):
            low = getattr(self, name)[0]
            if low <= 0:
                raise ValueError(
                    f"{name}: found a lower end of {low:g}; expected more than 0, as it is drawn in its logarithm"
                )
        for name in ("contrast", "bubble"):
            low = getattr(self, name)[0]
            if low < 0:
                raise ValueError(f"{name}: found a lower end of {low:g}; expected 0 or more")
        if self.clouds.distance[1] <= self.bubble[1]:
            raise ValueError(
                f"clouds.distance: found an end of {self.clouds.distance[1]:g} kpc; expected more than the "
                f"{self.bubble[1]:g} kpc to which the bubble reaches, as no cloud stands inside it"
            )
        if self.max_extinction < self.smooth[1]:
            raise ValueError(
                f"max_extinction: found {self.max_extinction:g} mag; expected at least the {self.smooth[1]:g} mag "
                "that the smooth part reaches"
            )
        return self


class Position(Section):
    """A direction on the sky."""

    l: Degree
    b: Degree

    @model_validator(mode="after")
    def _on_the_sphere(self) -> "Position":
        if not (0 <= self.l < 360 and -90 <= self.b <= 90):
            raise ValueError(f"found l = {self.l:g}, b = {self.b:g} deg; expected l in 0-360 and b in -90 to 90 deg")
        return self

    def name(self) -> str:
        """The sightline's name in files."""
        return sightline_name(self.l, self.b)


class Sightlines(Section):
    """Directions whose mock stars train and test the network."""

    train: list[Position] = Field(min_length=1)
    test: list[Position] = Field(min_length=1)

    @model_validator(mode="after")
    def _unseen(self) -> "Sightlines":
        names = [p.name() for p in (*self.train, *self.test)]
        if len(set(names)) < len(names):
            raise ValueError("found a sightline twice; expected test sightlines that are not trained on")
        return self

    def names(self, split: str) -> list[str]:
        """Sightlines of a split: ``valid`` shares those of ``train``."""
        return [p.name() for p in (self.test if split == "test" else self.train)]


class Network(Section):
    """The network's shape."""

    name: Literal["compact", "cornu2022"] = "compact"
    dropout: float = Field(0.1, ge=0, lt=1)


class Training(Section):
    """How the network learns."""

    epochs: int = Field(gt=0, description="passes over the training set")
    batch: int = Field(256, gt=0)
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    rounds: int = Field(8, gt=0, description="validations and checkpoints in a pass over the training set")
    patience: int = Field(16, gt=0, description="rounds without a better validation loss before stopping")
    buffer: int = Field(16, gt=0, description="stored blocks mixed in one shuffle buffer")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(1, gt=0, description="that share each batch")
    compile: bool = Field(False, description="with torch.compile")

    @model_validator(mode="after")
    def _shared(self) -> "Training":
        if self.batch % self.devices:
            raise ValueError(f"batch: found {self.batch}; expected a multiple of the {self.devices} devices")
        return self


class TrainingJob(Section):
    """What the training job asks the cluster for."""

    threads: int = Field(2, gt=0)
    gpus: int = Field(0, ge=0)
    mem_mb: int = Field(8000, gt=0)
    runtime: int = Field(720, ge=10, description="minutes; five before the end the training is told to stop")
    workers: int = Field(1, ge=0, description="processes that read examples, for each device")


class InferenceJob(Section):
    """What a job that applies the network asks the cluster for."""

    threads: int = Field(1, gt=0)
    gpus: int = Field(0, ge=0)
    mem_mb: int = Field(6000, gt=0)
    runtime: int = Field(60, gt=0, description="minutes")


class Inference(Section):
    """How posteriors are drawn."""

    samples: int = Field(100, ge=16)
    min_stars: float = Field(20.0, gt=0, description="detectable stars beyond distance_max")


class PlanckMap(Section):
    """A HEALPix map of dust to compare with in the plane of the sky."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    path: str | None = None
    url: str | None = Field(None, description="fetch the map from here instead of reading it from a path")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="of the file at the url")
    quantity: Literal["tau353", "ebv"]
    ordering: Literal["ring", "nested"]
    frame: str
    column: str | None = Field(None, description="table column; none for an image HDU")
    hdu: int = 1
    ceiling: Magnitude = Field("100 mag", validate_default=True, description="A_V above which a tile is left out")
    line_below: Magnitude = Field(
        "100 mag", validate_default=True, description="A_V of this map up to which a straight line is fitted"
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

    name: Literal["marshall06", "bayestar19", "edenhofer24", "lallement22"]
    path: str | None = Field(None, description="file of the map; none to fetch it as the package dustmaps does")


class KnownDistance(Section):
    """A distance of the cloud from elsewhere, to draw beside ours."""

    l: Degree
    distance: Kiloparsec
    source: str = Field(description="who measured it")


class Structure(Section):
    """What is asked of the run of extinction with distance in tiles of much dust."""

    map: str = Field(description="name of the map in compare.planck that chooses the tiles")
    above: Magnitude = Field("4 mag", validate_default=True, description="A_V of that map from which on a tile counts")
    total: Kiloparsec = Field("1 kpc", validate_default=True, description="behind the cloud")
    window: tuple[Kiloparsec, Kiloparsec] = Field(
        ("0.34 kpc", "0.48 kpc"), validate_default=True, description="where the half-rise is expected"
    )
    foreground: Kiloparsec = Field("0.25 kpc", validate_default=True, description="before the cloud")
    far: Kiloparsec = Field("1.5 kpc", validate_default=True, description="well behind it")
    known: list[KnownDistance] = Field(
        [], description="distances from elsewhere, drawn beside ours and used for nothing"
    )

    _ordered = field_validator("window")(_increasing)


class Limit(Section):
    """How the network is compared with the information limit and with colour excesses."""

    examples: int = Field(24, ge=2, description="test examples of the first test sightline, for all three")
    particles: int = Field(512, ge=32, description="posterior samples of the solver")
    excess: int = Field(1000, ge=2, description="test examples for network and colour excesses, which cost little")


class Compare(Section):
    """Reference maps, and other solutions of the same diagrams."""

    planck: list[PlanckMap] = []
    maps: list[PublishedMap] = []
    distance: Kiloparsec | None = Field(
        None, description="A_V to this distance is compared with the maps; none for as far as stars reach"
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


class Validation(Section):
    """What the mock Galaxy is checked against."""

    counts: str | None = Field(
        "../shared/data/besancon_k_counts/counts.txt",
        description="K counts of the Besançon model; without the file the comparison with it is left out",
    )


class Catalogues(Section):
    """Observed catalogues that the surveys' tables are measured from; a survey needs all of its own."""

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


class FaceOn(Section):
    """The face-on view."""

    pixel: Kiloparsec = Field("0.05 kpc", gt=0, validate_default=True)


class Credits(Section):
    """Who made the map and on which terms: global attributes of its files, by their names in ACDD-1.3."""

    license: str = Field("None", description="terms of use of the map; None where none are granted")
    creator_name: str | None = None
    creator_email: str | None = None
    creator_url: str | None = None
    institution: str | None = None
    project: str | None = None
    publisher_name: str | None = None
    publisher_email: str | None = None
    publisher_url: str | None = None
    naming_authority: str | None = Field(None, description="whose names the id belongs to, such as org.example")
    acknowledgement: str | None = None


class Publish(Section):
    """The forms in which the cube is published beside cube.nc."""

    forms: list[Literal["zarr", "healpix", "cartesian", "footprint"]] = ["zarr", "healpix", "cartesian", "footprint"]
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


class Tracers(Section):
    """Spiral arms and young objects in them, to compare the dust with."""

    arms: Literal["reid2019", "synthetic"] = Field("reid2019", description="model of the arms")
    masers: list[str] = Field([], description="tables of masers with parallaxes; those not found are left out")
    hii: str | None = Field(None, description="VOTable of HII regions: a path, or an address to fetch it from")
    arm_width: Kiloparsec = Field("0.35 kpc", gt=0, validate_default=True, description="half the width of an arm")
    height: Kiloparsec = Field(
        "0.2 kpc", gt=0, validate_default=True, description="dust farther off the plane is left out"
    )


class Settings(Section):
    """Every setting of a region."""

    region: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    seed: int = Field(ge=0)
    sky: Sky
    synthetic: SyntheticSky = SyntheticSky()
    tile: Tile
    distance: Distance
    galaxy: Galaxy = Galaxy()
    dust: Dust = Dust()
    surveys: list[Survey] = Field(min_length=1)
    pixels: int = Field(64, ge=16, description="along each side of a diagram")
    control: Control | None = None
    realism: Realism = Realism()
    galaxies: Galaxies = Galaxies()
    profiles: Profiles = Profiles()
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
            raise ValueError("found 'galaxy', whose folder holds the checks of the mock Galaxy; expected another name")
        if value == "surveys":
            raise ValueError(
                "found 'surveys', whose folder holds what is measured of the surveys; expected another name"
            )
        return value

    @model_validator(mode="after")
    def _frames(self) -> "Settings":
        known = frame_transform_graph.get_names()
        named = [(f"sky.files.{i}", file.frame) for i, file in enumerate(self.sky.files)]
        if self.control is not None:
            named += [(f"control.files.{i}", file.frame) for i, file in enumerate(self.control.files)]
        named += [(f"compare.planck.{i}", entry.frame) for i, entry in enumerate(self.compare.planck)]
        for path, frame in named:
            if frame not in known:
                raise ValueError(f"{path}.frame: found {frame!r}; expected one of {', '.join(sorted(known))}")
        return self

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
    def _archives(self) -> "Settings":
        asked, known = [entry.survey for entry in self.sky.archives], [survey.name for survey in self.surveys]
        if self.sky.source == "archive" and sorted(asked) != sorted(known):
            raise ValueError(
                f"sky.archives: found the surveys {', '.join(asked)}; expected each of surveys once: {', '.join(known)}"
            )
        return self

    def section_json(self, *names: str) -> str:
        """Some sections as compact JSON: what a rule passes to its stage."""
        dumped = self.model_dump(mode="json", include=set(names))
        return json.dumps({name: dumped[name] for name in names}, separators=(",", ":"))


def _message(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"])
        text = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            text = "unknown key; expected one of those in config/README.md"
        elif item["type"] == "missing":
            text = "missing; expected this key"
        elif not item["msg"].startswith("Value error"):
            text = f"found {item['input']!r}; {text}"
        lines.append(f"{path}: {text}" if path else text)
    return "\n".join(lines)


def read_settings(config: Mapping[str, Any] | str | Path) -> Settings:
    """Validate settings from a mapping or a YAML file.

    Raises
    ------
    SettingsError
        With one line for each fault, beginning with the key's path.
    """
    if not isinstance(config, Mapping):
        config = yaml.safe_load(Path(config).read_text())
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        raise SettingsError(_message(error)) from None


def read_sections(text: str, *names: str) -> list[Any]:
    """The sections that a rule passed to its stage, in the order of `names`.

    Parameters
    ----------
    text : str
        JSON from `Settings.section_json`.
    names : str
        The sections the stage uses: exactly those must be there, so that a rule's
        parameters hold what it uses, no less and no more.

    Raises
    ------
    SettingsError
        If a section is missing, not used by the stage, or invalid.
    """
    found = json.loads(text)
    if set(found) != set(names):
        raise SettingsError(f"--settings: found {', '.join(sorted(found))}; expected {', '.join(sorted(names))}")
    model = {name: (Settings.model_fields[name].annotation, ...) for name in names}
    try:
        view = create_model("Sections", __base__=Section, **model).model_validate(found)  # type: ignore[call-overload]
    except ValidationError as error:
        raise SettingsError(_message(error)) from None
    return [getattr(view, name) for name in names]


def schema() -> dict[str, Any]:
    """The JSON schema of a config file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
