"""Calibration: widths of the posterior, set so that validation profiles are covered as often as claimed."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad

from galcarto.inference.posterior import Posterior

SAMPLES = 128
SLOW = 5  # bins; factors vary no faster
ITERATIONS = 6
LEVELS = (0.5, 0.68, 0.95)  # central intervals whose ends are set
SMALL = 1e-7  # added to widths, in the profile's unit
RANGE = (0.3, 3.0)  # of the factors


@dataclass(frozen=True)
class Calibration:
    """How samples of the chain become calibrated samples.

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
        """Leaves the chain's samples as they are."""
        return cls(torch.zeros(bins), torch.ones(2, len(LEVELS), bins))

    def sample(self, posterior: Posterior, number: int, generator: torch.Generator) -> Tensor:
        """Calibrated samples, shape (batch, number, bin): still non-decreasing and not below zero."""
        samples = posterior.sample(number, generator)
        order = samples.sort(dim=1)
        rank = order.indices.argsort(dim=1)
        position = (rank + 0.5) / number
        middle = samples.median(dim=1, keepdim=True).values
        level = (2.0 * position - 1.0).abs()  # of the central interval at whose end a sample lies
        knots = torch.tensor(LEVELS)
        at = torch.searchsorted(knots, level.contiguous()).clamp(1, len(LEVELS) - 1)
        part = ((level - knots[at - 1]) / (knots[at] - knots[at - 1])).clamp(0.0, 1.0)
        side = (position > 0.5).long()
        bins = torch.arange(samples.shape[2]).expand_as(side)
        factor = (1.0 - part) * self.stretch[side, at - 1, bins] + part * self.stretch[side, at, bins]
        low, high = (order.values[:, int(number * share)] for share in (0.16, 0.84))
        centre = middle + self.shift * 0.5 * (high - low)[:, None]
        samples = centre + factor * (samples - middle)
        # neighbouring bins are stretched almost alike, so this mends little
        return torch.cummax(samples.clamp(min=0.0), dim=2).values


def _slow(values: Tensor) -> Tensor:
    """Running mean over the last axis."""
    flat = values.reshape(-1, 1, values.shape[-1])
    padded = pad(flat, (SLOW // 2, SLOW // 2), mode="replicate")
    return avg_pool1d(padded, SLOW, stride=1).reshape(values.shape)


def calibrate(posterior: Posterior, truth: Tensor, seed: int) -> Calibration:
    """Find the calibration on validation profiles.

    The median is shifted until half of the truths lie on either side of it, then the ends of the central intervals
    are moved until each holds its share of them.

    Parameters
    ----------
    posterior : Posterior
        Of validation images.
    truth : Tensor, shape (batch, bin)
    seed : int
    """
    found = Calibration.none(truth.shape[1])
    for _ in range(ITERATIONS):
        samples = found.sample(posterior, SAMPLES, torch.Generator().manual_seed(seed))
        ends = torch.tensor([0.16, 0.5, 0.84])
        low, middle, high = torch.quantile(samples, ends, dim=1)
        shift = torch.quantile((truth - middle) / (0.5 * (high - low) + SMALL), 0.5, dim=0)
        stretch = found.stretch.clone()
        for number, level in enumerate(LEVELS):
            low, middle, high = torch.quantile(samples, torch.tensor([0.5 - level / 2, 0.5, 0.5 + level / 2]), dim=1)
            for side, (sign, half) in enumerate(((-1.0, middle - low), (1.0, high - middle))):
                # of all truths, the share (1 - level) / 2 lies beyond this end
                excess = torch.quantile(sign * (truth - middle) / (half + SMALL), 0.5 + level / 2, dim=0)
                stretch[side, number] *= _slow(excess.clamp(*RANGE)[None])[0].sqrt()
        found = Calibration(found.shift + 0.7 * _slow(shift[None])[0], stretch.clamp(*RANGE))
    return found
