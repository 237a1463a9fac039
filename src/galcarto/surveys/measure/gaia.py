"""Measure Gaia."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from galcarto.core.files import variable
from galcarto.dust.law import coefficients
from galcarto.galaxy.components import load
from galcarto.galaxy.integrals import ALL_STARS
from galcarto.galaxy.synthesis import StarModel
from galcarto.surveys.measure.completeness import Decline, decline, fit_fraction, lowest_half, mock_counts, solid_angle
from galcarto.surveys.measure.errors import (
    CELLS,
    FAINTEST,
    STEP,
    Joint,
    Medians,
    colour_relation,
    floor_and_background,
    residual,
    split,
)
from galcarto.surveys.measure.results import (
    Result,
    band_entry,
    completeness_entry,
    count_variables,
    error_entry,
    measure_errors,
    read,
    survey_table,
)
from galcarto.surveys.survey import Errors

REFERENCES = {
    "survey": "Gaia EDR3, whose photometry and parallaxes DR3 repeats: Gaia Collaboration 2021, A&A 649, A1",
    "wavelengths": "pivot, Riello et al. 2021, A&A 649, A3",
    "zero_point": "median of quasars, Lindegren et al. 2021, A&A 649, A4",
}
WAVELENGTHS = {"G": 0.6218, "BP": 0.5110, "RP": 0.7769}  # micrometre
ZERO_POINT = -0.017  # mas
DEEP = (249.98, -7.13)  # (l, b) in deg of the catalogue's centre; its provenance file gives another position
# A_V in mag of the deep field's whole line of sight: from none to that of tau353
DEEP_EXTINCTION = 1.45  # from Planck's radiance (Planck 2013 results XI)
EXTINCTIONS = (0.0, 0.7, DEEP_EXTINCTION, 1.74)
CUT = 21.0  # mag, in G: faint limit of the deep catalogue
HIDDEN = np.arange(20.5, 22.01, 0.05)  # mag: half points in G to try
SHARP = 0.1  # mag: assumed width where no decline is seen, as for 2MASS
NOTES = [
    "errors: with the zero points' errors, which the catalogues add to each star's and all stars share",
    "BP, RP: from the error of BP-RP alone; independent, each a smooth curve of its own magnitude",
    "BP, RP: their magnitudes from G and BP-RP with the colour relation of the cone (DR2)",
    f"BP, RP: stars of G < {FAINTEST:g}; the colours of fainter ones have errors of up to 1.5 times the tables'",
]


def _limits_in_g(
    magnitude: np.ndarray, joint: Joint, galaxy: str, binaries: bool, dimming: float
) -> tuple[float, dict[str, Any], dict[str, Any]]:
    """Lower limit of the half point in G for any extinction, metrics and figure variables."""
    model = StarModel(load(galaxy), [ALL_STARS], ("Ks", "G"), binaries)
    limits, metrics, shown = [], {}, {}
    for extinction in EXTINCTIONS:
        mock = mock_counts(model, "G", *DEEP, extinction * dimming)

        def fit(fixed: tuple[float, float], mock=mock) -> Decline:
            return decline(magnitude, mock, joint.errors.at, CUT, CUT, fixed=fixed)

        limits.append(lowest_half(fit, HIDDEN, SHARP))
        complete = fit((99.0, SHARP))
        metrics[f"A_V {extinction:g}"] = {
            "lowest_half": limits[-1],
            "deviance_per_degree_if_all_are_found": complete.quality,
            "tilt_if_all_are_found": complete.tilt,
        }
        if extinction == DEEP_EXTINCTION:
            shown = count_variables("G", complete)
    return min(limits), metrics, shown


def _fraction_variables(name: str, bins: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Variables of a figure of a fraction against magnitude."""
    dim, number, having = f"{name}_share_bin", bins["number"], bins["with"]
    # one star of each kind is added, so that the error is never 0
    smoothed = (having + 1.0) / (number + 2.0)
    return {
        f"{name}_share": variable(dim, having / number, "1", "share"),
        f"{name}_share_error": variable(dim, np.sqrt(smoothed * (1.0 - smoothed) / number), "1", "its error"),
        f"{name}_share_fit": variable(dim, bins["fitted"], "1", "fit"),
        dim: variable(dim, bins["magnitude"], "mag", "G"),
    }


def _colour_residual(
    found: Medians, stars: Mapping[str, np.ndarray], polynomial: np.ndarray, parts: Mapping[str, Errors]
) -> float:
    """Residual of the fitted errors of the colour of one catalogue, G < 20.5, by bins of G."""
    rp = stars["G"] - np.polyval(polynomial, np.clip(stars["colour"], CELLS[1][0], CELLS[1][-1]))
    error = np.hypot(parts["BP"].at(rp + stars["colour"]), parts["RP"].at(rp))
    edges = np.append(found.magnitude - STEP / 2, found.magnitude[-1] + STEP / 2)
    fitted = Medians.of(stars["G"], error, edges)
    near = Medians(*(np.where(found.magnitude < FAINTEST, values, np.nan) for values in vars(found).values()))
    return residual(near, fitted.error)


