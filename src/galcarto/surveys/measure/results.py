"""Parts of a survey's table, metrics and figures that the measurements share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from galcarto.core.files import variable
from galcarto.core.provenance import file_sha256, short_name
from galcarto.core.tables import floats, read_table
from galcarto.surveys.measure.completeness import Decline
from galcarto.surveys.measure.errors import Joint, Medians, floor_and_background, forms
from galcarto.surveys.survey import Errors

Result = tuple[dict[str, Any], dict[str, Any], xr.Dataset]  # table, metrics, data of the figures
Stars = Mapping[str, Mapping[str, np.ndarray]]  # columns by catalogue


def read(path: str | Path, columns: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read columns of a catalogue as floats, NaN where they have no value, from our names and the file's."""
    table = read_table(path, columns.values(), "catalogues")
    return {ours: floats(table[theirs]) for ours, theirs in columns.items()}


def _rounded(value: Any, digits: int) -> Any:
    """Round numbers to a few digits."""
    if isinstance(value, dict):
        return {key: _rounded(part, digits) for key, part in value.items()}
    return float(f"{float(value):.{digits}g}") if isinstance(value, float | np.floating) else value


def survey_table(
    name: str,
    title: str,
    references: dict[str, str],
    parts: dict[str, Any],
    paths: Mapping[str, str],
    numbers: Mapping[str, int],
    notes: list[str],
) -> dict[str, Any]:
    """Table of a survey: bands and parallaxes (``parts``), and the catalogues with their numbers of stars."""
    catalogues = {
        key: {"file": short_name(path), "sha256": file_sha256(path), "stars": numbers[key]}
        for key, path in paths.items()
    }
    provenance = {"rule": "measure_survey", "catalogues": catalogues, "notes": notes}
    head = {"version": 1, "name": name, "title": title, "references": references}
    return head | parts | {"provenance": provenance}


def error_entry(errors: Errors, scatter: float, residual: dict[str, Any]) -> dict[str, Any]:
    """The block ``errors`` of a table."""
    return {
        "magnitude": list(errors.magnitude),
        "error": list(errors.error),
        "scatter": _rounded(scatter, 2),
        "residual": _rounded(residual, 2),
    }


def completeness_entry(kind: str, note: str, **values: float) -> dict[str, Any]:
    """The block ``completeness`` of a table: half point, width and their errors."""
    return {name: round(float(value), 3) for name, value in values.items()} | {"kind": kind, "note": note}


def band_entry(
    wavelength: float, floor: float, ten_sigma: float, errors: dict[str, Any], completeness: dict[str, Any]
) -> dict[str, Any]:
    """A band of a table."""
    return {
        "wavelength": wavelength,
        "floor": _rounded(floor, 4),
        "ten_sigma": round(ten_sigma, 3),
        "errors": errors,
        "completeness": completeness,
    }


class MeasuredErrors(NamedTuple):
    """An error of several catalogues: curve, floor and magnitude of ten sigma, metrics, table block, figure data."""

    joint: Joint
    form: tuple[float, float]
    metrics: dict[str, Any]
    entry: dict[str, Any]
    shown: dict[str, Any]


def measure_errors(name: str, stars: Stars, magnitude: str, error: str, edges: np.ndarray) -> MeasuredErrors:
    """Measure one error against magnitude.

    Parameters
    ----------
    name : str
        Prefix of the figure's variables.
    stars : mapping of mapping of ndarray
        Columns by catalogue.
    magnitude, error : str
        Columns.
    edges : ndarray, mag
        Bins of the magnitude.
    """
    found = {key: Medians.of(one[magnitude], one[error], edges) for key, one in stars.items()}
    joint, residual = Joint.of(found), forms(found)
    middle, units = 0.5 * (edges[1:] + edges[:-1]), "mas" if name == "parallax" else "mag"
    shown = {
        f"{name}_{part}": variable(
            (f"{name}_catalogue", f"{name}_bin"),
            [getattr(one, part) for one in found.values()],
            units,
            f"{name}_{part}",
        )
        for part in ("error", "low", "high")
    }
    shown[f"{name}_curve"] = variable(f"{name}_bin", joint.errors.at(middle), units, "fit")
    shown[f"{name}_bin"] = variable(f"{name}_bin", middle, "mag", "magnitude")
    shown[f"{name}_catalogue"] = (f"{name}_catalogue", list(found))
    return MeasuredErrors(
        joint,
        floor_and_background(found),
        {"residual": residual, "offsets": joint.offsets, "scatter": joint.scatter},
        error_entry(joint.errors, joint.scatter, residual),
        shown,
    )


def count_variables(name: str, fit: Decline) -> dict[str, Any]:
    """Variables of a figure of completeness."""
    parts = {"found": fit.found, "fitted": fit.fitted, "complete": fit.complete}
    result = {f"{name}_{k}": variable(f"{name}_step", v, "1", f"stars, {k}") for k, v in parts.items()}
    return result | {f"{name}_step": variable(f"{name}_step", fit.magnitude, "mag", "magnitude")}
