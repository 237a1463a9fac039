"""Settings of the mock Galaxy."""

from pydantic import Field

from galcarto.core.settings import Section
from galcarto.core.units import Magnitude


class GalaxySettings(Section):
    """The mock Galaxy."""

    model: str = Field("robin2003", description="a table of the package, or the path of a .yaml file")
    binaries: bool = Field(True, description="unresolved binaries")
    stars: int = Field(300_000, ge=1000, description="bare stars in a sightline's list")


class BackgroundGalaxies(Section):
    """Background galaxies among a survey's point sources: power-law counts, behind all dust."""

    density: float | None = Field(
        None,
        ge=0,
        description="per deg2 and mag at Ks = 14; by default as measured in the control field, 0 without one",
    )
    slope: float = Field(0.75, gt=0, description="of lg(counts) with Ks")
    colour: tuple[Magnitude, Magnitude] = Field(
        ("1.3 mag", "0.2 mag"), validate_default=True, description="mean and standard deviation of J-Ks"
    )


class Validation(Section):
    """Data with which the mock Galaxy is compared."""

    counts: str | None = Field(
        "../shared/data/besancon_k_counts/counts.txt",
        description="K counts of the Besançon model; without the file the comparison with it is left out",
    )
