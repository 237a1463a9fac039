"""The models that the settings describe."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from galcarto import settings
from galcarto.cmd import nuisances
from galcarto.cmd.forward import LAW_GRID, PARALLAX, ForwardModel, View
from galcarto.cmd.nuisances import Nuisances, Populations
from galcarto.dust.law import coefficients
from galcarto.galaxy import strays
from galcarto.galaxy.components import load
from galcarto.galaxy.synthesis import StarModel
from galcarto.surveys import SURVEYS
from galcarto.surveys.survey import Survey

# Errors bring stars over a limit from this far below it, mag.
MARGIN = 0.75
UNSEEN = 99.0  # mag of what a survey does not see


def instrument(survey: settings.Survey) -> Survey:
    """The survey.

    Raises
    ------
    SettingsError
        If a band of surveys.limits is not one of the survey's, or it has no parallaxes.
    """
    found = SURVEYS[survey.name]
    unknown = [band for band in survey.limits if band not in found.bands]
    if unknown:
        raise settings.SettingsError(
            f"surveys.limits: found {', '.join(unknown)}; expected bands of {found.title}: {', '.join(found.bands)}"
        )
    if survey.parallax is not None and found.parallax is None:
        raise settings.SettingsError(f"surveys.parallax: {found.title} has none; expected no diagram of parallaxes")
    return found


def star_model(galaxy: settings.Galaxy, surveys: Sequence[settings.Survey], metallicity: float = 0.0) -> StarModel:
    """The mock Galaxy down to what the surveys may see, with so many dex more metals than its table."""
    limits = [{band: limit + MARGIN for band, limit in survey.limits.items()} for survey in surveys]
    bands = [band for survey in surveys for band in instrument(survey).bands]
    return StarModel(load(galaxy.model).enriched(metallicity), limits, bands=tuple(bands), binaries=galaxy.binaries)


def band_coefficients(survey: settings.Survey, dust: settings.Dust) -> dict[str, float]:
    """A_band / A_V of every band of the survey, for a typical star and little dust."""
    bands = instrument(survey).bands
    return coefficients(dust.law, dust.r_v, {name: band.wavelength for name, band in bands.items()})


def view(survey: settings.Survey, pixels: int, dust: settings.Dust, corrections: Mapping[str, Any]) -> View:
    """How the region uses a survey.

    Parameters
    ----------
    survey, pixels, dust
        Settings.
    corrections : mapping
        From the control field: ``normalisation`` (ln) and, by survey, ``colour`` (zero point at magnitude 13 and
        slope), as measured by `compare.control`; empty for none.
    """
    colour = corrections.get(survey.name, {}).get("colour", (0.0, 0.0))
    return View(
        survey=instrument(survey),
        limits=survey.limits,
        bright=survey.bright,
        coefficients=band_coefficients(survey, dust),
        magnitude_band=survey.magnitude.bands[0],
        colour_bands=(survey.colour.bands[0], survey.colour.bands[1]),
        magnitude_range=survey.magnitude.range,
        colour_range=survey.colour.range,
        parallax_range=survey.parallax,
        pixels=pixels,
        offsets={survey.colour.bands[0]: tuple(colour)},
        normalisation=float(np.exp(corrections.get("normalisation", 0.0))),
    )


def forward_model(
    surveys: Sequence[settings.Survey],
    pixels: int,
    dust: settings.Dust,
    edges: np.ndarray,
    corrections: Mapping[str, Any] = MappingProxyType({}),
) -> ForwardModel:
    """How the surveys see stars behind dust."""
    views = [view(survey, pixels, dust, corrections) for survey in surveys]
    law = [view.coefficients[band] * LAW_GRID for view in views for band in view.bands]
    return ForwardModel(views=views, edges=edges, law=np.stack(law)[None], colours=np.empty(0))


def corrections(path: str | Path | None) -> dict[str, Any]:
    """What the control field says of the mock, from `measure_control`; empty where a region has none."""
    return {} if path is None else json.loads(Path(path).read_text())


def with_galaxies(
    bare: Mapping[str, np.ndarray],
    populations: tuple[Populations, np.ndarray],
    area: float,
    galaxies: settings.Galaxies,
    faintest: float,
    rng: np.random.Generator,
    corrections: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[dict[str, np.ndarray], tuple[Populations, np.ndarray]]:
    """A star list and its populations with stray galaxies, infinitely far and seen in J, H, Ks only.

    Parameters
    ----------
    bare : mapping of str to ndarray, shape (star,)
        ``distance`` (kpc) and bands (mag).
    populations : (Populations, ndarray of int, shape (star,))
    area : float, deg2
    galaxies : settings.Galaxies
    faintest : float, mag
        In Ks.
    rng : numpy Generator
    corrections : mapping
        From the control field: its density of galaxies takes the place of the settings'.
    """
    asked = galaxies.model_dump() | corrections.get("galaxies", {})
    # the images count the stars' normalisation into all of the list, and the control field counts its galaxies apart
    asked["density"] *= np.exp(-corrections.get("normalisation", 0.0))
    drawn = strays.draw(rng, area, **asked, faintest=faintest)
    number = len(drawn["Ks"])
    unseen = np.full(number, UNSEEN)
    extra = {
        "distance": np.full(number, np.inf),
        **{name: drawn.get(name, unseen) for name in bare if name != "distance"},
    }
    groups, group = populations
    last = np.full(number, len(groups.number), np.int32)
    stars = {name: np.concatenate([values, extra[name]]) for name, values in bare.items()}
    return stars, (groups.with_galaxies(number), np.concatenate([group, last]))


def draw_nuisances(
    rng: np.random.Generator,
    number: int,
    populations: Populations,
    model: ForwardModel,
    dust: settings.Dust,
    realism: settings.Realism,
    corrections: Mapping[str, Any],
) -> Nuisances:
    """Nuisances of so many images.

    Parameters
    ----------
    rng : numpy Generator
    number : int
    populations : Populations
        Of the star list.
    model : ForwardModel
    dust, realism
        Settings.
    corrections : mapping
        From the control field, by survey: their errors widen the settings' widths.
    """
    offsets = np.zeros((number, len(model.bands), 2))
    for survey, view in enumerate(model.views):
        errors = corrections.get(view.survey.name, {}).get("colour_sd", (0.0, 0.0))
        own = [at for at, (owner, name) in enumerate(model.bands) if owner == survey and name != PARALLAX]
        offsets[:, own, 0] = realism.magnitude * rng.standard_normal((number, 1))
        red = model.bands.index((survey, view.colour_bands[0]))
        offsets[:, red, 0] += np.hypot(realism.colour, errors[0]) * rng.standard_normal(number)
        offsets[:, red, 1] = np.hypot(realism.colour_slope, errors[1]) * rng.standard_normal(number)
    grid = np.linspace(2.3, 5.6, 34)  # the range of G23
    r_v = np.clip(dust.r_v + realism.r_v * rng.standard_normal(number), grid[0], grid[-1])
    scales = np.ones((number, len(model.bands)))
    for at, (survey, name) in enumerate(model.bands):
        if name != PARALLAX:
            wave = {name: model.views[survey].survey.bands[name].wavelength}
            curve = [coefficients(dust.law, value, wave)[name] for value in [*grid, dust.r_v]]
            scales[:, at] = np.interp(r_v, grid, curve[:-1]) / curve[-1]
    return Nuisances(
        shares=nuisances.shares(
            rng,
            number,
            populations,
            normalisation=realism.normalisation,
            components=realism.components,
            metallicity=realism.metallicity,
            binaries=realism.binaries,
            galaxies=realism.galaxies,
        ),
        spreads=nuisances.spreads(rng, number, realism.spread, realism.covering),
        scales=scales,
        offsets=offsets,
    )
