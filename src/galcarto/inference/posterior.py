"""A distribution over non-decreasing profiles, with an exact density, whose parameters a network gives.

Two likelihoods are trained together:

* marginal: in each bin, y = log(1 + A) of the cumulative profile A is normal around a non-decreasing mean;
* chain: the increment of each bin, given what lies in front of it. u = log(increment + floor) has a mixture of normal
  distributions whose parameters a small network, the same for all bins, makes of the bin's context (from the image) and
  of the state: the profile so far, in absolute terms and against the marginal, and its last increments. A step that may
  come here or later, such as a cloud's, is no problem to a mixture.

Samples come from the chain: an increment is never negative, so every sample is non-decreasing.
Nothing here knows what the profile is made of.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, pad, softplus

CONTEXT = 10  # numbers that the image tells the chain about a bin
PARAMETERS = 2 + CONTEXT  # per bin
STATE = 7
KERNELS = 4  # normal distributions in the mixture
HIDDEN = 48
MEMORY = 0.7  # weight of the past in the running mean of the log-increments
LARGEST = 4.0  # standardised step of a sample
RESIDUAL = 5.0  # standardised residuals are cut here, so that a far sample does not run away


class Chain(nn.Module):
    """From context and state to the mixture of the next log-increment."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(CONTEXT + STATE, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 3 * KERNELS),
        )

    def forward(self, context: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and log widths, each of shape (..., KERNELS).

        Parameters
        ----------
        context : Tensor, shape (..., CONTEXT)
        state : Tensor, shape (..., STATE)
        """
        weight, mean, width = self.layers(torch.cat([context, state], dim=-1)).chunk(3, dim=-1)
        # apart from the start, or the kernels would all learn the same
        spread = torch.linspace(-2.0, 2.0, KERNELS, device=mean.device)
        return log_softmax(weight, dim=-1), 2.0 * mean - 3.0 + spread, (width - 0.5).clamp(-5.0, 2.0)


@dataclass(frozen=True)
class Posterior:
    """Posterior of a batch of profiles.

    Attributes
    ----------
    mean, log_sigma : Tensor, shape (batch, bin)
        Marginal of y = log(1 + A).
    context : Tensor, shape (batch, bin, CONTEXT)
    chain : Chain
    floor : float
        Added to an increment before the logarithm.
    ceiling : float
        Largest cumulative value: the end of the prior, which no sample leaves.
    """

    mean: Tensor
    log_sigma: Tensor
    context: Tensor
    chain: Chain
    floor: float
    ceiling: float

    @classmethod
    def from_outputs(cls, outputs: Tensor, chain: Chain, floor: float, ceiling: float) -> "Posterior":
        """Read a network's outputs of shape (batch, PARAMETERS * bin)."""
        parameters = outputs.float().unflatten(1, (PARAMETERS, -1))
        return cls(
            mean=torch.cumsum(softplus(parameters[:, 0] - 4.0), dim=1),
            log_sigma=(parameters[:, 1] - 1.0).clamp(-6.0, 2.0),
            context=parameters[:, 2:].transpose(1, 2),
            chain=chain,
            floor=floor,
            ceiling=ceiling,
        )

    def _state(
        self, y: Tensor, residual: Tensor, last: Tensor, running: Tensor, mean: Tensor, log_sigma: Tensor, bins: Tensor
    ) -> Tensor:
        """What the chain is told of the profile in front of a bin; all of order one.

        `mean` and `log_sigma` are the marginal's in the bin itself: how far it lies from where the profile stands, and
        the increment that would lead there, draw a profile that has run high or low back to what the image says.
        """
        ahead = ((mean - y) * torch.exp(-log_sigma)).clamp(-RESIDUAL, RESIDUAL)
        step = torch.log((torch.expm1(mean) - torch.expm1(y)).clamp(min=0.0) + self.floor)
        return torch.stack(
            [y, residual / 2.0, last / 3.0 + 1.0, running / 3.0 + 1.0, ahead / 2.0, step / 3.0 + 1.0, bins], dim=-1
        )

    def negative_log_likelihood(self, profile: Tensor) -> tuple[Tensor, Tensor]:
        """Marginal and chain terms, each a mean over bins and batch, without constants.

        Parameters
        ----------
        profile : Tensor, shape (batch, bin)
            True cumulative profiles.
        """
        y = torch.log1p(profile)
        residual = (y - self.mean) * torch.exp(-self.log_sigma)
        marginal = 0.5 * residual**2 + self.log_sigma
        increments = profile - pad(profile, (1, 0))[:, :-1]
        u = torch.log(increments.clamp(min=0.0) + self.floor)
        bins = u.shape[1]
        # weights of the past in the running mean: row i holds those of the bins in front of bin i
        lag = torch.arange(bins, device=u.device)[:, None] - torch.arange(bins, device=u.device) - 1
        weight = torch.where(lag >= 0, (1.0 - MEMORY) * MEMORY ** lag.clamp(min=0), 0.0)
        start = math.log(self.floor)
        running = start + (u - start) @ weight.T
        state = self._state(
            pad(y, (1, 0))[:, :-1],
            pad(residual.detach().clamp(-RESIDUAL, RESIDUAL), (1, 0))[:, :-1],
            pad(u, (1, 0), value=start)[:, :-1],
            running,
            self.mean.detach(),
            self.log_sigma.detach(),
            (torch.arange(bins, device=u.device) / bins).expand_as(u),
        )
        weights, means, widths = self.chain(self.context, state)
        z = (u[..., None] - means) * torch.exp(-widths)
        chain = -torch.logsumexp(weights - widths - 0.5 * z**2, dim=-1)
        return marginal.mean(), chain.mean()

    def sample(self, number: int, generator: torch.Generator) -> Tensor:
        """Draw profiles.

        Parameters
        ----------
        number : int
            Samples per profile.
        generator : torch.Generator

        Returns
        -------
        Tensor, shape (batch, number, bin)
            Cumulative, non-decreasing along the last axis.
        """
        batch, bins = self.mean.shape
        start = math.log(self.floor)
        cumulative = torch.zeros(batch, number)
        residual = torch.zeros(batch, number)
        last = torch.full((batch, number), start)
        running = torch.full((batch, number), start)
        result = torch.empty(batch, number, bins)
        inverse = torch.exp(-self.log_sigma)
        with torch.inference_mode():
            for i in range(bins):
                place = torch.full((batch, number), i / bins)
                mean, width = (values[:, i : i + 1].expand(-1, number) for values in (self.mean, self.log_sigma))
                state = self._state(torch.log1p(cumulative), residual, last, running, mean, width, place)
                context = self.context[:, i, None, :].expand(-1, number, -1)
                weights, means, widths = self.chain(context, state)
                # the kernel whose share of the unit interval holds a random number
                chance = torch.rand(batch, number, 1, generator=generator)
                kernel = (weights.exp().cumsum(dim=-1) < chance).sum(dim=-1, keepdim=True).clamp(max=KERNELS - 1)
                noise = torch.randn(batch, number, generator=generator).clamp(-LARGEST, LARGEST)
                u = means.gather(-1, kernel)[..., 0] + widths.gather(-1, kernel)[..., 0].exp() * noise
                # below the floor there is no dust: the chain goes on from the increment that is really taken
                increment = torch.minimum((torch.exp(u) - self.floor).clamp(min=0.0), self.ceiling - cumulative)
                last = torch.log(increment + self.floor)
                running = MEMORY * running + (1.0 - MEMORY) * last
                cumulative = cumulative + increment
                residual = (torch.log1p(cumulative) - self.mean[:, i : i + 1]) * inverse[:, i : i + 1]
                residual = residual.clamp(-RESIDUAL, RESIDUAL)
                result[:, :, i] = cumulative
        return result

    def __getitem__(self, part: slice) -> "Posterior":
        """The posterior of part of the batch."""
        return Posterior(
            self.mean[part], self.log_sigma[part], self.context[part], self.chain, self.floor, self.ceiling
        )
