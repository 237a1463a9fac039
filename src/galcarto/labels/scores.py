"""Scores of predicted labels against known ones."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit

from galcarto.core.errors import UserError

PARTS = 5  # of the stars, by predicted label
CORE = 2.0  # half-widths of the central 68 %: residuals within it make the histogram of the core
CORE_BINS = 41


def rms(residual: np.ndarray) -> float:
    """Root mean square of what is finite."""
    known = residual[np.isfinite(residual)]
    return float(np.sqrt((known.astype(float) ** 2).mean())) if len(known) else float("nan")


def core(residual: np.ndarray) -> float:
    """Width of a Gaussian fitted to the histogram of residuals, which outliers do not widen."""
    known = residual[np.isfinite(residual)].astype(float)
    if len(known) < 50:
        return float("nan")
    middle, half = np.median(known), 0.5 * np.subtract(*np.percentile(known, (84, 16)))
    number, edges = np.histogram(known, CORE_BINS, (middle - CORE * half, middle + CORE * half))
    centre = 0.5 * (edges[1:] + edges[:-1])

    def gauss(x: np.ndarray, height: float, mean: float, sd: float) -> np.ndarray:
        return height * np.exp(-0.5 * ((x - mean) / sd) ** 2)

    try:
        found, _ = curve_fit(gauss, centre, number, (number.max(), middle, half))
    except RuntimeError:
        return float("nan")
    return abs(float(found[2]))


def coverage(truth: np.ndarray, error: np.ndarray, predicted: pd.DataFrame, label: str) -> dict[str, object]:
    """Shares of the truths inside the stated 68 and 95 % intervals, of all stars and in each fifth of the prediction.

    Parameters
    ----------
    truth, error : ndarray, shape (star,)
        The label and its known standard error, 0 or NaN where unknown: the intervals are widened by it.
    predicted : DataFrame
        Of `posterior.describe`.
    label : str
    """
    noise = np.nan_to_num(error)

    def inside(low: str, high: str, half_width: float) -> np.ndarray:
        ends = []
        for name, sign in ((low, -1.0), (high, 1.0)):
            off = sign * (predicted[f"{label}_{name}"] - predicted[f"{label}_p50"]).to_numpy()
            ends.append(predicted[f"{label}_p50"].to_numpy() + sign * np.hypot(off, half_width * noise))
        return (truth >= ends[0]) & (truth <= ends[1])

    known = np.isfinite(truth)
    at = predicted[label].to_numpy()
    edges = np.quantile(at[known], np.linspace(0.0, 1.0, PARTS + 1)[1:-1])
    part = np.searchsorted(edges, at)
    result: dict[str, object] = {}
    for name, within in (("68", inside("p16", "p84", 0.994)), ("95", inside("p2_5", "p97_5", 1.96))):
        result[f"coverage_{name}"] = float(within[known].mean())
        result[f"coverage_{name}_by_fifth"] = [float(within[known & (part == k)].mean()) for k in range(PARTS)]
    return result


def pit(truth: np.ndarray, predicted: pd.DataFrame, label: str) -> np.ndarray:
    """Probability integral transform from the stated quantiles, interpolated as a normal distribution between them."""
    from scipy.special import ndtr, ndtri

    levels = ndtri([0.025, 0.16, 0.5, 0.84, 0.975])
    ends = predicted[[f"{label}_{name}" for name in ("p2_5", "p16", "p50", "p84", "p97_5")]].to_numpy(float)
    ends = np.maximum.accumulate(ends, axis=1) + 1e-9 * np.arange(5)
    found = np.full(len(truth), np.nan)
    for row, (value, place) in enumerate(zip(truth, ends, strict=True)):
        if np.isfinite(value):
            left, right = (
                (place[1] - place[0]) / (levels[1] - levels[0]),
                (place[4] - place[3]) / (levels[4] - levels[3]),
            )
            if value < place[0]:
                found[row] = levels[0] + (value - place[0]) / left
            elif value > place[4]:
                found[row] = levels[4] + (value - place[4]) / right
            else:
                found[row] = np.interp(value, place, levels)
    return ndtr(found)


def selection(frame: pd.DataFrame, cuts: Mapping[str, tuple[float, float]]) -> np.ndarray:
    """Stars within ranges of bands, or of colours of two bands, such as ``g-r``.

    Raises
    ------
    UserError
        If the table has no such column.
    """
    chosen = np.ones(len(frame), bool)
    for name, (low, high) in cuts.items():
        if name in frame:
            value = frame[name].to_numpy()
        elif name.count("-") == 1 and set(name.split("-")) <= set(frame.columns):
            blue, red = name.split("-")
            value = frame[blue].to_numpy() - frame[red].to_numpy()
        else:
            raise UserError(f"found the cut {name}; expected a band or colour of {', '.join(map(str, frame.columns))}")
        chosen &= (value > low) & (value < high)
    return chosen
