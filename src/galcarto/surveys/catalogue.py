"""Read star catalogues, clean them and find the area that they cover."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord

from galcarto.core.sky import Tiles, to_galactic
from galcarto.core.tables import TableError, floats, read_table
from galcarto.core.units import factor

SAME = 0.5 * u.arcsec
OPTIONAL = ("parallax",)  # read where a catalogue has it, mas
SENTINEL = 90.0  # mag; archives write 99.999 or -999 where nothing was measured


def measured(magnitude: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Flag detections: stars whose magnitude has an error.

    A magnitude without an error, or with a sentinel in its place, is the limit above which nothing was seen: 2MASS
    (quality flag U) and others store it so.

    Parameters
    ----------
    magnitude, error : ndarray, shape (star,), mag

    Returns
    -------
    ndarray of bool, shape (star,)
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(magnitude) & (np.abs(magnitude) < SENTINEL) & (error > 0) & (error < SENTINEL))


def read(
    path: str | Path,
    columns: Mapping[str, str],
    bands: list[str],
    frame: str,
    flags: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read a star catalogue.

    Parameters
    ----------
    path : path
        File in one of the formats of `galcarto.core.tables`.
    columns : mapping
        Our names (``longitude``, ``latitude``, each band, optionally ``BAND_error`` and ``parallax``) to the file's. A
        colour such as ``BP-RP`` may take the place of its two bands. Their magnitudes are then only rough, so limits
        in these bands must lie far from the stars.
    bands : list of str
        Required bands.
    frame : str
        Frame of the two angles: one of `galcarto.core.units.FRAMES`. Angles without a unit are in degrees.
    flags : mapping, optional
        Columns of the file, and for each a regular expression that the whole of a good star's value matches.

    Returns
    -------
    DataFrame
        ``l``, ``b`` (deg), each band and each error (mag), NaN where the file has no value; ``detected``, whether
        every band that has a column of errors is `measured`; ``good``, whether the flags are as wanted.

    Raises
    ------
    TableError
        If the file cannot be read, a column is missing or does not hold numbers, or its unit is of another kind.
    """
    colours = [name for name in columns if name.count("-") == 1 and set(name.split("-")) <= set(bands)]
    plain = [band for band in bands if not any(band in colour.split("-") for colour in colours)]
    needed = ["longitude", "latitude", *colours, *plain]
    unmapped = [name for name in needed if name not in columns]
    if unmapped:
        raise TableError(f"{path}: sky.files.columns maps {', '.join(columns)}; expected also {', '.join(unmapped)}")
    kept = [*needed, *OPTIONAL]
    wanted = {ours: theirs for ours, theirs in columns.items() if ours.removesuffix("_error") in kept}
    flags = flags or {}
    table = read_table(path, wanted.values(), "sky.files.columns" + (" and flags" if flags else ""), texts=tuple(flags))
    values = {}
    for ours, theirs in wanted.items():
        unit = {"longitude": "deg", "latitude": "deg", "parallax": "mas"}.get(ours, "mag")
        column = table[theirs]
        try:
            scale = factor(str(column.unit or ""), unit, hours=ours == "longitude")
        except ValueError as error:
            raise TableError(f"{path}: column {theirs}: {error}; convert it (sky.files.columns)") from None
        values[ours] = floats(column) * scale
    pairs = [(values[name], values[f"{name}_error"]) for name in (*colours, *plain) if f"{name}_error" in values]
    detected = np.all([np.ones(len(table), bool), *(measured(*pair) for pair in pairs)], axis=0)
    good = np.all([np.ones(len(table), bool), *(_matches(table[name], flags[name]) for name in flags)], axis=0)
    for colour in colours:
        # only the difference is known: put the two bands half of it to either side of the remaining one
        first, second = colour.split("-")
        middle = values[plain[0]]
        values[first], values[second] = middle + 0.5 * values[colour], middle - 0.5 * values.pop(colour)
    longitude, latitude = values.pop("longitude"), values.pop("latitude")
    known = np.isfinite(longitude) & np.isfinite(latitude) & (np.abs(latitude) <= 90)
    l, b = np.full(len(longitude), np.nan), np.full(len(longitude), np.nan)
    l[known], b[known] = to_galactic(longitude[known], latitude[known], frame)
    return pd.DataFrame({"l": l, "b": b, **values, "detected": detected, "good": good})


