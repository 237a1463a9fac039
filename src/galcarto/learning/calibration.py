"""Calibration: samples shifted and stretched so that validation truths lie in intervals as often as claimed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PART = 1000  # examples whose samples are sorted at once: all would take three times the samples' memory
LEVELS = (0.5, 0.68, 0.95)  # central intervals whose ends are set
SMALL = 1e-7  # added to widths, in the output's unit
RANGE = (0.3, 3.0)  # of the factors
FEWEST = 1000  # informative examples of an output below which all examples calibrate it


@dataclass(frozen=True)
class Calibration:
    """How samples of a posterior become calibrated samples."""

    shift: Tensor  # shape (output,): of the median, in units of half the 68 % interval
    # shape (2, level, output): factors on a sample's deviation from the median, below and above it, at the ends of the
    # central intervals of `LEVELS`; in between and beyond they are interpolated by the sample's rank
    stretch: Tensor

    @classmethod
    def none(cls, outputs: int) -> "Calibration":
        """Leaves samples as they are."""
        return cls(torch.zeros(outputs), torch.ones(2, len(LEVELS), outputs))

    def apply(self, samples: Tensor) -> Tensor:
        """Calibrated samples, shape (batch, sample, output), from as many of the posterior."""
        number = samples.shape[1]
        order = samples.sort(dim=1)
        rank = order.indices.argsort(dim=1)
        position = (rank + 1.0) / (number + 1.0)
        middle = _quantile(order.values, 0.5)[:, None]
        level = (2.0 * position - 1.0).abs()  # of the central interval at whose end a sample lies
        knots = torch.tensor(LEVELS)
        at = torch.searchsorted(knots, level.contiguous()).clamp(1, len(LEVELS) - 1)
        part = ((level - knots[at - 1]) / (knots[at] - knots[at - 1])).clamp(0.0, 1.0)
        side = (position > 0.5).long()
        outputs = torch.arange(samples.shape[2]).expand_as(side)
        factor = (1.0 - part) * self.stretch[side, at - 1, outputs] + part * self.stretch[side, at, outputs]
        low, high = (_quantile(order.values, share)[:, None] for share in (0.16, 0.84))
        centre = middle + self.shift * 0.5 * (high - low)
        return centre + factor * (samples - middle)


def calibrate(
    samples: Tensor, truth: Tensor, used: Tensor, smooth: Callable[[Tensor], Tensor] = lambda values: values
) -> Calibration:
    """Find the calibration on validation examples.

    The median is shifted until half of the truths lie on either side of it, then each end of the central intervals is
    moved until its share of the truths lies beyond it.

    Parameters
    ----------
    samples : Tensor, shape (example, sample, output)
        Of the posterior; sorted in place.
    truth : Tensor, shape (example, output)
    used : Tensor of bool, shape (example, output)
        Where an example counts. An output where fewer than `FEWEST` count is calibrated on all of them.
    smooth : callable, optional
        Of values of shape (number, output), for outputs whose calibration varies slowly.
    """
    used = used | (used.sum(dim=0) < FEWEST)

    def quantile(values: Tensor, share: float) -> Tensor:
        return torch.nanquantile(torch.where(used, values, torch.nan), share, dim=0)

    for part in samples.split(PART):
        part.copy_(part.sort(dim=1).values)
    middle, low, high = (_quantile(samples, share) for share in (0.5, 0.16, 0.84))
    half = 0.5 * (high - low)
    shift = smooth(quantile((truth - middle) / (half + SMALL), 0.5)[None])[0]
    centre = middle + shift * half
    stretch = torch.empty(2, len(LEVELS), truth.shape[1])
    for number, level in enumerate(LEVELS):
        for side, sign in enumerate((-1.0, 1.0)):
            width = sign * (_quantile(samples, 0.5 + sign * level / 2) - middle)
            excess = quantile(sign * (truth - centre) / (width + SMALL), 0.5 + level / 2)
            stretch[side, number] = smooth(excess.clamp(*RANGE)[None])[0]
    return Calibration(shift, stretch)


def _quantile(ordered: Tensor, share: float) -> Tensor:
    """A quantile of samples that are sorted along the second axis."""
    # one more draw lies below the k-th of n with probability k / (n + 1)
    place = share * (ordered.shape[1] + 1) - 1.0
    low = min(max(int(place), 0), ordered.shape[1] - 2)
    return torch.lerp(ordered[:, low], ordered[:, low + 1], min(max(place - low, 0.0), 1.0))
