"""Young objects that trace spiral arms: masers with parallaxes, and HII regions."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.io import ascii as text
from astropy.io.votable.exceptions import VOTableSpecWarning
from astropy.table import Table

from galcarto.core.errors import UserError

PRECISE = 5.0  # parallax over its error, from which on a distance is more than a guess
SAME = 2 * u.arcsec
# Hou & Han 2014, A&A 569, A125, table A.1: the distance of stars or of masers first, else the kinematic one (for 8.5
# kpc to the Galactic centre). The columns are those that public code asks VizieR for.
MEASURED, KINEMATIC = "Dist", "D8.5"


class TracerError(UserError):
    """A table of tracers that cannot be used."""


def _read(path: Path) -> Table:
    """A table in the journals' machine-readable form, or of columns between spaces."""
    try:
        content = path.read_text()
        return text.read(content, format="mrt" if "Byte-by-byte" in content else "basic", guess=False)
    except (ValueError, KeyError, UnicodeDecodeError, text.InconsistentTableError) as error:
        raise TracerError(
            f"{path}: found no table of masers ({error}); expected one as Reid et al. 2019 give"
        ) from None


def _positions(table: Table, path: Path) -> SkyCoord:
    """Right ascension and declination in one column each, or in parts."""
    if {"RAh", "RAm", "RAs", "DE-", "DEd", "DEm", "DEs"} <= set(table.colnames):
        ra = [f"{h}h{m}m{s}s" for h, m, s in zip(table["RAh"], table["RAm"], table["RAs"], strict=True)]
        parts = zip(table["DE-"], table["DEd"], table["DEm"], table["DEs"], strict=True)
        return SkyCoord(ra, [f"{sign}{d}d{m}m{s}s" for sign, d, m, s in parts])
    if {"ra", "dec"} <= set(table.colnames):
        return SkyCoord(table["ra"], table["dec"], unit=(u.hourangle, u.deg))
    raise TracerError(
        f"{path}: found the columns {', '.join(table.colnames)}; expected ra and dec, or RAh, RAm, RAs, DE-, DEd, DEm, "
        "DEs"
    )


def read_masers(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Masers with parallaxes, from tables such as those of Reid et al. 2019 (ApJ 885, 131) and Xu et al. 2023.

    Parameters
    ----------
    paths : sequence of path
        Tables with the columns plx and e_plx (mas). A maser that an earlier table has is left out.

    Returns
    -------
    DataFrame
        ``l``, ``b`` (deg), ``distance`` and ``distance_error`` (kpc): inverse parallaxes of `PRECISE` standard
        deviations or more.

    Raises
    ------
    TracerError
        If a table cannot be read or lacks a column.
    """
    found = pd.DataFrame({name: np.empty(0) for name in ("l", "b", "distance", "distance_error")})
    for path in map(Path, paths):
        table = _read(path)
        position = _positions(table, path).galactic
        absent = [name for name in ("plx", "e_plx") if name not in table.colnames]
        if absent:
            raise TracerError(
                f"{path}: found the columns {', '.join(table.colnames)}; expected also {', '.join(absent)}"
            )
        parallax, error = (np.asarray(table[name], float) for name in ("plx", "e_plx"))
        good = parallax >= PRECISE * error
        logging.info("%s: %d masers, %d with a parallax of %g sigma or more", path, len(table), good.sum(), PRECISE)
        if len(found) and good.any():
            known = SkyCoord(found["l"].to_numpy() * u.deg, found["b"].to_numpy() * u.deg, frame="galactic")
            good[good] = position[good].match_to_catalog_sky(known)[1] > SAME
        rows = {"l": position.l.deg, "b": position.b.deg}
        with np.errstate(divide="ignore", invalid="ignore"):
            rows |= {"distance": 1 / parallax, "distance_error": error / parallax**2}
        found = pd.concat([found, pd.DataFrame(rows)[good]], ignore_index=True)
    return found


def read_hii(path: str | Path) -> pd.DataFrame:
    """HII regions of Hou & Han 2014 (A&A 569, A125, table A.1), from a VOTable as VizieR sends it.

    Returns
    -------
    DataFrame
        ``l``, ``b`` (deg), ``distance`` (kpc), ``distance_error`` (NaN: the table has none for all).

    Raises
    ------
    TracerError
        If the file is no VOTable or lacks a column.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VOTableSpecWarning)  # VizieR's VOTables are not to the letter
            table = Table.read(path, format="votable", use_names_over_ids=True)
    except Exception as error:  # the parser has many of its own
        raise TracerError(f"{path}: found no VOTable that can be read ({error}); expected one from VizieR") from None
    absent = [name for name in ("GLON", "GLAT", MEASURED, KINEMATIC) if name not in table.colnames]
    if absent:
        raise TracerError(
            f"{path}: found the columns {', '.join(table.colnames)}; expected also {', '.join(absent)}: those of "
            "J/A+A/569/A125/tablea1"
        )
    l, b, measured, kinematic = (
        np.ma.filled(np.ma.asarray(table[name]).astype(float), np.nan) for name in ("GLON", "GLAT", MEASURED, KINEMATIC)
    )
    distance = np.where(measured > 0, measured, kinematic)
    good = distance > 0
    logging.info("%s: %d HII regions, %d with a distance", path, len(table), good.sum())
    return pd.DataFrame({"l": l, "b": b, "distance": distance, "distance_error": np.nan})[good].reset_index(drop=True)
