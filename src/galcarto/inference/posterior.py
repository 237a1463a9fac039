"""A distribution over non-decreasing profiles, with an exact density, whose parameters a network gives.

Two likelihoods are trained together:

* marginal: in each bin, y = log(1 + A) of the cumulative profile A is normal around a non-decreasing mean;
* chain: the increment of each bin, given what lies in front of it. With u = log(increment + floor),

      u_i ~ N(g_i + rho_i (u_{i-1} - g_{i-1}) - kappa_i r_{i-1}, s_i),

  where g is the log-increment of the marginal mean plus a correction, and r_{i-1} the standardised residual of
  the cumulative profile so far: rho carries the smoothness of the profile, kappa draws a sample that has run
  high or low back to what the stars say about the cumulative value.

Samples come from the chain: an increment is never negative, so every sample is non-decreasing.
Nothing here knows what the profile is made of.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

PARAMETERS = 6  # per bin
LARGEST = 4.0  # standardised step of a sample
RESIDUAL = 5.0  # standardised residuals are cut here, so that a far sample does not run away


@dataclass(frozen=True)
class Posterior:
    """Posterior of a batch of profiles.

    Attributes
    ----------
    mean, log_sigma : Tensor, shape (batch, bin)
        Marginal of y = log(1 + A).
    log_step : Tensor, shape (batch, bin)
        g: central value of u.
    rho, kappa, log_spread : Tensor, shape (batch, bin)
        Parameters of the chain.
    floor : float
        Added to an increment before the logarithm.
    ceiling : float
        Largest cumulative value: the end of the prior, which no sample leaves.
    """

    mean: Tensor
    log_sigma: Tensor
    log_step: Tensor
    rho: Tensor
    kappa: Tensor
    log_spread: Tensor
    floor: float
    ceiling: float

    @classmethod
    def from_outputs(cls, outputs: Tensor, floor: float, ceiling: float) -> "Posterior":
        """Read a network's outputs of shape (batch, PARAMETERS * bin)."""
        step, log_sigma, correction, rho, kappa, log_spread = outputs.float().chunk(PARAMETERS, dim=1)
        mean = torch.cumsum(softplus(step - 4.0), dim=1)
        level = torch.expm1(mean.detach())
        increments = level - pad(level, (1, 0))[:, :-1]
        return cls(
            mean=mean,
            log_sigma=(log_sigma - 1.0).clamp(-6.0, 2.0),
            log_step=torch.log(increments + floor) + correction,
            rho=torch.tanh(rho + 1.0),
            kappa=kappa,
            log_spread=log_spread.clamp(-5.0, 2.0),
            floor=floor,
            ceiling=ceiling,
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
        before = pad(residual.detach().clamp(-RESIDUAL, RESIDUAL), (1, 0))[:, :-1]
        excess = pad(u - self.log_step, (1, 0))[:, :-1]
        z = (u - self.log_step - self.rho * excess + self.kappa * before) * torch.exp(-self.log_spread)
        chain = 0.5 * z**2 + self.log_spread
        return marginal.mean(), chain.mean()

    def sample(self, number: int, generator: torch.Generator, freedom: float = math.inf) -> Tensor:
        """Draw profiles.

        Parameters
        ----------
        number : int
            Samples per profile.
        generator : torch.Generator
        freedom : float
            Degrees of freedom: all steps of a sample share a factor sqrt(freedom / chi2), which makes
            the errors those of a multivariate Student distribution; infinite for normal errors.

        Returns
        -------
        Tensor, shape (batch, number, bin)
            Cumulative, non-decreasing along the last axis.
        """
        batch, bins = self.mean.shape
        width = torch.exp(self.log_spread)
        scale = torch.ones(batch, number)
        if math.isfinite(freedom):
            normals = torch.randn(batch, number, round(freedom), generator=generator)
            scale = torch.sqrt(round(freedom) / (normals**2).sum(dim=2))
        cumulative = torch.zeros(batch, number)
        excess = torch.zeros(batch, number)
        residual = torch.zeros(batch, number)
        result = torch.empty(batch, number, bins)
        inverse_sigma = torch.exp(-self.log_sigma)
        for i in range(bins):
            parameters = (self.log_step, self.rho, self.kappa, width, self.mean, inverse_sigma)
            g, rho, kappa, s, mean, inverse = (p[:, i : i + 1] for p in parameters)
            noise = torch.randn(batch, number, generator=generator) * scale
            u = g + rho * excess - kappa * residual + s * noise.clamp(-LARGEST, LARGEST)
            # below the floor there is no dust: the excess is that of the increment that is really taken
            increment = torch.minimum((torch.exp(u) - self.floor).clamp(min=0.0), self.ceiling - cumulative)
            excess = torch.log(increment + self.floor) - g
            cumulative = cumulative + increment
            residual = ((torch.log1p(cumulative) - mean) * inverse).clamp(-RESIDUAL, RESIDUAL)
            result[:, :, i] = cumulative
        return result

    def __getitem__(self, part: slice) -> "Posterior":
        """The posterior of part of the batch."""
        return Posterior(
            self.mean[part],
            self.log_sigma[part],
            self.log_step[part],
            self.rho[part],
            self.kappa[part],
            self.log_spread[part],
            self.floor,
            self.ceiling,
        )
