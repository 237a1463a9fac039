"""The mixture head against scipy's normal distributions and numerical integrals."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from galcarto.learning.heads.mixture import Mixture

HEAD = Mixture(components=2)
# one label: weights 1/4 and 3/4, means 0.5 - 1 and -0.2 + 1, widths 0.3 and 0.5
OUTPUTS = torch.tensor([[np.log(0.25), np.log(0.75), 0.5, -0.2, np.log(0.3), np.log(0.5)]], dtype=torch.float64)
PARTS = ((0.25, -0.5, 0.3), (0.75, 0.8, 0.5))


def density(x: float, error: float = 0.0) -> float:
    return sum(weight * norm.pdf(x, mean, np.hypot(sd, error)) for weight, mean, sd in PARTS)


def test_a_known_error_is_convolved_in() -> None:
    error = 0.4
    expected, _ = quad(lambda true: density(true) * norm.pdf(0.3, true, error), -8, 8)
    labels, errors = torch.tensor([[0.3]]).double(), torch.tensor([[error]]).double()
    assert HEAD.negative_log_likelihood(OUTPUTS, labels, errors).item() == pytest.approx(-np.log(expected), rel=1e-6)
    assert HEAD.negative_log_likelihood(OUTPUTS, labels).item() == pytest.approx(-np.log(density(0.3)), rel=1e-6)
    unknown = torch.tensor([[np.nan]]).double()
    assert HEAD.negative_log_likelihood(OUTPUTS, labels, unknown).item() == pytest.approx(-np.log(density(0.3)))


def test_a_missing_label_counts_for_nothing() -> None:
    outputs = OUTPUTS.repeat(1, 2).requires_grad_()
    loss = HEAD.negative_log_likelihood(outputs, torch.tensor([[0.3, np.nan]]).double())
    assert loss.item() == pytest.approx(-np.log(density(0.3)))
    loss.backward()
    assert outputs.grad is not None
    assert outputs.grad[0, 6:].tolist() == [0.0] * 6
    assert outputs.grad[0, :6].abs().min() > 0


def test_moments_and_quantiles_are_the_densitys() -> None:
    mean, sd = HEAD.moments(OUTPUTS)
    first = quad(lambda x: x * density(x), -8, 8)[0]
    assert mean.item() == pytest.approx(first)
    assert sd.item() == pytest.approx(np.sqrt(quad(lambda x: (x - first) ** 2 * density(x), -8, 8)[0]))
    levels = (0.16, 0.5, 0.975)
    for level, found in zip(levels, HEAD.quantiles(OUTPUTS, levels)[0, 0].tolist(), strict=True):
        assert quad(density, -8, found)[0] == pytest.approx(level, abs=1e-4)
        assert HEAD.cumulative(OUTPUTS, torch.tensor([[found]]).double()).item() == pytest.approx(level, abs=1e-4)


def test_equal_components_have_the_quantiles_of_one() -> None:
    # means 0.5 - 1 and -1.5 + 1, widths 0.3
    one = torch.tensor([[0.0, 0.0, 0.5, -1.5, np.log(0.3), np.log(0.3)]], dtype=torch.float64)
    levels = (0.025, 0.16, 0.5, 0.84)
    assert HEAD.quantiles(one, levels)[0, 0].tolist() == pytest.approx(norm.ppf(levels, -0.5, 0.3), abs=1e-6)


def test_samples_follow_the_density() -> None:
    drawn = HEAD.sample(OUTPUTS, 40_000, torch.Generator().manual_seed(1))[0, :, 0]
    mean, sd = HEAD.moments(OUTPUTS)
    assert drawn.mean().item() == pytest.approx(mean.item(), abs=4 * sd.item() / 200)
    assert (drawn < 0.0).double().mean().item() == pytest.approx(quad(density, -8, 0)[0], abs=0.01)
