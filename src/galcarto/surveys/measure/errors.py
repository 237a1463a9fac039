"""Errors of a survey against magnitude, from the errors that its catalogues list star by star."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, least_squares

from galcarto.surveys.catalogue import measured
from galcarto.surveys.survey import Band, Errors

STEP = 0.25  # mag: bins of the medians
LEAST = 20  # least number of stars for a median
PERCENTILES = (15.87, 50.0, 84.13)  # of the stars' errors: 1 sigma below, median, 1 sigma above

# Zero points of Gaia EDR3 (Riello et al. 2021, A&A 649, A3) are known to 0.0027902 and 0.0037794 mag in BP and RP. The
# catalogues add them to each star's error in quadrature: bright stars have 0.0047 mag in BP-RP.
FLOORS = {"BP": 0.0027902, "RP": 0.0037794}  # mag
SMOOTH = 0.15  # typical second difference of the logarithm of a band's error between nodes
MISFIT = 0.05  # standard deviation of the logarithm of a cell's colour error, as fields differ
FAINTEST = 20.5  # mag, in G: the errors of fainter stars lie above the curves
CELLS = (0.5, (0.2, 0.9, 1.1, 1.3, 1.6, 2.0, 3.0))  # mag: steps in G and edges in BP-RP for the errors of the colour
NODES = {"BP": np.arange(13.0, 21.1), "RP": np.arange(12.0, 19.6)}  # mag, of the two errors


@dataclass(frozen=True)
class Medians:
    """Errors of a catalogue by magnitude."""

    magnitude: np.ndarray  # shape (bin,), mag: centres of the bins
    # shape (bin,): median and 1-sigma range of the stars' errors; NaN if there are too few
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    number: np.ndarray  # shape (bin,)

    @classmethod
    def of(cls, magnitude: np.ndarray, error: np.ndarray, edges: np.ndarray) -> "Medians":
        """Bin stars, ignoring those without an error."""
        known = measured(magnitude, error)
        bins = np.digitize(magnitude[known], edges) - 1
        rows = np.full((3, len(edges) - 1), np.nan)
        number = np.bincount(bins[(bins >= 0) & (bins < len(edges) - 1)], minlength=len(edges) - 1)
        for i in np.flatnonzero(number >= LEAST):
            rows[:, i] = np.percentile(error[known][bins == i], PERCENTILES)
        return cls(0.5 * (edges[1:] + edges[:-1]), rows[1], rows[0], rows[2], number)


@dataclass(frozen=True)
class Joint:
    """One error curve from several catalogues."""

    errors: Errors
    offsets: dict[str, float]  # ln of the ratio of each catalogue's errors to `errors`; their mean is 0
    scatter: float  # relative scatter of the stars' errors around the median of their catalogue

    @classmethod
    def of(cls, catalogues: Mapping[str, Medians]) -> "Joint":
        """Combine catalogues with the same bins.

        The model is one curve, which never decreases, times a factor for each catalogue. Where bright stars have larger
        errors than fainter ones, as in 2MASS where the long exposures saturate, the curve is their common mean.
        """
        logs = np.log([one.error for one in catalogues.values()])
        weights = np.where(np.isfinite(logs), np.sqrt([one.number for one in catalogues.values()]), 0.0)
        logs, used = np.nan_to_num(logs), weights.sum(axis=0) > 0
        offsets = np.zeros(len(logs))
        for _ in range(200):  # alternate between the curve and the factors
            curve = np.average(logs - offsets[:, None], axis=0, weights=np.where(used, weights, 1.0))
            offsets = np.array([np.average(row - curve, weights=w) for row, w in zip(logs, weights, strict=True)])
            offsets -= offsets.mean()
        curve = np.average(logs - offsets[:, None], axis=0, weights=np.where(used, weights, 1.0))
        stars = (weights**2).sum(axis=0)[used]
        rising = isotonic_regression(curve[used], weights=stars).x
        scatters = [np.log(one.high / one.low) / 2.0 for one in catalogues.values()]
        return cls(
            errors=Errors(
                tuple(float(m) for m in next(iter(catalogues.values())).magnitude[used]),
                tuple(float(f"{e:.4g}") for e in np.exp(rising)),
            ),
            offsets={name: float(value) for name, value in zip(catalogues, offsets, strict=True)},
            scatter=float(np.nanmedian(scatters)),
        )


def floor_and_background(catalogues: Mapping[str, Medians]) -> tuple[float, float]:
    """Fit `Band.floor` (mag) and `Band.ten_sigma` (mag)."""
    magnitude = np.concatenate([one.magnitude for one in catalogues.values()])
    error = np.concatenate([one.error for one in catalogues.values()])
    known = np.isfinite(error)

    def residuals(values: np.ndarray) -> np.ndarray:
        band = Band(1.0, float(np.exp(values[0])), float(values[1]), 0.0, 1.0)
        return np.log(band.error(magnitude[known]) / error[known])

    start = [np.log(error[known].min()), magnitude[known][np.argmin(np.abs(error[known] - 0.11))]]
    found = least_squares(residuals, start).x
    return float(np.exp(found[0])), float(found[1])


def residual(found: Medians, predicted: np.ndarray) -> float:
    """Standard deviation of ln(predicted / found) over the bins; the mean is the factor of the catalogue."""
    ratio = np.log(predicted / found.error)
    ratio = ratio[np.isfinite(ratio)]
    return float(np.std(ratio)) if len(ratio) else np.nan


def forms(catalogues: Mapping[str, Medians]) -> dict[str, Any]:
    """Leave-one-out residuals of a table and of floor and background, by catalogue."""
    metrics: dict[str, Any] = {"table": {}, "floor_and_background": {}}
    for name, left in catalogues.items():
        others = {other: one for other, one in catalogues.items() if other != name}
        table = Joint.of(others).errors
        inside = (left.magnitude >= table.magnitude[0]) & (left.magnitude <= table.magnitude[-1])
        shared = Medians(*(np.where(inside, values, np.nan) for values in vars(left).values()))
        floor, ten_sigma = floor_and_background(others)
        band = Band(1.0, floor, ten_sigma, 0.0, 1.0)
        metrics["table"][name] = residual(shared, table.at(left.magnitude))
        metrics["floor_and_background"][name] = residual(shared, band.error(left.magnitude))
    return metrics


def colour_relation(g: np.ndarray, bp: np.ndarray, rp: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit G-RP as a cubic polynomial of BP-RP to stars of 0.2 < BP-RP < 3 and G < 17.5.

    Returns
    -------
    polynomial : ndarray, shape (4,)
        For `numpy.polyval`.
    scatter : float, mag
        Standard deviation of the stars within 0.05 mag.
    """
    x, y = bp - rp, g - rp
    kept = np.isfinite(x) & (g < 17.5) & (x > 0.2) & (x < 3.0)
    chosen = kept
    for _ in range(6):  # clip blends and galaxies
        polynomial = np.polyfit(x[chosen], y[chosen], 3)
        chosen = kept & (np.abs(y - np.polyval(polynomial, x)) < 0.05)
    return polynomial, float(np.std((y - np.polyval(polynomial, x))[chosen]))


