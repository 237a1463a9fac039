"""Calibration: widths and tails of the posterior, set so that validation profiles are covered as often as claimed."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad

from galcarto.inference.posterior import Posterior

SAMPLES = 100
SMOOTHING = 5  # bins that share a correction
FREEDOMS = (math.inf, 30.0, 20.0, 14.0, 10.0, 7.0)
SMALL = 1e-4  # added to widths, in the profile's unit


@dataclass(frozen=True)
class Calibration:
    """How samples of the chain become calibrated samples.

    Attributes
    ----------
    stretch : Tensor, shape (bin,)
        Factor on a sample's distance from the median.
    freedom : float
        Degrees of freedom of the errors; infinite for normal ones.
    """

    stretch: Tensor
    freedom: float

    @classmethod
    def none(cls, bins: int) -> "Calibration":
        """Leaves the chain's samples as they are."""
        return cls(torch.ones(bins), math.inf)

    def sample(self, posterior: Posterior, number: int, generator: torch.Generator) -> Tensor:
        """Calibrated samples, shape (batch, number, bin): still non-decreasing and not below zero.

        The stretch varies slowly with distance, so that it hardly ever bends a sample downwards; where it
        does, the running maximum mends it.
        """
        samples = posterior.sample(number, generator, self.freedom)
        median = samples.median(dim=1, keepdim=True).values
        samples = (median + self.stretch * (samples - median)).clamp(min=0.0)
        return torch.cummax(samples, dim=2).values


def _interval(samples: Tensor, level: float) -> Tensor:
    return torch.quantile(samples, torch.tensor([0.5 - level / 2, 0.5, 0.5 + level / 2]), dim=1)


def calibrate(posterior: Posterior, truth: Tensor, seed: int) -> Calibration:
    """Find the calibration on validation profiles.

    For each number of degrees of freedom the stretch is the one with which 68 % intervals hold 68 % of the truths
    at every distance; of these, the one whose 95 % intervals hold closest to 95 % is taken.

    Parameters
    ----------
    posterior : Posterior
        Of validation images.
    truth : Tensor, shape (batch, bin)
    seed : int
    """
    best, chosen = math.inf, Calibration.none(truth.shape[1])
    for freedom in FREEDOMS:
        samples = posterior.sample(SAMPLES, torch.Generator().manual_seed(seed), freedom)
        low, middle, high = _interval(samples, 0.68)
        side = torch.where(truth > middle, high - middle, middle - low)
        excess = torch.quantile((truth - middle).abs() / (side + SMALL), 0.68, dim=0)
        smooth = avg_pool1d(pad(excess[None, None], (SMOOTHING // 2,) * 2, mode="replicate"), SMOOTHING, stride=1)
        trial = Calibration(smooth[0, 0], freedom)
        low, _, high = _interval(trial.sample(posterior, SAMPLES, torch.Generator().manual_seed(seed + 1)), 0.95)
        miss = abs(float(((truth >= low) & (truth <= high)).float().mean()) - 0.95)
        if miss < best:
            best, chosen = miss, trial
    return chosen
