"""Posteriors of the tiles of an observed sky."""

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from galcarto.core.seeds import generator
from galcarto.dustmap.diagrams.forward import stars_beyond
from galcarto.dustmap.network import ProfileNetwork


def infer(
    trained: ProfileNetwork, images: xr.Dataset, *, min_area_fraction: float, samples: int, seed: int
) -> xr.Dataset:
    """Samples of cumulative extinction per tile, and how far detectable stars reach.

    Parameters
    ----------
    trained : ProfileNetwork
    images : Dataset
        Tiles of `render_sky`.
    min_area_fraction : float
        A survey that observed less of a tile is left out there.
    samples : int
    seed : int

    Returns
    -------
    Dataset
        ``extinction_samples(tile, sample, distance)``, mag, NaN for a tile that no survey saw; ``stars_beyond`` and
        ``contraction(tile, distance)``; ``out_of_distribution(tile)``; ``seen(tile, survey)``.
    """
    bins = len(trained.edges) - 1
    area = images["area"].to_numpy()  # (tile, survey)
    full = images["full_area"].to_numpy()
    seen = (area >= min_area_fraction * full[:, None]) & (images["stars"].to_numpy() > 0)
    usable = seen.any(axis=1)
    owner = images["owner"].to_numpy()
    drawn = np.full((len(area), samples, bins), np.nan, np.float32)
    beyond = np.zeros((len(area), bins), np.float32)
    out_of_distribution = np.full(len(area), np.nan, np.float32)
    if usable.any():
        assert trained.features is not None
        chosen = images.isel(tile=usable)
        reference = chosen["reference"].to_numpy() * area[usable][:, owner, None, None]
        posterior, features = trained.posterior(chosen["counts"].to_numpy(), reference, seen[usable][:, owner])
        out_of_distribution[usable] = trained.features.score(features).numpy()
        for i, at in enumerate(tqdm(np.flatnonzero(usable), desc="sampling", unit="tile", mininterval=5)):
            # each tile has its own stream: a map does not depend on how it is cut into strips
            name = f"{float(images['l'][at]):.4f} {float(images['b'][at]):.4f}"
            own = int(generator(seed, "infer_sightlines", name).integers(2**63))
            stream = torch.Generator().manual_seed(own)
            drawn[at] = trained.sample(posterior[i : i + 1], samples, stream)[0].numpy()
            mean = drawn[at].mean(axis=0)
            for survey in np.flatnonzero(seen[at]):
                beyond[at] += stars_beyond(images["detectable"][at, survey].to_numpy(), mean) * area[at, survey]
    contraction = trained.contraction(drawn.astype(float))
    return xr.Dataset(
        {
            "extinction_samples": (("tile", "sample", "distance"), drawn, {"units": "mag"}),
            "stars_beyond": (("tile", "distance"), beyond, {"units": "1"}),
            "out_of_distribution": ("tile", out_of_distribution, {"units": "1"}),
            "contraction": (
                ("tile", "distance"),
                contraction.astype("f4"),
                {"units": "1", "long_name": "spread of the log-density over that of the prior"},
            ),
            "seen": (("tile", "survey"), seen.astype(np.uint8)),
        }
    )
