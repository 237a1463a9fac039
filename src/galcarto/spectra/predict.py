"""From spectra to labels with uncertainties that hold."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from galcarto.labels.file import write
from galcarto.labels.posterior import QUANTILES
from galcarto.labels.table import OUTSIDE_RANGE, REFUSED, REPEATED, UNLIKE_TRAINING
from galcarto.learning.trained import Trained
from galcarto.learning.trust import FeatureDistribution
from galcarto.spectra.estimator import Members, Pooled, beside, dropout_on
from galcarto.spectra.read import read_spectra
from galcarto.spectra.spectra import BRIGHTEST, FAINTEST, FEWEST, Spectra
from galcarto.spectra.table import Labelled

BATCH = 1024  # stars at once
LITTLE_SEEN = 1  # bit of the quality: fewer than half of the pixels, or none of the network's colours
UNLIKE = 0.999  # out-of-distribution score above which a star is unlike the training stars
# shrinkage of the features' covariance: an ensemble has more features than validation stars tell apart, and hot stars
# are farther off in the features' own widths than in directions of little variance
INDEPENDENT = 1.0
# levels at which the probability integral transform is set; between and beyond them its normal score is linear
KNOTS = (0.003, 0.01, 0.025, 0.05, 0.1, 0.16, 0.25, 0.5, 0.75, 0.84, 0.9, 0.95, 0.975, 0.99, 0.997)
PARTS, FEWEST_ALIKE = 5, 400  # of the validation stars by S/N, at most, and stars in one
FEWEST_KNOT = 5.0  # validation stars beyond the outermost knots


@dataclass(frozen=True)
class SpectraTrained(Trained):
    """A trained ensemble.

    ``extra`` has ``range``, shape (label, 2): of the training stars' labels; ``snr`` and ``stretch``, shapes (part,)
    and (part, label): by how much distributions are wider than claimed at some S/N, as the network sees it; ``knots``
    and ``scores``, shapes (knot,) and (label, knot): normal scores of the claimed and of the found levels; ``factor``,
    shape (label,): of the standard deviations.
    """

    estimator: Members

    @classmethod
    def load(cls, path: str | Path) -> "SpectraTrained":
        """Read a file written by `save`."""
        return cls.read(path, Members)

    def batches(self, spectra: Spectra, magnitudes: np.ndarray) -> Iterator[Tensor]:
        """What the network is shown, batch by batch."""
        scale = self.estimator.first.scale
        colours = beside(spectra, magnitudes)
        for start in range(0, len(spectra), BATCH):
            part = slice(start, start + BATCH)
            yield torch.from_numpy(scale.inputs(spectra.flux[part], colours[part]))

    def pooled(self, inputs: Tensor, passes: int) -> tuple[Pooled, Tensor]:
        """Mixture over members, and over passes with dropout if there are several, and features without dropout."""
        with torch.inference_mode():
            outputs, features = self.estimator.forward_features(inputs)
            found = [outputs]
            if passes > 1:
                dropout_on(self.estimator)
                found = [self.estimator.forward_features(inputs)[0] for _ in range(passes)]
                self.estimator.eval()
            number = len(self.estimator.network)  # type: ignore[arg-type]
            pooled = Pooled.of(self.estimator.head, [part for one in found for part in one.chunk(number, 1)])  # type: ignore[arg-type]
            return pooled.stretched(self.stretch(inputs)) if "stretch" in self.extra else pooled, features

    def stretch(self, inputs: Tensor) -> Tensor:
        """Factors of the widths at the S/N of each star, shape (star, label)."""
        snr, parts = self.snr(inputs), self.extra["snr"].numpy()
        return torch.from_numpy(
            np.stack([np.interp(snr, parts, one) for one in self.extra["stretch"].numpy().T], axis=1)
        )

    def snr(self, inputs: Tensor) -> np.ndarray:
        """S/N as the network sees it: the first of its colours, behind the pixels and their bits."""
        return inputs[:, 2 * self.estimator.first.pixels].double().numpy()

    def level(self, level: float) -> Tensor:
        """Level of the network's own distribution that is a given one when calibrated, shape (label,)."""
        wanted = float(torch.special.ndtri(torch.tensor(level, dtype=torch.double)))
        knots, scores = self.extra["knots"], self.extra["scores"]
        return torch.special.ndtr(torch.stack([_interpolate(torch.tensor([wanted]), knots, row)[0] for row in scores]))

    def normal_scores(self, own: Tensor) -> Tensor:
        """Calibrated normal scores, shape (star, label), from the network's own cumulative probabilities."""
        raw = _scores(own)
        knots, scores = self.extra["knots"], self.extra["scores"]
        return torch.stack([_interpolate(column, row, knots) for column, row in zip(raw.T, scores, strict=True)], 1)


