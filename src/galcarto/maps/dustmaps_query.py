"""A cube as a map of the package dustmaps (Green 2018, JOSS 3, 695)."""

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import xarray as xr
from astropy.coordinates import SkyCoord
from dustmaps.map_base import DustMap, ensure_coord_type

from galcarto.maps.query import COLOUR, MISSING, DustAccessor, Reason, has_distance
from galcarto.maps.reader import open_cube


class GalcartoQuery(DustMap):
    """A cube with the interface of dustmaps: plain arrays, flags, and coordinates with or without distances.

    It is callable and inherits `query_gal` and `query_equ`. Beyond the last bin the extinction is that at its outer
    edge, as in `dustmaps.bayestar.BayestarQuery`, and the flag ``reliable_dist`` is false.

    Parameters
    ----------
    cube : path, URL or Dataset
        A cube, or the path of one for `galcarto.open_cube`; values are read on demand.
    band : str or Quantity
        As for `DustAccessor.query`, by default A_V. Maps of dustmaps return E(B-V) or a band of their own instead.
    colour : float or Quantity, mag
        Intrinsic BP-RP of the star behind the dust, or of each star; used for Gaia's bands only.
    interpolation : str
        Across the sky: ``nearest``, as in the maps of dustmaps, or ``linear``.
    seed : int
        Seed of the random modes: objects with the same seed return the same sequence of values.
    """

    def __init__(
        self,
        cube: str | Path | xr.Dataset,
        band: str | u.Quantity = "V",
        colour: Any = COLOUR,
        interpolation: str = "nearest",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._cube = cube if isinstance(cube, xr.Dataset) else open_cube(cube)
        self._dust = DustAccessor(self._cube)
        self._options = {"band": band, "colour": colour, "interpolation": interpolation}
        self._rng = np.random.default_rng(seed)

    @property
    def distances(self) -> u.Quantity:
        """Distances of the profiles returned for coordinates without distance: outer edges of the bins, kpc."""
        return self._cube["distance_bounds"].to_numpy()[:, 1] * u.kpc

    @ensure_coord_type
    def query(self, coords: SkyCoord, mode: str = "mean", return_flags: bool = False, pct: Any = None) -> Any:
        """Extinction from the Sun to points, or whole profiles.

        Parameters
        ----------
        coords : SkyCoord
            In any frame, of any shape.
        mode : str
            ``random_sample``, ``random_sample_per_pix``, ``samples``, ``median``, ``mean``, ``best``, ``percentile`` as
            in dustmaps, or ``sd``: see `DustAccessor.query`.
        return_flags : bool
            Also return flags.
        pct : float or sequence of float
            Percentiles, 0 to 100, of the mode ``percentile``.

        Returns
        -------
        extinction : ndarray of float, mag
            Shape of the coordinates, followed by `distances` if the coordinates have none. ``samples`` and a sequence
            of percentiles add a last axis; samples of profiles come before the distances, as in BayestarQuery. NaN
            where the cube has no value.
        flags : structured ndarray
            Shape of the coordinates. ``converged``: observed, well fitted, and like the training set;
            ``reliable_dist``: between distance_min and distance_max, replaced by ``min_reliable_distmod`` and
            ``max_reliable_distmod``, mag, for coordinates without distance; ``reason``: see `DustAccessor.reason`.

        Raises
        ------
        TypeError
            If `coords` is not a SkyCoord.
        UserError
            As `DustAccessor.query`.
        """
        options = self._options | {"mode": mode, "pct": pct, "rng": self._rng}
        if has_distance(coords):
            found = self._dust.query(coords, beyond="last", **options).value
        else:
            found = self._dust.profile(coords, **options).value
            if mode == "samples":
                found = np.swapaxes(found, -1, -2)
        return (found, self._flags(coords)) if return_flags else found

    def _flags(self, coords: SkyCoord) -> np.ndarray:
        reason = self._dust.reason(coords, self._options["band"], self._options["colour"])
        doubtful = MISSING & ~Reason.BEYOND_GRID | Reason.POOR_FIT | Reason.UNLIKE_TRAINING
        flags = {"converged": (reason & int(doubtful)) == 0}
        if has_distance(coords):
            flags["reliable_dist"] = (reason & int(MISSING | Reason.BEFORE_DATA | Reason.BEYOND_DATA)) == 0
        else:
            for end, distance in zip(("min", "max"), self._dust.reach(coords), strict=True):
                with np.errstate(divide="ignore"):  # distance_max is 0 where the prior dominates
                    flags[f"{end}_reliable_distmod"] = 5.0 * np.log10(distance.value) + 10.0
        flags["reason"] = reason
        found = np.empty(coords.shape, [(name, np.asarray(values).dtype) for name, values in flags.items()])
        for name, values in flags.items():
            found[name] = values
        return found
