"""The models that the settings describe."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from galcarto.core.settings import SettingsError
from galcarto.dust.law import band_extinction, coefficients
from galcarto.dust.settings import Dust
from galcarto.dustmap.diagrams import nuisances
from galcarto.dustmap.diagrams.forward import LAW_GRID, PARALLAX, ForwardModel, Stars, View
from galcarto.dustmap.diagrams.integration import Integrator
from galcarto.dustmap.diagrams.nuisances import Mix, Nuisances, Populations, Widths
from galcarto.dustmap.limit.slices import Slices
from galcarto.dustmap.settings import Realism
from galcarto.galaxy import background_galaxies
from galcarto.galaxy.components import load
from galcarto.galaxy.settings import BackgroundGalaxies, GalaxySettings
from galcarto.galaxy.synthesis import BANDS, StarModel
from galcarto.surveys import SURVEYS
from galcarto.surveys.settings import SurveySettings
from galcarto.surveys.survey import Survey

# Errors bring stars over a limit from this far below it, mag.
MARGIN = 0.75
TYPICAL_COLOUR = 1.0  # mag, BP-RP: a K dwarf
COLOUR_BORDERS = np.linspace(0.0, 2.4, 17)  # mag, BP-RP: classes of stars that redden alike
R_V_GRID = np.linspace(2.3, 5.6, 34)  # the range of G23
MIX_STARS = 60_000  # that tell how a diagram changes with the mix of the stars
UNSEEN = 99.0  # mag of what a survey does not see


def instrument(survey: SurveySettings) -> Survey:
    """The survey.

    Raises
    ------
    SettingsError
        If a band of surveys.limits is not one of the survey's, or it has no parallaxes.
    """
    found = SURVEYS[survey.name]
    unknown = [band for band in survey.limits if band not in found.bands]
    if unknown:
        raise SettingsError(
            f"surveys.limits: found {', '.join(unknown)}; expected bands of {found.title}: {', '.join(found.bands)}"
        )
    if survey.parallax is not None and found.parallax is None:
        raise SettingsError(f"surveys.parallax: {found.title} has none; expected no diagram of parallaxes")
    return found


def star_model(galaxy: GalaxySettings, surveys: Sequence[SurveySettings], metallicity: float = 0.0) -> StarModel:
    """The mock Galaxy down to what the surveys may see, with so many dex more metals than its table."""
    limits = [{band: limit + MARGIN for band, limit in survey.limits.items()} for survey in surveys]
    bands = [band for survey in surveys for band in instrument(survey).bands]
    return StarModel(load(galaxy.model).enriched(metallicity), limits, bands=tuple(bands), binaries=galaxy.binaries)


def _wavelengths(survey: SurveySettings) -> dict[str, float]:
    return {name: band.wavelength for name, band in instrument(survey).bands.items()}


def band_coefficients(survey: SurveySettings, dust: Dust) -> dict[str, float]:
    """A_band / A_V of every band of the survey, for a typical star behind 1 mag of A_V."""
    waves = _wavelengths(survey)
    found = band_extinction(dust.law, dust.r_v, waves, np.array(TYPICAL_COLOUR), np.array(1.0))
    return dict(zip(waves, found.tolist(), strict=True))


def star_extinction(
    survey: SurveySettings, dust: Dust, stars: Mapping[str, np.ndarray], extinction: np.ndarray
) -> dict[str, np.ndarray]:
    """Extinction of stars in the bands of a survey that have limits, mag.

    Parameters
    ----------
    survey, dust
        Settings.
    stars : mapping of str to ndarray, shape (star,), mag
        With BP and RP where the survey is Gaia's.
    extinction : ndarray, shape (star,), mag
        A_V.
    """
    waves = {band: wave for band, wave in _wavelengths(survey).items() if band in survey.limits}
    colour = stars["BP"] - stars["RP"] if "BP" in stars else np.array(TYPICAL_COLOUR)
    found = band_extinction(dust.law, dust.r_v, waves, colour, extinction)
    return {band: found[..., i] for i, band in enumerate(waves)}


def view(survey: SurveySettings, pixels: int, dust: Dust, corrections: Mapping[str, Any]) -> View:
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
    surveys: Sequence[SurveySettings],
    pixels: int,
    dust: Dust,
    edges: np.ndarray,
    corrections: Mapping[str, Any] = MappingProxyType({}),
) -> ForwardModel:
    """How the surveys see stars behind dust."""
    views = [view(survey, pixels, dust, corrections) for survey in surveys]
    borders = COLOUR_BORDERS if any("BP" in survey.limits for survey in surveys) else np.empty(0)
    middles = 0.5 * (np.append(COLOUR_BORDERS[0], borders) + np.append(borders, COLOUR_BORDERS[-1]))
    law = [
        band_extinction(
            dust.law,
            dust.r_v,
            {band: _wavelengths(survey)[band] for band in survey.limits},
            middles[:, None],
            LAW_GRID,
        )
        for survey in surveys
    ]
    return ForwardModel(views=views, edges=edges, law=np.moveaxis(np.concatenate(law, axis=-1), -1, 1), colours=borders)


def integrators(
    model: ForwardModel,
    galaxy: GalaxySettings,
    surveys: Sequence[SurveySettings],
    corrections: Mapping[str, Any],
) -> list[Integrator]:
    """What gives the bare diagrams of any direction, one for each survey."""
    mock = star_model(galaxy, surveys, corrections.get("metallicity", 0.0))
    return [Integrator(mock, view.diagram(), model.edges) for view in model.views]


def corrections(path: str | Path | None) -> dict[str, Any]:
    """What the control field says of the mock, from `measure_control`; empty where a region has none."""
    return {} if path is None else json.loads(Path(path).read_text())


def read_stars(
    path: str | Path,
    model: ForwardModel,
    surveys: Sequence[SurveySettings],
    galaxies: BackgroundGalaxies,
    found: Mapping[str, Any],
    rng: np.random.Generator,
    halves: tuple[np.random.Generator, bool] | None = None,
) -> Stars:
    """A sightline's bare stars with stray galaxies, packed.

    Parameters
    ----------
    path : path
        From `synthesize_stars`.
    model : ForwardModel
    surveys, galaxies
        Settings.
    found : mapping
        From the control field.
    rng : numpy Generator
        Draws the galaxies.
    halves : (numpy Generator, bool), optional
        Cuts the list into two random halves, and whether to take the second; none for the whole list.
    """
    table = pq.read_table(path, page_checksum_verification=True)
    frame, area = table.to_pandas(), float(table.schema.metadata[b"area_deg2"])
    if halves is not None:
        generator, second = halves
        frame, area = frame[(generator.random(len(frame)) < 0.5) != second], area / 2
    populations = Populations.sort(
        frame["component"].cat.codes.to_numpy(), frame["metallicity"].to_numpy(), frame["mass_ratio"].to_numpy() > 0
    )
    bare = {name: frame[name].to_numpy() for name in ("distance", *BANDS) if name in frame}
    if "Ks" in bare:
        faintest = max(survey.limits.get("Ks", 0.0) for survey in surveys) + MARGIN
        bare, populations = with_galaxies(bare, populations, area, galaxies, faintest, rng, found)
    return model.pack(bare["distance"], bare, area, populations)


def background(galaxies: BackgroundGalaxies, corrections: Mapping[str, Any]) -> BackgroundGalaxies:
    """The settings with their density, where they leave it open, as the control field says; 0 without one."""
    if galaxies.density is not None:
        return galaxies
    return galaxies.model_copy(update={"density": 0.0} | corrections.get("galaxies", {}))


def with_galaxies(
    bare: Mapping[str, np.ndarray],
    populations: tuple[Populations, np.ndarray],
    area: float,
    galaxies: BackgroundGalaxies,
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
    galaxies : BackgroundGalaxies
    faintest : float, mag
        In Ks.
    rng : numpy Generator
    corrections : mapping
        From the control field.
    """
    asked = background(galaxies, corrections).model_dump()
    # the images count the stars' normalisation into all of the list, and the control field counts its galaxies apart
    asked["density"] *= np.exp(-corrections.get("normalisation", 0.0))
    drawn = background_galaxies.draw(rng, area, **asked, faintest=faintest)
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


