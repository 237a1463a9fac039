"""Table of the scores of ablation variants."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from galcarto.core.errors import UserError

HELD_OUT = ("median_relative_error", "bias_mag", "rmse_mag", "coverage_68", "coverage_95", "valid_share")
PLANCK = ("spearman", "slope", "offset_mag")
DISTANCE = ("half_rise_fraction", "half_rise_median_kpc", "foreground_fraction", "background_growth")
SHORT = {
    "left_out": "left out",
    "median_relative_error": "error",
    "bias_mag": "bias (mag)",
    "rmse_mag": "rms (mag)",
    "coverage_68": "in 68 %",
    "coverage_95": "in 95 %",
    "valid_share": "scored",
    "spearman": "rank corr.",
    "offset_mag": "offset (mag)",
    "half_rise_fraction": "half-rise in window",
    "half_rise_median_kpc": "half-rise (kpc)",
    "foreground_fraction": "foreground",
    "background_growth": "background",
}


def table(scores: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Table with a row for each variant, in the order given.

    Parameters
    ----------
    scores : sequence of mapping
        Output of the stage `ablate`.

    Returns
    -------
    DataFrame
        ``variant``, ``left_out``, the scores of the held-out mocks, ``NAME_spearman``, ``NAME_slope`` and
        ``NAME_offset_mag`` of each map, and those of `structure.measure` if present.

    Raises
    ------
    UserError
        If there are no scores, a variant occurs twice, or the variants have different maps.
    """
    names = [one["variant"] for one in scores]
    if not names or len(set(names)) < len(names):
        raise UserError(f"found the variants {', '.join(names) or 'none'}; expected one or more, each once")
    maps = list(scores[0]["planck"])
    rows = []
    for one in scores:
        if list(one["planck"]) != maps or ("distance" in one) != ("distance" in scores[0]):
            raise UserError(
                f"{one['variant']}: found comparisons with {', '.join(one['planck']) or 'no map'}; expected those of "
                f"{names[0]}, {', '.join(maps) or 'none'}: delete its file and run again"
            )
        row = {"variant": one["variant"], "left_out": one["title"]}
        row |= {name: one["heldout"][name] for name in HELD_OUT}
        for entry, values in one["planck"].items():
            row |= {f"{entry}_{name}": values[name] for name in PLANCK}
        if "distance" in one:
            row |= {name: one["distance"][name] for name in DISTANCE}
        rows.append(row)
    frame = pd.DataFrame(rows)
    numbers = frame.columns[2:]
    return frame.astype(dict.fromkeys(numbers, float))


def markdown(frame: pd.DataFrame) -> str:
    """The table in Markdown: numbers to three digits, a dash for missing ones."""
    heads = [SHORT[name] if name in SHORT else _of_map(name) for name in frame.columns[1:]]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in frame.itertuples(index=False):
        cells = [f"{v:.3f}" if np.isfinite(v) else "-" for v in row[2:]]
        lines.append("| " + " | ".join([row[1], *cells]) + " |")
    return "\n".join(lines) + "\n"


def _of_map(column: str) -> str:
    """Heading of a map's column."""
    name = next(name for name in PLANCK if column.endswith(f"_{name}"))
    return f"{column.removesuffix(f'_{name}')} {SHORT.get(name, name)}"
