"""Read tracers of the spiral arms: masers with parallaxes and HII regions."""

import logging
from collections.abc import Sequence
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.table import Table

from galcarto.core.tables import TableError, floats, read_table

PRECISE = 5.0  # least parallax over its error: a less precise parallax gives no useful distance
SAME = 2 * u.arcsec
# Hou & Han 2014, A&A 569, A125, table A.1: distance of stars or masers, else the kinematic one (for 8.5 kpc to the
# Galactic centre). Public code that queries VizieR uses these column names.
MEASURED, KINEMATIC = "Dist", "D8.5"
SEXAGESIMAL = ("RAh", "RAm", "RAs", "DE-", "DEd", "DEm", "DEs")


def _positions(table: Table, path: Path) -> SkyCoord:
    """Right ascension and declination from one column each or from their parts."""
    if set(SEXAGESIMAL) <= set(table.colnames):
        rows = zip(*(table[name] for name in SEXAGESIMAL), strict=True)
        return SkyCoord([f"{h}h{m}m{s}s {sign}{d}d{dm}m{ds}s" for h, m, s, sign, d, dm, ds in rows])
    if {"ra", "dec"} <= set(table.colnames):
        return SkyCoord(table["ra"], table["dec"], unit=(u.hourangle, u.deg))
    raise TableError(
        f"{path}: found the columns {', '.join(table.colnames)}; expected also ra and dec, or {', '.join(SEXAGESIMAL)} "
        "(tracers.masers)"
    )


def read_masers(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Read masers with parallaxes, as in the tables of Reid et al. 2019 (ApJ 885, 131) and Xu et al. 2023.

    Parameters
    ----------
    paths : sequence of path
        Machine-readable tables of the AAS, or columns separated by spaces, with the columns plx and e_plx (mas). A
        maser that an earlier table contains is left out.

    Returns
    -------
    DataFrame
        ``l``, ``b`` (deg), ``distance`` and ``distance_error`` (kpc) of the masers with parallaxes of at least
        `PRECISE` standard deviations.

    Raises
    ------
    TableError
        If a table cannot be read or lacks a column.
    """
    found = pd.DataFrame({name: np.empty(0) for name in ("l", "b", "distance", "distance_error")})
    for path in map(Path, paths):
        machine_readable = b"Byte-by-byte" in path.read_bytes()
        table = read_table(path, ("plx", "e_plx"), "tracers.masers", "ascii.mrt" if machine_readable else "ascii.basic")
        position = _positions(table, path).galactic
        parallax, error = floats(table["plx"]), floats(table["e_plx"])
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
    """Read the HII regions of Hou & Han 2014 (A&A 569, A125, table A.1) from VizieR's VOTable.

    Returns
    -------
    DataFrame
        ``l``, ``b`` (deg), ``distance`` (kpc), ``distance_error`` (NaN, as the table has none for all regions).

    Raises
    ------
    TableError
        If the file is no VOTable or lacks a column.
    """
    columns = ("GLON", "GLAT", MEASURED, KINEMATIC)
    table = read_table(path, columns, "tracers.hii: J/A+A/569/A125/tablea1 of VizieR", "votable")
    l, b, measured, kinematic = (floats(table[name]) for name in columns)
    distance = np.where(measured > 0, measured, kinematic)
    good = distance > 0
    logging.info("%s: %d HII regions, %d with a distance", path, len(table), good.sum())
    return pd.DataFrame({"l": l, "b": b, "distance": distance, "distance_error": np.nan})[good].reset_index(drop=True)
