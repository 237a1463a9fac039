"""Average HEALPix maps of dust over tiles and compare them with ours by a straight line."""

import logging
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy import stats

from galcarto.core.errors import UserError
from galcarto.core.sky import Tiles
from galcarto.core.units import factor
from galcarto.dustmap.settings import PlanckMap

# E(B-V) per unit optical depth at 353 GHz: Planck 2013 results XI (A&A 571, A11).
EBV_PER_TAU353 = 1.49e4
# of a pixel without a value, in maps that do not state it; no map of dust holds such numbers
SENTINEL = -90.0
# how the header's names of frames begin
FRAMES = {"galactic": ("g",), "equatorial": ("c", "eq", "i", "f", "j"), "ecliptic": ("e",)}
COLUMNS = {"av": ("av", "a_v", "a(v"), "ebv": ("ebv", "e(b", "e_bv", "eb_v"), "tau353": ("tau",)}  # how they begin
PIXEL_NAMES = ("pixel", "pixels", "pix", "ipix", "hpx", "healpix", "hpxindex", "pixel_index", "healpix_index")
POINTS = 10  # along a tile's side; a tile's mean is over their square


class MapError(UserError):
    """A reference map that cannot be used."""


def read(path: str | Path, entry: PlanckMap) -> np.ndarray:
    """Read a HEALPix map and check that its header agrees with the settings.

    Parameters
    ----------
    path : path
        A FITS table, full or partial, or an image with one pixel per HEALPix pixel.
    entry : PlanckMap
        Ordering, frame, quantity, column and HDU of the map.

    Returns
    -------
    ndarray, shape (pixel,)
        In RING order, UNSEEN where the map has no value; mag, or 1 for ``tau353``.

    Raises
    ------
    MapError
        If the file does not exist, cannot be read or does not fit the settings.
    """
    if not Path(path).is_file():
        raise MapError(f"{path}: not found; expected a HEALPix map (compare.planck.path)")
    try:
        # astropy leaves a cut file open that it opens itself
        with open(path, "rb") as handle, fits.open(handle) as file:
            if entry.hdu < len(file) and file[entry.hdu].verify_datasum() == 0:
                raise MapError(f"{path}: found data that do not fit the file's DATASUM; get the file again")
            if entry.hdu >= len(file) or file[entry.hdu].data is None:
                raise MapError(f"{path}: found no data in HDU {entry.hdu} of {len(file)}; set compare.planck.hdu")
            return _read(path, file, entry)
    except MapError:
        raise
    except Exception as error:  # astropy raises errors of many kinds for a cut or garbled file
        reason = shorten(f"{type(error).__name__}: {error}", 200)
        raise MapError(
            f"{path}: found no map that can be read ({reason}); expected a whole FITS file; get it again"
        ) from error


def _read(path: str | Path, file: fits.HDUList, entry: PlanckMap) -> np.ndarray:
    """The map of an open file."""
    hdu, column = file[entry.hdu], entry.column
    headers = [hdu.header, file[0].header]  # some files state the order and the frame in the first header only

    def stated(*keys: str) -> tuple[str, Any]:
        """First of some keys that the file has, and its value."""
        return next(((key, one[key]) for one in headers for key in keys if key in one), (keys[0], None))

    _check_ordering(path, *stated("ORDERING", "NESTED"), entry.ordering)
    _check_frame(path, *stated("COORDSYS", "SKYCOORD", "FRAME"), entry.frame)
    names = getattr(hdu.data, "names", None) or ()
    if column is None and names:
        raise MapError(f"{path}: HDU {entry.hdu} is a table of {', '.join(names)}; set compare.planck.column")
    if column is not None and column not in names:
        found = ", ".join(names) or "an image"
        raise MapError(f"{path}: no column {column}; found {found} (compare.planck.column)")
    raw = np.asarray(hdu.data if column is None else hdu.data[column]).ravel()
    if raw.dtype.kind not in "fiub":
        raise MapError(f"{path}: column {column} holds no numbers; set compare.planck.column")
    named = next((key for key, starts in COLUMNS.items() if (column or "").lower().startswith(starts)), entry.quantity)
    if named != entry.quantity:
        logging.warning(
            "%s: column %s sounds like %s; compare.planck.quantity says %s", path, column, named, entry.quantity
        )
    values = raw.astype(float)
    described = None if column is None else hdu.columns[column]
    bad = [stated("BAD_DATA", "BADDATA")[1]]
    if described is not None and described.null is not None:
        bad.append(float(described.null) * (described.bscale or 1.0) + (described.bzero or 0.0))
    # maps are often stored in single precision, in which UNSEEN is another number
    missing = ~np.isfinite(values) | hp.mask_bad(values) | (values <= SENTINEL)
    for value in (float(one) for one in bad if one is not None):
        missing |= np.isclose(values, value, rtol=1e-6, atol=0.0)
    unit = hdu.header.get("BUNIT") if described is None else described.unit
    try:
        scale = factor(unit, "" if entry.quantity == "tau353" else "mag")
    except ValueError as error:
        raise MapError(f"{path}: {error}, for {entry.quantity}; set compare.planck.quantity and column") from None
    values = np.where(missing, hp.UNSEEN, values * scale)
    nside = stated("NSIDE")[1]
    pixels = _pixels(path, hdu, names)
    first, last = (hdu.header.get(key) for key in ("FIRSTPIX", "LASTPIX"))
    if pixels is None and None not in (nside, first, last) and last - first + 1 == len(values) < 12 * int(nside) ** 2:
        pixels = np.arange(first, last + 1)
    if pixels is not None:
        values = _spread(path, pixels, values, nside)
    elif not hp.isnpixok(len(values)) or (nside is not None and len(values) != 12 * int(nside) ** 2):
        raise MapError(
            f"{path}: found {len(values)} pixels{'' if nside is None else f' and NSIDE = {nside}'}; "
            "expected 12 nside^2; set compare.planck.column and hdu to a HEALPix map, or get the file again"
        )
    return hp.reorder(values, n2r=True) if entry.ordering == "nested" else values


