"""Published maps of dust in three dimensions, as A_V along our sightlines, and the cube's differences from them.

Maps are read by the classes of the package dustmaps, but Lallement et al. 2022, of which dustmaps 1.0.14 has none.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import astropy.units as u
import numpy as np
import xarray as xr
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy.ndimage import map_coordinates
from tqdm import tqdm

from galcarto.compare.differences import FEWEST, differences
from galcarto.compare.planck import POINTS, MapError
from galcarto.dust.law import coefficients
from galcarto.maps.cube import NOT_OBSERVED, PARTLY_OBSERVED, POOR_FIT, UNLIKE_TRAINING
from galcarto.maps.grid import distance_coordinate, edges_of
from galcarto.provenance import file_sha256
from galcarto.sky import Tiles, cartesian
from galcarto.surveys import TWOMASS

with warnings.catch_warnings():  # dustmaps asks for a configuration file, and its docstrings hold stray backslashes
    warnings.simplefilter("ignore")
    from dustmaps import bayestar, edenhofer2023, fetch_utils, marshall
    from dustmaps.config import config

TINY = 1e-6  # kpc
AT_ONCE = 20  # tiles that another map is asked for together
COVERED = 0.9  # share of a tile's points in which another map must be reliable
UNTRUSTED = NOT_OBSERVED | PARTLY_OBSERVED | POOR_FIT | UNLIKE_TRAINING
# Bayestar19's unit: E(B-V) = 0.884 of it, from its E(g-r) by the law of Fitzpatrick 1999 at R_V = 3.1 (the authors'
# page http://argonaut.skymaps.info/usage, eq. 1; their eq. 2, from E(r-z), gives other values by some per cent)
BAYESTAR_A_V = 3.1 * 0.884
# Edenhofer et al. 2024, section 3: the extinction of Zhang, Green & Rix 2023 times this is A_V (at 540 nm)
EDENHOFER_A_V = 2.8
A_0 = 0.55  # micrometre: Lallement et al. 2022 map the extinction at this wavelength
# the address and digest of the class that dustmaps' repository holds but has not released
LALLEMENT = "https://cdsarc.cds.unistra.fr/ftp/J/A+A/661/A147/cube_ext.fits.gz"
LALLEMENT_MD5 = "5600c99aa869c6ad8971c5bb3b6aaea1"


class Profiles(NamedTuple):
    """What a map says along sightlines.

    Attributes
    ----------
    extinction : ndarray, shape (sample, point, distance), mag
        Cumulative A_V at each distance; one sample where a map has only a mean. NaN outside the map.
    sd : ndarray, shape (point, distance), mag
        Standard deviation where the map states it; None where the samples tell it, or nobody.
    reliable : ndarray of bool, shape (point, distance)
    """

    extinction: np.ndarray
    sd: np.ndarray | None
    reliable: np.ndarray


class Published(Protocol):
    """A map that can be asked."""

    def edges(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances between which the map knows its extinction, from 0 on, in these directions (deg), kpc."""

    def query(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> Profiles:
        """A_V in directions of shape (point,), deg, at distances of shape (distance,), kpc."""


def _positions(l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> SkyCoord:
    """All distances in all directions, shape (point * distance,)."""
    return SkyCoord(
        np.repeat(l, len(distance)) * u.deg,
        np.repeat(b, len(distance)) * u.deg,
        distance=np.tile(distance, len(l)) * u.kpc,
        frame="galactic",
    )


class Marshall:
    """Marshall et al. 2006 (A&A 453, 635): A_Ks in |l| < 100, |b| < 10 deg, with its errors."""

    def __init__(self, path: str, law: str, r_v: float) -> None:
        self._map = marshall.MarshallQuery(map_fname=path)
        self._factor = 1.0 / coefficients(law, r_v, {"Ks": TWOMASS.bands["Ks"].wavelength})["Ks"]

    def _bins(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances of each sightline's bins, NaN beyond its last and outside the map; the class keeps them private."""
        j, k, inside = self._map._gal2idx(SkyCoord(l * u.deg, b * u.deg, frame="galactic"))
        return np.where(inside[:, None], self._map._dist[j, k], np.nan)

    def edges(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Each sightline has bins of its own: their medians, as far as half of the sightlines reach."""
        bins = self._bins(l, b)
        bins = bins[np.isfinite(bins).any(axis=1)]
        reached = np.isfinite(bins).mean(axis=0) >= 0.5 if len(bins) else np.zeros(bins.shape[1], bool)
        return np.append(0.0, np.sort(np.nanmedian(bins[:, reached], axis=0)))

    def query(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> Profiles:
        """From the first to the last bin of a sightline the map is reliable."""
        found = self._map.query(_positions(l, b, distance), return_sigma=True)
        extinction, sd = (self._factor * value.reshape(len(l), -1) for value in found)
        bins = np.where(np.isfinite(bins := self._bins(l, b)), bins, -np.inf)
        within = (distance >= bins[:, :1] - TINY) & (distance <= bins.max(axis=1, keepdims=True) + TINY)
        return Profiles(extinction[None], sd, within & np.isfinite(extinction))


class Bayestar:
    """Green et al. 2019 (ApJ 887, 93): posterior samples at declinations above -30 deg."""

    def __init__(self, path: str, law: str, r_v: float) -> None:
        self._map = bayestar.BayestarQuery(map_fname=path)

    def edges(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The same everywhere."""
        return np.append(0.0, self._map.distances.to_value(u.kpc))

    def query(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> Profiles:
        """The map says itself where it has converged and between which distances it has stars."""
        found, flags = self._map.query(_positions(l, b, distance), mode="samples", return_flags=True)
        extinction = BAYESTAR_A_V * found.T.reshape(-1, len(l), len(distance))
        reliable = (flags["converged"] & flags["reliable_dist"]).reshape(len(l), -1)
        return Profiles(extinction, None, reliable & np.isfinite(extinction).all(axis=0))


class Edenhofer:
    """Edenhofer et al. 2024 (A&A 685, A82): 69 pc to 1.25 kpc; with samples where the file has them."""

    def __init__(self, path: str, law: str, r_v: float) -> None:
        self._map = edenhofer2023.Edenhofer2023Query(map_fname=path, integrated=True)
        self._mode = "mean" if self._map.n_samples is None else "samples"

    def edges(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The same everywhere."""
        return np.append(0.0, self._map.distance_bounds.to_value(u.kpc))

    def query(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> Profiles:
        """Reliable wherever it has a value."""
        with np.errstate(invalid="ignore", divide="ignore"):  # at the very ends of the map, where it gives NaN
            found = self._map.query(_positions(l, b, distance), mode=self._mode)
        extinction = EDENHOFER_A_V * found.T.reshape(-1, len(l), len(distance))
        return Profiles(extinction, None, np.isfinite(extinction).all(axis=0))


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
        """Voxels, as far as the cube's farthest corner."""
        corner = np.linalg.norm(np.maximum(self._sun, np.subtract(self._density.shape, self._sun)))
        return self._step * np.arange(np.ceil(corner) + 1)

    def query(self, l: np.ndarray, b: np.ndarray, distance: np.ndarray) -> Profiles:
        """The density's integral in steps of half a voxel; reliable inside the cube, of which no error is published."""
        half = 0.5 * self._step
        edges = half * np.arange(np.ceil(distance[-1] / half) + 1)
        x, y, z = cartesian(l[:, None], b[:, None], 0.5 * (edges[1:] + edges[:-1]))
        # a voxel's value holds at its centre: half a voxel from its corner
        at = [axis / self._step + sun - 0.5 for axis, sun in zip((z, y, x), self._sun, strict=True)]
        density = map_coordinates(self._density, at, order=1, mode="constant", cval=np.nan)
        whole = np.cumsum(np.pad(density.astype(float), ((0, 0), (1, 0))), axis=1) * half * 1000.0
        low = np.minimum((distance / half).astype(int), len(edges) - 2)
        extinction = whole[:, low] + (distance / half - low) * (whole[:, low + 1] - whole[:, low])
        return Profiles(self._factor * extinction[None], None, np.isfinite(extinction))


def _fetch_lallement() -> None:
    path = Path(config["data_dir"]) / SOURCES["lallement22"].file
    fetch_utils.download_and_verify(LALLEMENT, LALLEMENT_MD5, fname=str(path))


@dataclass(frozen=True)
class Source:
    """A published map: how it is called, where it comes from, and how it is read and fetched.

    Attributes
    ----------
    title : str
    reference : str
    conversion : str
        From the map's own quantity to A_V.
    file : str
        Below the folder of dustmaps' data.
    read : callable
        From the file, the extinction law and R_V to the map.
    fetch : callable
        Puts the file there.
    """

    title: str
    reference: str
    conversion: str
    file: str
    read: Callable[[str, str, float], Published]
    fetch: Callable[[], Any]


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
    """Fetch a map as dustmaps does, below a folder, unless it is there already and whole.

    Parameters
    ----------
    name : str
        One of `SOURCES`.
    folder : path
    offline : bool
        Refuse instead of asking a server.

    Returns
    -------
    path : path
        The map's file.
    sha256 : str
        Its digest, kept beside it: dustmaps leaves half a file where a download is cut.

    Raises
    ------
    Exception
        Of whatever kind dustmaps' own code ends in.
    """
    path = Path(folder) / SOURCES[name].file
    note = path.with_name(f"{path.name}.sha256")
    if path.is_file() and note.is_file() and note.read_text() == (digest := file_sha256(path)):
        return path, digest
    if offline:
        raise MapError(f"{path}: not there, or not whole, and sky.offline is set; set sky.offline: false, or its path")
    path.parent.mkdir(parents=True, exist_ok=True)
    config.fname = str(path.with_name("dustmapsrc"))  # else setting the folder writes into the user's home
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
        Its file, as dustmaps fetches it.
    law : str
    r_v : float
        The extinction law of the cube to compare with.

    Raises
    ------
    MapError
        If there is no such file, or it is none of this map.
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


def common_edges(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Edges of bins that each hold an edge of either map at least: those of the coarser map, wherever that is.

    Parameters
    ----------
    ours, theirs : ndarray, shape (edge,), kpc
        From 0 on.

    Returns
    -------
    ndarray, shape (bin + 1,), kpc
    """
    edges = [0.0]
    while True:
        following = [grid[grid > edges[-1] + TINY] for grid in (ours, theirs)]
        if not all(map(len, following)):
            break
        edges.append(max(float(grid[0]) for grid in following))
    if len(edges) > 1 and edges[-1] > min(ours[-1], theirs[-1]) + TINY:
        edges.pop()
    return np.array(edges)


def _weights(edges: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The matrix by which profiles at the outer edges of bins give those at other distances, linear in between."""
    return np.array([np.interp(distance, edges, unit) for unit in np.eye(len(edges))[1:]])


def _moments(samples: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of cumulative extinction and of density over samples (first axis; distance last)."""
    density = np.diff(samples, axis=-1, prepend=0.0) / width
    return samples.std(axis=0), density.std(axis=0)


def unavailable(name: str, reason: str) -> xr.Dataset:
    """What a comparison that cannot be made leaves: why."""
    return xr.Dataset(attrs={"title": SOURCES[name].title, "status": f"not available: {reason}"})


def compare(cube: xr.Dataset, name: str, published: Published) -> xr.Dataset:
    """Both maps on the cube's tiles and common distances, and the scores of their difference by distance.

    A tile's value in the other map is the mean over points spread over it. A tile counts at a distance where the cube
    holds it for trustworthy (within ``distance_min`` and ``distance_max``, observed in full, well fitted, not unlike
    the training set) and the other map is reliable in nine tenths of it; in a bin, where it does so at both ends.

    Parameters
    ----------
    cube : Dataset
        From `open_cube`; read column by column.
    name : str
        One of `SOURCES`.
    published : Published

    Returns
    -------
    Dataset
        ``extinction``, ``published`` and their ``difference``, cumulative A_V at the outer edges of the common bins, and
        ``extinction_sd``, ``published_sd`` (l, b, distance), mag; ``used`` there. ``extinction_SCORE`` and
        ``density_SCORE`` (distance) with the scores of `differences`, of A_V in mag and of A_V per kpc in the bin; in
        chi2 both errors count where the other map's is known, else ours alone: attributes ``extinction_errors`` and
        ``density_errors`` say so. Attributes ``status``, ``tiles``, ``conversion``, ``reference``; ``shown``, three bins
        with many tiles. With fewer than three tiles in common everywhere, only ``status``.
    """
    tiles = Tiles(edges_of(cube, "l"), edges_of(cube, "b"))
    ours = edges_of(cube, "distance")
    centres = [axis.ravel() for axis in np.meshgrid(tiles.l % 360.0, tiles.b, indexing="ij")]
    edges = common_edges(ours, published.edges(*centres))
    outer, width = edges[1:], np.diff(edges)
    shape = (*tiles.shape, len(outer))
    mean, sd, density_sd, their_mean, their_sd, their_density_sd = np.full((6, *shape), np.nan)
    reliable = np.zeros(shape, bool)
    weights = _weights(ours, outer)
    l, b = tiles.points(POINTS)
    for i in tqdm(range(tiles.shape[0] if len(outer) else 0), desc=name, mininterval=5):
        column = cube[["extinction", "extinction_samples"]].isel(l=i).transpose("sample", "b", "distance")
        mean[i] = column["extinction"].to_numpy() @ weights
        sd[i], density_sd[i] = _moments(column["extinction_samples"].to_numpy() @ weights, width)
        for start in range(0, tiles.shape[1], AT_ONCE):
            part = i, slice(start, start + AT_ONCE)
            found = published.query(l[part].ravel() % 360.0, b[part].ravel(), outer)
            known = found.extinction.reshape(len(found.extinction), *l[part].shape, len(outer))
            samples = known.mean(axis=2)
            their_mean[part] = samples.mean(axis=0)
            if len(samples) > 1:
                their_sd[part], their_density_sd[part] = _moments(samples, width)
            elif found.sd is not None:
                # one star count serves a whole tile: its errors are taken as the same error
                their_sd[part] = found.sd.reshape(known.shape[1:]).mean(axis=1)
            reliable[part] = found.reliable.reshape(known.shape[1:]).mean(axis=1) >= COVERED
    return _scored(cube, name, edges, (mean, sd, density_sd), (their_mean, their_sd, their_density_sd), reliable)


def _scored(
    cube: xr.Dataset,
    name: str,
    edges: np.ndarray,
    ours: tuple[np.ndarray, np.ndarray, np.ndarray],
    theirs: tuple[np.ndarray, np.ndarray, np.ndarray],
    reliable: np.ndarray,
) -> xr.Dataset:
    outer, width = edges[1:], np.diff(edges)
    near, far = (cube[f"distance_{end}"].to_numpy()[..., None] for end in ("min", "max"))
    good = (cube["quality"].to_numpy() & UNTRUSTED) == 0
    used = reliable & good[..., None] & (outer >= near - TINY) & (outer <= far + TINY) & np.isfinite(theirs[0])
    number = used.sum(axis=(0, 1))
    if not (number >= FEWEST).any():
        most = number.max(initial=0)
        return unavailable(
            name, f"at no distance do both maps hold {FEWEST} tiles for trustworthy (at most {most} of {good.size})"
        )
    # a bin counts where both of its ends do; nobody doubts that there is no dust before the Sun
    both_ends = used & np.concatenate([np.ones_like(used[..., :1]), used[..., :-1]], axis=-1)
    kinds = {
        "extinction": ("mag", ours[0], theirs[0], ours[1], theirs[1], used),
        "density": (
            "mag kpc-1",
            *(np.diff(values, axis=-1, prepend=0.0) / width for values in (ours[0], theirs[0])),
            ours[2],
            theirs[2],
            both_ends,
        ),
    }
    dims = ("l", "b", "distance")
    cumulative = {"units": "mag", "long_name": "A_V from the Sun to the outer edge of each bin"}
    dataset = xr.Dataset(
        {
            "extinction": (dims, ours[0], cumulative),
            "extinction_sd": (dims, ours[1], {"units": "mag"}),
            "published": (dims, theirs[0], cumulative),
            "published_sd": (dims, theirs[1], {"units": "mag"}),
            "difference": (dims, ours[0] - theirs[0], {"units": "mag", "long_name": "extinction - published"}),
            "used": (dims, used),
        },
        coords={"l": cube["l"].load(), "b": cube["b"].load(), **distance_coordinate(edges)},
    )
    source = SOURCES[name]
    dataset.attrs = {"title": source.title, "status": "compared", "tiles": int(used.any(axis=-1).sum())}
    dataset.attrs |= {"reference": source.reference, "conversion": source.conversion}
    for kind, (unit, a, c, a_sd, c_sd, at) in kinds.items():
        known = np.isfinite(c_sd[at]).all() and at.any()
        variance = a_sd**2 + (c_sd**2 if known else 0.0)
        scores = [
            differences(a[..., k][m], c[..., k][m], variance[..., k][m]) for k, m in enumerate(np.moveaxis(at, -1, 0))
        ]
        for score in scores[0]:
            attributes = {"units": unit if score in ("bias", "scatter") else "1"}
            dataset[f"{kind}_{score}"] = "distance", [one[score] for one in scores], attributes
        dataset.attrs[f"{kind}_errors"] = "of both maps" if known else "of this work alone"
    many = np.flatnonzero(number >= max(FEWEST, 0.5 * number.max()))
    dataset.attrs["shown"] = [int(many[round(third * (len(many) - 1) / 3)]) for third in (1, 2, 3)]
    return dataset


def metrics(comparison: xr.Dataset) -> dict[str, Any]:
    """The numbers of a comparison for metrics.json: its status and, if it was made, every score by distance.

    ``farthest`` repeats the scores of A_V at the farthest distance at which half of the tiles count.
    """
    found: dict[str, Any] = {"status": comparison.attrs["status"]}
    if "distance" not in comparison.coords:
        return found

    def plain(value: float) -> float | None:
        return round(value, 4) if np.isfinite(value) else None

    outer = edges_of(comparison, "distance")[1:]
    found |= {"tiles": comparison.attrs["tiles"], "distance_kpc": [plain(d) for d in outer.tolist()]}
    scores = {
        kind: {
            str(name).removeprefix(f"{kind}_"): [plain(value) for value in comparison[name].to_numpy().tolist()]
            for name in comparison.data_vars
            if comparison[name].dims == ("distance",) and str(name).startswith(f"{kind}_")
        }
        for kind in ("extinction", "density")
    }
    last = comparison.attrs["shown"][-1]
    found["farthest"] = {"distance_kpc": found["distance_kpc"][last]}
    found["farthest"] |= {name: values[last] for name, values in scores["extinction"].items()}
    for kind, values in scores.items():
        found[kind] = {"errors": comparison.attrs[f"{kind}_errors"], **values}
    return found
