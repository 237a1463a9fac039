"""The dust map's estimator: diagrams in, the posterior of a profile out."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad

from galcarto.dustmap.batches import images, prepare
from galcarto.learning.calibration import Calibration
from galcarto.learning.heads.tree import PARAMETERS, Posterior, Tree
from galcarto.learning.networks import NETWORKS, Estimator
from galcarto.learning.trained import Trained

BATCH = 256
PIECES = 8  # of a profile, whose ends are calibrated
TINY = 1e-30  # mag
SLOW = 5  # bins over which the calibration, and the standard deviation of the log-density, are averaged


class ProfileEstimator(Estimator):
    """A network on diagrams under a tree of shares.

    Parameters
    ----------
    name : str
        Of the network in the settings.
    channels, pixels : int
        Planes of the input, and the side of an image.
    bins : int
        Of the profile.
    dropout : float
    support : (float, float), mag
        Floor of the posterior's increments and ceiling of the cumulative profile.
    """

    head: Tree
    references: Tensor  # shape (file, channel, magnitude, colour), per deg2: of the examples that it is trained on

    def __init__(
        self, name: str, channels: int, pixels: int, bins: int, dropout: float, support: Sequence[float]
    ) -> None:
        super().__init__(NETWORKS[name](channels, PARAMETERS * bins, pixels, dropout), Tree())
        self.support = float(support[0]), float(support[1])
        self.register_buffer("references", torch.empty(0), persistent=False)

    def inputs(self, batch: Sequence[Tensor]) -> Tensor:
        """Planes of a batch, shape (batch, plane, magnitude, colour)."""
        return prepare(*images(batch, self.references)).contiguous(memory_format=torch.channels_last)

    def posterior(self, outputs: Tensor) -> Posterior:
        """Posterior of the profiles, mag."""
        return Posterior.from_outputs(outputs, self.head, *self.support)

    def loss(self, outputs: Tensor, batch: Sequence[Tensor]) -> Tensor:
        """Negative log-likelihood of the true profiles."""
        marginal, tree = self.posterior(outputs).negative_log_likelihood(batch[-1])
        return marginal + tree


class ProfileNetwork(Trained):
    """A trained `ProfileEstimator`.

    ``extra`` holds the distance bins, the prior's log-density and the calibration of the log-increments.
    """

    estimator: ProfileEstimator

    @classmethod
    def load(cls, path: str | Path) -> "ProfileNetwork":
        """Read a file written by `save`."""
        return cls.read(path, ProfileEstimator)

    @property
    def edges(self) -> np.ndarray:
        """Bin edges of the profile, shape (bin + 1,), kpc."""
        return self.extra["edges"].numpy()

    def posterior(self, counts: np.ndarray, reference: np.ndarray, present: np.ndarray) -> tuple[Posterior, Tensor]:
        """Posterior of images and the network's features, shape (image, feature), in batches.

        Parameters
        ----------
        counts, reference : ndarray, shape (image, channel, magnitude, colour)
            Observed counts, and bare counts expected in the same solid angle.
        present : ndarray, shape (image, channel)
            1 where the channel was observed, else 0.
        """

        def planes(start: int, device: torch.device) -> Tensor:
            part = slice(start, start + BATCH)
            arrays = (np.ascontiguousarray(array[part], np.float32) for array in (counts, reference, present))
            return prepare(*(torch.from_numpy(array).to(device) for array in arrays))

        outputs, features = self.outputs(partial(planes, start) for start in range(0, len(counts), BATCH))
        return self.estimator.posterior(outputs), features

    def sample(self, posterior: Posterior, number: int, generator: torch.Generator) -> Tensor:
        """Calibrated profiles, shape (profile, number, bin), mag, on the CPU: non-decreasing and not below zero."""
        samples = posterior.sample(number, generator).cpu()
        profiles = self.at_calibrated_knots(samples)
        density = Calibration(self.extra["density_shift"], self.extra["density_stretch"])
        steps = density.apply(self.log_steps(profiles)).exp() - self.estimator.support[0]
        return at_knots(steps.clamp(min=0.0).cumsum(dim=2), profiles)

    def at_calibrated_knots(self, samples: Tensor) -> Tensor:
        """Profiles that are calibrated at the knots of `at_knots`, with the samples' shares in between."""
        # neighbouring bins are stretched almost alike, so that the maximum changes little
        calibrated = torch.cummax(self.calibration.apply(samples).clamp(min=0.0), dim=2).values
        return at_knots(samples, calibrated)

    def log_steps(self, profiles: Tensor) -> Tensor:
        """Logarithm of the increments of profiles, above the posterior's floor, shape (..., bin)."""
        return torch.log(torch.diff(pad(profiles, (1, 0)), dim=-1) + self.estimator.support[0])

    def contraction(self, samples: np.ndarray) -> np.ndarray:
        """Posterior over prior standard deviation of the log-density, shape (..., bin).

        Parameters
        ----------
        samples : ndarray, shape (..., sample, bin), mag
            Of the posterior.
        """
        return log_density_sd(samples, self.estimator.support[0]) / self.extra["prior_log_density_sd"].numpy()


def log_density_sd(samples: np.ndarray, floor: float) -> np.ndarray:
    """Standard deviation of the log-density of each bin over samples, a running mean over bins, shape (..., bin).

    Parameters
    ----------
    samples : ndarray, shape (..., sample, bin)
        Cumulative profiles.
    floor : float
        Added to the increments.
    """
    sd = np.log(np.diff(samples, axis=-1, prepend=0.0) + floor).std(axis=-2)
    padded = np.concatenate([np.repeat(sd[..., :1], SLOW // 2, -1), sd, np.repeat(sd[..., -1:], SLOW // 2, -1)], -1)
    return np.lib.stride_tricks.sliding_window_view(padded, SLOW, axis=-1).mean(axis=-1)


def at_knots(samples: Tensor, calibrated: Tensor) -> Tensor:
    """Calibrated profiles at a few knots, and between them the shares of the samples.

    A sample that is moved towards the median gets some of the median's dust in every bin. Bins without dust would be
    lost, and the intervals of the density too narrow.

    Parameters
    ----------
    samples, calibrated : Tensor, shape (profile, sample, bin)
        Non-decreasing, and 0 at the first edge. Of `samples` the unit does not matter.

    Returns
    -------
    Tensor, shape (profile, sample, bin)
        Non-decreasing.
    """
    bins = samples.shape[-1]
    knots = torch.linspace(0, bins, min(PIECES, bins) + 1).round().long()
    inside = torch.arange(1, bins + 1)
    last = torch.searchsorted(knots, inside).clamp(min=1)
    first, last = knots[last - 1], knots[last]
    ours, theirs = (pad(profiles, (1, 0)) for profiles in (calibrated, samples))
    low, width = theirs[..., first], theirs[..., last] - theirs[..., first]
    # a piece without dust, which may be given some, has it everywhere
    even = ((inside - first) / (last - first)).expand_as(samples)
    share = torch.where(width > 0, (samples - low) / width.clamp(min=TINY), even)
    return torch.lerp(ours[..., first], ours[..., last], share)


def running_mean(values: Tensor) -> Tensor:
    """Running mean over the last axis."""
    flat = values.reshape(-1, 1, values.shape[-1])
    padded = pad(flat, (SLOW // 2, SLOW // 2), mode="replicate")
    return avg_pool1d(padded, SLOW, stride=1).reshape(values.shape)
