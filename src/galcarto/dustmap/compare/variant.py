"""Train a variant of the ablation on a small set of examples, and score it on held-out examples and on the sky."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from galcarto.core.errors import UserError
from galcarto.core.seeds import generator
from galcarto.core.sky import sightline_position
from galcarto.dust import profiles as prior
from galcarto.dustmap import examples
from galcarto.dustmap.batches import owners
from galcarto.dustmap.compare import heldout, planck, structure
from galcarto.dustmap.infer import infer
from galcarto.dustmap.instrument import Instrument
from galcarto.dustmap.network import ProfileNetwork
from galcarto.dustmap.settings import CHUNK
from galcarto.dustmap.train import learn
from galcarto.maps import cube

HELD_OUT = ("median_relative_error", "bias_mag", "rmse_mag", "coverage_68", "coverage_95", "valid_share", "n")


def train(
    region: Any, instrument: Instrument, stars: Sequence[str], seed: int
) -> tuple[ProfileNetwork, list[dict[str, Any]]]:
    """Render examples, train a network and calibrate it, in a temporary folder.

    Parameters
    ----------
    region : Section
        Settings of the stage ``ablate``.
        Of the variant.
    instrument : Instrument
    stars : sequence of path
        Star lists of the training sightlines.
    seed : int

    Returns
    -------
    ProfileNetwork
    list of dict
        Training history.
    """
    training = region.training.model_copy(update={"epochs": region.ablation.epochs, "devices": 1})
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, list[Path]] = {"train": [], "valid": []}
        for split, written in files.items():
            rng = generator(seed, "draw_profiles", split)
            for path in stars:
                written.append(Path(folder) / split / Path(path).with_suffix(".nc").name)
                written[-1].parent.mkdir(exist_ok=True)
                profiles = _profiles(rng, getattr(region.ablation, split), region)
                examples.render(written[-1], path, profiles, instrument, region.tile, {}, split=split, seed=seed)
        return learn(
            files["train"],
            files["valid"],
            Path(folder) / "checkpoints",
            region.network,
            training,
            edges=instrument.edges,
            support=region.profiles.support(region.distance.step),
            seed=seed,
        )


def _profiles(rng: np.random.Generator, number: int, region: Any) -> Iterator[np.ndarray]:
    """Draw profiles from the prior in chunks."""
    edges, keywords = region.distance.edges(), region.profiles.model_dump()
    for start in tqdm(range(0, number, CHUNK), desc="rendering", unit="chunk", mininterval=5):
        # single precision, as in the files of the region's examples
        yield prior.draw(rng, min(CHUNK, number - start), edges, **keywords).astype(np.float32)


def score_held_out(
    region: Any, instrument: Instrument, trained: ProfileNetwork, paths: Sequence[str], seed: int
) -> dict[str, Any]:
    """Score on the test examples of the region, with the references of the variant.

    Raises
    ------
    UserError
        If an example has another shape than the diagrams and profiles of the network.
    """
    draws = torch.Generator().manual_seed(seed)
    posteriors, truths = [], []
    for path in paths:
        reference, detectable = instrument.references(*sightline_position(Path(path).stem))
        with netCDF4.Dataset(path) as file:
            if file["counts"].shape[1:] != reference.shape or file["extinction"].shape[1] != len(trained.edges) - 1:
                raise UserError(
                    f"{path}: found diagrams of shape {file['counts'].shape[1:]} and {file['extinction'].shape[1]} "
                    f"distances; expected {reference.shape} and {len(trained.edges) - 1}: render it again"
                )
            posterior = heldout.sample(
                trained,
                np.asarray(file["counts"][:]),
                reference,
                detectable,
                np.asarray(file["area"][:]),
                np.asarray(file["present"][:]),
                owners(file),
                samples=region.inference.samples,
                min_stars=region.inference.min_stars,
                generator=draws,
            )
            truths.append(np.asarray(file["extinction"][:]))
        posteriors.append(posterior)
    drawn, ends = (np.concatenate(part) for part in zip(*posteriors, strict=True))
    _, metrics = heldout.evaluate(drawn, np.concatenate(truths), ends, trained.edges)
    return {name: metrics[name] for name in HELD_OUT}


def score_sky(
    region: Any, trained: ProfileNetwork, images: xr.Dataset, maps: Sequence[str], seed: int
) -> dict[str, Any]:
    """Score on the observed sky as `compare_planck` and `compare_structure` do.

    Parameters
    ----------
    region : Section
    trained : ProfileNetwork
    images : Dataset
        Diagrams of the tiles, from `render_sky`.
    maps : sequence of path
        HEALPix maps of compare.planck, in order.
    seed : int

    Returns
    -------
    dict
        ``sky``, ``planck`` by map, and ``distance`` where compare.structure is set.
    """
    inference, compare = region.inference, region.compare
    tiles = region.sky.grid(region.tile.size)
    fraction = region.tile.min_area_fraction
    posterior = infer(trained, images, min_area_fraction=fraction, samples=inference.samples, seed=seed)
    samples = posterior["extinction_samples"].to_numpy()
    beyond, contraction = (posterior[name].to_numpy() for name in ("stars_beyond", "contraction"))
    _, far = cube.trusted_range(samples, beyond, contraction, trained.edges, inference.min_stars)
    far = np.where(np.isnan(samples[:, 0, 0]), np.nan, far)
    mean = samples.mean(axis=1, dtype=float)
    ours = planck.total(mean, far, trained.edges, compare.distance).reshape(tiles.shape)
    scores = posterior["out_of_distribution"].to_numpy()
    median = float(np.nanmedian(scores)) if np.isfinite(far).any() else None
    result: dict[str, Any] = {"sky": {"median_out_of_distribution": median}, "planck": {}}
    for entry, path in zip(compare.planck, maps, strict=True):
        sphere = planck.read(path, entry)
        means = planck.tile_means(sphere, tiles, entry.frame)
        theirs = planck.to_extinction(means, entry.quantity, region.dust.r_v)
        used, result["planck"][entry.name] = planck.against(ours, theirs, entry.ceiling, entry.line_below)
        if compare.structure is not None and compare.structure.map == entry.name:
            asked = compare.structure
            dense = used & (theirs > asked.above)
            result["distance"], _ = structure.measure(
                np.moveaxis(samples[dense.ravel()], 1, 0),
                trained.edges,
                tiles.l[np.nonzero(dense)[0]],
                total=asked.total,
                window=asked.window,
                foreground=asked.foreground,
                far=asked.far,
            )
    return result
