"""How good labels from spectra are: errors, calibration, and whether strange stars are told apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from galcarto.labels.scores import rms
from galcarto.spectra.predict import BATCH, SpectraTrained, describe
from galcarto.spectra.settings import Table
from galcarto.spectra.table import TEST, TRAIN, Labelled

MAD = 1.4826  # standard deviation over median absolute deviation, of a normal distribution
PARTS = 5  # of the stars, by S/N and by [Fe/H]
LEVELS = {"68": ("p16", "p84"), "95": ("p2_5", "p97_5")}
CURVE = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # shares of the stars that are rejected, by their predicted error


def robust(residual: np.ndarray) -> float:
    """1.48 times the median absolute deviation of what is finite."""
    known = residual[np.isfinite(residual)]
    return float(MAD * np.median(np.abs(known - np.median(known)))) if len(known) else float("nan")


def auc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Chance that a value of the second sample is larger than one of the first; ties count half."""
    ranks = rankdata(np.concatenate([inside, outside]))[len(inside) :]
    number = len(outside)
    return float((ranks.sum() - number * (number + 1) / 2) / (number * len(inside)))


def predicted(trained: SpectraTrained, data: Labelled, seed: int) -> pd.DataFrame:
    """Labels of stars beside the known ones (``NAME_known``), calibrated normal scores (``NAME_score``) and S/N."""
    torch.manual_seed(seed)
    found = describe(trained, data.spectra, data.magnitudes, seed=seed)
    first = trained.estimator.first
    zero, unit = torch.tensor(first.scale.label), torch.tensor(first.scale.label_sd)
    scores = []
    for number, inputs in enumerate(trained.batches(data.spectra, data.magnitudes)):
        pooled, _ = trained.pooled(inputs, first.options.passes)
        truth = (torch.from_numpy(data.labels[number * BATCH : (number + 1) * BATCH]) - zero) / unit
        scores.append(trained.normal_scores(pooled.cumulative(truth)))
    score = torch.cat(scores).numpy()
    for at, label in enumerate(first.labels):
        known = data.labels[:, at]
        found[f"{label}_known"] = known
        found[f"{label}_score"] = np.where(np.isfinite(known), score[:, at], np.nan)
    return found.assign(id=data.spectra.stars["id"].to_numpy(), snr=data.spectra.snr())


def by_label(found: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """Errors and calibration of each label.

    Parameters
    ----------
    found : DataFrame
        Of `predicted`.
    labels : sequence of str
    """
    result: dict[str, Any] = {}
    for label in labels:
        known = np.isfinite(found[f"{label}_known"].to_numpy())
        stars = found[known]
        residual = (stars[label] - stars[f"{label}_known"]).to_numpy(float)
        score = stars[f"{label}_score"].to_numpy(float)
        result[label] = {
            "stars": int(known.sum()),
            "rms": rms(residual),
            "robust": robust(residual),
            "bias": float(np.median(residual)),
            "median_sd": float(stars[f"{label}_sd"].median()),
            "median_sd_model": float(stars[f"{label}_sd_model"].median()),
            "median_sd_pixels": float(stars[f"{label}_sd_pixels"].median()),
            "score_sd": float(score.std()),
            "score_robust": robust(score),
            **coverage(stars, label, labels),
        }
    return result


def coverage(stars: pd.DataFrame, label: str, labels: Sequence[str]) -> dict[str, Any]:
    """Shares of known labels in the 68 and 95 % intervals: of all stars, and in fifths of S/N and of [Fe/H].

    The fifths of [Fe/H] are of the predicted one: of a fifth of the known one, no calibrated interval holds its share.
    """
    result: dict[str, Any] = {}
    truth = stars[f"{label}_known"]
    for name, (low, high) in LEVELS.items():
        inside = ((truth >= stars[f"{label}_{low}"]) & (truth <= stars[f"{label}_{high}"])).to_numpy()
        result[f"coverage_{name}"] = float(inside.mean())
        for other in ("snr", "fe_h"):
            if other in stars:
                part = pd.qcut(stars[other], PARTS, labels=False, duplicates="drop").to_numpy()
                result[f"coverage_{name}_by_{other}"] = [float(inside[part == k].mean()) for k in range(part.max() + 1)]
    return result


def judge(trained: SpectraTrained, data: Labelled, table: Table, seed: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """Scores of the test stars, and their labels.

    Stars hotter than the training's are compared with the cool test stars: whether the predicted error of a label, or
    the out-of-distribution score, tells them apart (area under the curve).
    """
    labels = trained.estimator.first.labels
    cool = predicted(trained, data.part(TEST, table.snr), seed)
    result: dict[str, Any] = {
        "stars": len(cool),
        "training_stars": len(data.part(TRAIN).labels),
        "labels": by_label(cool, labels),
    }
    seen = np.nan_to_num(data.spectra.snr()) > table.snr
    strange = data.select(~data.cool & seen)
    if len(strange.labels):
        hot = describe(trained, strange.spectra, strange.magnitudes, seed=seed)
        result["hot"] = {
            "stars": len(hot),
            "auc_trust": auc(cool["out_of_distribution"].to_numpy(), hot["out_of_distribution"].to_numpy()),
            **{f"auc_sd_{name}": auc(cool[f"{name}_sd"].to_numpy(), hot[f"{name}_sd"].to_numpy()) for name in labels},
        }
    return result, cool


def rejection(found: pd.DataFrame, label: str) -> np.ndarray:
    """rms of a label when the stars of the largest predicted errors are rejected, at each share of `CURVE`."""
    residual = (found[label] - found[f"{label}_known"]).to_numpy(float)
    order = np.argsort(found[f"{label}_sd"].to_numpy())
    order = order[np.isfinite(residual[order])]
    return np.array([rms(residual[order[: round((1 - share) * len(order))]]) for share in CURVE])
