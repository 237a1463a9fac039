"""The learning core on its own: it knows no star and no dust, and a task of another kind fits."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from galcarto.core.errors import UserError
from galcarto.learning import training
from galcarto.learning.calibration import calibrate
from galcarto.learning.data import Arrays, Examples
from galcarto.learning.heads.normal import Normal
from galcarto.learning.networks import Estimator
from galcarto.learning.settings import Training
from galcarto.learning.trained import Trained
from galcarto.learning.training import fit

BLOCKED = ("galaxy", "dust", "surveys", "maps", "dustmap")
BLOCK = """
import importlib, pkgutil, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(tuple("galcarto." + room for room in {blocked})):
            raise ImportError(name)
sys.meta_path.insert(0, Finder())
import galcarto.learning
for module in pkgutil.walk_packages(galcarto.learning.__path__, "galcarto.learning."):
    importlib.import_module(module.name)
"""


def test_it_imports_without_stars_dust_surveys_and_maps() -> None:
    ran = subprocess.run([sys.executable, "-c", BLOCK.format(blocked=BLOCKED)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


class Toy(Estimator):
    """A vector in, two labels out."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 4)), Normal())

    def inputs(self, batch):
        return batch[0]

    def loss(self, outputs, batch):
        return self.head.negative_log_likelihood(outputs, batch[1])


def test_a_task_of_another_kind_is_trained(rng: np.random.Generator, tmp_path: Path) -> None:
    x = rng.normal(size=(6000, 3)).astype("f4")
    y = np.stack([x[:, 0] + x[:, 1], x[:, 2]], axis=1) + (0.1, 0.3) * rng.normal(size=(6000, 2))
    y[::3, 1] = np.nan  # labels that are missing
    learn, valid = (Arrays(x[part], y[part].astype("f4")) for part in (slice(0, 5000), slice(5000, None)))
    options = Training(epochs=12, batch=64, rounds=1, learning_rate=1e-2, accelerator="cpu")
    toy, history = fit(Toy, Examples(learn, 64, 8, 1), Examples(valid, 64), tmp_path, options, seed=1)
    _, sd = toy.head.distribution(toy(torch.from_numpy(x[5000:])))
    assert torch.allclose(sd.median(dim=0).values, torch.tensor([0.1, 0.3]), rtol=0.25)
    assert len(history) == 12


def test_the_learning_rate_rises_evenly_and_falls_as_half_a_cosine() -> None:
    rates = np.array([training._schedule(step, 1000) for step in range(1001)])
    np.testing.assert_allclose(np.diff(rates[:51], prepend=0.0), 1 / 51)  # over a twentieth of the steps
    np.testing.assert_allclose(rates[50:], 0.5 + 0.5 * np.cos(np.linspace(0.0, np.pi, 951)), atol=1e-12)


def test_weights_alone_decay_and_the_head_learns_three_times_as_fast() -> None:
    estimator = Estimator(nn.Linear(3, 2), nn.Linear(2, 1))
    groups = training._groups(estimator, Training(epochs=1, learning_rate=1e-3, weight_decay=0.1))
    assert [one["lr"] for one in groups] == pytest.approx([0.001, 0.001, 0.003])
    assert [one["weight_decay"] for one in groups] == [0.1, 0.0, 0.0]
    assert [len(one["params"]) for one in groups] == [1, 1, 2]


def test_a_normal_loss_adds_known_errors_and_skips_missing_labels() -> None:
    outputs = torch.tensor([[1.0, 2.0, np.log(0.3), np.log(0.5)]], requires_grad=True)
    labels, errors = torch.tensor([[1.5, np.nan]]), torch.tensor([[0.4, np.nan]])
    loss = Normal().negative_log_likelihood(outputs, labels, errors)
    assert loss.item() == pytest.approx(0.5 * (0.5**2 / 0.25 + np.log(0.25)))  # 0.3^2 + 0.4^2 = 0.25
    loss.backward()
    assert outputs.grad is not None
    assert outputs.grad[0, [1, 3]].tolist() == [0.0, 0.0]
    assert float(outputs.grad[0, 0]) == pytest.approx(-0.5 / 0.25)


def test_calibration_needs_no_profile(rng: np.random.Generator) -> None:
    """Of samples half as wide as they should be, and off by one of their standard deviations."""
    truth = torch.from_numpy(rng.normal(size=(4000, 1)))
    samples = torch.from_numpy(0.5 * rng.normal(size=(4000, 200, 1)) + 0.5)
    calibration = calibrate(samples.clone(), truth, torch.ones_like(truth, dtype=torch.bool))
    low, high = torch.quantile(calibration.apply(samples), torch.tensor([0.16, 0.84], dtype=torch.double), dim=1)
    assert float(((truth > low) & (truth < high)).double().mean()) == pytest.approx(0.68, abs=0.02)
    assert float((truth < (low + high) / 2).double().mean()) == pytest.approx(0.5, abs=0.02)


def test_independent_features_are_measured_in_their_own_widths() -> None:
    from galcarto.learning.trust import FeatureDistribution

    draw = torch.Generator().manual_seed(2)
    first = torch.randn(40_000, generator=draw)
    features = torch.stack([first, 10.0 * (first + 0.1 * torch.randn(40_000, generator=draw))], dim=1)
    against = torch.tensor([[1.0, -10.0]])  # against the correlation
    alone, together = (FeatureDistribution.learn(features, shrinkage).distance(against) for shrinkage in (1.0, 0.0))
    assert float(alone) == pytest.approx(np.sqrt(1 + 1 / 1.01), rel=0.02)
    assert float(together) > 10 * float(alone)


def test_a_fit_worse_than_all_replicates_has_the_least_p_value(rng: np.random.Generator) -> None:
    """19 of 38 replicates tell the distribution of chi2, of which the observed image is one more."""
    from galcarto.learning.trust import goodness_of_fit

    replicates = rng.poisson(5.0, (38, 1, 8, 8))
    p_value, chi2 = goodness_of_fit(np.full((1, 8, 8), 50), replicates)
    assert p_value == pytest.approx(1 / 20)
    assert chi2 > 10.0
    mean = np.repeat(np.repeat(replicates[:19, 0].reshape(19, 2, 4, 2, 4).mean(axis=(0, 2, 4)), 4, 0), 4, 1)
    assert goodness_of_fit(mean[None], replicates) == pytest.approx((1.0, 0.0))


def test_the_file_of_another_task_is_refused(tmp_path: Path) -> None:
    from galcarto.learning.calibration import Calibration
    from galcarto.learning.trust import FeatureDistribution

    features = FeatureDistribution.learn(torch.randn(100, 4, generator=torch.Generator().manual_seed(1)))
    Trained(Toy(), {}, Calibration.none(2), features, {}).save(tmp_path / "toy.pt", {})
    with pytest.raises(UserError, match="found the network of another task"):
        Trained.read(tmp_path / "toy.pt", lambda: Estimator(nn.Linear(1, 1), Normal()))
