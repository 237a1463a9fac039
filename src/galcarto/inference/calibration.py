"""Calibration: widths and tails of the posterior, set so that validation profiles are covered as often as claimed."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad

from galcarto.inference.posterior import Posterior

SAMPLES = 64
SLOW = 11  # bins; deviations of a sample that last longer are the slow part
ITERATIONS = 2
FREEDOMS = (math.inf, 14.0, 7.0, 4.0)
SMALL = 1e-4  # added to widths, in the profile's unit


@dataclass(frozen=True)
class Calibration:
    """How samples of the chain become calibrated samples.

    Attributes
    ----------
    stretch : Tensor, shape (bin,)
        Factor on the slow part of a sample's deviation from the median. Errors of the cumulative profile are
        slow, those of its density fast: the density keeps its errors.
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
        """Calibrated samples, shape (batch, number, bin): still non-decreasing and not below zero."""
        samples = posterior.sample(number, generator, self.freedom)
        deviation = samples - samples.median(dim=1, keepdim=True).values
        samples = samples + (self.stretch - 1.0) * _slow(deviation)
        # the stretch varies slowly, so this mends little
        return torch.cummax(samples.clamp(min=0.0), dim=2).values


def _slow(values: Tensor) -> Tensor:
    """Running mean over the last axis."""
    flat = values.reshape(-1, 1, values.shape[-1])
    padded = pad(flat, (SLOW // 2, SLOW // 2), mode="replicate")
    return avg_pool1d(padded, SLOW, stride=1).reshape(values.shape)


def _interval(samples: Tensor, level: float) -> Tensor:
    return torch.quantile(samples, torch.tensor([0.5 - level / 2, 0.5, 0.5 + level / 2]), dim=1)


def calibrate(posterior: Posterior, truth: Tensor, seed: int) -> Calibration:
    """Find the calibration on validation profiles.

    For each number of degrees of freedom the stretch is iterated until 68 % intervals hold 68 % of the truths
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
        trial = Calibration(torch.ones(truth.shape[1]), freedom)
        for _ in range(ITERATIONS):
            low, middle, high = _interval(trial.sample(posterior, SAMPLES, torch.Generator().manual_seed(seed)), 0.68)
            side = torch.where(truth > middle, high - middle, middle - low)
            excess = torch.quantile((truth - middle).abs() / (side + SMALL), 0.68, dim=0)
            trial = Calibration((trial.stretch * _slow(excess[None])[0]).clamp(0.1, 10.0), freedom)
        low, _, high = _interval(trial.sample(posterior, SAMPLES, torch.Generator().manual_seed(seed + 1)), 0.95)
        miss = abs(float(((truth >= low) & (truth <= high)).float().mean()) - 0.95)
        if miss < best:
            best, chosen = miss, trial
    return chosen
