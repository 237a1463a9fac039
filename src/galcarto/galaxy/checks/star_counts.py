"""Compare star counts of the mock Galaxy with a table of the Besançon model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from galcarto.core.errors import UserError
from galcarto.core.files import variable
from galcarto.galaxy.integrals import brighter_than, expected
from galcarto.galaxy.synthesis import StarModel


class CountsError(UserError):
    """A table of star counts that cannot be used."""


SCORED = (10, 12, 14, 16)  # mag: limits of the scores; at brighter ones there are few stars
TESTED = 14  # mag: limit at which directions are tested against the tolerances
PLANE, POLE = 0.15, 0.20  # relative tolerances
# K - Ks, mag: the Besançon model's K is that of Bessell & Brett (1988, PASP 100, 1134). For stars of all colours the
# difference is the same within 0.005 mag: Carpenter 2001, AJ 121, 2851.
K_OVER_KS = 0.044


@dataclass(frozen=True)
class Counts:
    """Cumulative star counts of the Besançon model, without dust."""

    l: np.ndarray  # shape (direction,), deg
    b: np.ndarray  # shape (direction,), deg
    limit: np.ndarray  # shape (limit,), mag: in the K of Bessell & Brett (1988, PASP 100, 1134)
    number: np.ndarray  # shape (direction, limit), deg-2: stars brighter than the limit


def read_counts(path: str | Path) -> Counts:
    """Read a table in the format of the model's web service.

    A line contains longitude, latitude, A_V of the dust, and the stars per deg2 brighter than K = 4, 5, ... mag as
    integers with a trailing point. The column ``N*`` is N10.

    Raises
    ------
    CountsError
        If the file is not such a table, or was made with dust.
    """
    what = "the table of K counts of the Besançon model (validation.counts; null leaves the comparison out)"
    try:
        lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise CountsError(f"{path}: found no text; expected {what}") from None
    names = lines[0].split() if lines else []
    labels = [re.fullmatch(r"N(\d+|\*)", name) for name in names[3:]]
    if names[:3] != ["longitude", "latitude", "Avtot"] or not labels or None in labels:
        raise CountsError(
            f"{path}: found the header {' '.join(names)!r}; expected 'longitude latitude Avtot N4 ... N21': {what}"
        )
    limit = np.array([10 if name == "N*" else int(name[1:]) for name in names[3:]], float)
    absent = [f"N{limit_}" for limit_ in SCORED if limit_ not in limit]
    if absent:
        raise CountsError(f"{path}: found no column {', '.join(absent)}; expected {what}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        # the largest counts fill their columns and touch the next ones
        words = [*line.split()[:3], *re.sub(r"\.(?=\d)", ". ", " ".join(line.split()[3:])).split()]
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            raise CountsError(f"{path}: line {number}: found {line!r}; expected numbers: {what}") from None
        if len(words) != len(names):
            raise CountsError(f"{path}: line {number}: found {len(words)} numbers; expected {len(names)}: {what}")
    if not rows:
        raise CountsError(f"{path}: found no direction; expected {what}")
    table = np.array(rows)
    counts = table[:, 3:]
    if not np.isfinite(table).all() or (np.diff(counts, axis=1) < 0).any() or (counts < 0).any():
        raise CountsError(f"{path}: found counts that fall towards fainter limits; expected cumulative counts: {what}")
    if table[:, 2].any():
        raise CountsError(f"{path}: found A_V up to {table[:, 2].max():g} mag; expected counts without dust: {what}")
    if (np.abs(table[:, 1]) > 90.0).any():
        raise CountsError(f"{path}: found latitudes beyond 90 deg; expected galactic coordinates in deg: {what}")
    return Counts(table[:, 0] % 360.0, table[:, 1], limit, counts)


def zones(l: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    """Directions in parts of the sky: plane, Galactic centre, middle latitudes and polar caps."""
    low = np.abs(b) <= 10.0
    away = (l >= 20.0) & (l <= 340.0)
    return {
        "plane": low & away,
        "centre": low & ~away,
        "middle": (np.abs(b) > 10.0) & (np.abs(b) <= 30.0),
        "pole": np.abs(b) > 30.0,
    }


def _median_of_known(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def count_scores(table: Counts, ours: np.ndarray) -> dict[str, Any]:
    """Compare expected counts with the table's.

    Parameters
    ----------
    table : Counts
    ours : ndarray, shape (direction, limit), deg-2

    Returns
    -------
    dict
        ``median_ratio`` of ours to the table's by limit; ``plane_within_15_percent`` and ``pole_within_20_percent``,
        fractions of directions; and for each of `zones` its number of directions, median ratios and the table's median
        relative Poisson noise.
    """
    known = np.where(table.number > 0, table.number, np.nan)
    ratio, noise = ours / known, 1.0 / np.sqrt(known)
    parts = zones(table.l, table.b)
    everywhere = np.ones(len(table.l), bool)

    def medians(values: np.ndarray, where: np.ndarray, limits: Sequence[float] = SCORED) -> dict[str, float]:
        return {f"{limit:g}": _median_of_known(values[where][:, table.limit == limit]) for limit in limits}

    def fraction_within(where: np.ndarray, tolerance: float) -> float:
        found = ratio[where][:, table.limit == TESTED]
        near = (found >= 1.0 - tolerance) & (found <= 1.0 + tolerance)
        return float(near.mean()) if near.size else np.nan

    return {
        "directions": len(table.l),
        "median_ratio": medians(ratio, everywhere),
        "median_ratio_other_limits": medians(
            ratio, everywhere, [limit for limit in table.limit if limit > SCORED[0] and limit not in SCORED]
        ),
        "poisson_noise": medians(noise, everywhere),
        "plane_within_15_percent": fraction_within(parts["plane"], PLANE),
        "plane_directions": int(parts["plane"].sum()),
        "pole_within_20_percent": fraction_within(parts["pole"], POLE),
        "pole_directions": int(parts["pole"].sum()),
        "zones": {
            name: {
                "directions": int(where.sum()),
                "median_ratio": medians(ratio, where),
                "poisson_noise": medians(noise, where),
            }
            for name, where in parts.items()
        },
    }


def counts(model: StarModel, single: StarModel, table: Counts) -> tuple[dict[str, Any], xr.Dataset]:
    """Compare expected counts with the Besançon model's in its K, also without binaries, and in Ks instead of K.

    Parameters
    ----------
    model, single : StarModel
        As configured, and without binaries.
    table : Counts
    """
    in_k = table.limit - K_OVER_KS
    cases = (model, in_k), (single, in_k), (model, table.limit)
    numbers = [brighter_than(one, "Ks", limit) for one, limit in cases]
    ours, alone, in_ks = expected(model, table.l, table.b, numbers)
    metrics = count_scores(table, ours)
    metrics["single_stars"] = {"median_ratio": count_scores(table, alone)["median_ratio"]}
    metrics["in_Ks"] = {"median_ratio": count_scores(table, in_ks)["median_ratio"]}
    dims = ("direction", "limit")
    dataset = xr.Dataset(
        {
            "counts_besancon": variable(dims, table.number, "deg-2", "stars brighter than K, Besançon model"),
            "counts_mock": variable(dims, ours, "deg-2", "stars brighter than K, expected"),
            "counts_mock_single": variable(dims, alone, "deg-2", "stars brighter than K, without binaries"),
            "counts_mock_ks": variable(dims, in_ks, "deg-2", "stars brighter than Ks, expected"),
            "l": variable("direction", table.l, "degree", "galactic longitude"),
            "b": variable("direction", table.b, "degree", "galactic latitude"),
        },
        coords={"limit": variable("limit", table.limit, "mag", "limit")},
    )
    return metrics, dataset
