"""Points within tiles, and the footprint of a map as a multi-order coverage map (MOC)."""

import math

import astropy.units as u
import numpy as np
from mocpy import MOC

from galcarto.core.sky import Tiles, to_icrs

POINTS = 32  # along a tile's side
CELLS = 8  # at least, along a tile's side


def tile_points(tiles: Tiles, along: int) -> tuple[np.ndarray, np.ndarray]:
    """Points that sample each tile uniformly in area.

    Parameters
    ----------
    tiles : Tiles
    along : int
        Points along a side.

    Returns
    -------
    l, b : ndarray, shape (tile, point), deg
        Tiles l-major.
    """
    fraction = (np.arange(along) + 0.5) / along
    l = tiles.l_edges[:-1, None] + np.diff(tiles.l_edges)[:, None] * fraction
    sine = np.sin(np.radians(tiles.b_edges))
    b = np.degrees(np.arcsin(sine[:-1, None] + np.diff(sine)[:, None] * fraction))
    shape = (*tiles.shape, along, along)
    grids = np.broadcast_to(l[:, None, :, None], shape), np.broadcast_to(b[None, :, None, :], shape)
    return grids[0].reshape(-1, along**2), grids[1].reshape(-1, along**2)


def footprint(tiles: Tiles, observed: np.ndarray) -> MOC:
    """The observed tiles as a MOC, in ICRS as the IVOA standard requires.

    Its cells are at most an eighth of a tile high. It contains every cell with a point of `tile_points`, so it extends
    beyond the tiles by less than a cell.

    Parameters
    ----------
    tiles : Tiles
    observed : ndarray of bool, shape (l, b)

    Returns
    -------
    MOC
    """
    import healpy as hp  # on demand: a reader need not have it

    order = math.ceil(math.log2(hp.nside2resol(1) / np.radians(np.diff(tiles.b_edges).min() / CELLS)))
    covered = MOC.new_empty(max_depth=order)
    for column, seen in enumerate(observed):
        l, b = tile_points(tiles.columns(column, column + 1), POINTS)
        longitude, latitude = to_icrs(l[seen].ravel(), b[seen].ravel())
        covered = covered.union(MOC.from_lonlat(longitude * u.deg, latitude * u.deg, max_norder=order))
    return covered
