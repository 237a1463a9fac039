"""Star catalogues from files: any astropy frame and any column names, checked row by row."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.table import Table

from galcarto.core.errors import UserError
from galcarto.core.sky import Tiles, to_galactic

SAME = 0.5 * u.arcsec
OPTIONAL = ("parallax",)  # read where a catalogue has it, mas
SENTINEL = 90.0  # mag; archives write 99.999 or -999 where nothing was measured


class CatalogueError(UserError):
    """A catalogue that cannot be used."""


def read(path: str | Path, columns: Mapping[str, str], bands: list[str], frame: str) -> pd.DataFrame:
    """Read a FITS, ECSV, CSV, VOTable or Parquet catalogue.

    Parameters
    ----------
    path : path
        The suffix (before ``.gz``) tells the format.
    columns : mapping
        Our names (``longitude``, ``latitude``, each band, optionally ``BAND_error`` and ``parallax``) to the file's. A
        catalogue may have a colour, such as ``BP-RP``, in place of its two bands: their own magnitudes are then only
        rough, and limits in them must lie out of reach.
    bands : list of str
        Bands that are needed.
    frame : str
        astropy frame of the two angles, in degrees: ``galactic``, ``icrs``, ``fk5``, ...

    Returns
    -------
    DataFrame
        ``l``, ``b`` (deg), each band and each error (mag); NaN where the file has none.

    Raises
    ------
    CatalogueError
        If the file is not there, its format is unknown, or a column is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise CatalogueError(f"{path}: not found; expected a star catalogue (sky.files.path)")
    hues = [name for name in columns if name.count("-") == 1 and set(name.split("-")) <= set(bands)]
    needed = ["longitude", "latitude", *hues, *(band for band in bands if not _given(band, hues))]
    kept = [*needed, *OPTIONAL]
    unmapped = [name for name in needed if name not in columns]
    if unmapped:
        raise CatalogueError(
            f"{path}: sky.files.columns maps {', '.join(columns)}; expected also {', '.join(unmapped)}"
        )
    wanted = {ours: theirs for ours, theirs in columns.items() if ours.removesuffix("_error") in kept}
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    formats = {
        ".fits": "fits",
        ".fit": "fits",
        ".ecsv": "ascii.ecsv",
        ".csv": "ascii.csv",
        ".dat": "ascii.csv",
        ".vot": "votable",
    }
    if suffix == ".parquet":
        table = pd.read_parquet(path)
        names = list(table.columns)
    elif suffix in formats:
        options = {"hdu": 1} if formats[suffix] == "fits" else {}
        table = Table.read(path, format=formats[suffix], **options)
        names = table.colnames
    else:
        raise CatalogueError(
            f"{path}: found suffix {suffix!r}; expected .fits, .ecsv, .csv, .dat (comma-separated), .vot or .parquet"
        )
    missing = [theirs for theirs in wanted.values() if theirs not in names]
    if missing:
        raise CatalogueError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(names)}; "
            f"expected {', '.join(wanted.values())} (sky.files.columns)"
        )
    values = {}
    for ours, theirs in wanted.items():
        try:
            values[ours] = _floats(table[theirs])
        except (TypeError, ValueError) as error:
            raise CatalogueError(f"{path}: column {theirs}: expected numbers ({error})") from None
        unit = getattr(table[theirs], "unit", None)
        if unit is not None and ours in ("longitude", "latitude"):
            values[ours] = values[ours] * u.Unit(unit).to(u.deg)
    for hue in hues:
        # only the difference is known: the bands lie half of it to either side of the remaining one
        first, second = hue.split("-")
        middle = values[next(band for band in bands if not _given(band, hues))]
        values[first], values[second] = middle + 0.5 * values[hue], middle - 0.5 * values.pop(hue)
    longitude, latitude = values.pop("longitude"), values.pop("latitude")
    known = np.isfinite(longitude) & np.isfinite(latitude) & (np.abs(latitude) <= 90)
    l, b = np.full(len(longitude), np.nan), np.full(len(longitude), np.nan)
    l[known], b[known] = to_galactic(longitude[known], latitude[known], frame)
    return pd.DataFrame({"l": l, "b": b, **values})


def _given(band: str, hues: list[str]) -> bool:
    """Whether a catalogue has a band only as part of a colour."""
    return any(band in hue.split("-") for hue in hues)


def _floats(column) -> np.ndarray:
    """A column as floats with NaN where it is masked or empty."""
    if np.ma.isMaskedArray(column):
        return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)
    return np.asarray(column, dtype=float)


