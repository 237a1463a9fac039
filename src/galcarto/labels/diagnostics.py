"""What the figures of predicted labels show: densities, running medians, coverage and PIT."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from galcarto.core.files import variable
from galcarto.labels.scores import pit
from galcarto.labels.settings import LABELS, is_band

BINS = 60  # along each side of a density
CELL = {"feh": 0.1, "logg": 0.1}  # dex: cells along a label; the mock's [Fe/H] comes in steps of 0.1 dex
PARTS = 20  # of a running median
LEAST = 20  # stars in a part, and in a cell of the diagram of gravities the quarter of it
LEVELS = np.linspace(0.05, 0.95, 19)
QUANTILES = {"p2_5": 0.025, "p16": 0.16, "p50": 0.5, "p84": 0.84, "p97_5": 0.975}
WIDEST = (0.5, 99.5)  # percentiles of the stars within the axes
GRAVITY = (np.linspace(0.0, 1.6, 41), np.linspace(0.0, 5.5, 45))  # g-r (mag), log g (dex): edges of the cells


def truth_of(table: pd.DataFrame, label: str) -> tuple[np.ndarray, np.ndarray]:
    """The true label of mock stars, else the known one; and its standard error, 0 where it has none."""
    if f"{label}_true" in table:
        return table[f"{label}_true"].to_numpy(float), np.zeros(len(table))
    error = table[f"{label}_error"].to_numpy(float) if f"{label}_error" in table else np.zeros(len(table))
    return table[label].to_numpy(float), np.nan_to_num(error)


def colour(table: pd.DataFrame, blue: str, red: str) -> np.ndarray | None:
    """A colour of the stars, mag; None if the table has neither it nor its bands."""
    if f"{blue}-{red}" in table:
        return table[f"{blue}-{red}"].to_numpy(float)
    if {blue, red} <= set(table):
        return table[blue].to_numpy(float) - table[red].to_numpy(float)
    return None


def running(x: np.ndarray, y: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """16, 50 and 84 % of y in bins of x, shape (3, bin); NaN in bins of fewer than `LEAST` stars."""
    index = np.searchsorted(edges, x, side="right") - 1
    found = np.full((3, len(edges) - 1), np.nan)
    for part in range(len(edges) - 1):
        own = y[index == part]
        if len(own) >= LEAST:
            found[:, part] = np.percentile(own, (16, 50, 84))
    return found


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, WIDEST)
    margin = 0.05 * (high - low) + 1e-9
    return float(low - margin), float(high + margin)


def _edges(span: tuple[float, float], cell: float | None) -> np.ndarray:
    """Edges of cells over a range: `BINS` of them, or of a given width, in whole multiples."""
    if cell is None:
        return np.linspace(*span, BINS + 1)
    return cell * np.arange(np.floor(span[0] / cell), np.ceil(span[1] / cell) + 1)


def _against(found: xr.Dataset, name: str, x: np.ndarray, y: np.ndarray, rows: np.ndarray, about: str) -> None:
    """Add the density of y, with edges `rows`, against x, and the running 16, 50 and 84 % of y."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    own = CELL.get(found.attrs["label"]) if name in ("truth", "label") else None
    edges = _edges(_range(x) if len(x) else (0.0, 1.0), own)
    parts = np.linspace(edges[0], edges[-1], PARTS + 1)
    density, _, _ = np.histogram2d(y, x, (rows, edges))
    middle = 0.5 * (edges[1:] + edges[:-1])
    found[f"{name}_density"] = variable((f"{name}_y", f"{name}_x"), density, "1", f"stars, against {about}")
    found[f"{name}_running"] = variable(
        ("quantile", f"{name}_part"), running(x, y, parts), "", "running 16, 50 and 84 %"
    )
    found.coords[f"{name}_x"] = middle
    found.coords[f"{name}_y"] = 0.5 * (rows[1:] + rows[:-1])
    found.coords[f"{name}_part"] = 0.5 * (parts[1:] + parts[:-1])


