"""Correct stars for the dust of a map that the user names: a cube of this project, or a map of dustmaps."""

import importlib
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord

from galcarto.core.errors import UserError
from galcarto.dust.law import coefficients
from galcarto.labels.settings import EXTINCTION, Deredden, is_band, is_colour
from galcarto.maps.reader import open_cube
from galcarto.surveys import SURVEYS

# maps of the whole sky of the package dustmaps (Green 2018, JOSS 3, 695): module, class
MAPS = {
    "sfd": ("sfd", "SFDQuery"),  # Schlegel, Finkbeiner & Davis 1998
    "planck": ("planck", "PlanckQuery"),  # Planck Collaboration 2014
    "planck_gnilc": ("planck", "PlanckGNILCQuery"),  # Planck Collaboration 2016
    "csfd": ("csfd", "CSFDQuery"),  # Chiang 2023
    "bayestar": ("bayestar", "BayestarQuery"),  # Green et al. 2019; its last distance where a star has none
}


def wavelengths() -> dict[str, float]:
    """Effective wavelength of each band of the surveys, micrometre."""
    return {name: band.wavelength for survey in SURVEYS.values() for name, band in survey.bands.items()}


@cache
def _query(name: str) -> Any:
    if Path(name).exists():
        return open_cube(name)
    if name not in MAPS:
        raise UserError(
            f"deredden.map: found {name!r}, no file and no map known by that name; expected a cube of Galcarto or one "
            f"of {', '.join(MAPS)}"
        )
    module, kind = MAPS[name]
    try:
        return getattr(importlib.import_module(f"dustmaps.{module}"), kind)()
    except (OSError, FileNotFoundError) as error:
        raise UserError(
            f"deredden.map: found no data of {name} ({error}); fetch them: python -c 'import dustmaps.{module}; "
            f"dustmaps.{module}.fetch()'"
        ) from error


def extinction(frame: pd.DataFrame, dust: Deredden) -> tuple[np.ndarray, np.ndarray]:
    """A_V in front of each star and its error, mag; NaN where the map has none or the star no position.

    Parameters
    ----------
    frame : DataFrame
        With ``l``, ``b`` (deg), and ``distance`` (kpc) if it is known; without it the whole depth of the map counts.
    dust : Deredden
    """
    assert dust.map is not None
    query = _query(dust.map)
    l, b = frame["l"].to_numpy(float), frame["b"].to_numpy(float)
    known = np.isfinite(l) & np.isfinite(b)
    a_v, error = np.full((2, len(frame)), np.nan)
    if not known.any():
        raise UserError("deredden: found no star with a position; expected columns longitude and latitude")
    place = SkyCoord(l[known] * u.deg, b[known] * u.deg, frame="galactic")
    if hasattr(query, "dust"):
        far = float(query["distance_bounds"].to_numpy()[-1, 1])
        distance = frame["distance"].to_numpy(float)[known] if "distance" in frame else np.full(known.sum(), far)
        # the end of the cube stands for all dust behind
        distance = np.minimum(np.where(np.isfinite(distance), distance, far), far * (1 - 1e-9))
        place = SkyCoord(place, distance=distance * u.kpc)
        a_v[known], error[known] = (query.dust.query(place, mode).to_value("mag") for mode in ("mean", "sd"))
    else:
        value = np.asarray(query(place), float)
        a_v[known] = dust.a_v * (value if value.ndim == 1 else value[:, -1])
    return a_v, error


def apply(frame: pd.DataFrame, dust: Deredden) -> pd.DataFrame:
    """Correct the bands or colours of stars, or add the extinction as a further feature.

    A star without an extinction loses its bands: they are of another kind than those that the network knows. Its
    extinction stays missing where that is an input.

    Parameters
    ----------
    frame : DataFrame
        Bands or colours with their errors, ``l`` and ``b``.
    dust : Deredden

    Returns
    -------
    DataFrame
        With ``a_v`` and ``a_v_error`` (mag).
    """
    if dust.use == "none":
        return frame
    a_v, error = extinction(frame, dust)
    lacking = int((~np.isfinite(a_v)).sum())
    if lacking:
        logging.warning("%d of %d stars lie outside the dust map %s", lacking, len(frame), dust.map)
    frame = frame.assign(**{EXTINCTION: a_v.astype("f4"), f"{EXTINCTION}_error": error.astype("f4")})
    if dust.use == "input":
        return frame
    ratio: Mapping[str, float] = coefficients(dust.law, dust.r_v, wavelengths())
    for name in [column for column in frame if isinstance(column, str)]:
        if name in ratio and is_band(name):
            factor = ratio[name]
        elif is_colour(name) and set(name.split("-")) <= set(ratio):
            blue, red = name.split("-")
            factor = ratio[blue] - ratio[red]
        else:
            continue
        frame[name] = (frame[name] - factor * a_v).astype("f4")
        widened = np.hypot(frame[f"{name}_error"], factor * np.nan_to_num(error))
        frame[f"{name}_error"] = widened.astype("f4")
    return frame
