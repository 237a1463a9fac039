"""A distribution over non-decreasing profiles with an exact density, whose parameters a network gives.

Two likelihoods are trained together:

* marginal: in each bin, y = log(1 + A) of the cumulative profile A is normal around a non-decreasing mean;
* tree: the end of the profile first, then the fraction of it reached half-way there, then half-way within each half,
  down to single bins. The logit of each fraction has a mixture of normal distributions. A small network, the same for
  every place, gives its parameters from the context of the place (from the image) and its state: the values at the ends
  of the interval, absolute and relative to the marginal. A mixture can put a step, such as a cloud, in either half, and
  errors do not accumulate from bin to bin as they would along a chain.

Samples are drawn from the tree. A fraction lies between 0 and 1, so every sample is non-decreasing.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, pad, softplus

CONTEXT = 10  # numbers per bin that the network gives the tree
PARAMETERS = 2 + CONTEXT  # per bin
STATE = 9
KERNELS = 4  # normal distributions in a mixture
HIDDEN = 64
SAMPLES = 3000  # drawn at once, whose hidden layers stay in the cache: twice as fast as all at once
LARGEST = 4.0  # standardised step of a sample
RESIDUAL = 5.0  # standardised residuals are clipped here, so that an outlying sample stays stable
END, FRACTION = 1.0, 4.0  # initial separation of the kernels, without which all would learn the same
WIDTHS = (-3.0, 2.0)  # ln of a kernel's width: a fraction need not be known better than to a twentieth


class Tree(nn.Module):
    """Networks from context and state to the mixtures of the end and of the fractions."""

    def __init__(self) -> None:
        super().__init__()
        self.end = _layers(CONTEXT)
        self.fraction = _layers(CONTEXT + STATE)

    @staticmethod
    def mixture(outputs: Tensor, separation: float) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and log widths, each of shape (..., KERNELS).

        Parameters
        ----------
        outputs : Tensor, shape (..., 3 * KERNELS)
        separation : float
            Initial means lie between minus this and this.
        """
        weight, mean, width = outputs.chunk(3, dim=-1)
        offsets = torch.linspace(-separation, separation, KERNELS, device=mean.device)
        return log_softmax(weight, dim=-1), 2.0 * mean + offsets, width.clamp(*WIDTHS)


def _layers(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(HIDDEN, 3 * KERNELS),
    )


