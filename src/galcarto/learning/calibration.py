"""Calibration: widths of the posterior, set so that validation profiles are covered as often as claimed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad

from galcarto.learning.heads.tree import Posterior

SAMPLES = 128
PART = 1000  # profiles whose samples are sorted at once: all would take three times the samples' memory
SLOW = 5  # bins; factors vary no faster
LEVELS = (0.5, 0.68, 0.95)  # central intervals whose ends are set
SMALL = 1e-7  # added to widths, in the profile's unit
RANGE = (0.3, 3.0)  # of the factors
FEWEST = 1000  # profiles that the data tell of at a bin, below which all of them calibrate it


@dataclass(frozen=True)
class Calibration:
    """How samples of the tree become calibrated samples.

    Attributes
    ----------
    shift : Tensor, shape (bin,)
        Of the median, in units of the 68 % interval's half.
    stretch : Tensor, shape (2, level, bin)
        Factors on a sample's deviation from the median, below and above it, where the deviation is that of the end of
        the central interval of `LEVELS`; in between and beyond they are interpolated by the sample's rank.
    """

    shift: Tensor
    stretch: Tensor

    @classmethod
    def none(cls, bins: int) -> "Calibration":
        """Leaves the tree's samples as they are."""
        return cls(torch.zeros(bins), torch.ones(2, len(LEVELS), bins))

    def sample(self, posterior: Posterior, number: int, generator: torch.Generator) -> Tensor:
        """Calibrated samples, shape (batch, number, bin): still non-decreasing and not below zero."""
        samples = posterior.sample(number, generator).cpu()
        order = samples.sort(dim=1)
        rank = order.indices.argsort(dim=1)
        position = (rank + 1.0) / (number + 1.0)
        middle = _at(order.values, 0.5)[:, None]
        level = (2.0 * position - 1.0).abs()  # of the central interval at whose end a sample lies
        knots = torch.tensor(LEVELS)
        at = torch.searchsorted(knots, level.contiguous()).clamp(1, len(LEVELS) - 1)
        part = ((level - knots[at - 1]) / (knots[at] - knots[at - 1])).clamp(0.0, 1.0)
        side = (position > 0.5).long()
        bins = torch.arange(samples.shape[2]).expand_as(side)
        factor = (1.0 - part) * self.stretch[side, at - 1, bins] + part * self.stretch[side, at, bins]
        low, high = (_at(order.values, share)[:, None] for share in (0.16, 0.84))
        centre = middle + self.shift * 0.5 * (high - low)
        samples = centre + factor * (samples - middle)
        # neighbouring bins are stretched almost alike, so this mends little
        return torch.cummax(samples.clamp(min=0.0), dim=2).values


def _slow(values: Tensor) -> Tensor:
    """Running mean over the last axis."""
    flat = values.reshape(-1, 1, values.shape[-1])
    padded = pad(flat, (SLOW // 2, SLOW // 2), mode="replicate")
    return avg_pool1d(padded, SLOW, stride=1).reshape(values.shape)


def calibrate(posterior: Posterior, truth: Tensor, told: Callable[[Tensor], Tensor], seed: int) -> Calibration:
    """Find the calibration on validation profiles.

    The median is shifted until half of the truths lie on either side of it, then each end of the central intervals is
    moved until its share of the truths lies beyond it. At each bin only those profiles count of which the data tell
    there: elsewhere the prior speaks, and would outnumber them far out.

    Parameters
    ----------
    posterior : Posterior
        Of validation images.
    truth : Tensor, shape (batch, bin)
    told : callable
        From samples, shape (part, sample, bin), to where the data tell of the profile, bool, shape (part, bin).
    seed : int
    """
    ordered = posterior.sample(SAMPLES, torch.Generator().manual_seed(seed))
    used = torch.cat([told(part) for part in ordered.split(PART)])
    used |= used.sum(dim=0) < FEWEST

    def quantile(values: Tensor, share: float) -> Tensor:
        return torch.nanquantile(torch.where(used, values, torch.nan), share, dim=0)

    for part in ordered.split(PART):
        part.copy_(part.sort(dim=1).values)
    middle, low, high = (_at(ordered, share) for share in (0.5, 0.16, 0.84))
    half = 0.5 * (high - low)
    shift = _slow(quantile((truth - middle) / (half + SMALL), 0.5)[None])[0]
    centre = middle + shift * half
    stretch = torch.empty(2, len(LEVELS), truth.shape[1])
    for number, level in enumerate(LEVELS):
        for side, sign in enumerate((-1.0, 1.0)):
            reach = sign * (_at(ordered, 0.5 + sign * level / 2) - middle)
            excess = quantile(sign * (truth - centre) / (reach + SMALL), 0.5 + level / 2)
            stretch[side, number] = _slow(excess.clamp(*RANGE)[None])[0]
    return Calibration(shift, stretch)


def _at(ordered: Tensor, share: float) -> Tensor:
    """A quantile of samples that are sorted along the second axis."""
    # one more draw lies below the k-th of n with probability k / (n + 1)
    place = share * (ordered.shape[1] + 1) - 1.0
    low = min(max(int(place), 0), ordered.shape[1] - 2)
    return torch.lerp(ordered[:, low], ordered[:, low + 1], min(max(place - low, 0.0), 1.0))