def diagnostics(table: pd.DataFrame, label: str) -> xr.Dataset:
    """Summaries of one predicted label of test stars.

    Parameters
    ----------
    table : DataFrame
        Test stars: bands or colours, the label and its ``_error``, or ``LABEL_true`` of mock stars, and
        ``predicted_LABEL``, ``predicted_LABEL_sd`` and the quantiles of the prediction.
    label : str
        ``teff``, ``feh`` or ``logg``.

    Returns
    -------
    Dataset
        ``truth_density`` (predicted against true) and ``truth_running`` (of the prediction, in bins of the truth); the
        same of the residual against ``colour``, ``magnitude`` and ``label``, those that the table has; ``coverage`` of
        each nominal ``level``, and ``pit_density``. Attributes: ``label``, ``unit``, ``stars``, ``colour``,
        ``magnitude``.
    """
    truth, error = truth_of(table, label)
    predicted = table[f"predicted_{label}"].to_numpy(float)
    known = np.isfinite(truth) & np.isfinite(predicted)
    table, truth, error, predicted = table[known], truth[known], error[known], predicted[known]
    residual = predicted - truth
    found = xr.Dataset(coords={"quantile": [0.16, 0.5, 0.84]})
    found.attrs = {"label": label, "unit": LABELS[label], "stars": len(table)}
    _against(found, "truth", truth, predicted, _edges(_range(truth), CELL.get(label)), "the true label")
    widest = 1.2 * float(np.percentile(np.abs(residual), 99))
    span = np.linspace(-widest, widest, BINS + 1)
    for blue, red in (("g", "r"), ("g", "i"), ("BP", "RP"), ("J", "Ks")):
        if (values := colour(table, blue, red)) is not None:
            _against(found, "colour", values, residual, span, f"{blue}-{red}")
            found.attrs["colour"] = f"{blue}-{red}"
            break
    for band in ("r", "G", "g", "i", "Ks"):
        if band in table and is_band(band):
            _against(found, "magnitude", table[band].to_numpy(float), residual, span, band)
            found.attrs["magnitude"] = band
            break
    _against(found, "label", truth, residual, span, "the true label")
    # a known label's own error widens what is expected of it
    widened = {f"{label}_p50": table[f"predicted_{label}_p50"].to_numpy(float)}
    for name, level in QUANTILES.items():
        off = table[f"predicted_{label}_{name}"].to_numpy(float) - widened[f"{label}_p50"]
        widened[f"{label}_{name}"] = widened[f"{label}_p50"] + np.sign(level - 0.5) * np.hypot(
            off, ndtri(level) * error
        )
    places = pit(truth, pd.DataFrame(widened), label)
    inside = np.abs(2.0 * places - 1.0)
    found["coverage"] = variable("level", (inside[:, None] <= LEVELS).mean(axis=0), "1", "share inside the interval")
    density, edges = np.histogram(places, 20, (0.0, 1.0), density=True)
    found["pit_density"] = variable("pit", density, "1", "density of the probability integral transform")
    return found.assign_coords(level=LEVELS, pit=0.5 * (edges[1:] + edges[:-1]))


def gravities(table: pd.DataFrame) -> xr.Dataset | None:
    """Median [Fe/H] in cells of g-r and log g: known and predicted; None if the table lacks one of them."""
    shade = colour(table, "g", "r")
    if shade is None or "predicted_feh" not in table or "predicted_logg" not in table:
        return None
    pairs: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "known": (truth_of(table, "feh")[0], truth_of(table, "logg")[0]),
        "predicted": (table["predicted_feh"].to_numpy(float), table["predicted_logg"].to_numpy(float)),
    }
    return gravity_cells(shade, pairs)


def gravity_cells(shade: np.ndarray, pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> xr.Dataset:
    """Median [Fe/H] of pairs of [Fe/H] and log g, in cells of a colour and log g."""
    columns, rows = GRAVITY
    found = xr.Dataset(coords={name: 0.5 * (e[1:] + e[:-1]) for name, e in (("colour", columns), ("logg", rows))})
    for name, (feh, logg) in pairs.items():
        known = np.isfinite(shade) & np.isfinite(feh) & np.isfinite(logg)
        i, j = (np.searchsorted(e, v[known], side="right") - 1 for e, v in ((columns, shade), (rows, logg)))
        inside = (i >= 0) & (i < len(columns) - 1) & (j >= 0) & (j < len(rows) - 1)
        cells = pd.Series(feh[known][inside]).groupby(j[inside] * (len(columns) - 1) + i[inside])
        value = np.full((len(rows) - 1) * (len(columns) - 1), np.nan)
        median, number = cells.median(), cells.size()
        enough = number.to_numpy() * 4 >= LEAST
        value[median.index.to_numpy()[enough]] = median.to_numpy()[enough]
        shape = (len(rows) - 1, len(columns) - 1)
        found[name] = variable(("logg", "colour"), value.reshape(shape), "1", f"median [Fe/H], {name} labels")
    return found