@cache
def _law_by_r_v(law: str, wavelength: float) -> np.ndarray:
    """A_band / A_V at the values of R_V_GRID."""
    return np.array([coefficients(law, r_v, {"band": wavelength})["band"] for r_v in R_V_GRID])


def draw_nuisances(
    rng: np.random.Generator,
    number: int,
    populations: Populations,
    model: ForwardModel,
    dust: Dust,
    realism: Realism,
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
        From the control field, by survey: their errors widen the settings' widths, but for those that are 0, which
        switch a nuisance off.
    """

    def wider(width: float, error: float) -> float:
        return float(np.hypot(width, error)) if width else 0.0

    offsets = np.zeros((number, len(model.bands), 2))
    for survey, view in enumerate(model.views):
        errors = corrections.get(view.survey.name, {}).get("colour_sd", (0.0, 0.0))
        own = [at for at, (owner, name) in enumerate(model.bands) if owner == survey and name != PARALLAX]
        offsets[:, own, 0] = realism.magnitude * rng.standard_normal((number, 1))
        red = model.bands.index((survey, view.colour_bands[0]))
        offsets[:, red, 0] += wider(realism.colour, errors[0]) * rng.standard_normal(number)
        offsets[:, red, 1] = wider(realism.colour_slope, errors[1]) * rng.standard_normal(number)
    r_v = np.clip(dust.r_v + realism.r_v * rng.standard_normal(number), R_V_GRID[0], R_V_GRID[-1])
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
        scales=_scales(model, dust, r_v),
        offsets=offsets,
    )


def _scales(model: ForwardModel, dust: Dust, r_v: np.ndarray) -> np.ndarray:
    """Factor on each band's extinction for values of R_V, shape (number, band)."""
    scales = np.ones((len(r_v), len(model.bands)))
    for at, (survey, name) in enumerate(model.bands):
        if name != PARALLAX:
            curve = _law_by_r_v(dust.law, model.views[survey].survey.bands[name].wavelength)
            scales[:, at] = np.interp(r_v, R_V_GRID, curve) / np.interp(dust.r_v, R_V_GRID, curve)
    return scales


def perturbed(
    populations: Populations,
    model: ForwardModel,
    dust: Dust,
    realism: Realism,
    corrections: Mapping[str, Any],
    amount: float,
) -> dict[str, tuple[Nuisances, Nuisances]]:
    """One image's nuisances with one of them at a time so many standard deviations down and up.

    Parameters
    ----------
    populations : Populations
        Of the star list.
    model, dust, realism, corrections
        As in `draw_nuisances`, but for the covering fraction, which stays in the middle of its range; what has no
        width is left out.
    amount : float

    Returns
    -------
    dict of (Nuisances, Nuisances)
        By name; ``middle`` holds no perturbation.
    """
    p = populations
    star = p.component >= 0
    covering = (float(np.mean(realism.covering)),) * 2
    low, high = realism.spread
    sigma = (high - low) / np.sqrt(12.0)  # of a uniform distribution

    def spread(value: float) -> np.ndarray:
        return nuisances.spreads(np.random.default_rng(0), 1, (value, value), covering)

    middle = replace(Nuisances.none(1, len(p.number), len(model.bands)), spreads=spread((low + high) / 2))
    found = {"middle": (middle, middle)}

    def add(name: str, both: Callable[[float], Nuisances], width: float) -> None:
        if width:
            found[name] = both(-amount * width), both(amount * width)

    def moved(bands: int | list[int], column: int, value: float) -> Nuisances:
        offsets = middle.offsets.copy()
        offsets[0, bands, column] += value
        return replace(middle, offsets=offsets)

    def counted(logarithm: np.ndarray) -> Nuisances:
        return replace(middle, shares=np.exp(logarithm)[None])

    for survey, view in enumerate(model.views):
        errors = corrections.get(view.survey.name, {}).get("colour_sd", (0.0, 0.0))
        own = [at for at, (owner, name) in enumerate(model.bands) if owner == survey and name != PARALLAX]
        red = model.bands.index((survey, view.colour_bands[0]))
        name = view.survey.name
        add(f"{name} colour", partial(moved, red, 0), float(np.hypot(realism.colour, errors[0])))
        add(f"{name} slope", partial(moved, red, 1), float(np.hypot(realism.colour_slope, errors[1])))
        add(f"{name} magnitude", partial(moved, own, 0), realism.magnitude)
    add("number", lambda value: counted(value * star), realism.normalisation)
    add("galaxies", lambda value: counted(value * ~star), realism.galaxies if not star.all() else 0.0)
    tilts = nuisances.tilts(
        p, components=realism.components, metallicity=realism.metallicity, binaries=realism.binaries
    )
    for number, tilt in enumerate(tilts):
        add(f"mix {number}", partial(lambda tilt, value: counted(value * tilt), tilt), float(tilt.any()))
    add("r_v", lambda value: replace(middle, scales=_scales(model, dust, np.array([dust.r_v + value]))), realism.r_v)
    add("spread", lambda value: replace(middle, spreads=spread((low + high) / 2 + value)), sigma)
    return found


def widths(
    survey: SurveySettings,
    dust: Dust,
    realism: Realism,
    corrections: Mapping[str, Any],
) -> Widths:
    """Widths of the nuisances of a survey's first diagram, as `draw_nuisances` draws them."""
    errors = corrections.get(survey.name, {}).get("colour_sd", (0.0, 0.0))
    blue, red = survey.colour.bands
    excess = []
    for r_v in (dust.r_v - realism.r_v, dust.r_v + realism.r_v):
        found = band_coefficients(survey, dust.model_copy(update={"r_v": r_v}))
        excess.append(found[blue] - found[red])
    return Widths(
        normalisation=realism.normalisation,
        galaxies=realism.galaxies,
        spread=realism.spread,
        covering=realism.covering,
        r_v=float(0.5 * np.log(excess[1] / excess[0])),
        zero_points=(
            float(np.hypot(realism.colour, errors[0])),
            float(np.hypot(realism.colour_slope, errors[1])),
            realism.magnitude,
        ),
    )


def mix(model: StarModel, view: View, realism: Realism, edges: np.ndarray, l: float, b: float, seed: int) -> Mix:
    """How a diagram changes with the mix of its stars: numbers and metallicities of components, binaries."""
    stars = model.draw(l, b, MIX_STARS / max(model.density(l, b), 1e-6), np.random.default_rng(seed))
    populations, group = Populations.sort(
        stars["component"].cat.codes.to_numpy(), stars["metallicity"].to_numpy(), stars["mass_ratio"].to_numpy() > 0
    )
    tilts = nuisances.tilts(
        populations, components=realism.components, metallicity=realism.metallicity, binaries=realism.binaries
    )
    blue, red = view.colour_bands
    place = np.stack([stars[view.magnitude_band], stars[blue] - stars[red]], axis=1).astype(float)
    position = np.interp(stars["distance"].to_numpy(), edges, np.arange(len(edges)))
    return Mix(position, place, tilts[:, group])


def tabulate(
    model: StarModel,
    view: View,
    dust: Dust,
    realism: Realism,
    galaxies: BackgroundGalaxies,
    corrections: Mapping[str, Any],
    survey: SurveySettings,
    edges: np.ndarray,
    l: float,
    b: float,
) -> tuple[Slices, Mix, Widths]:
    """What the likelihood of a sightline's diagrams needs.

    Parameters
    ----------
    model : StarModel
    view : View
        Of `survey`.
    dust, realism, galaxies, survey
        Settings.
    corrections : mapping
        From the control field.
    edges : ndarray, shape (distance + 1,), kpc
    l, b : float, deg
    """
    found = background(galaxies, corrections)
    slices = Slices.build(
        Integrator(model, view.diagram(), edges),
        l,
        b,
        (
            (found.density or 0.0) if "Ks" in view.bands else 0.0,
            found.slope,
            found.colour,
        ),
        MARGIN,
    )
    return slices, mix(model, view, realism, edges, l, b, seed=1), widths(survey, dust, realism, corrections)
