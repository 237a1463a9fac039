"""Mean colour excess of the stars of a tile: a baseline that needs no model of the Galaxy."""

import numpy as np


def extinction(colour: np.ndarray, tile: np.ndarray, tiles: int, intrinsic: float, per_magnitude: float) -> np.ndarray:
    """A_V from the mean colour of all stars of a tile, at any distance.

    Parameters
    ----------
    colour : ndarray, shape (star,), mag
    tile : ndarray of int, shape (star,)
        Index of the star's tile.
    tiles : int
    intrinsic : float, mag
        Mean colour without dust, usually that of a control field.
    per_magnitude : float
        Colour excess per mag of A_V.

    Returns
    -------
    ndarray, shape (tiles,), mag
        NaN for a tile without stars.
    """
    number = np.bincount(tile, minlength=tiles)
    total = np.bincount(tile, colour, minlength=tiles)
    mean = np.divide(total, number, out=np.full(tiles, np.nan), where=number > 0)
    return (mean - intrinsic) / per_magnitude
