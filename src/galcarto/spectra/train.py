"""Train an ensemble on spectra with labels, and calibrate it on validation stars."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from galcarto.learning.calibration import Calibration
from galcarto.learning.data import Arrays, Examples
from galcarto.learning.networks import Estimator
from galcarto.learning.settings import Training
from galcarto.learning.training import fit
from galcarto.spectra.estimator import SOFT, Build, Members, Scale, beside, shape_of
from galcarto.spectra.predict import SpectraTrained, calibrated
from galcarto.spectra.settings import Network
from galcarto.spectra.table import TRAIN, VALID, Labelled

MEMBERS_APART = 7919  # between the seeds of two members


def for_fewer(training: Training, stars: int, usual: int) -> Training:
    """Settings for fewer training stars than usual: more passes, and batches of which a pass has several."""
    passes = round(training.epochs * math.sqrt(usual / stars))
    return training.model_copy(update={"epochs": passes, "batch": min(training.batch, max(stars // 16, 16))})


def learn(
    data: Labelled,
    magnitudes: Sequence[str],
    labels: Mapping[str, str],
    checkpoints: Path,
    network: Network,
    training: Training,
    seed: int,
    seconds: float = math.inf,
    soft: float = SOFT,
    masks: np.ndarray | None = None,
    noise: float = 0.0,
) -> tuple[SpectraTrained, list[dict[str, float]]]:
    """Train the members one after another, then calibrate the ensemble.

    Parameters
    ----------
    data : Labelled
    magnitudes : sequence of str
    labels : mapping of str to str
        Names and units.
    checkpoints : Path
    network, training
        Settings.
    seed : int
    seconds : float
        Time after which to stop.
    soft : float
        Of `Scale`.
    masks : ndarray of bool, shape (label, pixel), optional
        For ``astronn_censored``.
    noise : float
        Of `Spectrum`, in units of the flux; only where `soft` is 0.

    Returns
    -------
    trained : SpectraTrained
    history : list of dict
        One row a round of each member.
    """
    train, valid = data.part(TRAIN), data.part(VALID)
    colours = beside(train.spectra, train.magnitudes)
    scale = Scale.learn(train.spectra.flux, colours, train.labels, soft, noise)
    shape = shape_of(train.spectra.wavelength, magnitudes, labels, scale, network, masks, noise)
    sets = [_arrays(part, scale) for part in (train, valid)]
    history, weights = [], []
    for member in range(network.members):
        logging.info("member %d of %d", member + 1, network.members)
        own = seed + MEMBERS_APART * member
        estimator, rows = fit(
            Build(shape, sets[0][0]),
            Examples(Arrays(*sets[0]), training.batch, training.buffer, own, training.rounds),
            Examples(Arrays(*sets[1], block=4096), 4096),
            checkpoints / str(member),
            training,
            own,
            seconds,
        )
        weights.append(estimator.state_dict())
        history += [{"member": member, **row} for row in rows]
    together = cast(Members, Members(network.members, **shape).eval())
    for part, state in zip(cast(Sequence[Estimator], together.network), weights, strict=True):
        part.load_state_dict(state)
    spans = np.nanpercentile(train.labels, (0, 100), axis=0).T
    extra = {"range": torch.from_numpy(spans)}
    shape = {"number": network.members, **shape}
    trained = SpectraTrained(together, shape, Calibration.none(len(labels)), None, extra)
    logging.info("trained on %d stars, calibrated on %d", len(train.labels), len(valid.labels))
    return calibrated(trained, valid, seed), history


def _arrays(part: Labelled, scale: Scale) -> list[np.ndarray]:
    """Inputs, scaled labels and their scaled errors."""
    spread = np.array(scale.label_sd)
    labels = (part.labels - np.array(scale.label)) / spread
    inputs = scale.inputs(part.spectra.flux, beside(part.spectra, part.magnitudes))
    return [inputs, labels.astype("f4"), (part.errors / spread).astype("f4")]
