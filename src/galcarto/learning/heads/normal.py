"""Independent normal distributions of labels that are noisy and partly missing."""

import torch
from torch import Tensor, nn

LOG_SD = (-7.0, 4.0)  # range of ln(standard deviation), in the labels' units


class Normal(nn.Module):
    """A normal distribution for each label; outputs are means, then logarithms of standard deviations.

    Labels should be scaled to a standard deviation of about 1.
    """

    def distribution(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, each of shape (batch, label), from outputs of shape (batch, 2 * label)."""
        mean, log_sd = outputs.chunk(2, dim=-1)
        return mean, log_sd.clamp(*LOG_SD).exp()

    def negative_log_likelihood(self, outputs: Tensor, labels: Tensor, errors: Tensor | None = None) -> Tensor:
        """Mean over the labels that are there, without the constant (Leung & Bovy 2019, arXiv:1808.04428, eq. 2).

        Parameters
        ----------
        outputs : Tensor, shape (batch, 2 * label)
        labels : Tensor, shape (batch, label)
            NaN where missing.
        errors : Tensor, shape (batch, label), optional
            Known standard errors of the labels: they add in quadrature to the predicted ones.
        """
        mean, sd = self.distribution(outputs)
        there = labels.isfinite()
        variance = sd**2 + (0.0 if errors is None else torch.where(there, errors, 0.0) ** 2)
        residual = torch.where(
            there, labels - mean, 0.0
        )  # where, not a product: NaN times 0 is NaN in the gradient too
        loss = 0.5 * (residual**2 / variance + variance.log())
        return torch.where(there, loss, 0.0).sum() / there.sum().clamp(min=1)
