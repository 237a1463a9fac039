"""Star lists of any part of the sky, in independent HEALPix cells.

The stars of a cell depend on the seed and the number of the cell alone. A field is therefore the same for any tiling,
order of cells and number of processes.
"""

from collections.abc import Iterator

import healpy as hp
import numpy as np
import pandas as pd

from galcarto.core.seeds import generator
from galcarto.galaxy.synthesis import StarModel

NSIDE = 128  # cells of 0.21 deg2; a cell has the densities at its centre
PLACES = 22  # further levels of HEALPix for positions within a cell, to 0.4 milliarcsec


def cells(l_range: tuple[float, float], b_range: tuple[float, float]) -> np.ndarray:
    """Cells that may overlap a window.

    Parameters
    ----------
    l_range, b_range : (float, float), deg
        Galactic; the longitudes increase and may exceed 360.

    Returns
    -------
    ndarray of int
        HEALPix numbers, nested order.
    """
    l, b = hp.pix2ang(NSIDE, np.arange(hp.nside2npix(NSIDE)), nest=True, lonlat=True)
    margin = np.degrees(hp.max_pixrad(NSIDE))
    widest = min(max(abs(b_range[0]), abs(b_range[1])) + margin, 90.0)
    along = margin / max(np.cos(np.radians(widest)), 1e-9)
    near = (b > b_range[0] - margin) & (b < b_range[1] + margin)
    near &= (l - l_range[0] + along) % 360.0 < l_range[1] - l_range[0] + 2.0 * along
    return np.flatnonzero(near)


def stars(model: StarModel, cell: int, seed: int) -> Iterator[pd.DataFrame]:
    """Draw the stars of a cell, in parts of bounded size.

    Parameters
    ----------
    model : StarModel
    cell : int
        HEALPix number, nested order.
    seed : int

    Yields
    ------
    DataFrame
        As from `StarModel.chunks`, with galactic coordinates ``l`` and ``b`` in deg.
    """
    l, b = hp.pix2ang(NSIDE, cell, nest=True, lonlat=True)
    places = generator(seed, "field", str(cell), "places")
    for part in model.chunks(l, b, hp.nside2pixarea(NSIDE, degrees=True), generator(seed, "field", str(cell))):
        inside = places.integers(0, 1 << (2 * PLACES), len(part))
        finest = (int(cell) << (2 * PLACES)) + inside
        star_l, star_b = hp.pix2ang(NSIDE << PLACES, finest, nest=True, lonlat=True)
        yield part.assign(l=star_l, b=star_b)
