"""Whether a posterior can be trusted: an out-of-distribution score, and a goodness of fit of counts."""

from __future__ import annotations  # the goodness of fit needs no torch

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

SHRINKAGE = 0.05  # of a feature's covariance towards its diagonal: hundreds of features, thousands of examples
COARSE = 4  # pixels along a side of the cells in which counts are compared
FEWEST = 0.2  # expected counts of a cell that enters the fit
TINY = 1e-12


@dataclass(frozen=True)
class FeatureDistribution:
    """The distribution of the network's features over examples like those it was trained on.

    The covariance is shrunk towards its diagonal; scikit-learn's estimators shrink towards a multiple of the identity,
    which features of very different variances are far from.
    """

    mean: Tensor  # shape (feature,)
    whitening: Tensor  # shape (feature, feature): makes deviations independent, with unit variance
    # shape (example,): Mahalanobis distances of examples that were not used for the mean, in ascending order
    distances: Tensor

    @classmethod
    def learn(cls, features: Tensor, shrinkage: float = SHRINKAGE) -> FeatureDistribution:
        """Fit to features: half give mean and covariance, half the distances.

        Parameters
        ----------
        features : Tensor, shape (example, feature)
        shrinkage : float
            Of the covariance towards its diagonal; at 1 features count as independent.
        """
        import torch

        first, second = features[::2].double(), features[1::2].double()
        mean = first.mean(dim=0)
        covariance = torch.cov(first.T)
        diagonal = torch.diag(torch.diag(covariance) + 1e-6)
        shrunk = (1.0 - shrinkage) * covariance + shrinkage * diagonal
        whitening = torch.linalg.cholesky(torch.linalg.inv(shrunk))
        empty = cls(mean, whitening, torch.empty(0))
        return cls(mean, whitening, empty.distance(second).sort().values)

    def distance(self, features: Tensor) -> Tensor:
        """Mahalanobis distance of features of shape (example, feature) (Lee et al. 2018, arXiv:1807.03888)."""
        import torch

        return torch.linalg.norm((features.double() - self.mean) @ self.whitening, dim=1)

    def score(self, features: Tensor) -> Tensor:
        """Out-of-distribution score: fraction of those examples that are less far away, shape (example,)."""
        import torch

        return torch.searchsorted(self.distances, self.distance(features)) / len(self.distances)


def coarse(images: np.ndarray) -> np.ndarray:
    """Counts in cells of `COARSE` pixels, flat, shape (..., cell); pixels left over at the end are dropped."""
    rows, columns = (size // COARSE for size in images.shape[-2:])
    cut = images[..., : rows * COARSE, : columns * COARSE]
    cells = cut.reshape(*images.shape[:-2], rows, COARSE, columns, COARSE).sum(axis=(-3, -1))
    return cells.reshape(*images.shape[:-3], -1)


def goodness_of_fit(observed: np.ndarray, replicates: np.ndarray) -> tuple[float, float]:
    """Posterior predictive check of one image (Gelman, Meng & Stern 1996).

    Half of the replicates give the mean and the variance of each coarse cell, from Poisson noise, posterior and
    nuisances together; the other half gives the distribution of chi2 for a model that is right.

    Parameters
    ----------
    observed : ndarray, shape (channel, row, column)
    replicates : ndarray, shape (replicate, channel, row, column)
        Each drawn from a posterior sample, with its own nuisances and noise.

    Returns
    -------
    p_value : float
        Fraction of the replicates with a chi2 at least as large.
    chi2 : float
        Of the observed image, over the mean of the replicates'.
    """
    cells, seen = coarse(replicates).astype(float), coarse(observed).astype(float)
    half = len(cells) // 2
    mean, variance = cells[:half].mean(axis=0), cells[:half].var(axis=0)
    used = mean > FEWEST
    # with few replicates a variance may come out too small; it is at least that of Poisson noise
    weight = used / np.maximum(np.maximum(variance, mean), TINY)

    def chi2(counts: np.ndarray) -> np.ndarray:
        return ((counts - mean) ** 2 * weight).sum(axis=-1)

    chance, found = chi2(cells[half:]), float(chi2(seen))
    return float((1 + (chance >= found).sum()) / (len(chance) + 1)), found / float(chance.mean())
