"""From bands or colours, any of which may be missing, to the labels of a star and to the missing bands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss, l1_loss

from galcarto.labels.settings import LABELS
from galcarto.learning.heads.mixture import Mixture
from galcarto.learning.networks import Attention, Chain, Estimator, Residual
from galcarto.learning.trained import Trained

BATCH = 4096  # stars at once
HIDDEN = 64  # width of a label's head
STRAIGHT, LINEAR = 50.0, 5.0  # half-widths: where the straight input ends, and its unit
FAULTY = 5.0  # half-widths: how far a hidden band's error counts as its square, beyond as its absolute value
ERROR_RANGE = 4.0  # of the logarithm of an error over the usual one
UNLIKE = 0.999  # out-of-distribution score above which a star is unlike the training stars


@dataclass(frozen=True)
class Scale:
    """Zero points and units in which a network sees features and labels: plain floats, as a network's file has them."""

    # by feature: median, half the width of the central 68 % (of a band: relative to the star's mean over bands), median
    # error (1 where none is known)
    centre: list[float]
    width: list[float]
    error: list[float]
    brightness: float  # mag: half the width of the central 68 % of a star's mean over bands
    colour: list[float]  # mag: of the difference between each feature and the next, where both are magnitudes; else 1
    # by label, of log10 Teff
    mean: list[float]
    sd: list[float]

    @classmethod
    def learn(cls, values: np.ndarray, errors: np.ndarray, labels: np.ndarray, relative: np.ndarray) -> "Scale":
        """From training stars; arrays as `Stars` has them."""

        def half_width(part: np.ndarray) -> np.ndarray:
            return 0.5 * np.subtract(*np.nanpercentile(part, (84, 16), axis=0))

        centre = np.nanmedian(values, axis=0)
        off = values - centre
        brightness = np.zeros(len(values))
        if relative.any():
            bands = off[:, relative]
            number = np.isfinite(bands).sum(axis=1)
            brightness = np.nansum(bands, axis=1) / np.maximum(number, 1)
        width = half_width(np.where(relative, off - brightness[:, None], off))
        typical = [np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else 1.0 for column in errors.T]
        mean, sd = np.nanmean(labels, axis=0), np.nanstd(labels, axis=0)
        numbers = (centre, np.maximum(width, 1e-3), np.array(typical), mean, np.maximum(sd, 1e-6))
        centre, width, error, mean, sd = ([float(one) for one in part] for part in numbers)  # type: ignore[assignment]
        spread = float(half_width(brightness)) if relative.any() else 1.0
        bands = relative[:-1] & relative[1:]
        colour = [float(one) if both else 1.0 for one, both in zip(half_width(-np.diff(off)), bands, strict=True)]
        return cls(centre, width, error, max(spread, 1e-3), colour, mean, sd)  # type: ignore[arg-type]


