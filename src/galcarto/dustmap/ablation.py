"""Variants of the training of a region, each without one ingredient of the mock or of the prior."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from galcarto.dustmap.settings import Settings

FULL = "full"  # the variant with which all others are compared
NO_BUBBLE = (0.0, 1e-6)  # kpc: within the first bin
OFF: Mapping[str, Any] = {
    "spread": (0.0, 0.0),
    "covering": (1.0, 1.0),
    "colour": 0.0,
    "colour_slope": 0.0,
    "magnitude": 0.0,
    "normalisation": 0.0,
    "components": 0.0,
    "metallicity": 0.0,
    "binaries": 0.0,
    "r_v": 0.0,
    "galaxies": 0.0,
}


@dataclass(frozen=True)
class Variant:
    """A variant of the training."""

    title: str  # name of the ingredient that is left out
    settings: Settings  # of the region, changed
    control: bool  # whether the corrections of the control field are used
    # name of the mock Galaxy if it differs from that of the region, with other star lists and references
    mock: str | None = None


def variants(settings: Settings) -> dict[str, Variant]:
    """List the variants of a region by name, the full one first; ingredients that it does not use have none.

    Parameters
    ----------
    settings : Settings
    """
    control = settings.control is not None

    def without(section: str, **changes: Any) -> Settings:
        changed = getattr(settings, section).model_copy(update=changes)
        return settings.model_copy(update={section: changed})

    def nuisance(title: str, *names: str) -> Variant:
        return Variant(title, without("realism", **{name: OFF[name] for name in names}), control)

    clouds = settings.profiles.clouds.model_copy(update={"mean": 0.0})
    no_galaxies = settings.galaxies.model_copy(update={"density": 0.0})
    found = {
        FULL: Variant("nothing", settings, control),
        "spread": nuisance("differential extinction inside a tile", "spread"),
        "covering": nuisance("dust that covers part of a tile", "covering"),
        "zero_points": nuisance("zero points of colour and magnitude", "colour", "colour_slope", "magnitude"),
        "numbers": nuisance("numbers of all stars and of each component", "normalisation", "components"),
        "metallicity": nuisance("shifts of metallicity", "metallicity"),
        "binaries": nuisance("uncertain share of binaries", "binaries"),
        "r_v": nuisance("uncertain R_V", "r_v"),
        "clouds": Variant("clouds of the prior", without("profiles", clouds=clouds), control),
        "bubble": Variant("the bubble of the prior", without("profiles", bubble=NO_BUBBLE), control),
    }
    result = {name: variant for name, variant in found.items() if name == FULL or variant.settings != settings}
    if settings.galaxy.binaries:
        galaxy = settings.galaxy.model_copy(update={"binaries": False})
        single = without("realism", binaries=0.0).model_copy(update={"galaxy": galaxy})
        result["single_stars"] = Variant("unresolved binaries", single, control, "single_stars")
    if _galaxies(settings):
        stars_only = without("realism", galaxies=0.0).model_copy(update={"galaxies": no_galaxies})
        result["galaxies"] = Variant("background galaxies", stars_only, control)
    if control:
        result["control"] = Variant("what the control field says", settings, False, "uncorrected")
    naive = settings.model_copy(
        update={"realism": settings.realism.model_copy(update=dict(OFF)), "galaxies": no_galaxies}
    )
    result["naive"] = Variant(
        "all of these but binaries, clouds and bubble", naive, False, "uncorrected" if control else None
    )
    return result


def _galaxies(settings: Settings) -> bool:
    """Whether the mock has background galaxies: detected in Ks, with a density that is stated or measured."""
    measured = settings.control is not None and settings.galaxies.density is None
    return any("Ks" in survey.limits for survey in settings.surveys) and (measured or bool(settings.galaxies.density))
