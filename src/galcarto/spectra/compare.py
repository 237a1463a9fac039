"""Stars' extinctions beside a cube of dust."""

from typing import Any

import astropy.units as u
import healpy as hp
import numpy as np
import pandas as pd
import xarray as xr
from astropy.coordinates import SkyCoord
from scipy.stats import theilslopes

from galcarto.core.errors import UserError
from galcarto.spectra.scores import robust

# a Gaia source_id over 2^35 is the HEALPix pixel of the star, nested, ICRS (Gaia DR3 documentation, section 20.1.1)
SHIFT, NSIDE = 35, 4096
LARGEST = 3000  # stars of a fit: it looks at every pair of them


def places(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination (deg) of Gaia's stars to within an arcminute, from their source_id.

    Raises
    ------
    UserError
        If an identifier is none of Gaia's.
    """
    try:
        pixels = np.array([int(one) for one in ids]) >> SHIFT
    except (ValueError, OverflowError):
        raise UserError(f"id: found {ids[0]}; expected source_ids of Gaia, whose digits are the position") from None
    if len(pixels) and not (pixels.min() >= 0 and pixels.max() < hp.nside2npix(NSIDE)):
        raise UserError("id: found numbers that are no source_id of Gaia, whose digits are the position")
    return hp.pix2ang(NSIDE, pixels, nest=True, lonlat=True)


def compare(labels: pd.DataFrame, distance: np.ndarray, cube: xr.Dataset, seed: int) -> dict[str, Any]:
    """Slope, offset and scatter of the stars' A_K against that of a cube at their places.

    Parameters
    ----------
    labels : DataFrame
        A label file with ``id``, ``a_k`` and ``quality``; stars with any flag but that of missing colours are left out.
    distance : ndarray, shape (star,), kpc
    cube : Dataset
        Of `galcarto.open_cube`.
    seed : int
        Of the stars that are fitted, where there are many.

    Returns
    -------
    dict
        ``stars``, ``slope``, ``offset`` and ``scatter`` (mag), after Theil and Sen.

    Raises
    ------
    UserError
        If fewer than three stars have a value in both.
    """
    ra, dec = places(labels["id"].to_numpy())
    where = SkyCoord(ra * u.deg, dec * u.deg, distance=np.where(distance > 0, distance, np.nan) * u.kpc)
    mapped = cube.dust.query(where.galactic, band="Ks").to_value(u.mag)
    used = np.isfinite(mapped) & np.isfinite(labels["a_k"]) & (labels["quality"].to_numpy(int) & ~1 == 0)
    chosen = np.flatnonzero(used)
    if len(chosen) < 3:
        raise UserError(
            f"found {len(chosen)} of {len(labels)} stars with an A_K, a distance and a place in the cube; expected at "
            "least 3: use a cube whose window holds the stars"
        )
    some = np.random.default_rng(seed).permutation(chosen)[:LARGEST]
    slope, offset, *_ = theilslopes(labels["a_k"].to_numpy(float)[some], mapped[some])
    residual = labels["a_k"].to_numpy(float)[chosen] - offset - slope * mapped[chosen]
    return {"stars": len(chosen), "slope": float(slope), "offset": float(offset), "scatter": robust(residual)}
