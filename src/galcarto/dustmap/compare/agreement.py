"""Compare the cube with a published map on common sightlines and distances."""

from typing import Any

import numpy as np
import xarray as xr
from tqdm import tqdm

from galcarto.core.sky import Tiles
from galcarto.dustmap.compare.differences import FEWEST, differences
from galcarto.dustmap.compare.planck import POINTS
from galcarto.dustmap.compare.published import SOURCES, TINY, Published
from galcarto.maps.cube import NOT_OBSERVED, PARTLY_OBSERVED, POOR_FIT, UNLIKE_TRAINING
from galcarto.maps.grid import distance_coordinate, edges_of

AT_ONCE = 20  # tiles per query of the other map
COVERED = 0.9  # fraction of a tile's points where the other map must be reliable
UNTRUSTED = NOT_OBSERVED | PARTLY_OBSERVED | POOR_FIT | UNLIKE_TRAINING


def common_edges(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Edges of bins that each contain an edge of both maps: locally, the edges of the coarser map, kpc.

    Both maps' edges, in kpc, start at 0.
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
    """Matrix for linear interpolation of profiles from the outer edges of bins to other distances."""
    return np.array([np.interp(distance, edges, unit) for unit in np.eye(len(edges))[1:]])


def _moments(samples: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations over samples (first axis) of cumulative extinction and of density (last axis distance)."""
    density = np.diff(samples, axis=-1, prepend=0.0) / width
    return samples.std(axis=0), density.std(axis=0)


def unavailable(name: str, reason: str) -> xr.Dataset:
    """Result for a comparison that cannot be made, with the reason in its status."""
    return xr.Dataset(attrs={"title": SOURCES[name].title, "status": f"not available: {reason}"})


def compare(cube: xr.Dataset, name: str, published: Published) -> xr.Dataset:
    """Both maps on the cube's tiles at common distances, and scores of their difference by distance.

    The other map is averaged over points spread over each tile. A tile is used at a distance if the cube is
    trustworthy there (between ``distance_min`` and ``distance_max``, fully observed, well fitted, like the training
    set) and the other map is reliable over 90 % of the tile. A bin is used if both its ends are.

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
        ``extinction``, ``published`` and their ``difference``, cumulative A_V at the outer edges of the common bins,
        and ``extinction_sd``, ``published_sd`` (l, b, distance), mag; ``used`` there. ``extinction_SCORE`` and
        ``density_SCORE`` (distance) with the scores of `differences`, of A_V in mag and of A_V per kpc in the bin. chi2
        uses the errors of both maps if both are known, else those of the cube; attributes ``extinction_errors`` and
        ``density_errors`` say which. Other attributes: ``title``, ``status``, ``tiles``, ``conversion``,
        ``reference``, and ``shown``, three bins with many tiles. If no distance has three common tiles, only ``title``
        and ``status``.
    """
    tiles = Tiles(edges_of(cube, "l"), edges_of(cube, "b"))
    ours = edges_of(cube, "distance")
    centres = [axis.ravel() for axis in np.meshgrid(tiles.l % 360.0, tiles.b, indexing="ij")]
    edges = common_edges(ours, published.edges(*centres))
    outer, width = edges[1:], np.diff(edges)
    shape = (*tiles.shape, len(outer))
    mean, sd, density_sd, their_mean, their_sd, their_density_sd = np.full((6, *shape), np.nan, np.float32)
    reliable = np.zeros(shape, bool)
    weights = _weights(ours, outer)
    for i in tqdm(range(tiles.shape[0] if len(outer) else 0), desc=name, mininterval=5):
        column = cube[["extinction", "extinction_samples"]].isel(l=i).transpose("sample", "b", "distance")
        mean[i] = column["extinction"].to_numpy() @ weights
        sd[i], density_sd[i] = _moments(column["extinction_samples"].to_numpy() @ weights, width)
        l, b = (points[0] for points in tiles.columns(i, i + 1).points(POINTS))
        for start in range(0, tiles.shape[1], AT_ONCE):
            block = slice(start, start + AT_ONCE)
            part = i, block
            found = published.query(l[block].ravel() % 360.0, b[block].ravel(), outer)
            known = found.extinction.reshape(len(found.extinction), *l[block].shape, len(outer))
            samples = known.mean(axis=2)
            their_mean[part] = samples.mean(axis=0)
            if len(samples) > 1:
                their_sd[part], their_density_sd[part] = _moments(samples, width)
            elif found.sd is not None:
                # errors within a tile are taken as fully correlated: they come from the same stars
                their_sd[part] = found.sd.reshape(known.shape[1:]).mean(axis=1)
            reliable[part] = found.reliable.reshape(known.shape[1:]).mean(axis=1) >= COVERED
    used = reliable & np.isfinite(their_mean) & _trusted(cube, outer)
    number = used.sum(axis=(0, 1))
    if not (number >= FEWEST).any():
        return unavailable(
            name,
            f"at no distance are {FEWEST} tiles trustworthy in both maps (at most {number.max(initial=0)} of "
            f"{tiles.shape[0] * tiles.shape[1]})",
        )
    dims = ("l", "b", "distance")
    cumulative = {"units": "mag", "long_name": "A_V from the Sun to the outer edge of each bin"}
    dataset = xr.Dataset(
        {
            "extinction": (dims, mean, cumulative),
            "extinction_sd": (dims, sd, {"units": "mag"}),
            "published": (dims, their_mean, cumulative),
            "published_sd": (dims, their_sd, {"units": "mag"}),
            "difference": (dims, mean - their_mean, {"units": "mag", "long_name": "extinction - published"}),
            "used": (dims, used),
        },
        coords={"l": cube["l"].load(), "b": cube["b"].load(), **distance_coordinate(edges)},
    )
    source = SOURCES[name]
    many = np.flatnonzero(number >= max(FEWEST, 0.5 * number.max()))
    dataset.attrs = {
        "title": source.title,
        "status": "compared",
        "tiles": int(used.any(axis=-1).sum()),
        "reference": source.reference,
        "conversion": source.conversion,
        "shown": [int(many[round(third * (len(many) - 1) / 3)]) for third in (1, 2, 3)],
    }
    both_errors = {
        "extinction": bool(np.isfinite(their_sd[used]).all()),
        "density": bool(np.isfinite(their_density_sd[used]).all()),
    }
    columns: dict[str, list[dict[str, float]]] = {"extinction": [], "density": []}
    # A_V at the inner edge of the bin, starting with 0 at the Sun
    our_start, their_start, counted = np.zeros(tiles.shape), np.zeros(tiles.shape), np.ones(tiles.shape, bool)
    for k in range(len(outer)):
        at, our_end, their_end = used[..., k], mean[..., k].astype(float), their_mean[..., k].astype(float)
        variance = sd[at, k] ** 2 + (their_sd[at, k] ** 2 if both_errors["extinction"] else 0.0)
        columns["extinction"].append(differences(our_end[at], their_end[at], variance))
        both = at & counted
        variance = density_sd[both, k] ** 2 + (their_density_sd[both, k] ** 2 if both_errors["density"] else 0.0)
        ours_within, theirs_within = (our_end - our_start)[both], (their_end - their_start)[both]
        columns["density"].append(differences(ours_within / width[k], theirs_within / width[k], variance))
        our_start, their_start, counted = our_end, their_end, at
    for kind, unit in (("extinction", "mag"), ("density", "mag kpc-1")):
        for score in columns[kind][0]:
            attributes = {"units": unit if score in ("bias", "scatter") else "1"}
            dataset[f"{kind}_{score}"] = "distance", [found[score] for found in columns[kind]], attributes
        dataset.attrs[f"{kind}_errors"] = "of both maps" if both_errors[kind] else "of this work alone"
    return dataset


def _trusted(cube: xr.Dataset, distance: np.ndarray) -> np.ndarray:
    """Where the cube is trustworthy by its own flags and distances, shape (l, b, distance)."""
    good = (cube["quality"].to_numpy() & UNTRUSTED) == 0
    near, far = (cube[f"distance_{end}"].to_numpy()[..., None] for end in ("min", "max"))
    return good[..., None] & (distance >= near - TINY) & (distance <= far + TINY)


def metrics(comparison: xr.Dataset) -> dict[str, Any]:
    """Status and, if the comparison was made, all scores by distance, for metrics.json.

    ``farthest`` repeats the scores of A_V at the farthest distance at which half of the tiles are used.
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