def hide_some(shown: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Hide features at random: of half of the stars one, of the others each with even chance, but never all.

    Parameters
    ----------
    shown : Tensor of bool, shape (star, feature)
    generator : torch.Generator, optional
    """
    chance = torch.rand(shown.shape, generator=generator, device=shown.device)
    first = torch.where(shown, chance, -1.0).argmax(dim=1, keepdim=True)
    single = torch.zeros_like(shown).scatter_(1, first, True)
    coin = torch.rand(len(shown), 1, generator=generator, device=shown.device) < 0.5
    rest = shown & ~torch.where(coin, single, chance < 0.5)
    return torch.where(rest.any(dim=1, keepdim=True), rest, shown)


class LabelEstimator(Estimator):
    """A network on features, the heads of the labels in their causal order, and heads of the hidden features.

    A batch is: values and errors of the features, shape (batch, feature), NaN where missing or unknown; labels and
    their errors, shape (batch, label), likewise, Teff as its decimal logarithm.

    Parameters
    ----------
    features : sequence of str
    relative : sequence of bool
        Which features are magnitudes: the network sees them relative to their mean over the star's bands.
    labels : sequence of str
        Some of `LABELS`, in that order.
    scale : mapping
        Of `Scale`.
    network : mapping
        Of `settings.LabelNetwork`.
    dust : mapping
        Of `settings.Deredden`: how its stars' photometry was corrected.
    """

    head: Mixture
    # of `Scale`
    _centre: Tensor
    _width: Tensor
    _error: Tensor
    _colour: Tensor
    _mean: Tensor
    _sd: Tensor
    _relative: Tensor

    def __init__(
        self,
        features: Sequence[str],
        relative: Sequence[bool],
        labels: Sequence[str],
        scale: dict[str, Any],
        network: dict[str, Any],
        dust: dict[str, Any],
    ) -> None:
        self.dust, self.features, self.labels = dust, list(features), list(labels)
        self.continuous = [label for label in labels if label != "giant"]
        self.options, self.scale = network, Scale(**scale)
        head = Mixture(network["components"])
        per_label, number = 3 * head.components, len(features)
        sizes = [1 if label == "giant" else per_label for label in labels]
        super().__init__(_Body(number, [*sizes, per_label * number], network), head)
        for name in ("centre", "width", "error", "colour", "mean", "sd"):
            self.register_buffer(f"_{name}", torch.tensor(getattr(self.scale, name)), persistent=False)
        self.register_buffer("_relative", torch.tensor(list(relative)), persistent=False)

    def _levels(self, values: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
        """Values about their centres, and each star's mean over the bands that are shown, shape (batch, 1)."""
        off = torch.where(values.isfinite(), values - self._centre, 0.0)
        bands = shown & self._relative
        return off, (off * bands).sum(dim=1, keepdim=True) / bands.sum(dim=1, keepdim=True).clamp(min=1)

    def encode(self, values: Tensor, errors: Tensor, shown: Tensor) -> Tensor:
        """What the network sees: values, errors, bits, values again, colours, a brightness; shape (batch, input)."""
        off, brightness = self._levels(values, shown)
        level = (off - brightness * self._relative) / self._width
        known = shown & errors.isfinite()
        usual = torch.where(known, errors / self._error, 1.0).clamp(min=1e-9).log().clamp(-ERROR_RANGE, ERROR_RANGE)
        there = torch.where(shown, level, 0.0)
        # compressed for the many, and straight for outliers, whose colours share their faulty band
        parts = [there.asinh(), usual, shown.to(values.dtype), there.clamp(-STRAIGHT, STRAIGHT) / LINEAR]
        # colours of neighbouring bands: a small difference of two large numbers is slow to learn
        both = shown & self._relative
        parts.append(torch.where(both[:, :-1] & both[:, 1:], -off.diff(dim=1) / self._colour, 0.0).asinh())
        parts.append(brightness / self.scale.brightness)
        return torch.cat(parts, dim=1)

    def deviations(self, values: np.ndarray) -> np.ndarray:
        """Features about the training stars' medians, in units of their half-widths, shape (star, feature)."""
        numbers = torch.from_numpy(np.ascontiguousarray(values, "f4"))
        off, brightness = self._levels(numbers, numbers.isfinite())
        return torch.where(numbers.isfinite(), (off - brightness * self._relative) / self._width, torch.nan).numpy()

    def inputs(self, batch: Sequence[Tensor]) -> Tensor:
        """What the network sees of a batch; in training, some of the features are hidden."""
        values, errors = batch[:2]
        shown = values.isfinite()
        if self.training and self.options["hide"]:
            whole = torch.rand(len(values), 1, device=values.device) >= self.options["hide"]
            shown = torch.where(whole, shown, hide_some(shown))
        return self.encode(values, errors, shown)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs, and after them the bits that the network was shown."""
        return torch.cat([self.network(inputs), self._bits(inputs)], dim=1)

    def forward_features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As the base class's, with the bits."""
        outputs, features = super().forward_features(inputs)
        return torch.cat([outputs, self._bits(inputs)], dim=1), features

    def _bits(self, inputs: Tensor) -> Tensor:
        number = len(self.features)
        return inputs[:, 2 * number : 3 * number]

    def parts(self, outputs: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Outputs of the continuous labels, of giants (None without the label) and of features, and the bits."""
        per_label, number = 3 * self.head.components, len(self.features)
        labels, giant, bands, bits = outputs.split(
            [per_label * len(self.continuous), int("giant" in self.labels), per_label * number, number], dim=1
        )
        return labels, giant[:, 0] if "giant" in self.labels else None, bands, bits > 0.5

    def loss(self, outputs: Tensor, batch: Sequence[Tensor]) -> Tensor:
        """Negative log-likelihood of the labels and of the features that were hidden; see `settings.LabelNetwork`."""
        values, errors, labels, label_errors = batch
        found, giant, bands, shown = self.parts(outputs)
        number = len(self.continuous)
        total = outputs.new_zeros(())
        if number:
            scaled = (labels[:, :number] - self._mean[:number]) / self._sd[:number]
            total = total + self.label_loss(found, scaled, label_errors[:, :number] / self._sd[:number])
        if giant is not None:
            known = labels[:, -1].isfinite()
            truth = torch.where(known, labels[:, -1], 0.0)
            each = binary_cross_entropy_with_logits(giant, truth, reduction="none")
            total = total + self.options["giant_weight"] * (each * known).sum() / known.sum().clamp(min=1)
        if self.training and self.options["band_weight"]:
            off, brightness = self._levels(values, shown)
            hidden = values.isfinite() & ~shown
            target = torch.where(hidden, (off - brightness * self._relative) / self._width, torch.nan)
            lost = self.label_loss(bands, target, errors / self._width)
            if self.options["name"] == "residual":
                # the likelihood hardly minds where a faint component of outliers lies; the mean does
                mean, _ = self.head.moments(bands)
                off = huber_loss(mean, torch.where(hidden, target, mean.detach()), reduction="none", delta=FAULTY)
                lost = lost + 0.5 * off.sum() / hidden.sum().clamp(min=1)
            total = total + self.options["band_weight"] * lost
        return total

    def label_loss(self, outputs: Tensor, labels: Tensor, errors: Tensor) -> Tensor:
        """Loss of the continuous labels, or of hidden features; the thesis' networks have another than ours."""
        if self.options["name"] == "residual":
            return self.head.negative_log_likelihood(outputs, labels, errors)
        there = labels.isfinite()
        mean, _ = self.head.moments(outputs)
        width = torch.where(errors.isfinite() & (errors > 0), errors, 1.0)
        off = l1_loss(mean, torch.where(there, labels, mean.detach()), reduction="none") / width
        return (off * there).sum() / there.sum().clamp(min=1)


class _Body(nn.Module):
    """Features and heads; see `learning.networks.Estimator`.

    Parameters
    ----------
    number : int
        Features of a star.
    sizes : sequence of int
        Outputs of the heads.
    options : mapping
        Of `settings.LabelNetwork`.
    """

    def __init__(self, number: int, sizes: Sequence[int], options: dict[str, Any]) -> None:
        super().__init__()
        widths = options["widths"]
        inputs = 5 * number
        first: list[nn.Module] = []
        if options["attention"]:
            tokens = _Tokens(number)
            first, inputs = [tokens], tokens.outputs
        blocks = [Residual(*pair, options["dropout"]) for pair in pairwise(widths)]
        self.features = nn.Sequential(*first, nn.Linear(inputs, widths[0]), *blocks)
        chain = Chain(widths[-1], sizes, HIDDEN)
        if options["name"] == "thesis_autoencoder":  # the missing colour has a decoder of its own, behind the labels
            seen = widths[-1] + sum(sizes[:-1])
            decoder = [Residual(*pair, options["dropout"]) for pair in pairwise(widths)]
            chain.heads[-1] = nn.Sequential(nn.Linear(seen, widths[0]), *decoder, nn.Linear(widths[-1], sizes[-1]))
        self.dense = nn.Sequential(nn.LayerNorm(widths[-1]), nn.ReLU(), chain)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of all heads."""
        return self.dense(self.features(inputs))


class _Tokens(nn.Module):
    """Attention over features; the inputs themselves stay beside it."""

    def __init__(self, number: int, width: int = 16) -> None:
        super().__init__()
        self.number, self.outputs = number, number * width + 5 * number
        self.attention = Attention(number, 5, width)

    def forward(self, inputs: Tensor) -> Tensor:
        each = inputs[:, : 4 * self.number].unflatten(1, (4, self.number)).transpose(1, 2)
        brightness = inputs[:, None, -1:].expand(-1, self.number, -1)
        return torch.cat([self.attention(torch.cat([each, brightness], dim=2)), inputs], dim=1)


class LabelTrained(Trained):
    """A trained `LabelEstimator`.

    The widths of a label are calibrated apart in ranges of its predicted value, and for stars that lack a band in
    ranges of the predicted width: the calibration's outputs are, for each label, these groups. ``extra`` has their
    inner and outer ``edges``, shape (label, range + 1), the inner edges ``widths``, shape (label, range - 1), and
    ``range``, shape (label, 2), of the training stars' labels.
    """

    estimator: LabelEstimator

    @classmethod
    def load(cls, path: str | Path) -> "LabelTrained":
        """Read a file written by `save`."""
        return cls.read(path, LabelEstimator)

    def raw(self, values: np.ndarray, errors: np.ndarray, shown: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Outputs of the network and features, in batches.

        Parameters
        ----------
        values, errors : ndarray, shape (star, feature), mag
        shown : ndarray of bool, shape (star, feature), optional
            By default what is finite.
        """
        visible = np.isfinite(values) if shown is None else shown & np.isfinite(values)

        def make(start: int, device: torch.device) -> Tensor:
            part = slice(start, start + BATCH)
            value, error = (torch.from_numpy(np.ascontiguousarray(a[part], "f4")).to(device) for a in (values, errors))
            return self.estimator.encode(value, error, torch.from_numpy(visible[part]).to(device))

        return self.outputs(partial(make, start) for start in range(0, len(values), BATCH))


def units_of(features: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and units of labels and of features."""
    yield from LABELS.items()
    yield from ((name, "mag") for name in features)
