"""Train and calibrate the network that reads extinction profiles from diagrams."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galcarto.core.seeds import generator
from galcarto.dustmap.batches import DiagramFiles, images, planes
from galcarto.dustmap.network import ProfileEstimator, ProfileNetwork, log_density_sd, running_mean
from galcarto.learning.calibration import PART, Calibration, calibrate
from galcarto.learning.data import Examples
from galcarto.learning.settings import Network, Training
from galcarto.learning.training import fit
from galcarto.learning.trust import FeatureDistribution
from galcarto.maps.quality import CONTRACTED

CALIBRATION = 10_000  # validation examples that calibrate the posterior
SAMPLES = 128  # of each of them
DENSITY = 3000  # of these examples, or up to twice as many, calibrate the density


class Build:
    """Makes the estimator, with the references of its examples; a class, as other processes get it too."""

    def __init__(self, shape: dict[str, Any], references: Tensor) -> None:
        self.shape, self.references = shape, references

    def __call__(self) -> ProfileEstimator:
        """A new estimator."""
        estimator = ProfileEstimator(**self.shape)
        estimator.references = self.references
        return estimator


def learn(
    train_files: Sequence[str | Path],
    valid_files: Sequence[str | Path],
    checkpoints: Path,
    network: Network,
    training: Training,
    *,
    edges: np.ndarray,
    support: tuple[float, float],
    seed: int,
    workers: int = 0,
    seconds: float = math.inf,
) -> tuple[ProfileNetwork, list[dict[str, float]]]:
    """Train a network on files of examples and calibrate it.

    Parameters
    ----------
    train_files, valid_files : sequence of path
        Of `diagrams.files.write_examples`.
    checkpoints : Path
    network, training
        Settings.
    edges : ndarray, shape (bin + 1,), kpc
    support : (float, float), mag
        As `ProfileEstimator` takes it.
    seed : int
    workers : int
        Processes that read examples, for each device.
    seconds : float
        Time after which to stop.

    Returns
    -------
    trained : ProfileNetwork
    history : list of dict
    """
    train = DiagramFiles(train_files)
    valid = DiagramFiles(valid_files, first=len(train_files))
    references = torch.cat([train.references, valid.references])
    bins = len(edges) - 1
    shape = {"channels": planes(train.channels), "pixels": train.pixels, "bins": bins, "support": list(support)}
    shape |= network.model_dump()
    batch, devices = training.batch, training.devices
    estimator, history = fit(
        Build(shape, references),
        Examples(train, batch, training.buffer, seed, training.rounds, devices, workers),
        Examples(valid, batch, devices=devices, workers=workers),
        checkpoints,
        training,
        seed,
        seconds,
    )
    whole = Examples(valid, batch, workers=workers)
    *shown, truth = _some(whole, references, CALIBRATION, generator(seed, "train_network", "calibration"))
    prior_sd = log_density_sd(truth.numpy().astype(float), support[0])
    extra = {"edges": torch.from_numpy(edges), "prior_log_density_sd": torch.from_numpy(prior_sd)}
    trained = ProfileNetwork(estimator, shape, Calibration.none(bins), None, extra)
    posterior, features = trained.posterior(*(tensor.numpy() for tensor in shown))
    samples = posterior.sample(SAMPLES, torch.Generator().manual_seed(seed))
    trained = calibrated(trained, samples, truth, _informative(trained, samples))
    return replace(trained, features=FeatureDistribution.learn(features)), history


def calibrated(trained: ProfileNetwork, samples: Tensor, truth: Tensor, informative: Tensor) -> ProfileNetwork:
    """Calibrate the cumulative profile at knots, and then the density between them.

    Parameters
    ----------
    trained : ProfileNetwork
    samples : Tensor, shape (profile, sample, bin), mag
        Of the posterior; sorted in place.
    truth : Tensor, shape (profile, bin), mag
    informative : Tensor of bool, shape (profile, bin)
        Where a profile counts.
    """
    some = slice(None, None, max(len(truth) // DENSITY, 1))
    steps = samples[some].clone()
    trained = replace(trained, calibration=calibrate(samples, truth, informative, running_mean))
    # in place, and in parts, as the calibration of a sample takes ten times its memory
    for part in steps.split(PART // 10):
        part.copy_(trained.log_steps(trained.at_calibrated_knots(part)))
    density = calibrate(steps, trained.log_steps(truth[some]), informative[some], running_mean)
    found = {"density_shift": density.shift, "density_stretch": density.stretch}
    return replace(trained, extra=dict(trained.extra) | found)


def _informative(trained: ProfileNetwork, samples: Tensor) -> Tensor:
    """Where the data constrain the log-density of a bin or of one behind it, shape (profile, bin).

    Elsewhere the prior dominates; far out such bins would outnumber the others in the calibration.
    """
    contraction = np.concatenate([trained.contraction(part.numpy().astype(float)) for part in samples.split(PART)])
    return torch.from_numpy(np.logical_or.accumulate(contraction[:, ::-1] < CONTRACTED, axis=1)[:, ::-1].copy())


def _some(examples: Examples, references: Tensor, number: int, rng: np.random.Generator) -> list[Tensor]:
    """About `number` of the examples, chosen while they are read: what `images` gives, and the profile."""
    share = number / (len(examples) * examples.order.batch)
    chosen = []
    for batch in examples:
        keep = torch.from_numpy(rng.random(len(batch[0])) < share)
        part = [tensor[keep] for tensor in batch]
        chosen.append([*images(part, references), part[-1]])
    return [torch.cat(parts) for parts in zip(*chosen, strict=True)]
