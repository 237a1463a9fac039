"""Mock stars of known labels: bare stars behind a thin screen of dust, as surveys and a spectrograph see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from galcarto.core.seeds import generator
from galcarto.core.settings import Section
from galcarto.core.sky import sightline_name
from galcarto.dust.law import WIDE, band_extinction
from galcarto.dust.settings import Dust
from galcarto.galaxy.components import GalaxyModel, load
from galcarto.galaxy.settings import GalaxySettings
from galcarto.galaxy.synthesis import StarModel
from galcarto.metallicity.settings import LabelErrors, Mock, MockField
from galcarto.surveys.survey import Band

MARGIN = 0.5  # mag: depth of the bare stars below the limits, as errors scatter fainter stars across them
GIANT = 3.5  # dex: log g below which a star counts as a giant
LABELS = ("teff", "feh", "logg")


def iron(galaxy: GalaxyModel) -> dict[str, float]:
    """[Fe/H] - [M/H] of each component, dex: minus what its [alpha/Fe] adds (Salaris et al. 1993, ApJ 414, 580)."""
    return {one.name: one.metallicity[0] - one.overall_metallicity for one in galaxy.components}


def required_limits(mock: Mock) -> dict[str, float]:
    """Faint limits that every star passes, in bands of the isochrones, mag; a converted band has that of its origin."""
    bands = {name: mock.bands()[name].conversion for name in mock.required}
    return {name if one is None else one.band: mock.limits[name] for name, one in bands.items()}


def star_model(galaxy: GalaxySettings, mock: Mock) -> StarModel:
    """The mock Galaxy down to `MARGIN` below the limits of the required bands, in all bands that the mock needs."""
    needed: dict[str, None] = {}
    for name, band in mock.bands().items():
        needed |= dict.fromkeys([name] if band.conversion is None else [band.conversion.band, *band.conversion.colour])
    if set(WIDE) & set(needed):
        needed |= dict.fromkeys(("BP", "RP"))  # their extinction depends on this colour
    limits = {name: limit + MARGIN for name, limit in required_limits(mock).items()}
    return StarModel(load(galaxy.model), [limits], bands=tuple(needed), binaries=galaxy.binaries)


def area(model: StarModel, mock: Mock, field: MockField) -> float:
    """Area of a field that holds its share of the bare stars, deg2."""
    return mock.stars / len(mock.fields) / model.density(field.l, field.b)


def magnitudes(bare: Mapping[str, np.ndarray], bands: Mapping[str, Band], dust: Dust, a_v: np.ndarray) -> np.ndarray:
    """Magnitudes behind dust, in any band.

    Parameters
    ----------
    bare : mapping of str to ndarray, shape (star,), mag
        Without dust, in the bands of the isochrones, apparent or absolute.
    bands : mapping of str to Band
    dust : Dust
    a_v : ndarray, shape (star,), mag

    Returns
    -------
    ndarray, shape (star, band), mag
    """
    waves = {name: band.wavelength for name, band in bands.items()}
    colour = bare["BP"] - bare["RP"] if set(WIDE) & set(bands) else np.zeros(len(a_v))
    clean = [bare[name] if one.conversion is None else one.conversion.magnitude(bare) for name, one in bands.items()]
    return np.stack(clean, axis=-1) + band_extinction(dust.law, dust.r_v, waves, colour, a_v)


def screen(mock: Mock, field: MockField, number: int, rng: np.random.Generator) -> np.ndarray:
    """A_V of `number` stars of a field: a log-normal about a plane-parallel screen in front of all of them, mag."""
    median = mock.screen / np.sin(np.radians(abs(field.b)))
    return median * np.exp(mock.screen_scatter * rng.standard_normal(number))


@dataclass(frozen=True)
class Bare:
    """Stars of the mock's fields before they are observed."""

    stars: pd.DataFrame  # from `StarModel.draw`, with ``field``, ``feh`` (dex) and ``a_v`` (mag)
    true: np.ndarray  # shape (star, band), mag: behind the dust, without errors


def bare_stars(model: StarModel, dust: Dust, mock: Mock, seed: int, job: str) -> Bare:
    """Draw the stars of all fields.

    Parameters
    ----------
    model : StarModel
        From `star_model`.
    dust : Dust
    mock : Mock
    seed : int
    job : str
        Name of the stream of random numbers.
    """
    offset, bands = iron(model.galaxy), mock.bands()
    parts, true = [], []
    for number, field in enumerate(mock.fields):
        rng = generator(seed, job, sightline_name(field.l, field.b))
        stars = model.draw(field.l, field.b, area(model, mock, field), rng)
        a_v = screen(mock, field, len(stars), rng)
        feh = stars["metallicity"] + stars["component"].map(offset).astype(float)
        parts.append(stars.assign(field=number, feh=feh, a_v=a_v))
        true.append(magnitudes({name: stars[name].to_numpy(float) for name in model.bands}, bands, dust, a_v))
    return Bare(pd.concat(parts, ignore_index=True), np.concatenate(true))