def measure_gaia(paths: Mapping[str, str], galaxy: str, binaries: bool, law: str, r_v: float) -> Result:
    """Measure Gaia from a field in the plane (G < 18.5), a deep one (G < 21), and a cone with G, BP and RP (DR2)."""
    names = {"G": "Gmag", "G_error": "e_Gmag", "colour": "BP-RP", "colour_error": "e_BP-RP"}
    names |= {"parallax": "Plx", "parallax_error": "e_Plx", "x": "RA_ICRS", "y": "DE_ICRS"}
    stars = {name: read(paths[name], names) for name in ("plane", "deep")}
    cone = read(paths["colours"], {b: f"phot_{b.lower()}_mean_mag" for b in ("G", "BP", "RP")})
    areas = {name: solid_angle(one["x"], one["y"]) for name, one in stars.items()}
    metrics: dict[str, Any] = {
        "area_deg2": areas,
        "stars_per_deg2_G_18": {name: float((one["G"] < 18.0).sum() / areas[name]) for name, one in stars.items()},
    }
    shown: dict[str, Any] = {}
    edges = np.arange(11.0, CUT + STEP / 2, STEP)
    measured = {name: measure_errors(name, stars, "G", f"{name}_error", edges) for name in ("G", "parallax")}
    for name, found in measured.items():
        metrics[name] = found.metrics | {"floor_and_background": found.form}
        shown |= found.shown

    polynomial, scatter = colour_relation(cone["G"], cone["BP"], cone["RP"])
    g, colour, error = (np.concatenate([one[key] for one in stars.values()]) for key in ("G", "colour", "colour_error"))
    parts, cells = split(g, colour, error, polynomial)
    misfit = np.log(cells["fitted"] / cells["found"])
    metrics["colour"] = {
        "polynomial": polynomial.tolist(),
        "polynomial_scatter_mag": scatter,
        "cells": len(misfit),
        "rms": float(np.sqrt((misfit**2).mean())),
        "largest": float(np.abs(misfit).max()),
    }
    shown |= {f"cell_{key}": variable("cell", values, "mag", key) for key, values in cells.items() if key != "number"}

    deep, faint_end = stars["deep"], CUT + 0.01
    limit, fits, counted = _limits_in_g(
        deep["G"], measured["G"].joint, galaxy, binaries, coefficients(law, r_v, WAVELENGTHS)["G"]
    )
    shown |= counted
    has, bins = fit_fraction(deep["G"], np.isfinite(deep["parallax"]), np.arange(17.0, faint_end, 0.1), plateau=True)
    shown |= _fraction_variables("parallax", bins)
    wide = np.arange(14.0, faint_end, 0.5)
    both, _ = fit_fraction(g, np.isfinite(colour), wide, plateau=False)
    with_colour = {"both": both}
    for name, one in stars.items():
        with_colour[name], bins = fit_fraction(one["G"], np.isfinite(one["colour"]), wide, plateau=False)
        shown |= _fraction_variables(f"colour_{name}", bins)
    metrics["completeness"] = {"G": fits, "parallax": has, "colour": with_colour}
    faint = np.isfinite(colour) & (g > 18.0)
    offset = float(np.median(colour[faint] - np.polyval(polynomial, np.clip(colour[faint], 0.2, 3.0))))
    metrics["colour"]["median_BP_less_G"] = offset

    fitted = {name: both[name] for name in ("half", "width", "half_error", "width_error")}
    completeness = {
        "G": completeness_entry(
            "lower limit",
            f"95 %, whatever the dust: no decline is seen before the cut at G = {CUT:g}; width assumed",
            half=limit,
            width=SHARP,
        ),
        "BP": completeness_entry(
            "extrapolated",
            "share of found stars with a colour, G < 21, moved by the median BP-G: no half point is reached",
            **(fitted | {"half": both["half"] + offset}),
        ),
        "RP": completeness_entry("not measured", "a missing colour is counted in BP", half=30.0, width=SHARP),
    }
    bands = {"G": band_entry(WAVELENGTHS["G"], *measured["G"].form, measured["G"].entry, completeness["G"])}
    in_colour = {name: Medians.of(one["G"], one["colour_error"], edges) for name, one in stars.items()}
    residuals = {"cells_rms": metrics["colour"]["rms"], "cells": len(misfit)}
    residuals |= {name: _colour_residual(one, stars[name], polynomial, parts) for name, one in in_colour.items()}
    metrics["colour"]["residual"] = residuals
    star_scatter = Joint.of(in_colour).scatter
    for band in ("BP", "RP"):
        middle = np.array(parts[band].magnitude)
        nodes = Medians(middle, np.array(parts[band].error), *[np.full(len(middle), np.nan)] * 3)
        errors = error_entry(parts[band], star_scatter, residuals)
        bands[band] = band_entry(WAVELENGTHS[band], *floor_and_background({band: nodes}), errors, completeness[band])
    parallax = {
        "band": "G",
        "zero_point": ZERO_POINT,
        "errors": measured["parallax"].entry,
        "completeness": completeness_entry(
            "measured",
            f"of the stars found in G; {has['plateau']:.3f} of the bright ones have a parallax",
            **{name: has[name] for name in fitted},
        ),
    }
    numbers = {name: len(one["G"]) for name, one in (stars | {"colours": cone}).items()}
    table = survey_table("gaia", "Gaia DR3", REFERENCES, {"bands": bands, "parallax": parallax}, paths, numbers, NOTES)
    return table, metrics, xr.Dataset(shown)
