"""What a trained network says of stars: calibrated summaries of each label, and of the bands that a star lacks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from galcarto.labels.network import UNLIKE, LabelTrained, hide_some
from galcarto.labels.table import OUTSIDE_RANGE, UNLIKE_TRAINING
from galcarto.learning.calibration import FEWEST, LEVELS, Calibration, calibrate
from galcarto.learning.trust import FeatureDistribution

QUANTILES = {"p2_5": 0.025, "p16": 0.16, "p50": 0.5, "p84": 0.84, "p97_5": 0.975}
SAMPLES = 200  # of each validation star, for the calibration
WIDTHS = 3  # groups of stars that lack a band, by the width of their posterior
LN10 = float(np.log(10.0))


def calibrated(trained: LabelTrained, valid: tuple[np.ndarray, ...], seed: int) -> LabelTrained:
    """Calibrate the labels' widths on validation stars, and learn what their features look like.

    Widths are calibrated apart in ranges of the predicted label that hold `FEWEST` validation stars or more, and for
    stars that lack a band.

    Parameters
    ----------
    trained : LabelTrained
        With an empty calibration.
    valid : tuple of ndarray
        Of `labels.table.arrays`.
    seed : int
    """
    values, errors, labels, label_errors = valid
    estimator = trained.estimator
    number = len(estimator.continuous)
    draw = torch.Generator().manual_seed(seed)
    # the same stars again, without some of their bands
    kept = hide_some(torch.from_numpy(np.isfinite(values)), draw).numpy()
    outputs, features = (
        torch.cat(parts) for parts in zip(trained.raw(values, errors), trained.raw(values, errors, kept), strict=True)
    )
    mixed = features[torch.randperm(len(features), generator=draw)]
    trained = replace(trained, features=FeatureDistribution.learn(mixed))
    if not number:
        return trained
    found, _, _, seen = estimator.parts(outputs)
    mean, sd = estimator._mean[:number], estimator._sd[:number]
    truth = (torch.from_numpy(labels[:, :number]) - mean) / sd
    truth, noise = truth.repeat(2, 1), (torch.from_numpy(np.nan_to_num(label_errors[:, :number])) / sd).repeat(2, 1)
    centre, spread = estimator.head.moments(found)
    whole = seen.all(dim=1)
    bins = max(int((truth.isfinite() & whole[:, None]).sum(dim=0).min()) // FEWEST, 1)
    shares = torch.linspace(0.0, 1.0, bins + 1)
    edges = torch.full((number, bins + 1), torch.inf)
    edges[:, 0] = -torch.inf
    if bins > 1:
        for at in range(number):
            edges[at, 1:-1] = torch.quantile(centre[whole & truth[:, at].isfinite(), at], shares[1:-1])
    widths = torch.full((number, WIDTHS - 1), torch.inf)
    if (~whole).any():
        levels = torch.linspace(0.0, 1.0, WIDTHS + 1)[1:-1]
        widths = torch.quantile(spread[~whole], levels, dim=0).T.contiguous()
    member = _group(centre, spread, edges, widths, whole)
    parts = []
    for at in range(number):
        for group in range(bins + WIDTHS):
            used = torch.nonzero((member[:, at] == group) & truth[:, at].isfinite())[:, 0]
            if len(used) < FEWEST // 2:  # too few of this kind: all stars together
                used = torch.nonzero(truth[:, at].isfinite())[:, 0]
            samples = estimator.head.sample(found[used], SAMPLES, draw)[..., at : at + 1]
            # the known error of a label belongs to what it is compared with
            samples = samples + noise[used, None, at : at + 1] * torch.randn(samples.shape, generator=draw)
            parts.append(calibrate(samples, truth[used, at : at + 1], torch.ones(len(used), 1, dtype=torch.bool)))
    shift = torch.cat([part.shift for part in parts])
    calibration = Calibration(shift, torch.cat([part.stretch for part in parts], dim=2))
    return replace(trained, calibration=calibration, extra={**trained.extra, "edges": edges, "widths": widths})


def _group(centre: Tensor, spread: Tensor, edges: Tensor, widths: Tensor, whole: Tensor) -> Tensor:
    """How each label is calibrated, shape (star, label): by its value, or by its width where a star is incomplete."""
    by_value = (centre[..., None] >= edges[:, 1:-1]).sum(dim=-1)
    by_width = edges.shape[1] - 1 + (spread[..., None] >= widths).sum(dim=-1)
    return torch.where(whole[:, None], by_value, by_width)


def describe(
    trained: LabelTrained,
    values: np.ndarray,
    errors: np.ndarray,
    shown: np.ndarray | None = None,
    bands: bool = True,
) -> pd.DataFrame:
    """Labels of stars.

    Parameters
    ----------
    trained : LabelTrained
    values, errors : ndarray, shape (star, feature), mag
    shown : ndarray of bool, shape (star, feature), optional
        Features that the network may see; by default all that are finite.
    bands : bool
        Also predict the bands that it did not see.

    Returns
    -------
    DataFrame
        For each label but giant: its posterior mean, ``_sd``, and quantiles ``_p2_5``, ``_p16``, ``_p50``, ``_p84``,
        ``_p97_5``; ``giant``, a probability; ``{band}_predicted`` and ``_predicted_sd``, NaN where the band was seen;
        ``out_of_distribution``; ``quality``, the flags that the network can tell.
    """
    estimator = trained.estimator
    outputs, features = trained.raw(values, errors, shown)
    found, giant, parts, seen = estimator.parts(outputs)
    columns: dict[str, np.ndarray] = {}
    quality = np.zeros(len(values), np.uint8)
    if estimator.continuous:
        quality |= _labels(trained, found, seen.all(dim=1), columns)
    if giant is not None:
        columns["giant"] = torch.sigmoid(giant).numpy()
    if bands:
        _, brightness = estimator._levels(torch.from_numpy(np.ascontiguousarray(values, "f4")), seen)
        mean, sd = estimator.head.moments(parts)
        level = estimator._centre + brightness * estimator._relative
        for at, name in enumerate(estimator.features):
            lacks = ~seen[:, at].numpy()
            predicted = (level[:, at] + mean[:, at] * estimator._width[at]).numpy()
            columns[f"{name}_predicted"] = np.where(lacks, predicted, np.nan).astype("f4")
            columns[f"{name}_predicted_sd"] = np.where(
                lacks, (sd[:, at] * estimator._width[at]).numpy(), np.nan
            ).astype("f4")
    assert trained.features is not None
    score = trained.features.score(features).numpy()
    columns["out_of_distribution"] = score
    columns["quality"] = quality | np.where(score > UNLIKE, UNLIKE_TRAINING, 0).astype(np.uint8)
    return pd.DataFrame(columns)


def _labels(trained: LabelTrained, found: Tensor, whole: Tensor, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Add the continuous labels' columns; flag stars outside the range of the training stars' labels."""
    estimator, head = trained.estimator, trained.estimator.head
    number = len(estimator.continuous)
    centre, width = head.moments(found)
    quantiles = head.quantiles(found, tuple(QUANTILES.values()))  # (star, label, quantile)
    edges = trained.extra["edges"]
    member, labels = _group(centre, width, edges, trained.extra["widths"], whole), torch.arange(number)
    shift = trained.calibration.shift.view(number, -1)[labels, member]
    stretch = trained.calibration.stretch.view(2, len(LEVELS), number, -1)[:, :, labels, member]
    middle = quantiles[..., 2]
    half = 0.5 * (quantiles[..., 3] - quantiles[..., 1])
    moved = middle + shift * half
    # the factor at the end of each central interval, as in `Calibration.apply`
    at68, at95 = LEVELS.index(0.68), LEVELS.index(0.95)
    factors = torch.stack(
        [stretch[0, at95], stretch[0, at68], torch.ones_like(half), stretch[1, at68], stretch[1, at95]]
    )
    ends = moved[..., None] + factors.permute(1, 2, 0) * (quantiles - middle[..., None])
    scale, zero = estimator._sd[:number], estimator._mean[:number]
    quantile = (zero[:, None] + scale[:, None] * ends).numpy()
    mean = (zero + scale * centre).numpy()
    spread = (scale * width * 0.5 * (stretch[0, at68] + stretch[1, at68])).numpy()
    outside = np.zeros(len(mean), bool)
    for at, label in enumerate(estimator.continuous):
        one, sd, part = mean[:, at], spread[:, at], quantile[:, at]
        low, high = trained.extra["range"][at].tolist()
        outside |= (one < low) | (one > high)
        if label == "teff":  # the network's label is the decimal logarithm
            variance = (sd * LN10) ** 2
            one = 10.0**one * np.exp(0.5 * variance)
            sd, part = one * np.sqrt(np.expm1(variance)), 10.0**part
        columns |= {label: one, f"{label}_sd": sd}
        columns |= {f"{label}_{name}": part[:, k] for k, name in enumerate(QUANTILES)}
    return np.where(outside, OUTSIDE_RANGE, 0).astype(np.uint8)


def hidden(values: np.ndarray, features: Sequence[str], without: str) -> np.ndarray:
    """What is left to see of stars without one band, shape (star, feature)."""
    return np.isfinite(values) & (np.array(features) != without)
