"""Tables of surveys, measured from observed catalogues: errors star by star, completeness against the mock Galaxy."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from galcarto.core.provenance import file_sha256
from galcarto.core.tables import floats, read_table
from galcarto.dust.law import coefficients
from galcarto.galaxy.checks.integrals import variable
from galcarto.galaxy.components import load
from galcarto.galaxy.synthesis import StarModel
from galcarto.surveys.measure.survey_counts import Decline, decline, expected, layer, lowest_half, share, solid_angle
from galcarto.surveys.measure.survey_errors import (
    CELLS,
    FAINTEST,
    STEP,
    Joint,
    Medians,
    colour_relation,
    floor_and_background,
    forms,
    residual,
    split,
)
from galcarto.surveys.survey import Errors

Result = tuple[dict[str, Any], dict[str, Any], xr.Dataset]  # table, metrics, and what the figures show

CATALOGUES = {"2mass": ("cloud", "field", "cone"), "gaia": ("plane", "deep", "colours")}
REFERENCES = {
    "2mass": {
        "survey": "Skrutskie et al. 2006, AJ 131, 1163",
        "wavelengths": "isophotal, Cohen et al. 2003, AJ 126, 1090",
    },
    "gaia": {
        "survey": "Gaia EDR3, whose photometry and parallaxes DR3 repeats: Gaia Collaboration 2021, A&A 649, A1",
        "wavelengths": "pivot, Riello et al. 2021, A&A 649, A3",
        "zero_point": "median of quasars, Lindegren et al. 2021, A&A 649, A4",
    },
}
WAVELENGTHS = {
    "2mass": {"J": 1.235, "H": 1.662, "Ks": 2.159},
    "gaia": {"G": 0.6218, "BP": 0.5110, "RP": 0.7769},
}  # micrometre
ZERO_POINT = -0.017  # mas
# A_V of the fields' whole lines of sight, mag, from Planck's radiance (Planck 2013 results XI); (l, b) in deg
FIELD, FIELD_EXTINCTION = (233.27, -19.38), 0.14
DEEP, DEEP_EXTINCTION = (249.98, -7.13), 1.45  # the catalogue's own centre; its provenance names another place
DUSTS = (0.0, 0.7, DEEP_EXTINCTION, 1.74)  # tried in the deep field: from none to that of tau353
GUESSES = {"J": 16.95, "H": 16.3, "Ks": 15.7}  # mag: where the counts turn over
CUT = 21.0  # mag, in G: the end of the deep catalogue
HIDDEN = np.arange(20.5, 22.01, 0.05)  # mag: half points in G to try
SHARP = 0.1  # mag: width assumed where no decline is seen; as those of 2MASS


def read(path: str | Path, columns: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read columns of a catalogue as floats, NaN where they have no value, from our names and the file's."""
    table = read_table(path, columns.values(), "catalogues")
    return {ours: floats(table[theirs]) for ours, theirs in columns.items()}


def _rounded(value: Any, digits: int = 4) -> Any:
    """Plain numbers of a few digits, for tables."""
    if isinstance(value, dict):
        return {key: _rounded(part, digits) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_rounded(part, digits) for part in value]
    return float(f"{float(value):.{digits}g}") if isinstance(value, float | np.floating) else value


def _errors(errors: Errors, scatter: float, fit: dict[str, Any]) -> dict[str, Any]:
    return {
        "magnitude": list(errors.magnitude),
        "error": list(errors.error),
        "scatter": _rounded(scatter, 2),
        "residual": _rounded(fit, 2),
    }


def _provenance(paths: Mapping[str, str], numbers: Mapping[str, int], notes: list[str]) -> dict[str, Any]:
    return {
        "rule": "measure_survey",
        "catalogues": {
            name: {"file": "/".join(Path(path).parts[-2:]), "sha256": file_sha256(path), "stars": numbers[name]}
            for name, path in paths.items()
        },
        "notes": notes,
    }


