"""Published three-dimensional dust maps, as A_V along any sightlines.

The package dustmaps reads them, except that of Lallement et al. 2022, which dustmaps 1.0.14 does not support.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy.ndimage import map_coordinates

from galcarto.core.provenance import file_sha256
from galcarto.core.sky import cartesian
from galcarto.dust.law import coefficients
from galcarto.dustmap.compare.planck import MapError
from galcarto.surveys import TWOMASS

with warnings.catch_warnings():  # of dustmaps: it finds no configuration file, and has stray backslashes in docstrings
    warnings.simplefilter("ignore")
    from dustmaps import bayestar, edenhofer2023, fetch_utils, marshall
    from dustmaps.config import config

TINY = 1e-6  # kpc
# E(B-V) = 0.884 times the unit of Bayestar19: from its E(g-r), Green et al. 2019, table 1, by the law of Fitzpatrick
# 1999 at R_V = 3.1 (http://argonaut.skymaps.info/usage, eq. 1; eq. 2, from E(r-z), would give 0.996)
BAYESTAR_A_V = 3.1 * 0.884
# A_V (at 540 nm) over the extinction of Zhang, Green & Rix 2023: Edenhofer et al. 2024, section 3
EDENHOFER_A_V = 2.8
A_0 = 0.55  # micrometre, the wavelength of the extinction of Lallement et al. 2022
# address and digest from an unreleased class in the repository of dustmaps
LALLEMENT = "https://cdsarc.cds.unistra.fr/ftp/J/A+A/661/A147/cube_ext.fits.gz"
LALLEMENT_MD5 = "5600c99aa869c6ad8971c5bb3b6aaea1"


class MapExtinction(NamedTuple):
    """Extinction of a map along sightlines."""

    # shape (sample, point, distance), mag: cumulative A_V at each distance, NaN outside the map. Maps without samples
    # have one, the mean
    extinction: np.ndarray
    # shape (point, distance), mag, or None: standard deviation, if the map gives it apart from samples
    sd: np.ndarray | None
    reliable: np.ndarray  # bool, shape (point, distance)


class Published(Protocol):
    """A map that can be queried."""

    def edges(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances (kpc, from 0) at which the map gives the extinction in these directions (deg)."""

    def query(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> MapExtinction:
        """A_V in directions (deg), shape (point,), at distances (kpc), shape (distance,)."""


def _positions(l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> SkyCoord:
    """Positions at all distances in all directions, shape (point * distance,)."""
    return SkyCoord(
        np.repeat(l, len(distance)) * u.deg,
        np.repeat(b, len(distance)) * u.deg,
        distance=np.tile(distance, len(l)) * u.kpc,
        frame="galactic",
    )


class Marshall:
    """Marshall et al. 2006 (A&A 453, 635): A_Ks in |l| < 100, |b| < 10 deg, with errors."""

    def __init__(self, path: str, law: str, r_v: float) -> None:
        self._map = marshall.MarshallQuery(map_fname=path)
        self._factor = 1.0 / coefficients(law, r_v, {"Ks": TWOMASS.bands["Ks"].wavelength})["Ks"]

    def _bins(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances of each sightline's bins (private in dustmaps), NaN beyond the last and outside the map."""
        j, k, inside = self._map._gal2idx(SkyCoord(l * u.deg, b * u.deg, frame="galactic"))
        return np.where(inside[:, None], self._map._dist[j, k], np.nan)

    def edges(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Medians over sightlines, which have bins of their own, as far as half of the sightlines extend."""
        bins = self._bins(l, b)
        bins = bins[np.isfinite(bins).any(axis=1)]
        common = np.isfinite(bins).mean(axis=0) >= 0.5 if len(bins) else np.zeros(bins.shape[1], bool)
        return np.append(0.0, np.sort(np.nanmedian(bins[:, common], axis=0)))

    def query(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> MapExtinction:
        """A_V, reliable from the first to the last bin of a sightline."""
        found = self._map.query(_positions(l, b, distance), return_sigma=True)
        extinction, sd = (self._factor * value.reshape(len(l), -1) for value in found)
        bins = np.where(np.isfinite(bins := self._bins(l, b)), bins, -np.inf)
        within = (distance >= bins[:, :1] - TINY) & (distance <= bins.max(axis=1, keepdims=True) + TINY)
        return MapExtinction(extinction[None], sd, within & np.isfinite(extinction))


class Bayestar:
    """Green et al. 2019 (ApJ 887, 93): posterior samples at declinations above -30 deg."""

    def __init__(self, path: str, law: str, r_v: float) -> None:
        self._map = bayestar.BayestarQuery(map_fname=path)

    def edges(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Edges, the same in all directions."""
        return np.append(0.0, self._map.distances.to_value(u.kpc))

    def query(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> MapExtinction:
        """A_V, reliable where the map's flags for convergence and distance are set."""
        found, flags = self._map.query(_positions(l, b, distance), mode="samples", return_flags=True)
        extinction = BAYESTAR_A_V * found.T.reshape(-1, len(l), len(distance))
        reliable = (flags["converged"] & flags["reliable_dist"]).reshape(len(l), -1)
        return MapExtinction(extinction, None, reliable & np.isfinite(extinction).all(axis=0))


class Edenhofer:
    """Edenhofer et al. 2024 (A&A 685, A82): 69 pc to 1.25 kpc; samples if the file has them."""

    def __init__(self, path: str, law: str, r_v: float) -> None:
        self._map = edenhofer2023.Edenhofer2023Query(map_fname=path, integrated=True)
        self._mode = "mean" if self._map.n_samples is None else "samples"

    def edges(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Edges, the same in all directions."""
        return np.append(0.0, self._map.distance_bounds.to_value(u.kpc))

    def query(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> MapExtinction:
        """A_V, reliable wherever the map has a value."""
        with np.errstate(invalid="ignore", divide="ignore"):  # at the ends of the map, where the values are NaN
            found = self._map.query(_positions(l, b, distance), mode=self._mode)
        extinction = EDENHOFER_A_V * found.T.reshape(-1, len(l), len(distance))
        return MapExtinction(extinction, None, np.isfinite(extinction).all(axis=0))


class Lallement:
    """Lallement et al. 2022 (A&A 661, A147): a Cartesian cube of dA_0 / dr, 6 x 6 x 0.8 kpc around the Sun."""

    def __init__(self, path: str, law: str, r_v: float) -> None:
        with fits.open(path) as file:
            header = file[0].header
            self._density = np.asarray(file[0].data, np.float32)  # z, y, x; mag/pc
        self._step = header["STEP"] / 1000.0  # kpc
        self._sun = [header[f"SUN_POS{axis}"] for axis in "ZYX"]  # in voxels from the cube's corner
        self._factor = 1.0 / coefficients(law, r_v, {"A_0": A_0})["A_0"]

    def edges(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Steps of a voxel, to the farthest corner of the cube."""
        corner = np.linalg.norm(np.maximum(self._sun, np.subtract(self._density.shape, self._sun)))
        return self._step * np.arange(np.ceil(corner) + 1)

    def query(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> MapExtinction:
        """A_V, integrated in steps of half a voxel; reliable inside the cube. No errors are published."""
        half = 0.5 * self._step
        edges = half * np.arange(np.ceil(distance[-1] / half) + 1)
        x, y, z = cartesian(l[:, None], b[:, None], 0.5 * (edges[1:] + edges[:-1]))
        # a voxel's value applies to its centre, half a voxel from its corner
        at = [axis / self._step + sun - 0.5 for axis, sun in zip((z, y, x), self._sun, strict=True)]
        density = map_coordinates(self._density, at, order=1, mode="constant", cval=np.nan)
        whole = np.cumsum(np.pad(density.astype(float), ((0, 0), (1, 0))), axis=1) * half * 1000.0
        low = np.minimum((distance / half).astype(int), len(edges) - 2)
        extinction = whole[:, low] + (distance / half - low) * (whole[:, low + 1] - whole[:, low])
        return MapExtinction(self._factor * extinction[None], None, np.isfinite(extinction))


def _fetch_lallement() -> None:
    path = Path(config["data_dir"]) / SOURCES["lallement22"].file
    fetch_utils.download_and_verify(LALLEMENT, LALLEMENT_MD5, fname=str(path))


@dataclass(frozen=True)
class Source:
    """A published map: its name and origin, and functions to read and fetch it."""

    title: str
    reference: str
    conversion: str  # conversion from the map's own quantity to A_V
    file: str  # path below the data folder of dustmaps
    read: Callable[[str, str, float], Published]  # opens the map, from the file, the extinction law and R_V
    fetch: Callable[[], Any]  # downloads the file


SOURCES = {
    "marshall06": Source(
        "Marshall et al. 2006",
        "A&A 453, 635",
        "A_Ks over A_Ks / A_V of the cube's law",
        "marshall/marshall.h5",
        Marshall,
        marshall.fetch,
    ),
    "bayestar19": Source(
        "Bayestar19",
        "Green et al. 2019, ApJ 887, 93",
        "3.1 x 0.884 times the map's unit: E(g-r) by the law of Fitzpatrick 1999, R_V = 3.1",
        "bayestar/bayestar2019.h5",
        Bayestar,
        lambda: bayestar.fetch(version="bayestar2019"),
    ),
    "edenhofer24": Source(
        "Edenhofer et al. 2024",
        "A&A 685, A82",
        "2.8 times the extinction of Zhang, Green & Rix 2023 (MNRAS 524, 1855)",
        f"{edenhofer2023.DATA_DIR_SUBDIR}/mean_and_std_healpix.fits",
        Edenhofer,
        edenhofer2023.fetch,
    ),
    "lallement22": Source(
        "Lallement et al. 2022",
        "A&A 661, A147",
        "A_0 at 550 nm over A_0 / A_V of the cube's law",
        "lallement_2022/cube_ext.fits.gz",
        Lallement,
        _fetch_lallement,
    ),
}


def fetch(name: str, folder: str | Path, offline: bool = False) -> tuple[Path, str]:
    """Download a map with dustmaps, unless a complete file exists.

    Parameters
    ----------
    name : str
        One of `SOURCES`.
    folder : path
        Data folder for dustmaps.
    offline : bool
        Fail instead of asking a server.

    Returns
    -------
    path : path
        The map's file.
    sha256 : str
        Digest of the file, stored beside it because dustmaps leaves partial files after interrupted downloads.

    Raises
    ------
    Exception
        Any error of dustmaps.
    """
    path = Path(folder) / SOURCES[name].file
    note = path.with_name(f"{path.name}.sha256")
    if path.is_file() and note.is_file() and note.read_text() == (digest := file_sha256(path)):
        return path, digest
    if offline:
        raise MapError(f"{path}: missing or incomplete, and sky.offline is set; set sky.offline: false, or its path")
    path.parent.mkdir(parents=True, exist_ok=True)
    config.fname = str(path.with_name("dustmapsrc"))  # otherwise setting the folder writes to the user's home
    config["data_dir"] = str(folder)
    SOURCES[name].fetch()
    digest = file_sha256(path)
    note.write_text(digest)
    return path, digest


def read(name: str, path: str | Path, law: str, r_v: float) -> Published:
    """Open a map.

    Parameters
    ----------
    name : str
        One of `SOURCES`.
    path : path
        File of the map as fetched by dustmaps.
    law : str
    r_v : float
        Extinction law of the cube to compare with.

    Raises
    ------
    MapError
        If the file does not exist or does not contain this map.
    """
    source = SOURCES[name]
    if not Path(path).is_file():
        raise MapError(f"{path}: not found; expected the file of {source.title} (compare.maps.path)")
    try:
        return source.read(str(path), law, r_v)
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise MapError(
            f"{path}: cannot be read as {source.title} ({type(error).__name__}: {error}); expected the file that "
            f"dustmaps fetches to {source.file}"
        ) from None
