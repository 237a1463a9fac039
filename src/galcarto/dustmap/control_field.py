"""Corrections of the mock Galaxy, measured in a nearly dust-free control field.

The expected diagram of the field is fitted to the observed one by Poisson likelihood. Free are the number of stars, the
zero point of the colour and its slope with magnitude, the number of background galaxies, and a shift of the
metallicities. Neither the target field nor a dust map enters.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from galcarto.core.errors import UserError
from galcarto.core.sky import Tiles
from galcarto.dustmap.diagrams.forward import View
from galcarto.dustmap.diagrams.integration import Integrator
from galcarto.dustmap.settings import Control, SurveySettings
from galcarto.galaxy import background_galaxies
from galcarto.galaxy.synthesis import StarModel
from galcarto.surveys import catalogue

ITERATIONS = 10
CLOSE = 0.1  # standard deviations: smaller steps end the fit
RICHER = 0.3  # dex: shift of the second of the two mock Galaxies between which the fit interpolates
METALLICITY_PRIOR = 0.2  # dex: standard deviation of the shift of the metallicities
STEP = 0.01  # mag: step of the numerical derivatives
SAMPLE = 200.0  # deg2, and galaxies per deg2 and mag at Ks = 14, drawn for their diagram
FEWEST = 500  # stars needed for a fit
DRAWN = 1.0  # expected stars in a pixel whose residual is drawn
SLICE = 30.0  # stars in a slice of magnitude whose mean colour is drawn
PARAMETERS = ("normalisation", "colour", "colour_slope", "galaxies", "metallicity")


def observed(control: Control, survey: SurveySettings) -> tuple[pd.DataFrame, float]:
    """Read the stars of a survey in the control field.

    Returns
    -------
    stars : DataFrame
        Within the limits.
    area : float, deg2
        Covered by the catalogue.
    """
    files = [file for file in control.files if file.survey == survey.name]
    everything, cell, dropped = catalogue.gather(files, list(survey.limits))
    tiles = Tiles(np.array(control.l), np.array(control.b))
    stars, _ = catalogue.usable(everything, dropped, survey.limits, survey.bright, tiles)
    placed = everything[np.isfinite(everything["l"])]
    window = Tiles.cover(_whole_cells(control.l, cell), _whole_cells(control.b, cell), cell)
    covered = catalogue.observed_fraction(placed["l"].to_numpy(), placed["b"].to_numpy(), window, cell)
    return stars, float((covered * window.area()).sum())


def _whole_cells(ends: tuple[float, float], cell: float) -> tuple[float, float]:
    """Extend a side of the window to a whole number of cells."""
    low, high = ends
    return low, low + float(np.ceil((high - low) / cell - 1e-9)) * cell


def corrections(fits: Mapping[Any, tuple[xr.Dataset, View]], extinction_sd: float) -> dict[str, Any]:
    """Corrections as `Corrections.read` takes them, with their errors.

    Parameters
    ----------
    fits : mapping of str to (Dataset, View)
        Of `fit`, by survey. The first survey gives the number and the metallicity of the stars.
    extinction_sd : float, mag
        Uncertainty of the A_V of the field.
    """
    result: dict[str, Any] = {}
    for name, (fitted, view) in fits.items():
        value, sd = fitted["value"].to_numpy(), fitted["sd"].to_numpy()
        # an error of the extinction of the field is an error of the zero point
        first, second = (view.coefficients[band] for band in view.colour_bands)
        zero = float(np.hypot(sd[1], extinction_sd * (first - second)))
        result[name] = {"colour": value[1:3].tolist(), "colour_sd": [zero, float(sd[2])]}
        result.setdefault("normalisation", float(value[0]))
        result.setdefault("normalisation_sd", float(sd[0]))
        if "Ks" in view.bands:
            result["galaxies"] = {"density": float(value[3])}
            result["galaxies_sd"] = float(sd[3])
        result.setdefault("metallicity", float(value[4]))
        result.setdefault("metallicity_sd", float(sd[4]))
        result[name] |= {key: fitted.attrs[key] for key in ("chi2", "chi2_before", "pixels", "stars", "area_deg2")}
    return result


def galaxies_image(view: View, slope: float, colour: tuple[float, float], a_v: float, margin: float) -> np.ndarray:
    """Diagram of background galaxies, per deg2, for a density of one per deg2 and mag at Ks = 14.

    Parameters
    ----------
    view : View
    slope, colour
        See `background_galaxies.draw`.
    a_v : float, mag
        In front of the galaxies.
    margin : float, mag
        Depth of the drawn galaxies below the limit, as errors scatter fainter ones across it.

    Returns
    -------
    ndarray, shape (magnitude, colour)
    """
    if "Ks" not in view.bands:
        return np.zeros((view.pixels, view.pixels))
    rng = np.random.default_rng(1)
    drawn = background_galaxies.draw(
        rng, SAMPLE, density=SAMPLE, slope=slope, colour=colour, faintest=view.limits["Ks"] + margin
    )
    offsets = {band: view.offsets.get(band, (0.0, 0.0)) for band in view.bands}
    true = {}
    for band in view.bands:
        value = drawn[band] + a_v * view.coefficients[band]
        true[band] = value + offsets[band][0] + offsets[band][1] * (value - 13.0)
    measured, _, seen = view.survey.observe(true, dict(view.limits), view.bright, rng)
    plain = replace(view, parallax_range=None)
    return plain.images({band: values[seen] for band, values in measured.items()})[0] / SAMPLE**2


def fit(
    counts: np.ndarray,
    area: float,
    direction: tuple[float, float],
    models: Callable[[float], StarModel],
    view: View,
    edges: np.ndarray,
    *,
    extinction: float,
    slope: float,
    colour: tuple[float, float],
    margin: float,
) -> xr.Dataset:
    """Fit the diagram of the field.

    Parameters
    ----------
    counts : ndarray, shape (magnitude, colour)
        Observed stars.
    area : float, deg2
    direction : (float, float), deg
        l and b of the field.
    models : callable
        Mock Galaxy for a shift of the metallicities in dex.
    view : View
        Of the survey, without corrections.
    edges : ndarray, shape (distance + 1,), kpc
    extinction : float, mag
        A_V in front of all stars of the field.
    slope, colour, margin
        See `galaxies_image`.

    Returns
    -------
    Dataset
        ``value`` and ``sd`` (parameter): ln of the observed over the mock number of stars, zero point of the colour at
        magnitude 13 (mag), its slope (mag/mag), galaxies per deg2 and mag at Ks = 14, shift of the metallicity (dex);
        errors are scaled by the root of the reduced chi2. Images ``observed``, ``mock`` (uncorrected) and ``fitted``.
        Attributes: ``chi2`` per pixel after and ``chi2_before`` the fit, ``pixels``, ``stars``, ``area_deg2``.

    Raises
    ------
    UserError
        If the field has too few stars.
    """
    if counts.sum() < FEWEST:
        raise UserError(f"control.files: found {counts.sum()} stars within limits; expected at least {FEWEST}")
    integrators = [Integrator(models(shift), view.diagram(), edges) for shift in (0.0, RICHER)]
    profile = np.full(len(edges) - 1, extinction)
    blue = view.colour_bands[0]

    def stars(zero: float, tilt: float) -> np.ndarray:
        """Expected stars of the two mock Galaxies, shape (2, magnitude, colour)."""
        diagram = replace(view, offsets={blue: (zero, tilt)}).diagram()
        images = []
        for integrator in integrators:
            integrator.diagram = diagram
            images.append(integrator.image(*direction, profile))
        return area * np.stack(images)

    free = np.array([True, True, True, "Ks" in view.bands, True])
    prior = np.array([0.0, 0.0, 0.0, 0.0, METALLICITY_PRIOR**-2])
    value = np.array([0.0, 0.0, 0.0, 1.0, 0.0])
    galaxies = area * galaxies_image(view, slope, colour, extinction, margin)
    mock = stars(0.0, 0.0)[0]
    covariance, image = np.eye(5), mock
    for _ in range(ITERATIONS):
        part = np.array([1.0 - value[4] / RICHER, value[4] / RICHER])
        number = np.exp(value[0])
        zero, tilt = value[1:3]
        both = stars(zero, tilt)
        image = number * np.tensordot(part, both, 1) + value[3] * galaxies
        columns = [
            number * np.tensordot(part, both, 1),
            number * np.tensordot(part, stars(zero + STEP, tilt) - stars(zero - STEP, tilt), 1) / (2 * STEP),
            number * np.tensordot(part, stars(zero, tilt + STEP) - stars(zero, tilt - STEP), 1) / (2 * STEP),
            galaxies,
            number * (both[1] - both[0]) / RICHER,
        ]
        weight = (1.0 / np.maximum(image, 1e-3)).ravel()
        design = np.stack([column.ravel() for column in columns], axis=1)[:, free]
        fisher = design.T @ (design * weight[:, None]) + np.diag(prior[free])
        step = np.linalg.solve(fisher, design.T @ (weight * (counts - image).ravel()) - (prior * value)[free])
        covariance = np.linalg.inv(fisher)
        value[free] += step
        value[3] = max(value[3], 0.0)
        if np.all(np.abs(step) < CLOSE * np.sqrt(np.diag(covariance))):
            break

    def misfit(expected: np.ndarray) -> float:
        return float(((counts - expected)[counted] ** 2 / expected[counted]).mean())

    counted = image > 3.0
    sd = np.zeros(5)
    sd[free] = np.sqrt(np.diag(covariance) * max(misfit(image), 1.0))
    return xr.Dataset(
        {
            "value": ("parameter", value * free),
            "sd": ("parameter", sd),
            "observed": (("magnitude", "colour"), counts),
            "mock": (("magnitude", "colour"), mock),
            "fitted": (("magnitude", "colour"), image),
        },
        coords={"parameter": list(PARAMETERS)},
        attrs={
            "chi2": misfit(image),
            "chi2_before": misfit(mock + galaxies),
            "pixels": int(counted.sum()),
            "stars": int(counts.sum()),
            "area_deg2": area,
        },
    )


def summary(fitted: xr.Dataset) -> xr.Dataset:
    """Residuals and mean colours of the fit of one survey.

    Parameters
    ----------
    fitted : Dataset
        Of `fit`, with pixel centres ``colour_axis`` (colour,), mag.

    Returns
    -------
    Dataset
        ``residual`` (magnitude, colour), observed minus fitted in Poisson errors, NaN where fewer than `DRAWN` stars
        are expected; ``mean_colour`` (diagram, magnitude), mag, of ``observed``, ``mock``, ``fitted``, NaN for fewer
        than `SLICE` stars; and ``mean_colour_error`` (magnitude,), mag, of the observed one.
    """
    diagrams = fitted[["observed", "mock", "fitted"]].to_array("diagram")
    expected = fitted["fitted"].where(fitted["fitted"] >= DRAWN)
    number = diagrams.sum("colour")
    enough = number >= SLICE
    mean = ((diagrams * fitted["colour_axis"]).sum("colour") / number).where(enough)
    observed = {"diagram": "observed"}
    variance = (fitted["observed"] * (fitted["colour_axis"] - mean.sel(observed)) ** 2).sum("colour") / number.sel(
        observed
    )
    return xr.Dataset(
        {
            "residual": (fitted["observed"] - expected) / np.sqrt(expected),
            "mean_colour": mean,
            "mean_colour_error": ((variance / number.sel(observed)) ** 0.5)
            .where(enough.sel(observed))
            .drop_vars("diagram"),
        }
    )
