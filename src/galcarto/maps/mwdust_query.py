"""A cube as a map of the package mwdust (Bovy et al. 2016, ApJ 818, 130): ``pip install 'galcarto[mwdust]'``."""

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import xarray as xr
from astropy.coordinates import SkyCoord

from galcarto.maps.query import COLOUR, DustAccessor
from galcarto.maps.reader import open_cube

try:
    from mwdust.DustMap3D import DustMap3D
except ImportError:
    raise ImportError("found no package mwdust; expected it: pip install 'galcarto[mwdust]'") from None


class GalcartoMWDust(DustMap3D):
    """A cube with the interface of mwdust: ``GalcartoMWDust("cube.nc", filter="2MASS Ks")(l, b, d)``.

    Beyond the last bin the extinction is that at its outer edge.

    Parameters
    ----------
    cube : path, URL or Dataset
        A cube, or the path of one for `galcarto.open_cube`; values are read on demand.
    filter : str or Quantity, optional
        Quantity to return: one of mwdust's names of 2MASS filters, or a band of `DustAccessor.query`, with the
        extinction law and R_V of the cube. The default, E(B-V), is A_V / R_V. The maps of mwdust use the scale of
        Schlegel et al. 1998 instead; 0.86 times their value is the true E(B-V) (Schlafly & Finkbeiner 2011, ApJ 737,
        103).
    mode : str
        ``mean``, ``median`` or ``sd``.
    colour : float or Quantity, mag
        Intrinsic BP-RP of the star behind the dust, or of each star; used for Gaia's bands only.
    """

    def __init__(
        self,
        cube: str | Path | xr.Dataset,
        filter: str | u.Quantity | None = None,
        mode: str = "mean",
        colour: Any = COLOUR,
    ) -> None:
        super().__init__(filter=filter)
        self._dust = DustAccessor(cube if isinstance(cube, xr.Dataset) else open_cube(cube))
        band = "E(B-V)" if filter is None else filter
        band = band.removeprefix("2MASS ") if isinstance(band, str) else band
        self._options = {"mode": mode, "band": band, "colour": colour, "beyond": "last"}

    def _evaluate(self, l: Any, b: Any, d: Any) -> np.ndarray:
        """Extinction at galactic longitude, latitude (deg) and distance (kpc), which broadcast.

        Returns
        -------
        ndarray, mag
            At least one-dimensional; NaN where the cube has no value.
        """
        l, b, d = (np.asarray(one, float) for one in np.broadcast_arrays(l, b, np.atleast_1d(d)))
        coords = SkyCoord(l * u.deg, b * u.deg, distance=d * u.kpc, frame="galactic")
        return self._dust.query(coords, **self._options).value
