"""Train a finder on mock sightlines, and calibrate it on validation sightlines that are as in nature."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression

from galcarto.absorbers.find import AbsorberTrained, normal_samples
from galcarto.absorbers.networks import build
from galcarto.absorbers.population import DAMPED
from galcarto.absorbers.scores import BRIGHT, best_threshold, completeness, correction, match, score, truth_table
from galcarto.absorbers.settings import Network
from galcarto.absorbers.sightlines import LATTICE, Files, open_sightlines
from galcarto.learning.calibration import Calibration, calibrate
from galcarto.learning.data import Examples
from galcarto.learning.settings import Training
from galcarto.learning.training import fit
from galcarto.learning.trust import FeatureDistribution

FEWEST = 40  # absorbers on which errors are calibrated
CALIBRATED = 0.1  # probability from which absorbers calibrate the errors


def learn(
    train: Sequence[str],
    valid: Sequence[str],
    checkpoints: Path,
    network: Network,
    training: Training,
    seed: int,
    seconds: float = math.inf,
) -> tuple[AbsorberTrained, list[dict[str, float]]]:
    """Train and calibrate.

    Parameters
    ----------
    train, valid : sequence of str
        Files of sightlines.
    checkpoints : Path
    network, training
        Settings.
    seed : int
    seconds : float
        Time after which to stop.

    Returns
    -------
    trained : AbsorberTrained
    history : list of dict
    """
    shape = network.model_dump()
    estimator, history = fit(
        partial(build, **shape),
        Examples(Files(train), training.batch, training.buffer, seed, training.rounds, training.devices),
        Examples(Files(valid), 256),
        checkpoints,
        training,
        seed,
        seconds,
    )
    bare = AbsorberTrained(estimator, shape, Calibration.none(2), None, {})
    return calibrated(bare, valid), history


def calibrated(trained: AbsorberTrained, valid: Sequence[str]) -> AbsorberTrained:
    """The finder with probabilities, errors, threshold and completeness from validation sightlines."""
    sightlines = open_sightlines(valid)
    table, features = trained.candidates(sightlines)
    truth = truth_table(sightlines)
    table["match"] = match(table, truth)
    real = table["match"] >= 0
    rising = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(table["score"], real)
    knots = {"score": rising.X_thresholds_, "probability": rising.y_thresholds_}
    extra = {name: torch.from_numpy(np.asarray(values, float)) for name, values in knots.items()}
    sure = table[real & (rising.predict(table["score"]) > CALIBRATED)]
    theirs = truth.iloc[sure["match"]]
    offset = np.log10((1 + theirs["z"].to_numpy()) / (1 + sure["z"].to_numpy())) / LATTICE
    values = torch.from_numpy(np.stack([offset, theirs["log_nhi"]], axis=1).astype("f4"))
    bright = sure["snr"].to_numpy() > BRIGHT
    damped = theirs["log_nhi"].to_numpy() >= DAMPED
    samples = torch.from_numpy(normal_samples(sure))
    calibration, dim = (_calibration(samples, values, rows, damped) for rows in (bright, ~bright))
    extra |= {"dim_shift": dim.shift, "dim_stretch": dim.stretch}
    ready = AbsorberTrained(trained.estimator, trained.shape, calibration, FeatureDistribution.learn(features), extra)
    final = ready.calibrated(table, sightlines)
    threshold = best_threshold(final, truth)
    ratio, error = correction(final, truth, threshold)
    extra |= {
        "completeness": torch.from_numpy(completeness(final, truth, threshold)),
        "threshold": torch.tensor(threshold),
        "correction": torch.from_numpy(ratio),
        "correction_error": torch.from_numpy(error),
    }
    text = ", ".join(f"{name} {value:.3f}" for name, value in score(final, truth, threshold).items())
    logging.info("validation, threshold %.2f: %s", threshold, text)
    return AbsorberTrained(ready.estimator, ready.shape, calibration, ready.features, extra)


def _calibration(samples: torch.Tensor, values: torch.Tensor, rows: np.ndarray, damped: np.ndarray) -> Calibration:
    """Calibration of pixel and lg N on some absorbers; as they are where those are too few.

    That of lg N is on damped ones: near the least lg N that is looked for none is found too thin, which would shift the
    others.
    """
    each = []
    for at, used in enumerate((rows, rows & damped)):
        if used.sum() < FEWEST:
            each.append(Calibration.none(1))
        else:
            known = torch.ones((int(used.sum()), 1), dtype=torch.bool)
            each.append(calibrate(samples[used][..., [at]], values[used][:, [at]], known))
    return Calibration(torch.cat([one.shift for one in each]), torch.cat([one.stretch for one in each], dim=-1))