def repeats(stars: pd.DataFrame, earlier: pd.DataFrame) -> np.ndarray:
    """Which stars an earlier catalogue has already, where two overlap.

    Parameters
    ----------
    stars, earlier : DataFrame
        From `read`.

    Returns
    -------
    ndarray of bool, shape (star,)
        Within 0.5 arcsec of one of the earlier stars: less than any survey of ours resolves.
    """
    found = np.zeros(len(stars), bool)
    placed = np.isfinite(stars["l"].to_numpy())
    known = earlier[np.isfinite(earlier["l"])]
    if placed.any() and len(known):
        here = SkyCoord(stars["l"][placed].to_numpy() * u.deg, stars["b"][placed].to_numpy() * u.deg, frame="galactic")
        there = SkyCoord(known["l"].to_numpy() * u.deg, known["b"].to_numpy() * u.deg, frame="galactic")
        found[placed] = here.match_to_catalog_sky(there)[1] < SAME
    return found


def clean(
    stars: pd.DataFrame, tiles: Tiles, limits: Mapping[str, float], bright: float
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop rows that cannot be used, and count them by reason.

    Parameters
    ----------
    stars : DataFrame
        From `read`.
    tiles : Tiles
    limits : mapping of float, mag
        Faint limit of each band that is needed.
    bright : float, mag

    Returns
    -------
    stars : DataFrame
    dropped : dict of int
        In the order of the checks: a row counts once, under the first that it fails.
    """
    bands = list(limits)
    magnitudes = stars[bands].to_numpy()
    with np.errstate(invalid="ignore"):
        checks = {
            "position missing": ~np.isfinite(stars[["l", "b"]].to_numpy()).all(axis=1),
            "outside the window": tiles.index(stars["l"].fillna(0).to_numpy(), stars["b"].fillna(99).to_numpy()) < 0,
            "magnitude missing": ~np.isfinite(magnitudes).all(axis=1),
            "magnitude a sentinel": (np.abs(magnitudes) >= SENTINEL).any(axis=1),
            "duplicate": stars.duplicated(["l", "b", *bands]).to_numpy(),
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
    return stars[keep].reset_index(drop=True), dropped


def gather(files: Sequence[Any], bands: list[str]) -> tuple[pd.DataFrame, float, dict[str, int]]:
    """Read the catalogues of one survey, each star once.

    Parameters
    ----------
    files : sequence
        With ``path``, ``columns``, ``frame`` and ``footprint_cell`` (deg).
    bands : list of str

    Returns
    -------
    everything : DataFrame
        From `read`.
    cell : float, deg
        The coarsest of the files' cells of `observed_fraction`.
    dropped : dict of int
        Rows that an earlier catalogue has already.
    """
    parts: list[pd.DataFrame] = []
    repeated = 0
    for file in files:
        part = read(file.path, file.columns, bands, file.frame)
        logging.info("%s: %d rows", file.path, len(part))
        if parts:
            again = repeats(part, pd.concat(parts))
            logging.info("dropped %d of %d rows: in an earlier catalogue", again.sum(), len(part))
            part, repeated = part[~again], repeated + int(again.sum())
        parts.append(part)
    cell = max(file.footprint_cell for file in files)
    return pd.concat(parts, ignore_index=True), cell, {"in an earlier catalogue": repeated}


def usable(
    everything: pd.DataFrame, dropped: Mapping[str, int], limits: Mapping[str, float], bright: float, tiles: Tiles
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The stars that `clean` keeps, and an account of the others.

    Parameters
    ----------
    everything : DataFrame
        From `read`, or like it.
    dropped : mapping of int
        Rows dropped before, by reason.
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
    CatalogueError
        If no star can be used.
    """
    stars, reasons = clean(everything, tiles, limits, bright)
    if stars.empty:
        raise CatalogueError(
            f"sky: found {len(everything)} rows and none that can be used ({reasons}); "
            "expected stars inside sky.l, sky.b and the survey's limits"
        )
    logging.info("kept %d of %d rows", len(stars), len(everything))
    before = sum(dropped.values())
    return stars, {"read": len(everything) + before, "kept": len(stars), "dropped": reasons | dict(dropped)}


def observed_fraction(l: np.ndarray, b: np.ndarray, tiles: Tiles, cell: float) -> np.ndarray:
    """Share of each tile that a catalogue covers, from where it has stars at all.

    Each tile is cut into cells of about `cell` degrees; a cell with no star is taken as not observed, one with stars
    beside such a cell as half observed: an outline crosses it anywhere. The cell must be large enough that an observed
    one is hardly ever empty.

    Parameters
    ----------
    l, b : ndarray, shape (star,), deg
        Every source, also those that are later dropped for their magnitudes.
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
    full = np.pad(counts > 0, 1, mode="edge")  # what lies outside the window is not known
    inner = full[:-2, 1:-1] & full[2:, 1:-1] & full[1:-1, :-2] & full[1:-1, 2:]
    share = np.where(full[1:-1, 1:-1], np.where(inner, 1.0, 0.5), 0.0)
    return share.reshape(n_l, per_side, n_b, per_side).mean(axis=(1, 3))