def _once(density: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Remember the counts between the same edges: fits ask for them again."""
    known: dict[bytes, np.ndarray] = {}

    def remembered(edges: np.ndarray) -> np.ndarray:
        key = edges.tobytes()
        if key not in known:
            known[key] = density(edges)
        return known[key]

    return remembered


def _medians(name: str, catalogues: Mapping[str, Medians], joint: Joint) -> dict[str, Any]:
    """Variables of a figure of errors, by catalogue."""
    found = {f"{name}_{part}": [getattr(one, part) for one in catalogues.values()] for part in ("error", "low", "high")}
    middle = next(iter(catalogues.values())).magnitude
    units = "mas" if name == "parallax" else "mag"
    result = {key: variable((f"{name}_catalogue", f"{name}_bin"), rows, units, key) for key, rows in found.items()}
    result[f"{name}_curve"] = variable(f"{name}_bin", joint.errors.at(middle), units, "fit")
    result[f"{name}_bin"] = variable(f"{name}_bin", middle, "mag", "magnitude")
    result[f"{name}_catalogue"] = (f"{name}_catalogue", list(catalogues))
    return result


def _counts(name: str, fit: Decline) -> dict[str, Any]:
    """Variables of a figure of completeness."""
    parts = {"found": fit.found, "fitted": fit.fitted, "complete": fit.complete}
    result = {f"{name}_{k}": variable(f"{name}_step", v, "1", f"stars, {k}") for k, v in parts.items()}
    result[f"{name}_step"] = variable(f"{name}_step", fit.magnitude, "mag", "magnitude")
    return result


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
    """2MASS from a cloud, a field almost without dust, and a cone.

    Completeness comes from the field alone, where the mock is to be trusted; the other two tell how fields differ.
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
    model = StarModel(load(galaxy), [{"Ks": 30.0}], tuple(GUESSES), binaries)
    dimming = coefficients(law, r_v, WAVELENGTHS["2mass"])
    bands: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    edges = np.arange(6.0, 18.0 + STEP / 2, STEP)
    for band, guess in GUESSES.items():
        found = {name: Medians.of(one[band], one[f"{band}_error"], edges) for name, one in stars.items()}
        joint, quality = Joint.of(found), forms(found)
        floor, ten_sigma = floor_and_background(found)
        # upper limits have no error: they are not measured
        measured = {name: one[band][np.isfinite(one[f"{band}_error"])] for name, one in stars.items()}
        dust = layer(FIELD_EXTINCTION * dimming[band], FIELD[1])

        def density(edges: np.ndarray, band: str = band, dust: Callable = dust) -> np.ndarray:
            return expected(model, band, *FIELD, edges, dust)

        mock = _once(density)
        main = decline(measured["field"], mock, joint.errors.at, guess)
        others = {
            "field, no tilt": decline(measured["field"], mock, joint.errors.at, guess, tilted=False),
            **{f"{name}, no mock": decline(one, None, joint.errors.at, guess) for name, one in measured.items()},
        }
        same = [main.half, *(others[name].half for name in ("field, no tilt", "field, no mock"))]
        systematic = float(np.ptp(same) / 2.0)
        metrics[band] = {
            "residual": quality,
            "offsets": joint.offsets,
            "scatter": joint.scatter,
            "completeness": {
                "field": _summary(main),
                "systematic": systematic,
                **{n: _summary(f) for n, f in others.items()},
            },
        }
        bands[band] = {
            "wavelength": WAVELENGTHS["2mass"][band],
            "floor": _rounded(floor),
            "ten_sigma": round(ten_sigma, 3),
            "errors": _errors(joint.errors, joint.scatter, quality),
            "completeness": {
                "half": round(main.half, 3),
                "width": round(main.width, 3),
                "half_error": round(float(np.hypot(main.half_error, systematic)), 3),
                "width_error": round(main.width_error, 3),
                "kind": "measured",
                "note": "in the field; half points without the mock: "
                + ", ".join(f"{n} {others[f'{n}, no mock'].half:.2f}" for n in measured),
            },
        }
        shown |= _medians(band, found, joint) | _counts(band, main)
    notes = [
        "errors: median of the catalogues' errors, which differ by a factor each; never falling",
        "completeness: of measured magnitudes, stars with an error only; the mock's number and tilt are fitted",
    ]
    numbers = {name: len(one["x"]) for name, one in stars.items()}
    table = {
        "version": 1,
        "name": "2mass",
        "title": "2MASS",
        "references": REFERENCES["2mass"],
        "bands": bands,
        "provenance": _provenance(paths, numbers, notes),
    }
    return table, metrics, xr.Dataset(shown)


def measure_gaia(paths: Mapping[str, str], galaxy: str, binaries: bool, law: str, r_v: float) -> Result:
    """Gaia from a field in the plane (G < 18.5), a deep one (G < 21), and a cone with G, BP and RP (DR2)."""
    names = {"G": "Gmag", "G_error": "e_Gmag", "colour": "BP-RP", "colour_error": "e_BP-RP"}
    names |= {"parallax": "Plx", "parallax_error": "e_Plx", "x": "RA_ICRS", "y": "DE_ICRS"}
    stars = {name: read(paths[name], names) for name in ("plane", "deep")}
    cone = read(paths["colours"], {b: f"phot_{b.lower()}_mean_mag" for b in ("G", "BP", "RP")})
    areas = {name: solid_angle(one["x"], one["y"]) for name, one in stars.items()}
    metrics: dict[str, Any] = {
        "area_deg2": areas,
        "stars_per_deg2_G_18": {name: float((one["G"] < 18.0).sum() / areas[name]) for name, one in stars.items()},
    }
    edges = np.arange(11.0, CUT + STEP / 2, STEP)
    joints: dict[str, Joint] = {}
    tables: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    for what, column in (("G", "G_error"), ("parallax", "parallax_error")):
        found = {name: Medians.of(one["G"], one[column], edges) for name, one in stars.items()}
        joints[what], quality = Joint.of(found), forms(found)
        tables[what] = _errors(joints[what].errors, joints[what].scatter, quality)
        metrics[what] = {"residual": quality, "offsets": joints[what].offsets, "scatter": joints[what].scatter}
        metrics[what]["floor_and_background"] = floor_and_background(found)
        shown |= _medians(what, found, joints[what])

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
    in_colour = {name: Medians.of(one["G"], one["colour_error"], edges) for name, one in stars.items()}
    star_scatter = Joint.of(in_colour).scatter
    shown |= {f"cell_{key}": variable("cell", values, "mag", key) for key, values in cells.items() if key != "number"}

    model = StarModel(load(galaxy), [{"Ks": 30.0}], ("Ks", "G"), binaries)
    dimming = coefficients(law, r_v, WAVELENGTHS["gaia"])
    deep = stars["deep"]
    metrics["completeness"], limits = {"G": {}}, []
    for extinction in DUSTS:
        dust = layer(extinction * dimming["G"], DEEP[1])

        def density(edges: np.ndarray, dust: Callable = dust) -> np.ndarray:
            return expected(model, "G", *DEEP, edges, dust)

        mock = _once(density)

        def fit(fixed: tuple[float, float] | None = None, mock: Callable[[np.ndarray], np.ndarray] = mock) -> Decline:
            return decline(deep["G"], mock, joints["G"].errors.at, CUT, CUT, fixed=fixed)

        limits.append(lowest_half(fit, HIDDEN, SHARP))
        everything = fit((99.0, SHARP))
        metrics["completeness"]["G"][f"A_V {extinction:g}"] = {
            "lowest_half": limits[-1],
            "deviance_per_degree_if_all_are_found": everything.quality,
            "tilt_if_all_are_found": everything.tilt,
        }
        if extinction == DEEP_EXTINCTION:
            shown |= _counts("G", everything)
    has, bins = share(deep["G"], np.isfinite(deep["parallax"]), np.arange(17.0, CUT + 0.01, 0.1), plateau=True)
    metrics["completeness"]["parallax"] = has
    coloured = {
        name: share(one["G"], np.isfinite(one["colour"]), np.arange(14.0, CUT + 0.01, 0.5), plateau=False)
        for name, one in stars.items()
    }
    both, _ = share(g, np.isfinite(colour), np.arange(14.0, CUT + 0.01, 0.5), plateau=False)
    metrics["completeness"]["colour"] = {"both": both, **{name: values for name, (values, _) in coloured.items()}}
    faint = np.isfinite(colour) & (g > 18.0)
    offset = float(np.median(colour[faint] - np.polyval(polynomial, np.clip(colour[faint], 0.2, 3.0))))
    metrics["colour"]["median_BP_less_G"] = offset
    shares = {"parallax": bins} | {f"colour_{name}": part for name, (_, part) in coloured.items()}
    for name, counted in shares.items():
        dim = f"{name}_share_bin"
        shown |= {
            f"{name}_share": variable(dim, counted["with"] / counted["number"], "1", "share"),
            f"{name}_share_error": variable(dim, _binomial(counted["with"], counted["number"]), "1", "its error"),
            f"{name}_share_fit": variable(dim, counted["fitted"], "1", "fit"),
            dim: variable(dim, counted["magnitude"], "mag", "G"),
        }

    floor, ten_sigma = metrics["G"]["floor_and_background"]
    limit = min(limits)
    completeness = {
        "G": {
            "half": round(limit, 3),
            "width": SHARP,
            "kind": "lower limit",
            "note": f"95 %, whatever the dust: no decline is seen before the cut at G = {CUT:g}; width assumed",
        },
        "BP": {
            "half": round(both["half"] + offset, 3),
            "width": round(both["width"], 3),
            "half_error": round(both["half_error"], 3),
            "width_error": round(both["width_error"], 3),
            "kind": "extrapolated",
            "note": "share of found stars with a colour, G < 21, moved by the median BP-G: no half point is reached",
        },
        "RP": {
            "half": 30.0,
            "width": SHARP,
            "kind": "not measured",
            "note": "a missing colour is counted in BP",
        },
    }
    bands = {}
    for band in ("G", "BP", "RP"):
        if band == "G":
            form, errors = (floor, ten_sigma), tables["G"]
        else:
            middle = np.array(parts[band].magnitude)
            nodes = Medians(middle, np.array(parts[band].error), *[np.full(len(middle), np.nan)] * 3)
            form = floor_and_background({band: nodes})
            fits = {"cells_rms": metrics["colour"]["rms"], "cells": len(misfit)}
            for name, one in in_colour.items():
                fits[name] = _colour_residual(one, stars[name], polynomial, parts)
            errors = _errors(parts[band], star_scatter, fits)
            metrics["colour"]["residual"] = fits
        bands[band] = {
            "wavelength": WAVELENGTHS["gaia"][band],
            "floor": _rounded(form[0]),
            "ten_sigma": round(form[1], 3),
            "errors": errors,
            "completeness": completeness[band],
        }
    notes = [
        "errors: with the zero points' errors, which the catalogues add to each star's and all stars share",
        "BP, RP: from the error of BP-RP alone; independent, each a smooth curve of its own magnitude",
        "BP, RP: their magnitudes from G and BP-RP with the colour relation of the cone (DR2)",
        f"BP, RP: stars of G < {FAINTEST:g}; the colours of fainter ones have errors of up to 1.5 times the tables'",
    ]
    numbers = {name: len(one["x"]) for name, one in stars.items()} | {"colours": len(cone["G"])}
    table = {
        "version": 1,
        "name": "gaia",
        "title": "Gaia DR3",
        "references": REFERENCES["gaia"],
        "bands": bands,
        "parallax": {
            "band": "G",
            "zero_point": ZERO_POINT,
            "errors": tables["parallax"],
            "completeness": {
                "half": round(has["half"], 3),
                "width": round(has["width"], 3),
                "half_error": round(has["half_error"], 3),
                "width_error": round(has["width_error"], 3),
                "kind": "measured",
                "note": f"of the stars found in G; {has['plateau']:.3f} of the bright ones have a parallax",
            },
        },
        "provenance": _provenance(paths, numbers, notes),
    }
    return table, metrics, xr.Dataset(shown)


def _binomial(found: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Error of a share, with one star of each kind added, so that it is never 0."""
    portion = (found + 1.0) / (number + 2.0)
    return np.sqrt(portion * (1.0 - portion) / number)


def _colour_residual(
    found: Medians, stars: Mapping[str, np.ndarray], polynomial: np.ndarray, parts: Mapping[str, Errors]
) -> float:
    """Root mean square of ln(fit / median) of the colour's error of one catalogue, G < 20.5, by bins of G."""
    rp = stars["G"] - np.polyval(polynomial, np.clip(stars["colour"], CELLS[1][0], CELLS[1][-1]))
    error = np.hypot(parts["BP"].at(rp + stars["colour"]), parts["RP"].at(rp))
    edges = np.append(found.magnitude - STEP / 2, found.magnitude[-1] + STEP / 2)
    fitted = Medians.of(stars["G"], error, edges)
    near = Medians(*(np.where(found.magnitude < FAINTEST, values, np.nan) for values in vars(found).values()))
    return residual(near, fitted.error)


MEASURES: dict[str, Callable[..., Result]] = {"2mass": measure_twomass, "gaia": measure_gaia}
