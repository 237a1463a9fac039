"""Whether a posterior can be trusted: unlike the training set, poorly fitting, or no narrower than the prior.

Nothing here knows what the images or the profiles are of.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SHRINKAGE = 0.05  # of a feature's covariance towards its diagonal: hundreds of features, thousands of examples
COARSE = 4  # pixels along a side of the cells in which a fit is judged
FEWEST = 0.2  # expected counts of a cell that is judged
SLOW = 5  # bins over which spreads of the local density are averaged
TINY = 1e-12


@dataclass(frozen=True)
class FeatureDistribution:
    """The network's features of examples like those it was trained on.

    Attributes
    ----------
    mean : Tensor, shape (feature,)
    whitening : Tensor, shape (feature, feature)
        Turns deviations into independent ones of unit variance.
    distances : Tensor, shape (example,)
        Ascending: Mahalanobis distances of examples that played no part in the mean.
    """

    mean: Tensor
    whitening: Tensor
    distances: Tensor

    @classmethod
    def learn(cls, features: Tensor) -> "FeatureDistribution":
        """From features of shape (example, feature): half give mean and covariance, half the distances."""
        first, second = features[::2].double(), features[1::2].double()
        mean = first.mean(dim=0)
        covariance = torch.cov(first.T)
        diagonal = torch.diag(torch.diag(covariance) + 1e-6)
        shrunk = (1.0 - SHRINKAGE) * covariance + SHRINKAGE * diagonal
        whitening = torch.linalg.cholesky(torch.linalg.inv(shrunk))
        empty = cls(mean, whitening, torch.empty(0))
        return cls(mean, whitening, empty.distance(second).sort().values)

    def distance(self, features: Tensor) -> Tensor:
        """Mahalanobis distance of features of shape (example, feature) (Lee et al. 2018, arXiv:1807.03888)."""
        return torch.linalg.norm((features.double() - self.mean) @ self.whitening, dim=1)

    def score(self, features: Tensor) -> Tensor:
        """Share of familiar examples that are less far away, shape (example,); 1 beyond all of them."""
        return torch.searchsorted(self.distances, self.distance(features)) / len(self.distances)


def log_density_spread(samples: np.ndarray, floor: float) -> np.ndarray:
    """Standard deviation of the log-density of each bin over samples, a running mean over bins.

    Parameters
    ----------
    samples : ndarray, shape (..., sample, bin)
        Cumulative profiles.
    floor : float
        Added to the increments.

    Returns
    -------
    ndarray, shape (..., bin)
    """
    spread = np.log(np.diff(samples, axis=-1, prepend=0.0) + floor).std(axis=-2)
    padded = np.concatenate(
        [np.repeat(spread[..., :1], SLOW // 2, -1), spread, np.repeat(spread[..., -1:], SLOW // 2, -1)], -1
    )
    return np.lib.stride_tricks.sliding_window_view(padded, SLOW, axis=-1).mean(axis=-1)


def coarse(images: np.ndarray) -> np.ndarray:
    """Counts in cells of `COARSE` pixels, flat, shape (..., cell); pixels left over at the end are dropped."""
    rows, columns = (size // COARSE for size in images.shape[-2:])
    cut = images[..., : rows * COARSE, : columns * COARSE]
    cells = cut.reshape(*images.shape[:-2], rows, COARSE, columns, COARSE).sum(axis=(-3, -1))
    return cells.reshape(*images.shape[:-3], -1)


def goodness_of_fit(observed: np.ndarray, replicates: np.ndarray) -> tuple[float, float]:
    """Posterior predictive check of one image (Gelman, Meng & Stern 1996).

    Half of the replicates give the mean and the variance of each coarse cell, which holds Poisson noise, posterior and
    nuisances; the chi2 of the others is what chance makes.

    Parameters
    ----------
    observed : ndarray, shape (channel, row, column)
    replicates : ndarray, shape (replicate, channel, row, column)
        Each of a posterior sample, with nuisances and noise of its own.

    Returns
    -------
    p_value : float
        Share of the replicates with a chi2 at least as large.
    chi2 : float
        Of the observed image, over the mean of the replicates'.
    """
    cells, seen = coarse(replicates).astype(float), coarse(observed).astype(float)
    half = len(cells) // 2
    mean, variance = cells[:half].mean(axis=0), cells[:half].var(axis=0)
    judged = mean > FEWEST
    # a variance of few replicates may come out too small; it is no less than that of Poisson noise
    weight = judged / np.maximum(np.maximum(variance, mean), TINY)

    def chi2(counts: np.ndarray) -> np.ndarray:
        return ((counts - mean) ** 2 * weight).sum(axis=-1)

    chance, found = chi2(cells[half:]), float(chi2(seen))
    return float((1 + (chance >= found).sum()) / (len(chance) + 1)), found / float(chance.mean())
