"""Settings of the mock Galaxy."""

from pydantic import Field

from galcarto.core.settings import Section
from galcarto.core.units import Magnitude


class GalaxySettings(Section):
    """The mock Galaxy."""

    model: str = Field(
        "robin2003",
        description="A table of densities, ages, metallicities and mass functions: the name of one in "
        "`src/galcarto/galaxy/tables` (`robin2003`: Robin et al. 2003), or the path of your own, "
        "which ends in `.yaml`.",
    )
    binaries: bool = Field(True, description="Unresolved binaries: pairs observed as one star.")
    stars: int = Field(
        300_000,
        ge=1000,
        description="Bare stars in each half of a sightline's list. One half is for the images of training or "
        "test, the other for those of validation.",
    )


class BackgroundGalaxies(Section):
    """Background galaxies among a survey's point sources: power-law counts, behind all dust."""

    density: float | None = Field(
        None,
        ge=0,
        description="Galaxies per deg2 and mag at Ks = 14. Without it, the density measured in the control field "
        "if that was observed in Ks, else 0. A number here overrides the control field.",
    )
    slope: float = Field(
        0.75,
        gt=0,
        description="Slope of lg(counts) with Ks. A uniform distribution in space has 0.6; among point-like "
        "galaxies more are faint.",
    )
    colour: tuple[Magnitude, Magnitude] = Field(
        ("1.3 mag", "0.2 mag"), validate_default=True, description="J-Ks: mean and standard deviation."
    )


class Validation(Section):
    """Data with which the mock Galaxy is compared."""

    counts: str | None = Field(
        "../shared/data/besancon_k_counts/counts.txt",
        description="Star counts of the Besançon model, without dust, as its web page prints them: `longitude "
        "latitude Avtot N4 ... N21`, cumulative, per deg2, in K. If the file is missing, or with "
        "`null`, this comparison is left out.",
    )
