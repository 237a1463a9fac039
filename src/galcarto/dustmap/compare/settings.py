"""Settings of the comparisons with other maps, other methods and tracers of spiral arms."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from galcarto.core.settings import Section, increasing
from galcarto.core.units import Degree, Frame, Kiloparsec, Magnitude


class PlanckMap(Section):
    """A HEALPix map of dust to compare with in the plane of the sky."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    path: str | None = None
    url: str | None = Field(None, description="fetch the map from here instead of reading it from a path")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="of the file at the url")
    quantity: Literal["tau353", "ebv", "av"]
    ordering: Literal["ring", "nested"]
    frame: Frame
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
    """A published distance of the cloud, drawn in the figure."""

    l: Degree
    distance: Kiloparsec
    source: str = Field(description="reference")


class Structure(Section):
    """Distance of the dust in tiles of high extinction."""

    map: str = Field(description="name of the map in compare.planck that chooses the tiles")
    above: Magnitude = Field("4 mag", validate_default=True, description="A_V of that map above which a tile is used")
    total: Kiloparsec = Field("1 kpc", validate_default=True, description="behind the cloud")
    window: tuple[Kiloparsec, Kiloparsec] = Field(
        ("0.34 kpc", "0.48 kpc"), validate_default=True, description="where the half-rise is expected"
    )
    foreground: Kiloparsec = Field("0.25 kpc", validate_default=True, description="before the cloud")
    far: Kiloparsec = Field("1.5 kpc", validate_default=True, description="well behind it")
    known: list[KnownDistance] = Field(
        [], description="published distances, drawn in the figure and not used otherwise"
    )

    _ordered = field_validator("window")(increasing)


class Limit(Section):
    """Comparison of the network with the information limit and with colour excesses."""

    examples: int = Field(24, ge=2, description="test examples of the first test sightline, for all three")
    particles: int = Field(512, ge=32, description="posterior samples of the solver")
    excess: int = Field(1000, ge=2, description="test examples for the network and colour excesses, which are fast")


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


class Tracers(Section):
    """Spiral arms and young objects, with which the dust is compared."""

    arms: Literal["reid2019", "synthetic"] = Field("reid2019", description="model of the arms")
    masers: list[str] = Field([], description="tables of masers with parallaxes; missing files are left out")
    hii: str | None = Field(None, description="VOTable of HII regions: a path, or an address to fetch it from")
    arm_width: Kiloparsec = Field("0.35 kpc", gt=0, validate_default=True, description="half the width of an arm")
    height: Kiloparsec = Field(
        "0.2 kpc", gt=0, validate_default=True, description="dust farther off the plane is left out"
    )
