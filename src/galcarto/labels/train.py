"""Train and calibrate a network from bands or colours to labels."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galcarto.core.errors import UserError
from galcarto.labels.network import LabelEstimator, LabelTrained, Scale
from galcarto.labels.posterior import calibrated
from galcarto.labels.settings import LABELS, Deredden, LabelNetwork, is_band
from galcarto.learning.calibration import Calibration
from galcarto.learning.data import Arrays, Examples
from galcarto.learning.settings import Training
from galcarto.learning.training import fit

FEWEST_STARS = 200  # of each split, with at least one label


@dataclass(frozen=True)
class Build:
    """Makes the estimator; a class, as other processes get it too."""

    shape: dict[str, Any]

    def __call__(self) -> LabelEstimator:
        """A new estimator."""
        return LabelEstimator(**self.shape)


def labels_of(labels: np.ndarray, names: Sequence[str] = tuple(LABELS)) -> list[str]:
    """Labels that some stars have; of giants, stars of both kinds.

    Parameters
    ----------
    labels : ndarray, shape (star, label)
        NaN where missing.
    names : sequence of str

    Raises
    ------
    UserError
        If there is none.
    """
    found = [
        name
        for name, column in zip(names, labels.T, strict=True)
        if len(np.unique(column[np.isfinite(column)][:100_000])) > 1
    ]
    if not found:
        raise UserError(
            f"found no label in {len(labels)} stars; expected at least one of {', '.join(names)}: name its column"
        )
    return found


def learn(
    train: tuple[np.ndarray, ...],
    valid: tuple[np.ndarray, ...],
    features: Sequence[str],
    labels: Sequence[str],
    checkpoints: Path,
    network: LabelNetwork,
    training: Training,
    seed: int,
    dust: Deredden | None = None,
    seconds: float = math.inf,
) -> tuple[LabelTrained, list[dict[str, float]]]:
    """Train a network and calibrate it.

    Parameters
    ----------
    train, valid : tuple of ndarray
        Of `labels.table.arrays`. Only stars with a label are used.
    features, labels : sequence of str
    checkpoints : Path
    network, training
        Settings.
    seed : int
    dust : Deredden, optional
        How the stars' photometry was corrected.
    seconds : float
        Time after which to stop.

    Raises
    ------
    UserError
        If too few stars have a label.
    """
    sets = []
    for name, arrays in (("training", train), ("validation", valid)):
        used = np.isfinite(arrays[2]).any(axis=1) & np.isfinite(arrays[0]).any(axis=1)
        if used.sum() < FEWEST_STARS:
            raise UserError(f"found {used.sum()} {name} stars with a label; expected {FEWEST_STARS}: add stars")
        sets.append(tuple(np.ascontiguousarray(array[used]) for array in arrays))
    train, valid = sets
    magnitudes = [is_band(name) for name in features]
    scale = Scale.learn(train[0], train[1], train[2], np.array(magnitudes))
    shape = {
        "features": list(features),
        "relative": magnitudes,
        "labels": list(labels),
        "scale": asdict(scale),
        "network": network.model_dump(mode="json"),
        "dust": (dust or Deredden()).model_dump(mode="json"),
    }
    batch = training.batch
    estimator, history = fit(
        Build(shape),
        Examples(Arrays(*train), batch, training.buffer, seed, training.rounds),
        Examples(Arrays(*valid, block=4096), 4096),
        checkpoints,
        training,
        seed,
        seconds,
    )
    logging.info("trained on %d stars, calibrated on %d", len(train[0]), len(valid[0]))
    number = len([label for label in labels if label != "giant"])
    spans = np.array([np.nanpercentile(column, (0, 100)) for column in train[2][:, :number].T], "f4").reshape(-1, 2)
    extra = {
        "range": torch.from_numpy(spans),
    }
    trained = LabelTrained(estimator, shape, Calibration.none(number), None, extra)
    return calibrated(trained, valid, seed), history