def split(
    g: np.ndarray, colour: np.ndarray, error: np.ndarray, polynomial: np.ndarray
) -> tuple[dict[str, Errors], dict[str, np.ndarray]]:
    """Separate the errors of BP and RP, given the error of BP-RP.

    The two errors are assumed to be independent and to depend on the magnitude in their own band alone. Red stars then
    have the error of a faint BP and a bright RP, and blue stars the reverse. Each error is a smooth, increasing curve
    through nodes one magnitude apart, plus the error of the zero point.

    Parameters
    ----------
    g, colour, error : ndarray, shape (star,), mag
        G, BP-RP and its error.
    polynomial : ndarray
        From `colour_relation`, to compute BP and RP.

    Returns
    -------
    errors : dict of str to Errors
        Of BP and RP, including the errors of the zero points.
    cells : dict of ndarray, shape (cell,)
        Fitted data: ``g``, ``colour``, ``found``, ``fitted`` (mag) and ``number``.
    """
    step, hues = CELLS
    known = np.isfinite(g + colour + error)
    g, colour, error = g[known], colour[known], error[known]
    rp = g - np.polyval(polynomial, colour)
    columns = []
    for low in np.arange(12.0, FAINTEST, step):
        for blue, red in pairwise(hues):
            here = (g >= low) & (g < low + step) & (colour >= blue) & (colour < red)
            if here.sum() >= LEAST:
                middle = [np.median(values[here]) for values in (g, colour, rp + colour, rp, error)]
                columns.append([*middle, here.sum()])
    at_g, at_colour, at_bp, at_rp, found, number = np.array(columns).T

    def logs(values: np.ndarray) -> dict[str, np.ndarray]:
        parts = np.split(values, [len(NODES["BP"])])
        rises = [np.exp(np.minimum(part[1:], 1.0)) for part in parts]  # at most e per node, against overflows
        return {
            band: part[0] + np.append(0.0, np.cumsum(rise))
            for band, part, rise in zip(NODES, parts, rises, strict=True)
        }

    def total(values: np.ndarray) -> np.ndarray:
        curves = logs(values)
        variance = sum(FLOORS[band] ** 2 for band in NODES)
        for band, place in (("BP", at_bp), ("RP", at_rp)):
            inside = np.exp(2.0 * np.interp(place, NODES[band], curves[band]))
            variance = variance + inside * 10.0 ** (0.8 * np.maximum(place - NODES[band][-1], 0.0))  # as in Errors.at
        return np.sqrt(variance)

    def residuals(values: np.ndarray) -> np.ndarray:
        misfit = np.log(total(values) / found) / MISFIT
        bends = [np.diff(curve, 2) / SMOOTH for curve in logs(values).values()]
        return np.concatenate([misfit, *bends])

    start = np.concatenate([np.append(np.log(4e-4), np.full(len(nodes) - 1, np.log(0.6))) for nodes in NODES.values()])
    best = least_squares(residuals, start, loss="soft_l1").x
    errors = {
        band: Errors(
            tuple(float(m) for m in NODES[band]),
            tuple(float(f"{e:.4g}") for e in np.hypot(FLOORS[band], np.exp(curve))),
        )
        for band, curve in logs(best).items()
    }
    return errors, {"g": at_g, "colour": at_colour, "found": found, "fitted": total(best), "number": number}