def _check_ordering(path: str | Path, key: str, value: Any, ordering: str) -> None:
    """Refuse a map in another order than the settings state."""
    if value is None:
        return
    text = str(value).strip().lower()
    if key == "NESTED":
        text = {"true": "nested", "false": "ring"}.get(text, text)
    if not text.startswith(("ring", "nest")):
        raise MapError(f"{path}: the file says {key} = {value}; expected RING or NESTED; convert the map")
    if not text.startswith(ordering[:4]):
        raise MapError(
            f"{path}: the file says {key} = {value}; the settings say {ordering}; set compare.planck.ordering"
        )


def _check_frame(path: str | Path, key: str, value: Any, frame: str) -> None:
    """Refuse a map in another frame than the settings state."""
    text = "" if value is None else str(value).strip().lower()
    kind = next((kind for kind, starts in FRAMES.items() if text.startswith(starts)), None)
    ours = "ecliptic" if "ecliptic" in frame else frame if frame.endswith("galactic") else "equatorial"
    if text and kind is None:
        logging.warning("%s: the file says %s = %s, which is unknown; %s is assumed", path, key, value, frame)
    elif kind not in (None, ours):
        raise MapError(f"{path}: the file says {key} = {value}; the settings say {frame}; set compare.planck.frame")


def _pixels(path: str | Path, hdu: Any, names: Sequence[str]) -> np.ndarray | None:
    """Pixel numbers of a table that states them, shape (row,); None if its rows are all pixels in order."""
    scheme, extent = (str(hdu.header.get(key, "")).strip().upper() for key in ("INDXSCHM", "OBJECT"))
    if not names or scheme == "IMPLICIT":
        return None
    column = next((name for name in names if name.strip().lower() in PIXEL_NAMES), None)
    if column is None:
        if scheme != "EXPLICIT" and extent != "PARTIAL":
            return None
        column = names[0]  # as healpy writes it
    pixels = np.asarray(hdu.data[column]).ravel()
    if pixels.dtype.kind not in "iuf" or (pixels != np.floor(pixels)).any():
        raise MapError(f"{path}: column {column} holds no pixel numbers; expected a column PIXEL of whole numbers")
    return pixels.astype(np.int64)


def _spread(path: str | Path, pixels: np.ndarray, values: np.ndarray, nside: Any) -> np.ndarray:
    """Map of the whole sphere from some of its pixels."""
    whole = nside is None and hp.isnpixok(len(pixels)) and bool((np.sort(pixels) == np.arange(len(pixels))).all())
    number = len(pixels) if whole else 12 * int(nside) ** 2 if str(nside).isdigit() else 0
    if number == 0:
        raise MapError(f"{path}: found pixel numbers and NSIDE = {nside}; expected the map's NSIDE in its header")
    if len(pixels) != len(values):
        raise MapError(f"{path}: found {len(pixels)} pixel numbers for {len(values)} values; expected one for each")
    outside = (pixels < 0) | (pixels >= number)
    if outside.any():
        raise MapError(
            f"{path}: found pixel {pixels[outside][0]}; expected 0 to {number - 1}, as NSIDE = {nside}; "
            "get the file again"
        )
    if len(np.unique(pixels)) < len(pixels):
        raise MapError(f"{path}: found a pixel twice; expected each once; get the file again")
    sphere = np.full(number, hp.UNSEEN)
    sphere[pixels] = values
    return sphere