def _matches(column: Any, pattern: str) -> np.ndarray:
    """Flag rows whose whole value matches a regular expression; a missing value is empty."""
    missing = np.ma.getmaskarray(np.ma.asarray(column))
    if column.dtype.kind == "f":  # of whole numbers, where some are missing
        missing = missing | ~np.isfinite(np.ma.getdata(column))
        texts = [str(value).removesuffix(".0") for value in np.ma.getdata(column)]
    else:
        texts = [str(value).strip() for value in np.ma.getdata(column.astype(str))]
    whole = re.compile(pattern).fullmatch
    return np.array(
        [whole("" if absent else text) is not None for text, absent in zip(texts, missing, strict=True)], bool
    )


def _repeated(stars: pd.DataFrame, earlier: pd.DataFrame) -> np.ndarray:
    """Flag stars within 0.5 arcsec of an earlier one, which is less than any of the surveys resolves."""
    found = np.zeros(len(stars), bool)
    placed = np.isfinite(stars["l"].to_numpy())
    known = earlier[np.isfinite(earlier["l"])]
    if placed.any() and len(known):
        here, there = (
            SkyCoord(part["l"].to_numpy() * u.deg, part["b"].to_numpy() * u.deg, frame="galactic")
            for part in (stars[placed], known)
        )
        found[placed] = here.match_to_catalog_sky(there)[1] < SAME
    return found


