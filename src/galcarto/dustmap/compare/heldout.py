"""Scores on mock sightlines and profiles that were not used in training."""

from __future__ import annotations  # the scores of a map need no torch

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from galcarto.dustmap.diagrams.forward import stars_beyond
from galcarto.learning.scores import score
from galcarto.maps.cube import right, trusted_range

if TYPE_CHECKING:
    import torch

    from galcarto.dustmap.network import ProfileNetwork

ENOUGH = 500  # examples at a distance needed to quote a coverage
TOGETHER = 200  # examples per batch of samples


def sample(
    trained: ProfileNetwork,
    counts: np.ndarray,
    reference: np.ndarray,
    detectable: np.ndarray,
    area: np.ndarray,
    present: np.ndarray,
    owner: np.ndarray,
    *,
    samples: int,
    min_stars: float,
    generator: torch.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior samples for the examples of a sightline, and the distances between which a map would trust them.

    Parameters
    ----------
    trained : ProfileNetwork
    counts : ndarray, shape (example, channel, magnitude, colour)
    reference : ndarray, shape (channel, magnitude, colour), per deg2
    detectable : ndarray, shape (survey, distance, grid), per deg2
    area : ndarray, shape (example,), deg2
    present : ndarray, shape (example, survey)
    owner : ndarray of int, shape (channel,)
        Survey of each channel.
    samples : int
    min_stars : float
        See `maps.cube.trusted_range`.
    generator : torch Generator

    Returns
    -------
    drawn : ndarray, shape (example, sample, distance), mag
    ends : ndarray, shape (example, 2), kpc
        See `maps.cube.trusted_range`.
    """
    drawn = np.empty((len(area), samples, len(trained.edges) - 1), np.float32)
    ends = np.empty((len(area), 2))
    for start in range(0, len(area), TOGETHER):
        part = slice(start, start + TOGETHER)
        expected = reference * area[part, None, None, None]
        posterior, _ = trained.posterior(counts[part], expected, present[part][:, owner])
        drawn[part] = trained.sample(posterior, samples, generator).numpy()
        # trusted distances as in a map: a selection by the truth would favour low extinction
        mean = drawn[part].mean(axis=1)
        beyond = sum(present[part, i, None] * stars_beyond(detectable[i], mean) for i in range(len(detectable)))
        contraction = trained.contraction(drawn[part].astype(float))
        beyond = beyond * area[part, None]
        ends[part] = np.transpose(trusted_range(drawn[part], beyond, contraction, trained.edges, min_stars))
    return drawn, ends


def bins(centres: np.ndarray) -> xr.DataArray:
    """Centres of distance bins, kpc, as the axis of `learning.scores.score`."""
    return xr.DataArray(centres, dims="distance", name="distance", attrs={"units": "kiloparsec"})


def trusted_scores(
    drawn: np.ndarray, truth: np.ndarray, ends: np.ndarray, edges: np.ndarray
) -> dict[str, float | None]:
    """Whether the trusted range keeps its promise.

    Parameters
    ----------
    drawn, truth, ends, edges : ndarray
        As of `evaluate`.

    Returns
    -------
    dict
        Of the bins between distance_min and distance_max: the fraction where the mean is `maps.cube.right`, the mean
        error, the coverage of the intervals. None where there is no such bin.
    """
    slack = 1e-6  # kpc: a cube holds these distances in single precision
    inside = (edges[1:] >= ends[:, :1] - slack) & (edges[1:] <= ends[:, 1:] + slack)
    names = ("bias_mag", "coverage_68", "coverage_95")
    if not inside.any():  # a network that has learnt next to nothing
        return dict.fromkeys(["trusted_right", *(f"trusted_{name}" for name in names)])
    found = score(drawn, truth, inside, bins(0.5 * (edges[1:] + edges[:-1])), "mag").attrs
    hits = right(drawn.mean(axis=1, dtype=float), truth, edges)[inside]
    kept = {f"trusted_{name}": found[name] for name in names}
    return {"trusted_right": float(hits.mean()), **kept}


def evaluate(
    drawn: np.ndarray, truth: np.ndarray, ends: np.ndarray, edges: np.ndarray
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Scores by distance up to distance_max, and the overall ones.

    Parameters
    ----------
    drawn : ndarray, shape (example, sample, distance), mag
    truth : ndarray, shape (example, distance), mag
    ends : ndarray, shape (example, 2), kpc
        distance_min and distance_max.
    edges : ndarray, shape (distance + 1,), kpc

    Returns
    -------
    dataset : Dataset
        From `scores.score`.
    metrics : dict
        Its attributes; coverage by distance and its worst deviation, None where there are few examples;
        ``valid_share``, the fraction of bins that are scored; the coverage of the density; `trusted_scores`.
    """
    valid = edges[1:] <= ends[:, 1:]
    distance = bins(0.5 * (edges[1:] + edges[:-1]))
    dataset = score(drawn, truth, valid, distance, "mag")
    steps = np.diff(drawn, axis=2, prepend=np.float32(0.0)), np.diff(truth, axis=1, prepend=0.0)
    density = score(*steps, valid, distance, "mag")
    metrics = dict(dataset.attrs) | {"valid_share": float(valid.mean())}
    scored = dataset["valid_share"].to_numpy() * len(truth)
    for level in (0.68, 0.95):
        by_distance = dataset["coverage"].sel(level=level).to_numpy()
        known = [round(value, 4) if np.isfinite(value) else None for value in by_distance.tolist()]
        metrics[f"coverage_{100 * level:.0f}_by_distance"] = known
        # a small test set may have no distance with enough examples
        off = np.abs(by_distance - level)[scored > ENOUGH]
        metrics[f"coverage_{100 * level:.0f}_worst"] = float(off.max()) if len(off) else None
    metrics["pit_worst"] = float(np.abs(dataset["pit_density"] - 1.0).max())
    metrics |= {f"density_{name}": density.attrs[name] for name in ("coverage_68", "coverage_95")}
    return dataset, metrics | trusted_scores(drawn, truth, ends, edges)
