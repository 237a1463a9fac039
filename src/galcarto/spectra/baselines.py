"""What the networks are compared with: ridge and boosted trees on the same inputs."""

from collections.abc import Sequence

import numpy as np

from galcarto.labels.baselines import trees
from galcarto.labels.scores import rms
from galcarto.spectra.estimator import Scale, beside
from galcarto.spectra.scores import robust
from galcarto.spectra.settings import Table, Trial
from galcarto.spectra.table import TEST, TRAIN, VALID, Labelled, changed

PENALTIES = 10.0 ** np.arange(
    -3, 5
)  # of ridge, in units of a standardised input; the best on validation stars is taken


def ridge(train: np.ndarray, truth: np.ndarray, valid: np.ndarray, known: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predictions of linear regression with the penalty that is best on validation stars, shape (star,)."""
    middle, centre = truth.mean(), train.mean(axis=0, dtype=float)
    train, valid, test = train - centre, valid - centre, test - centre
    left, values, right = np.linalg.svd(train, full_matrices=False)
    projected = left.T @ (truth - middle)
    weights = [right.T @ (values / (values**2 + penalty) * projected) for penalty in PENALTIES]
    best = min(weights, key=lambda one: float(((valid @ one + middle - known) ** 2).mean()))
    return test @ best + middle


def compare(data: Labelled, table: Table, number: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """rms and robust width of each label on the test stars, by method, of a number of training stars (0: all)."""
    names: Sequence[str] = list(table.labels)
    part = changed(data, Trial(stars=number), list(names), seed) if number else data
    sets = [part.part(TRAIN), part.part(VALID), data.part(TEST, table.snr)]
    scale = Scale.learn(sets[0].spectra.flux, beside(sets[0].spectra, sets[0].magnitudes), sets[0].labels)
    inputs = [scale.inputs(one.spectra.flux, beside(one.spectra, one.magnitudes)) for one in sets]
    result: dict[str, dict[str, dict[str, float]]] = {"ridge": {}, "trees": {}}
    for at, name in enumerate(names):
        there = [np.isfinite(one.labels[:, at]) for one in sets]
        known = [one.labels[chosen, at] for one, chosen in zip(sets, there, strict=True)]
        seen = [values[chosen] for values, chosen in zip(inputs, there, strict=True)]
        found = {
            "ridge": ridge(seen[0], known[0], seen[1], known[1], seen[2]),
            "trees": trees(seen[0], known[0], seen[2], seed),
        }
        for method, values in found.items():
            residual = values - known[2]
            result[method][name] = {"rms": rms(residual), "robust": robust(residual)}
    return result