@cache
def levels(bins: int) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """Intervals of the tree as (first edge, middle edge, last edge), one tuple for each level, coarsest first."""
    result = []
    intervals = [(0, bins)]
    while intervals:
        split = tuple((i, (i + j) // 2, j) for i, j in intervals if j - i > 1)
        if split:
            result.append(split)
        intervals = [part for i, m, j in split for part in ((i, m), (m, j))]
    return tuple(result)


@dataclass(frozen=True)
class Posterior:
    """Posterior of a batch of profiles."""

    # shape (batch, bin): marginal of y = log(1 + A)
    mean: Tensor
    log_sigma: Tensor
    context: Tensor  # shape (batch, bin, CONTEXT)
    tree: Tree
    floor: float  # added to both parts of an interval, so that their ratio is defined where both are zero
    ceiling: float  # largest cumulative value of a sample: that of the prior

    @classmethod
    def from_outputs(cls, outputs: Tensor, tree: Tree, floor: float, ceiling: float) -> "Posterior":
        """Read a network's outputs of shape (batch, PARAMETERS * bin)."""
        parameters = outputs.float().unflatten(1, (PARAMETERS, -1))
        return cls(
            mean=torch.cumsum(softplus(parameters[:, 0] - 4.0), dim=1),
            log_sigma=(parameters[:, 1] - 1.0).clamp(-6.0, 2.0),
            context=parameters[:, 2:].transpose(1, 2),
            tree=tree,
            floor=floor,
            ceiling=ceiling,
        )

    def _fractions(self, profile: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mixtures of the logits of the fractions of some intervals.

        Parameters
        ----------
        profile : Tensor, shape (batch, ..., bin + 1)
            Cumulative, from 0 at the first edge; only the ends of the intervals are used.
        nodes : Tensor of int, shape (node, 3)
            Of `levels`.

        Returns
        -------
        tuple of Tensor
            From `Tree.mixture`, shape (batch, ..., node, KERNELS).
        """
        first, middle, last = nodes.T
        bins = self.mean.shape[1]
        between = (slice(None),) + (None,) * (profile.ndim - 2)
        # the state is detached: the tree's loss must not change the marginal
        mean, sigma = (pad(values.detach(), (1, 0))[between] for values in (self.mean, self.log_sigma))
        low, high = profile[..., first], profile[..., last]
        y = torch.log1p(profile)
        off = ((y - mean) * torch.exp(-sigma)).clamp(-RESIDUAL, RESIDUAL) / 2.0
        expected = torch.minimum(torch.maximum(torch.expm1(mean[..., middle]), low), high)
        place = torch.stack([middle / bins, torch.log2((last - first).float()) / 3.0 - 1.0])
        state = torch.stack(
            [
                torch.log(high - low + self.floor) / 3.0 + 1.0,
                y[..., first],
                y[..., last],
                off[..., first],
                off[..., last],
                self._logit(low, expected, high) / 3.0,
                (sigma[..., middle] / 2.0 + 1.0).expand_as(low),
                *place[(slice(None),) + (None,) * (low.ndim - 1)].expand(-1, *low.shape),
            ],
            dim=-1,
        )
        context = self.context[between][..., middle - 1, :].expand(*low.shape, -1)
        return self.tree.mixture(self.tree.fraction(torch.cat([context, state], dim=-1)), FRACTION)

    def _logit(self, low: Tensor, middle: Tensor, high: Tensor) -> Tensor:
        return torch.log(middle - low + self.floor) - torch.log(high - middle + self.floor)

    def negative_log_likelihood(self, profile: Tensor) -> tuple[Tensor, Tensor]:
        """Marginal and tree terms, each a mean over bins and batch, without constants.

        Parameters
        ----------
        profile : Tensor, shape (batch, bin)
            True cumulative profiles.
        """
        y = torch.log1p(profile)
        residual = (y - self.mean) * torch.exp(-self.log_sigma)
        marginal = 0.5 * residual**2 + self.log_sigma
        padded = pad(profile, (1, 0))
        nodes = torch.tensor([node for level in levels(profile.shape[1]) for node in level], device=profile.device)
        nodes = nodes.reshape(-1, 3).long()  # a single bin has no interval to split
        logit = self._logit(*(padded[:, edge] for edge in nodes.T))
        fractions = _log_density(logit, *self._fractions(padded, nodes))
        off = ((y - self.mean) * torch.exp(-self.log_sigma))[:, -1].detach()
        end = _log_density(off, *self._end())
        return marginal.mean(), -(fractions.sum(dim=1) + end).mean() / profile.shape[1]

    def _end(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mixture of the deviation of the end from the marginal's mean, in the marginal's standard deviations."""
        return self.tree.mixture(self.tree.end(self.context[:, -1]), END)

    def sample(self, number: int, generator: torch.Generator) -> Tensor:
        """Draw profiles.

        Parameters
        ----------
        number : int
            Samples per profile.
        generator : torch.Generator
            On the CPU, so that random numbers do not depend on the device.

        Returns
        -------
        Tensor, shape (batch, number, bin)
            Cumulative, non-decreasing along the last axis.
        """
        some = max(SAMPLES // number, 1)
        parts = [self[at : at + some]._sample(number, generator) for at in range(0, len(self.mean), some)]
        return torch.cat(parts)

    def _sample(self, number: int, generator: torch.Generator) -> Tensor:
        batch, bins = self.mean.shape
        profile = torch.zeros(batch, number, bins + 1, device=self.mean.device)
        with torch.inference_mode():
            weights, means, widths = (part[:, None].expand(-1, number, -1) for part in self._end())
            y = self.mean[:, -1:] + torch.exp(self.log_sigma[:, -1:]) * _draw(weights, means, widths, generator)
            profile[..., -1] = torch.expm1(y).clamp(0.0, self.ceiling)
            for level in levels(bins):
                nodes = torch.tensor(level, device=self.mean.device)
                first, middle, last = nodes.T
                fraction = torch.sigmoid(_draw(*self._fractions(profile, nodes), generator))
                low, high = profile[..., first], profile[..., last]
                step = (high - low + 2.0 * self.floor) * fraction - self.floor
                profile[..., middle] = torch.minimum(low + step.clamp(min=0.0), high)
        return profile[..., 1:]

    def __getitem__(self, part: slice) -> "Posterior":
        """The posterior of part of the batch."""
        return Posterior(self.mean[part], self.log_sigma[part], self.context[part], self.tree, self.floor, self.ceiling)


def _log_density(value: Tensor, weights: Tensor, means: Tensor, widths: Tensor) -> Tensor:
    z = (value[..., None] - means) * torch.exp(-widths)
    return torch.logsumexp(weights - widths - 0.5 * z**2, dim=-1)


def _draw(weights: Tensor, means: Tensor, widths: Tensor, generator: torch.Generator) -> Tensor:
    # the kernel whose part of the unit interval contains a random number
    chance = torch.rand((*weights.shape[:-1], 1), generator=generator).to(weights.device)
    kernel = (weights.exp().cumsum(dim=-1) < chance).sum(dim=-1, keepdim=True).clamp(max=KERNELS - 1)
    noise = torch.randn(weights.shape[:-1], generator=generator).clamp(-LARGEST, LARGEST).to(weights.device)
    return means.gather(-1, kernel)[..., 0] + widths.gather(-1, kernel)[..., 0].exp() * noise