def observe(true: np.ndarray, mock: Mock, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Measure magnitudes with each survey's errors, completeness and limits.

    The error that is stated belongs to the measured magnitude, as in a catalogue; that of the true one would give the
    magnitude away.

    Parameters
    ----------
    true : ndarray, shape (star, band), mag
    mock : Mock
    rng : numpy Generator

    Returns
    -------
    measured, errors : ndarray, shape (star, band), mag
        NaN where a band does not see the star, or the value is missing at random.
    """
    measured, errors = np.full((2, *true.shape), np.nan)
    for column, (name, band) in enumerate(mock.bands().items()):
        value = true[:, column] + band.error(true[:, column]) * rng.standard_normal(len(true))
        there = (value >= mock.bright) & (value < mock.limits[name])
        there &= rng.random(len(true)) < band.completeness(true[:, column])
        if name not in mock.required:
            there &= rng.random(len(true)) >= mock.hidden
        measured[there, column] = value[there]
        errors[there, column] = band.error(value[there])
    return measured, errors


def label(true: Mapping[str, np.ndarray], settings: LabelErrors, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Labels with errors, as a spectrograph gives them; whether a star is a giant is known exactly.

    Parameters
    ----------
    true : mapping of str to ndarray, shape (star,)
        ``teff`` (K), ``feh`` and ``logg`` (dex).

    Returns
    -------
    dict of ndarray, shape (star,)
        Each label and ``giant`` (1 or 0), and their errors; NaN where missing.
    """
    found: dict[str, np.ndarray] = {}
    for name in LABELS:
        value = np.asarray(true[name], float)
        error = getattr(settings, name) * np.exp(settings.scatter * rng.standard_normal(len(value)))
        there = rng.random(len(value)) >= settings.missing
        found[name] = np.where(there, value + error * rng.standard_normal(len(value)), np.nan)
        found[f"{name}_error"] = np.where(there, error, np.nan)
    found["giant"] = np.where(np.asarray(true["logg"]) < GIANT, 1.0, 0.0)
    found["giant_error"] = np.zeros(len(found["giant"]))
    return found


def simulate(galaxy: GalaxySettings, dust: Dust, mock: Mock, seed: int) -> pd.DataFrame:
    """Draw mock stars and observe them.

    Parameters
    ----------
    galaxy : GalaxySettings
        Its ``stars`` is not used.
    dust : Dust
    mock : Mock
    seed : int

    Returns
    -------
    DataFrame
        float32: ``l``, ``b`` (deg); each band and its ``BAND_error`` (mag, NaN where missing); ``teff`` (K), ``feh``,
        ``logg`` (dex), ``giant`` and their ``LABEL_error`` (NaN where missing); the truth: ``teff_true``,
        ``feh_true``, ``logg_true``, ``distance`` (kpc), ``a_v`` (mag). A star is there if all required bands see it.
        The order is random.
    """
    model = star_model(galaxy, mock)
    bare = bare_stars(model, dust, mock, seed, "simulate_labelled_stars")
    rng = generator(seed, "simulate_labelled_stars", "observe")
    measured, errors = observe(bare.true, mock, rng)
    names = list(mock.limits)
    seen = np.isfinite(measured[:, [names.index(name) for name in mock.required]]).all(axis=1)
    seen = rng.permutation(np.flatnonzero(seen))
    stars = bare.stars.iloc[seen]
    true = {name: stars[name].to_numpy(float) for name in LABELS}
    columns: dict[str, np.ndarray] = _places(mock.fields, stars["field"].to_numpy())
    for column, name in enumerate(names):
        columns |= {name: measured[seen, column], f"{name}_error": errors[seen, column]}
    columns |= label(true, mock.label_errors, rng)
    columns |= {f"{name}_true": values for name, values in true.items()}
    columns |= {name: stars[name].to_numpy() for name in ("distance", "a_v")}
    return pd.DataFrame({name: values.astype(np.float32) for name, values in columns.items()})


def _places(fields: Sequence[Section], field: np.ndarray) -> dict[str, np.ndarray]:
    """Galactic coordinates of the stars, deg."""
    return {name: np.array([getattr(one, name) for one in fields])[field] for name in ("l", "b")}
