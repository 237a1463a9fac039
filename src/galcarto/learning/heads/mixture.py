"""Gaussian mixtures, one for each of several labels that are noisy and partly missing."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

LOG_SD = (-6.0, 2.0)  # range of ln(standard deviation) of a component, in the labels' units
SEPARATION = 1.0  # first means lie between minus this and this, without which all components would learn the same
BISECTIONS = 16  # halvings of the interval between the components' own quantiles


class Mixture(nn.Module):
    """A mixture of normal distributions for each label; labels should be scaled to a standard deviation of about 1.

    Outputs are, for each label, logarithms of the components' weights, then means, then logarithms of widths.

    Parameters
    ----------
    components : int
    """

    def __init__(self, components: int = 4) -> None:
        super().__init__()
        self.components = components

    def parameters_of(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and standard deviations, each of shape (batch, label, component).

        Parameters
        ----------
        outputs : Tensor, shape (batch, 3 * component * label)
        """
        weight, mean, log_sd = outputs.unflatten(-1, (-1, 3, self.components)).unbind(-2)
        offset = torch.linspace(-SEPARATION, SEPARATION, self.components, device=outputs.device, dtype=outputs.dtype)
        return log_softmax(weight, dim=-1), mean + offset, log_sd.clamp(*LOG_SD).exp()

    def negative_log_likelihood(
        self, outputs: Tensor, labels: Tensor, errors: Tensor | None = None, weights: Tensor | None = None
    ) -> Tensor:
        """Mean over the labels that are there.

        A label's own error widens each component: the convolution of two normal distributions is one whose variances
        add.

        Parameters
        ----------
        outputs : Tensor, shape (batch, 3 * component * label)
        labels : Tensor, shape (batch, label)
            NaN where missing: such a label counts for nothing.
        errors : Tensor, shape (batch, label), optional
            Known standard errors of the labels; NaN where unknown, which adds nothing.
        weights : Tensor, shape (label,), optional
            Of the labels.
        """
        weight, mean, sd = self.parameters_of(outputs)
        there = labels.isfinite()
        variance = sd**2
        if errors is not None:
            variance = variance + torch.where(there & errors.isfinite(), errors, 0.0)[..., None] ** 2
        # where, not a product: NaN times 0 is NaN in the gradient too
        residual = torch.where(there[..., None], labels[..., None] - mean, 0.0)
        log_density = torch.logsumexp(weight - 0.5 * (residual**2 / variance + variance.log()), dim=-1)
        loss = torch.where(there, 0.5 * math.log(2.0 * math.pi) - log_density, 0.0)
        share = there if weights is None else there * weights
        return (loss if weights is None else loss * weights).sum() / share.sum().clamp(min=1e-9)

    def moments(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each label, of shape (batch, label)."""
        weight, mean, sd = self.parameters_of(outputs)
        share = weight.exp()
        centre = (share * mean).sum(dim=-1)
        variance = (share * (sd**2 + (mean - centre[..., None]) ** 2)).sum(dim=-1)
        return centre, variance.sqrt()

    def cumulative(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Probability that a label is less than each of some values, both of shape (batch, label)."""
        return _below(*self.parameters_of(outputs), values)

    def quantiles(self, outputs: Tensor, levels: tuple[float, ...]) -> Tensor:
        """Quantiles of each label, shape (batch, label, level), by bisection."""
        parameters = self.parameters_of(outputs)
        _, mean, sd = parameters
        found = []
        for level in levels:
            # the mixture's quantile lies between those of its components
            own = mean + sd * math.sqrt(2.0) * torch.erfinv(torch.tensor(2.0 * level - 1.0, dtype=sd.dtype))
            low, high = own.amin(dim=-1), own.amax(dim=-1)
            for _ in range(BISECTIONS):
                middle = 0.5 * (low + high)
                below = _below(*parameters, middle) < level
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            found.append(0.5 * (low + high))
        return torch.stack(found, dim=-1)

    def sample(self, outputs: Tensor, number: int, generator: torch.Generator) -> Tensor:
        """Draw labels, shape (batch, number, label); random numbers are drawn on the CPU, whatever the device."""
        weight, mean, sd = (part[:, None].expand(-1, number, -1, -1) for part in self.parameters_of(outputs))
        chance = torch.rand((*weight.shape[:-1], 1), generator=generator).to(outputs.device)
        chosen = (weight.exp().cumsum(dim=-1) < chance).sum(dim=-1, keepdim=True).clamp(max=self.components - 1)
        noise = torch.randn(weight.shape[:-1], generator=generator).to(outputs.device)
        return mean.gather(-1, chosen)[..., 0] + sd.gather(-1, chosen)[..., 0] * noise


def _below(weight: Tensor, mean: Tensor, sd: Tensor, values: Tensor) -> Tensor:
    return (weight.exp() * torch.special.ndtr((values[..., None] - mean) / sd)).sum(dim=-1)
