"""Measure 2MASS."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from galcarto.dust.law import coefficients
from galcarto.galaxy.components import load
from galcarto.galaxy.integrals import ALL_STARS
from galcarto.galaxy.synthesis import StarModel
from galcarto.surveys.catalogue import measured
from galcarto.surveys.measure.completeness import Decline, decline, mock_counts, solid_angle
from galcarto.surveys.measure.errors import STEP
from galcarto.surveys.measure.results import (
    Result,
    band_entry,
    completeness_entry,
    count_variables,
    measure_errors,
    read,
    survey_table,
)

REFERENCES = {
    "survey": "Skrutskie et al. 2006, AJ 131, 1163",
    "wavelengths": "isophotal, Cohen et al. 2003, AJ 126, 1090",
}
WAVELENGTHS = {"J": 1.235, "H": 1.662, "Ks": 2.159}  # micrometre
GUESSES = {"J": 16.95, "H": 16.3, "Ks": 15.7}  # mag: maxima of the counts
FIELD = (233.27, -19.38)  # (l, b), deg
FIELD_EXTINCTION = 0.14  # A_V in mag of the field's whole line of sight: Planck's radiance (Planck 2013 results XI)
NOTES = [
    "errors: median of the catalogues' errors, which differ by a factor each; never falling",
    "completeness: of measured magnitudes, stars with an error only; the mock's number and tilt are fitted",
]


def _summary(fit: Decline) -> dict[str, float]:
    return {
        "half": fit.half,
        "half_error": fit.half_error,
        "width": fit.width,
        "width_error": fit.width_error,
        "deviance_per_degree": fit.quality,
        "tilt": fit.tilt,
    }


def measure_twomass(paths: Mapping[str, str], galaxy: str, binaries: bool, law: str, r_v: float) -> Result:
    """Measure 2MASS from a cloud, a field almost without dust, and a cone.

    The completeness comes from the field alone, for which the mock is reliable. The others show how fields differ.
    """
    positions = {"cloud": ("GLON", "GLAT"), "field": ("GLON", "GLAT"), "cone": ("RAJ2000", "DEJ2000")}
    columns = {f"{band}{end}": f"{pre}{band[0]}mag" for band in GUESSES for end, pre in (("", ""), ("_error", "e_"))}
    stars = {
        name: read(path, columns | dict(zip(("x", "y"), positions[name], strict=True))) for name, path in paths.items()
    }
    areas = {name: solid_angle(one["x"], one["y"]) for name, one in stars.items()}
    metrics: dict[str, Any] = {
        "stars_per_deg2": {name: len(one["x"]) / areas[name] for name, one in stars.items()},
        "area_deg2": areas,
    }
    model = StarModel(load(galaxy), [ALL_STARS], tuple(GUESSES), binaries)
    dimming = coefficients(law, r_v, WAVELENGTHS)
    bands: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    edges = np.arange(6.0, 18.0 + STEP / 2, STEP)
    for band, guess in GUESSES.items():
        found = measure_errors(band, stars, band, f"{band}_error", edges)
        error = found.joint.errors.at
        seen = {name: one[band][measured(one[band], one[f"{band}_error"])] for name, one in stars.items()}
        mock = mock_counts(model, band, *FIELD, FIELD_EXTINCTION * dimming[band])
        main = decline(seen["field"], mock, error, guess)
        others = {
            "field, no tilt": decline(seen["field"], mock, error, guess, tilted=False),
            **{f"{name}, no mock": decline(one, None, error, guess) for name, one in seen.items()},
        }
        halves = [main.half, *(others[name].half for name in ("field, no tilt", "field, no mock"))]
        systematic = float(np.ptp(halves) / 2.0)
        fits = {name: _summary(fit) for name, fit in others.items()}
        metrics[band] = found.metrics | {"completeness": {"field": _summary(main), "systematic": systematic, **fits}}
        without_mock = ", ".join(f"{name} {others[f'{name}, no mock'].half:.2f}" for name in seen)
        completeness = completeness_entry(
            "measured",
            f"in the field; half points without the mock: {without_mock}",
            half=main.half,
            width=main.width,
            half_error=np.hypot(main.half_error, systematic),
            width_error=main.width_error,
        )
        bands[band] = band_entry(WAVELENGTHS[band], *found.form, found.entry, completeness)
        shown |= found.shown | count_variables(band, main)
    numbers = {name: len(one["x"]) for name, one in stars.items()}
    table = survey_table("2mass", "2MASS", REFERENCES, {"bands": bands}, paths, numbers, NOTES)
    return table, metrics, xr.Dataset(shown)
