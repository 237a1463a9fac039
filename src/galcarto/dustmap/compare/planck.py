"""Average HEALPix maps of dust over tiles and compare them with ours by a straight line."""

from pathlib import Path

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy import stats

from galcarto.core.errors import UserError
from galcarto.core.sky import Tiles

# E(B-V) per unit optical depth at 353 GHz: Planck 2013 results XI (A&A 571, A11).
EBV_PER_TAU353 = 1.49e4
POINTS = 10  # along a tile's side; a tile's mean is over their square


class MapError(UserError):
    """A reference map that cannot be used."""


def read(path: str | Path, ordering: str, column: str | None, hdu: int) -> np.ndarray:
    """Read a HEALPix map.

    Parameters
    ----------
    path : path
        A FITS table, full or partial, or an image with one pixel per HEALPix pixel.
    ordering : {'ring', 'nested'}
        Order of the pixels. If the file states another one, it is refused.
    column : str or None
        Table column; None for an image.
    hdu : int
        Number of the HDU.

    Returns
    -------
    ndarray, shape (pixel,)
        In RING order, UNSEEN where the map has no value.

    Raises
    ------
    MapError
        If the file does not exist or does not fit the description.
    """
    if not Path(path).is_file():
        raise MapError(f"{path}: not found; expected a HEALPix map (compare.planck.path)")
    with fits.open(path) as file:
        if hdu >= len(file) or file[hdu].data is None:
            raise MapError(f"{path}: found no data in HDU {hdu} of {len(file)}; set compare.planck.hdu")
        header, data = file[hdu].header, file[hdu].data
        if "ORDERING" in header and not header["ORDERING"].strip().lower().startswith(ordering[:4]):
            raise MapError(f"{path}: the file says ORDERING = {header['ORDERING']}; the settings say {ordering}")
        names = getattr(data, "names", None) or ()
        if column is None and names:
            raise MapError(f"{path}: HDU {hdu} is a table of {', '.join(names)}; set compare.planck.column")
        if column is not None and column not in names:
            found = ", ".join(names) or "an image"
            raise MapError(f"{path}: no column {column}; found {found} (compare.planck.column)")
        if column is None:
            values = np.asarray(data, float).ravel()
        else:
            try:
                values = hp.read_map(file, (column,), float, None, hdu=hdu)  # None keeps the order of the file
            except (ValueError, TypeError) as error:
                raise MapError(f"{path}: HDU {hdu} is no HEALPix table ({error}); set compare.planck.hdu") from None
    if not hp.isnpixok(len(values)):
        raise MapError(f"{path}: found {len(values)} pixels; expected 12 nside^2")
    # maps are often stored in single precision, in which UNSEEN is another number
    values = np.where(np.isfinite(values) & ~hp.mask_bad(values), values, hp.UNSEEN)
    return hp.reorder(values, n2r=True) if ordering == "nested" else values


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
    """A_V in mag from ``tau353`` (optical depth at 353 GHz) or ``ebv`` (mag)."""
    return r_v * values * (EBV_PER_TAU353 if quantity == "tau353" else 1.0)


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