def tile_means(sphere: np.ndarray, tiles: Tiles, frame: str) -> np.ndarray:
    """Mean of a RING map over each tile, by bilinear interpolation on a fine grid of points.

    Parameters
    ----------
    sphere : ndarray, shape (pixel,)
    tiles : Tiles
    frame : str
        astropy frame of the map.

    Returns
    -------
    ndarray, shape (l, b)
        NaN where the map has no value in part of the tile.
    """
    l, b = tiles.points(POINTS)
    if frame == "galactic":
        longitude, latitude = l % 360.0, b
    else:
        sphere_frame = SkyCoord(l * u.deg, b * u.deg, frame="galactic").transform_to(frame).spherical
        longitude, latitude = sphere_frame.lon.deg, sphere_frame.lat.deg
    pixels, weights = hp.get_interp_weights(
        hp.npix2nside(len(sphere)), longitude.ravel(), latitude.ravel(), lonlat=True
    )
    known = sphere[pixels] != hp.UNSEEN
    values = np.where(known.all(axis=0), (np.where(known, sphere[pixels], 0.0) * weights).sum(axis=0), np.nan)
    return values.reshape(l.shape).mean(axis=-1)


def to_extinction(values: np.ndarray, quantity: str, r_v: float) -> np.ndarray:
    """A_V in mag from ``tau353`` (optical depth at 353 GHz), ``ebv`` (mag) or ``av`` (mag)."""
    return values * {"tau353": r_v * EBV_PER_TAU353, "ebv": r_v, "av": 1.0}[quantity]


def total(
    extinction: np.ndarray, distance_max: np.ndarray, edges: np.ndarray, distance: float | None = None
) -> np.ndarray:
    """A_V, or its standard deviation, to a distance or to the last stars, shape (...,), mag.

    Parameters
    ----------
    extinction : ndarray, shape (..., distance), mag
        Cumulative, or its standard deviation.
    distance_max : ndarray, shape (...,), kpc
        NaN where there is no profile; the result is NaN there too.
    edges : ndarray, shape (distance + 1,), kpc
    distance : float, kpc, optional
        By default ``distance_max``.
    """
    last = distance_max if distance is None else np.where(np.isfinite(distance_max), distance, np.nan)
    # beyond the last stars the prior dominates
    inside = (edges[1:] <= last[..., None] + 1e-6).sum(axis=-1)
    end = np.take_along_axis(extinction, np.maximum(inside - 1, 0)[..., None], axis=-1)[..., 0]
    return np.where(inside > 0, end, np.nan)


def against(
    ours: np.ndarray, theirs: np.ndarray, ceiling: float, line_below: float
) -> tuple[np.ndarray, dict[str, float]]:
    """Select the tiles to compare and fit a line between the maps.

    Parameters
    ----------
    ours, theirs : ndarray, shape (l, b), mag
        NaN where there is no value.
    ceiling : float, mag
        Tiles where `theirs` is at least this are left out.
    line_below : float, mag
        See `straight_line`.

    Returns
    -------
    used : ndarray of bool, shape (l, b)
    metrics : dict
        From `straight_line`, and the number ``left_out`` above the ceiling.
    """
    known = np.isfinite(ours) & np.isfinite(theirs)
    used = known & (theirs < ceiling)
    line = straight_line(ours[used], theirs[used], line_below)
    return used, line | {"left_out": int((known & (theirs >= ceiling)).sum())}


def straight_line(ours: np.ndarray, theirs: np.ndarray, line_below: float = np.inf) -> dict[str, float]:
    """Rank correlation and a robust line ``ours = slope * theirs + offset``.

    Parameters
    ----------
    ours, theirs : ndarray, shape (tile,), mag
    line_below : float, mag
        Only tiles where `theirs` is below this enter the line.

    Returns
    -------
    dict
        ``spearman``; ``slope`` and ``offset_mag`` by Theil-Sen (Sen 1968); ``scatter_mag``, 1.4826 times
        the median absolute residual; ``n``. All but ``n`` are NaN with fewer than three tiles.
    """
    if (theirs < line_below).sum() < 3:
        return dict.fromkeys(("spearman", "slope", "offset_mag", "scatter_mag"), float("nan")) | {"n": len(ours)}
    low = theirs < line_below
    line = stats.theilslopes(ours[low], theirs[low], method="joint")
    residual = (ours - line.slope * theirs - line.intercept)[low]
    return {
        "spearman": float(stats.spearmanr(ours, theirs).statistic),
        "slope": float(line.slope),
        "offset_mag": float(line.intercept),
        "scatter_mag": float(1.4826 * np.median(np.abs(residual - np.median(residual)))),
        "n": len(ours),
    }