def clean(
    stars: pd.DataFrame, tiles: Tiles, limits: Mapping[str, float], bright: float
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop unusable rows and count them by reason.

    Parameters
    ----------
    stars : DataFrame
        From `read`; without ``detected`` and ``good``, all are.
    tiles : Tiles
    limits : mapping of float, mag
        Faint limit of each required band.
    bright : float, mag
        Bright limit in every band.

    Returns
    -------
    stars : DataFrame
    dropped : dict of int
        Number of rows by the first check that they fail, in the order of the checks.
    """
    bands = list(limits)
    same = ["l", "b", *bands, "detected", "good"]
    magnitudes, everyone = stars[bands].to_numpy(), pd.Series(True, stars.index)
    with np.errstate(invalid="ignore"):
        checks = {
            "position missing": ~np.isfinite(stars[["l", "b"]].to_numpy()).all(axis=1),
            "outside the window": tiles.index(stars["l"].fillna(0).to_numpy(), stars["b"].fillna(99).to_numpy()) < 0,
            "magnitude missing": ~np.isfinite(magnitudes).all(axis=1),
            "magnitude a sentinel": (np.abs(magnitudes) >= SENTINEL).any(axis=1),
            "no error, so an upper limit": ~stars.get("detected", everyone).to_numpy(),
            "refused by its flags": ~stars.get("good", everyone).to_numpy(),
            "duplicate": stars.duplicated(stars.columns.intersection(same)).to_numpy(),
            "brighter than the limit": (magnitudes < bright).any(axis=1),
            "fainter than the limit": (magnitudes >= np.array([limits[band] for band in bands])).any(axis=1),
        }
    keep = np.ones(len(stars), bool)
    dropped = {}
    for reason, bad in checks.items():
        dropped[reason] = int((keep & bad).sum())
        keep &= ~bad
    for reason, number in dropped.items():
        if number:
            logging.info("dropped %d of %d rows: %s", number, len(stars), reason)
    return stars[keep].drop(columns=["detected", "good"], errors="ignore").reset_index(drop=True), dropped


def gather(files: Sequence[Any], bands: list[str]) -> tuple[pd.DataFrame, float, dict[str, int]]:
    """Read the catalogues of one survey and keep each star once.

    Parameters
    ----------
    files : sequence
        With ``path``, ``columns``, ``frame``, ``flags`` and ``footprint_cell`` (deg).
    bands : list of str

    Returns
    -------
    everything : DataFrame
        From `read`.
    cell : float, deg
        Largest of the files' cells, for `observed_fraction`.
    dropped : dict of int
        Number of rows that an earlier catalogue contains.
    """
    parts: list[pd.DataFrame] = []
    repeated = 0
    for file in files:
        part = read(file.path, file.columns, bands, file.frame, file.flags)
        logging.info("%s: %d rows", file.path, len(part))
        if parts:
            earlier = pd.concat(parts)
            again = _repeated(part, earlier[earlier["detected"] & earlier["good"]])
            logging.info("dropped %d of %d rows: in an earlier catalogue", again.sum(), len(part))
            part, repeated = part[~again], repeated + int(again.sum())
        parts.append(part)
    cell = max(file.footprint_cell for file in files)
    return pd.concat(parts, ignore_index=True), cell, {"in an earlier catalogue": repeated}


def usable(
    everything: pd.DataFrame, dropped: Mapping[str, int], limits: Mapping[str, float], bright: float, tiles: Tiles
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Clean a star list and summarise what was dropped.

    Parameters
    ----------
    everything : DataFrame
        With the columns of `read`.
    dropped : mapping of int
        Rows that were dropped before, by reason.
    limits : mapping of float, mag
    bright : float, mag
    tiles : Tiles

    Returns
    -------
    stars : DataFrame
    rows : dict
        ``read``, ``kept`` and ``dropped`` by reason.

    Raises
    ------
    TableError
        If no star can be used.
    """
    stars, reasons = clean(everything, tiles, limits, bright)
    if stars.empty:
        raise TableError(
            f"sky: found {len(everything)} rows and none that can be used ({reasons}); "
            "expected stars inside sky.l, sky.b and the survey's limits"
        )
    logging.info("kept %d of %d rows", len(stars), len(everything))
    before = sum(dropped.values())
    return stars, {"read": len(everything) + before, "kept": len(stars), "dropped": reasons | dict(dropped)}


def observed_fraction(l: np.ndarray, b: np.ndarray, tiles: Tiles, cell: float) -> np.ndarray:
    """Fraction of each tile that a catalogue covers.

    Each tile is cut into cells of about `cell` degrees. A cell without stars counts as unobserved, and a cell with
    stars next to an empty one as half observed, because the outline crosses it anywhere. Cells must be so large that
    an observed one is hardly ever empty.

    Parameters
    ----------
    l, b : ndarray, shape (star,), deg
        All sources, also those that are dropped later for their magnitudes.
    tiles : Tiles
    cell : float, deg

    Returns
    -------
    ndarray, shape (l, b)
    """
    per_side = max(round(float(tiles.l_edges[1] - tiles.l_edges[0]) / cell), 1)
    fine = [
        np.interp(np.arange((len(edges) - 1) * per_side + 1) / per_side, np.arange(len(edges)), edges)
        for edges in (tiles.l_edges, tiles.b_edges)
    ]
    counts, *_ = np.histogram2d(tiles.unwrap(l), b, bins=fine)
    n_l, n_b = tiles.shape
    full = np.pad(counts > 0, 1, mode="edge")  # outside the window nothing is known
    inner = full[:-2, 1:-1] & full[2:, 1:-1] & full[1:-1, :-2] & full[1:-1, 2:]
    fraction = np.where(full[1:-1, 1:-1], np.where(inner, 1.0, 0.5), 0.0)
    return fraction.reshape(n_l, per_side, n_b, per_side).mean(axis=(1, 3))
