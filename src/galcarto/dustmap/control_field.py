"""How real stars differ from the mock's, measured in a nearly dust-free control field.

The expected diagram of the field is fitted to the observed one by its Poisson likelihood: the number of stars, the zero
point of the colour and its slope with magnitude, the number of stray galaxies, and a shift of the stars' metallicities.
No target field and no map of dust has a part in it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import xarray as xr

from galcarto.core.errors import UserError
from galcarto.dustmap.diagrams.forward import View
from galcarto.dustmap.diagrams.integration import Integrator
from galcarto.galaxy import background_galaxies
from galcarto.galaxy.synthesis import StarModel

ITERATIONS = 10
CLOSE = 0.1  # standard deviations: a step smaller than this ends the fit
RICHER = 0.3  # dex: between the two Galaxies that the fit interpolates
METALLICITY_PRIOR = 0.2  # dex: how far the stars' metallicities may lie from the table's
STEP = 0.01  # mag: of the numerical derivatives
SAMPLE = 200.0  # deg2 times the density of galaxies at 14 mag, for their diagram
FEWEST = 500  # stars that a fit needs
DRAWN = 1.0  # stars expected in a pixel whose residual is drawn
SLICE = 30.0  # stars in a slice of magnitude whose mean colour is drawn
PARAMETERS = ("normalisation", "colour", "colour_slope", "galaxies", "metallicity")


def galaxies_image(view: View, slope: float, colour: tuple[float, float], a_v: float, margin: float) -> np.ndarray:
    """Diagram of stray galaxies, per deg2 and for one galaxy per deg2 and mag at Ks = 14.

    Parameters
    ----------
    view : View
    slope : float
    colour : (float, float), mag
    a_v : float, mag
        In front of them.
    margin : float, mag
        How far below the limit they are drawn, for the errors.

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
    """Fit the field's diagram.

    Parameters
    ----------
    counts : ndarray, shape (magnitude, colour)
        Observed stars.
    area : float, deg2
    direction : (float, float), deg
        l and b of the field.
    models : callable
        The mock Galaxy whose stars have so many dex more metals.
    view : View
        Of the survey, without corrections.
    edges : ndarray, shape (distance + 1,), kpc
    extinction : float, mag
        A_V of the field, in front of all its stars.
    slope, colour, margin
        See `galaxies_image`.

    Returns
    -------
    Dataset
        ``value`` and ``sd`` (parameter): ln of the stars' number over the mock's, zero point of the colour at magnitude
        13 (mag), its slope (mag/mag), galaxies per deg2 and mag at Ks = 14, shift of the metallicity (dex); errors are
        scaled by the root of the reduced chi2. Images ``observed``, ``mock`` (before) and ``fitted``; ``chi2`` before
        and after, and ``pixels``, as attributes.

    Raises
    ------
    UserError
        If the field has too few stars.
    """
    if counts.sum() < FEWEST:
        raise UserError(f"control.files: found {counts.sum()} stars within limits; expected at least {FEWEST}")
    integrators = [Integrator(models(shift), view.diagram(), edges) for shift in (0.0, RICHER)]
    profile = np.full(len(edges) - 1, extinction)
    red = view.colour_bands[0]

    def stars(zero: float, tilt: float) -> np.ndarray:
        """Expected stars of the two Galaxies, shape (2, magnitude, colour)."""
        diagram = replace(view, offsets={red: (zero, tilt)}).diagram()
        images = []
        for integrator in integrators:
            integrator.diagram = diagram
            images.append(integrator.image(*direction, profile))
        return area * np.stack(images)

    free = np.array([True, True, True, "Ks" in view.bands, True])
    prior = np.array([0.0, 0.0, 0.0, 0.0, METALLICITY_PRIOR**-2])
    value = np.array([0.0, 0.0, 0.0, 1.0, 0.0])
    strangers = area * galaxies_image(view, slope, colour, extinction, margin)
    mock = stars(0.0, 0.0)[0]
    covariance, image = np.eye(5), mock
    for _ in range(ITERATIONS):
        part = np.array([1.0 - value[4] / RICHER, value[4] / RICHER])
        number = np.exp(value[0])
        zero, tilt = value[1:3]
        both = stars(zero, tilt)
        image = number * np.tensordot(part, both, 1) + value[3] * strangers
        columns = [
            number * np.tensordot(part, both, 1),
            number * np.tensordot(part, stars(zero + STEP, tilt) - stars(zero - STEP, tilt), 1) / (2 * STEP),
            number * np.tensordot(part, stars(zero, tilt + STEP) - stars(zero, tilt - STEP), 1) / (2 * STEP),
            strangers,
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
            "chi2_before": misfit(mock + strangers),
            "pixels": int(counted.sum()),
            "stars": int(counts.sum()),
            "area_deg2": area,
        },
    )


def summary(fitted: xr.Dataset) -> xr.Dataset:
    """What is drawn of one survey's fit.

    Parameters
    ----------
    fitted : Dataset
        `fit`'s, with ``colour_axis`` (colour,), mag, at the pixels' centres.

    Returns
    -------
    Dataset
        ``residual`` (magnitude, colour), observed less fitted over the fitted Poisson error, NaN where fewer than
        `DRAWN` stars are expected; ``mean_colour`` (diagram, magnitude), mag, of ``observed``, ``mock``, ``fitted``,
        NaN where they have fewer than `SLICE` stars; and ``mean_colour_error`` (magnitude,), mag, of the first.
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