def _scores(share: Tensor) -> Tensor:
    """Normal scores of probabilities, kept finite."""
    return torch.special.ndtri(share.double().clamp(1e-9, 1.0 - 1e-9))


def _interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Linear between knots; beyond them the slope is 1, so that the far tails keep their shape."""
    at = torch.searchsorted(knots, x.contiguous().to(knots.dtype)).clamp(1, len(knots) - 1)
    part = (x - knots[at - 1]) / (knots[at] - knots[at - 1])
    inside = values[at - 1] + part * (values[at] - values[at - 1])
    low, high = values[0] + x - knots[0], values[-1] + x - knots[-1]
    return torch.where(x < knots[0], low, torch.where(x > knots[-1], high, inside))


def calibrated(trained: SpectraTrained, valid: Labelled, seed: int) -> SpectraTrained:
    """Calibrate on validation stars: widths by S/N, levels of the distributions, and what the features look like.

    First the distributions of stars of like S/N are stretched until they hold as much as those of all. The distribution
    that the network then claims for a label is F; the share of validation stars with F(label) < p is found at each of
    `KNOTS`, and a calibrated level q is the network's own level of which q is the share (Kuleshov et al. 2018,
    arXiv:1807.00263).
    """
    torch.manual_seed(seed)
    passes = trained.estimator.first.options.passes
    mixtures, ratios, features = [], [], []
    scale = trained.estimator.first.scale
    zero, unit = torch.tensor(scale.label), torch.tensor(scale.label_sd)
    truth = (torch.from_numpy(valid.labels) - zero) / unit
    for number, inputs in enumerate(trained.batches(valid.spectra, valid.magnitudes)):
        part = slice(number * BATCH, (number + 1) * BATCH)
        pooled, feature = trained.pooled(inputs, passes)
        mixtures.append((inputs, pooled, truth[part]))
        ratios.append(trained.snr(inputs))
        features.append(feature)
    raw = torch.cat([_scores(pooled.cumulative(known)) for _, pooled, known in mixtures])
    parts, stretch = _by_snr(np.concatenate(ratios), torch.where(truth.isfinite(), raw, torch.nan).numpy())
    extra = {**trained.extra, "snr": torch.from_numpy(parts), "stretch": torch.from_numpy(stretch)}
    trained = replace(trained, extra=extra)
    own, means, widths = [], [], []
    for inputs, claimed, known in mixtures:
        pooled = claimed.stretched(trained.stretch(inputs))
        mean, noise, model = pooled.moments()
        own.append(pooled.cumulative(known))
        means.append(mean)
        widths.append(torch.hypot(noise, model))
    share, mean, width = torch.cat(own), torch.cat(means), torch.cat(widths)
    knots = _scores(torch.tensor(KNOTS, dtype=torch.double))
    rows, factors = [], []
    for at in range(truth.shape[1]):
        there = truth[:, at].isfinite()
        raw = _scores(share[there, at])
        outer = FEWEST_KNOT / max(len(raw), 1)
        usable = (torch.tensor(KNOTS) >= outer) & (torch.tensor(KNOTS) <= 1 - outer)
        levels = torch.tensor(KNOTS, dtype=torch.double)[usable]
        found = torch.quantile(raw, levels)
        # increasing, also where stars are few
        found = torch.cummax(found, 0).values + 1e-6 * torch.arange(len(found))
        rows.append(_interpolate(knots, knots[usable], found))
        z = ((truth[:, at] - mean[:, at]) / width[:, at])[there]
        # the middle 99.5 %: one wrong label must not widen all
        kept = z[(z >= torch.quantile(z, 0.0025)) & (z <= torch.quantile(z, 0.9975))]
        factors.append(kept.square().mean().sqrt())
    extra = {**trained.extra, "knots": knots, "scores": torch.stack(rows), "factor": torch.stack(factors)}
    distribution = FeatureDistribution.learn(torch.cat(features), INDEPENDENT)
    return replace(trained, features=distribution, extra=extra)


def _by_snr(snr: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median S/N of parts of the stars, and the half-width of the central 68 % of each label's scores over that of all.

    Parameters
    ----------
    snr : ndarray, shape (star,)
    scores : ndarray, shape (star, label)
        Normal scores of the known labels, NaN where unknown.
    """
    whole = np.nanquantile(np.abs(scores), 0.68, axis=0)
    number = int(np.clip(len(snr) // FEWEST_ALIKE, 1, PARTS))
    if number == 1 or np.ptp(snr) == 0:
        return np.array([np.median(snr)]), np.ones((1, scores.shape[1]))
    some = np.array_split(np.argsort(snr, kind="stable"), number)
    stretch = [np.nanquantile(np.abs(scores[part]), 0.68, axis=0) / whole for part in some]
    return np.array([np.median(snr[part]) for part in some]), np.array(stretch)


def describe(
    trained: SpectraTrained, spectra: Spectra, magnitudes: np.ndarray, passes: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Labels of stars.

    Parameters
    ----------
    trained : SpectraTrained
    spectra : Spectra
        On the network's grid.
    magnitudes : ndarray, shape (star, band), mag
    passes : int, optional
        With dropout; by default as the network's settings say.
    seed : int
        Of the dropout.

    Returns
    -------
    DataFrame
        For each label its mean, ``_sd`` and its parts ``_sd_data`` (noise in the data) and ``_sd_model`` (ignorance of
        the model), ``_sd_pixels`` (the share of the pixels' errors, through the Jacobian), quantiles ``_p2_5``,
        ``_p16``, ``_p50``, ``_p84``, ``_p97_5``; ``out_of_distribution``; ``quality``. NaN where the input is refused.
    """
    torch.manual_seed(seed)
    first = trained.estimator.first
    passes = first.options.passes if passes is None else passes
    zero, unit = np.array(first.scale.label), np.array(first.scale.label_sd)
    levels = {name: trained.level(level) for name, level in QUANTILES.items()}
    factor = trained.extra["factor"].numpy()
    assert trained.features is not None
    parts = []
    for number, inputs in enumerate(trained.batches(spectra, magnitudes)):
        errors = spectra.error[number * BATCH : (number + 1) * BATCH]
        pooled, features = trained.pooled(inputs, passes)
        mean, noise, model = (part.numpy() for part in pooled.moments())
        through = propagated(trained, inputs, spectra.flux[number * BATCH : (number + 1) * BATCH], errors)
        block = {"": zero + unit * mean}
        for name, part in (("_sd", np.hypot(noise, model)), ("_sd_data", noise), ("_sd_model", model)):
            block[name] = unit * factor * part
        block["_sd_pixels"] = unit * through
        for name, level in levels.items():
            block[f"_{name}"] = zero + unit * pooled.quantile(level).numpy()
        columns = {
            f"{label}{name}": values[:, at] for at, label in enumerate(first.labels) for name, values in block.items()
        }
        columns["out_of_distribution"] = trained.features.score(features).numpy()
        parts.append(pd.DataFrame(columns))
    found = pd.concat(parts, ignore_index=True).astype("f4")
    return found.assign(quality=_quality(trained, spectra, magnitudes, found))


def readied(trained: SpectraTrained, paths: Sequence[str]) -> tuple[Spectra, np.ndarray]:
    """Spectra of files on the network's grid, and magnitudes, NaN where the files have none.

    Raises
    ------
    SpectraError
        If a file cannot be read, or has another grid.
    """
    first = trained.estimator.first
    spectra = read_spectra(paths)
    if not np.array_equal(spectra.wavelength, first.wavelength):
        spectra = spectra.on_grid(first.wavelength)
    for name, number in spectra.faults.items():
        if number:
            logging.info("%s: %d", name.replace("_", " "), number)
    stars = spectra.stars
    columns = [stars[name] if name in stars else pd.Series(np.nan, stars.index) for name in first.magnitudes]
    magnitudes = np.array(columns, float).T.reshape(len(stars), len(first.magnitudes))
    return spectra, np.where((magnitudes > BRIGHTEST) & (magnitudes < FAINTEST), magnitudes, np.nan)


def write_labels(
    network: str | Path, paths: Sequence[str], output: str | Path, attributes: Mapping[str, Any], passes: int | None
) -> None:
    """Predict labels of the spectra of files and write them, one row for each spectrum, in their order.

    Raises
    ------
    UserError
        If the network or a file cannot be used.
    """
    trained = SpectraTrained.load(network)
    start = time.perf_counter()
    spectra, magnitudes = readied(trained, paths)
    found = describe(trained, spectra, magnitudes, passes)
    found.insert(0, "id", spectra.stars["id"].to_numpy())
    found["snr"] = spectra.snr().astype("f4")
    faults = {"galcarto_faults": spectra.faults}
    write(output, [found], {**attributes, **faults}, trained.estimator.first.units, {LITTLE_SEEN: "little_seen"})
    logging.info("%d spectra in %.1f s", len(found), time.perf_counter() - start)


def _quality(trained: SpectraTrained, spectra: Spectra, magnitudes: np.ndarray, found: pd.DataFrame) -> np.ndarray:
    """Bits; labels of stars without light are taken away."""
    first = trained.estimator.first
    share = np.isfinite(spectra.flux).mean(axis=1)
    little = share < FEWEST
    if first.colours > 1:
        little |= ~np.isfinite(beside(spectra, magnitudes)[:, 1:]).any(axis=1)
    refused = share == 0
    span = trained.extra["range"].numpy()
    means = found[first.labels].to_numpy()
    outside = ((means < span[:, 0]) | (means > span[:, 1])).any(axis=1)
    found.loc[refused, [name for name in found if name != "out_of_distribution"]] = np.nan
    bits = {
        LITTLE_SEEN: little,
        UNLIKE_TRAINING: found["out_of_distribution"].to_numpy() > UNLIKE,
        OUTSIDE_RANGE: outside & ~refused,
        REFUSED: refused,
        REPEATED: spectra.stars["repeated"].to_numpy(),
    }
    return sum((np.where(there, bit, 0) for bit, there in bits.items()), start=np.zeros(len(spectra), int)).astype("u1")


def mean_of(trained: SpectraTrained, inputs: Tensor) -> Tensor:
    """Mean of each label over the ensemble, in scaled labels, with gradients."""
    outputs, _ = trained.estimator.forward_features(inputs)
    number = len(trained.estimator.network)  # type: ignore[arg-type]
    pooled = Pooled.of(trained.estimator.head, outputs.chunk(number, 1))  # type: ignore[arg-type]
    return pooled.moments()[0]


def means(trained: SpectraTrained, spectra: Spectra, magnitudes: np.ndarray) -> np.ndarray:
    """Mean of each label alone, shape (star, label), in its unit: much quicker than `describe`."""
    scale = trained.estimator.first.scale
    with torch.inference_mode():
        found = [mean_of(trained, inputs).numpy() for inputs in trained.batches(spectra, magnitudes)]
    return np.array(scale.label) + np.array(scale.label_sd) * np.concatenate(found)


def jacobian(trained: SpectraTrained, inputs: Tensor, flux: np.ndarray) -> np.ndarray:
    """Derivative of each scaled label by the flux of each pixel, (star, label, pixel); 0 where a pixel is hidden."""
    first = trained.estimator.first
    shown = inputs.clone().requires_grad_(True)
    means = mean_of(trained, shown)
    rows = []
    for at in range(means.shape[1]):
        (gradient,) = torch.autograd.grad(means[:, at].sum(), shown, retain_graph=at + 1 < means.shape[1])
        rows.append(gradient[:, : first.pixels])
    soft = first.scale.soft
    inner = 1.0 / np.sqrt(np.nan_to_num(flux) ** 2 + soft**2) if soft else np.ones_like(flux)  # of arcsinh(flux / soft)
    return torch.stack(rows, 1).numpy() * (inner / np.array(first.scale.flux_sd) * np.isfinite(flux))[:, None]


def propagated(trained: SpectraTrained, inputs: Tensor, flux: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Standard deviation of each scaled label that independent errors of the pixels cause, shape (star, label)."""
    return np.sqrt(((jacobian(trained, inputs, flux) * np.nan_to_num(error)[:, None]) ** 2).sum(axis=2))
