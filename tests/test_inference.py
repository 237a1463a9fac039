"""The posterior, its calibration, networks, the stream of examples, training and its resume."""

import math
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from galcarto.cmd.files import BLOCK, write_examples
from galcarto.cmd.forward import EXTINCTION_GRID, ForwardModel
from galcarto.inference.calibration import Calibration, calibrate
from galcarto.inference.data import Examples
from galcarto.inference.networks import NETWORKS, build, prepare
from galcarto.inference.posterior import PARAMETERS, Posterior
from galcarto.inference.trained import Trained
from galcarto.inference.training import fit
from galcarto.surveys import TWOMASS

BINS = 12
FLOOR, CEILING = 0.01, 30.0
EDGES = np.linspace(0.0, 6.0, BINS + 1)


def posterior(batch: int, seed: int, scale: float = 1.0) -> Posterior:
    """A posterior from random outputs."""
    outputs = scale * torch.randn(batch, PARAMETERS * BINS, generator=torch.Generator().manual_seed(seed))
    return Posterior.from_outputs(outputs, FLOOR, CEILING)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.0, 8.0), freedom=st.sampled_from([math.inf, 4.0]))
def test_every_sample_is_a_profile(seed: int, scale: float, freedom: float) -> None:
    drawn = posterior(3, seed, scale)
    for calibration in (Calibration.none(BINS), Calibration(torch.linspace(0.3, 3.0, BINS), freedom)):
        samples = calibration.sample(drawn, 40, torch.Generator().manual_seed(seed))
        assert torch.isfinite(samples).all()
        assert (samples >= 0).all()
        assert (samples.diff(dim=2) >= 0).all()
    raw = drawn.sample(40, torch.Generator().manual_seed(seed), freedom)
    assert (raw <= CEILING * 1.00001).all()


def test_the_chain_is_a_density() -> None:
    """One bin: the likelihood integrates to one over the logarithm of the increment."""
    outputs = 0.3 * torch.randn(1, PARAMETERS, generator=torch.Generator().manual_seed(1))
    u = torch.linspace(-12.0, 12.0, 20_001)
    increments = torch.exp(u) - FLOOR
    keep = increments >= 0  # below the floor lies the mass of no dust at all
    one = Posterior.from_outputs(outputs.expand(int(keep.sum()), -1), FLOOR, CEILING)
    profile = increments[keep][:, None]
    z = (u[keep] - one.log_step[:, 0]) * torch.exp(-one.log_spread[:, 0])
    expected = 0.5 * z**2 + one.log_spread[:, 0]
    for i in range(0, len(profile), 2500):
        _, chain = one[i : i + 1].negative_log_likelihood(profile[i : i + 1])
        assert float(chain) == pytest.approx(float(expected[i]), rel=1e-4, abs=1e-5)
    total = torch.trapezoid(torch.exp(-expected) / math.sqrt(2 * math.pi), u[keep])
    below = torch.distributions.Normal(one.log_step[0, 0], torch.exp(one.log_spread[0, 0])).cdf(
        torch.log(torch.tensor(FLOOR))
    )
    assert float(total + below) == pytest.approx(1.0, abs=1e-3)


def test_samples_follow_the_likelihood() -> None:
    """The truth is drawn from the posterior itself: its coverage must be nominal."""
    truth_from = posterior(600, seed=3, scale=0.5)
    truth = truth_from.sample(1, torch.Generator().manual_seed(4))[:, 0]
    samples = truth_from.sample(200, torch.Generator().manual_seed(5))
    rank = (samples < truth[:, None]).float().mean(dim=1)
    assert float(rank.mean()) == pytest.approx(0.5, abs=0.05)
    inside = ((rank > 0.16) & (rank < 0.84)).float().mean()
    assert float(inside) == pytest.approx(0.68, abs=0.03)
    # and no other parameters explain those truths better
    own = sum(float(v) for v in truth_from.negative_log_likelihood(truth)[1:])
    other = sum(float(v) for v in posterior(600, seed=6, scale=0.5).negative_log_likelihood(truth)[1:])
    assert own < other


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_calibration_mends_wrong_widths(factor: float) -> None:
    wide = posterior(1200, seed=7, scale=0.3)
    right = replace(wide, log_spread=wide.log_spread - 1.5, kappa=torch.zeros_like(wide.kappa))
    truth = right.sample(1, torch.Generator().manual_seed(8))[:, 0]
    wrong = replace(right, log_spread=right.log_spread + math.log(factor))

    def coverage(calibration: Calibration) -> float:
        samples = calibration.sample(wrong[600:1200], 100, torch.Generator().manual_seed(9))
        low, high = torch.quantile(samples, torch.tensor([0.16, 0.84]), dim=1)
        return float(((truth[600:] >= low) & (truth[600:] <= high)).float().mean())

    mended = calibrate(wrong[:600], truth[:600], seed=1)
    assert abs(coverage(Calibration.none(BINS)) - 0.68) > 0.1
    assert coverage(mended) == pytest.approx(0.68, abs=0.06)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_give_finite_outputs_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, 2, PARAMETERS * BINS, 64, 0.1)
    counts = torch.poisson(torch.full((2, 64, 64), 2.0), torch.Generator().manual_seed(1))
    outputs = network(prepare(counts, counts))
    assert outputs.shape == (2, PARAMETERS * BINS)
    loss = sum(Posterior.from_outputs(outputs, FLOOR, CEILING).negative_log_likelihood(torch.ones(2, BINS).cumsum(1)))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_the_paper_network_has_its_54_million_weights() -> None:
    weights = sum(p.numel() for p in build("cornu2022", 2, 100, 64, 0.1).parameters())
    assert weights == pytest.approx(54e6, rel=0.02)


MODEL = ForwardModel(TWOMASS, {"J": 16.3, "Ks": 14.8}, 4.0, {"J": 0.27, "Ks": 0.11}, "Ks", ("J", "Ks"),
                     (5.0, 15.0), (-0.5, 6.0), 16, EDGES)  # fmt: skip


def write(path: Path, number: int, seed: int) -> np.ndarray:
    """A file of examples whose image holds the profile's end value; the profiles."""
    rng = np.random.default_rng(seed)
    profile = np.cumsum(rng.uniform(0, 0.5, (number, BINS)), axis=1).astype(np.float32)
    counts = rng.poisson(profile[:, -1, None, None] * np.ones((1, 16, 16))).astype(np.uint16)
    area = rng.uniform(0.1, 0.2, number).astype(np.float32)
    reference = np.full((16, 16), 10.0, np.float32)
    detectable = np.ones((BINS, len(EXTINCTION_GRID)), np.float32)
    blocks = [(counts[i : i + 100], profile[i : i + 100], area[i : i + 100]) for i in range(0, number, 100)]
    write_examples(path, blocks, reference, detectable, MODEL, {"rule": "test"})
    return profile


@pytest.fixture
def files(tmp_path: Path) -> tuple[list[Path], np.ndarray]:
    """Three files of examples, the last with a part of a block, and all their profiles."""
    paths = [tmp_path / f"{i}.nc" for i in range(3)]
    profiles = [write(path, number, i) for i, (path, number) in enumerate(zip(paths, (512, 512, 300), strict=True))]
    return paths, np.concatenate(profiles)


def test_evaluation_reads_each_example_once_and_in_order(files: tuple[list[Path], np.ndarray]) -> None:
    paths, profiles = files
    data = Examples(paths, batch=100)
    counts, reference, read = (torch.cat(parts) for parts in zip(*data, strict=True))
    assert len(list(data)) == len(data) == 14
    np.testing.assert_array_equal(read.numpy(), profiles)
    assert float(counts.mean(dim=(1, 2)).sub(read[:, -1]).abs().mean()) < 0.5
    assert ((reference >= 1.0) & (reference <= 2.0)).all()  # stars per deg2 times the tile's area


def test_training_rounds_share_out_a_pass(files: tuple[list[Path], np.ndarray]) -> None:
    paths, profiles = files
    data = Examples(paths, batch=64, buffer=2, seed=5, rounds=2)
    seen = []
    for epoch in (0, 1):
        data.epoch = epoch
        batches = [batch[2] for batch in data]
        assert len(batches) == len(data)
        seen.append(torch.cat(batches).numpy())
        again = torch.cat([batch[2] for batch in data]).numpy()
        np.testing.assert_array_equal(again, seen[-1])
    rows = {row.tobytes() for row in np.concatenate(seen)}
    assert len(rows) == sum(len(part) for part in seen), "an example came twice in a pass"
    assert rows <= {row.tobytes() for row in profiles}
    assert len(rows) >= len(profiles) - 2 * BLOCK
    order = [np.flatnonzero((profiles == row).all(axis=1))[0] for row in seen[0]]
    assert np.abs(np.diff(order)).mean() > 50, "not shuffled"


def test_a_corrupt_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.nc").write_bytes(b"not a netCDF file")
    with pytest.raises(ValueError, match=r"bad\.nc.*delete it"):
        Examples([tmp_path / "bad.nc"], 10)


def test_too_few_examples_are_refused(files: tuple[list[Path], np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"lower training\.batch"):
        Examples(files[0], batch=1000, buffer=2, rounds=2)


class Stop(L.Callback):
    """Ends the process's work after some epochs, as a kill would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: object, index: int) -> None:
        if trainer.current_epoch == self.after and index == 2:
            raise RuntimeError("cut")


def small() -> nn.Module:
    """A network with dropout, so that a resume must restore the random numbers too."""
    return nn.Sequential(nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, PARAMETERS * BINS))


def train(paths: list[Path], checkpoints: Path, callbacks: tuple[L.Callback, ...] = ()):
    """A short training on the files."""
    return fit(
        small,
        Examples(paths[:2], 64, buffer=2, seed=1, rounds=2),
        Examples(paths[2:], 64),
        checkpoints,
        support=(FLOOR, CEILING),
        seed=3,
        epochs=2,
        learning_rate=1e-2,
        weight_decay=0.0,
        patience=10,
        precision="32-true",
        accelerator="cpu",
        callbacks=callbacks,
    )


def test_an_interrupted_training_resumes_to_the_same_weights(
    files: tuple[list[Path], np.ndarray], tmp_path: Path
) -> None:
    whole, history = train(files[0], tmp_path / "whole")
    with pytest.raises(RuntimeError, match="cut"):
        train(files[0], tmp_path / "cut", (Stop(after=2),))
    assert (tmp_path / "cut/last.ckpt").exists()
    resumed, resumed_history = train(files[0], tmp_path / "cut")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed_history == history
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    assert history[-1]["valid_loss"] < history[0]["valid_loss"]


def test_a_network_file_round_trips_without_code(tmp_path: Path) -> None:
    torch.manual_seed(1)
    shape = {"name": "compact", "channels": 2, "pixels": 64, "dropout": 0.1}
    network = build(outputs=PARAMETERS * BINS, **shape).eval()
    trained = Trained(network, shape, EDGES, (FLOOR, CEILING), Calibration(torch.rand(BINS), 7.0))
    trained.save(tmp_path / "network.pt", {"rule": "test"})
    again = Trained.load(tmp_path / "network.pt")
    counts = np.random.default_rng(1).poisson(2.0, (3, 64, 64))
    reference = np.full((3, 64, 64), 2.0)
    np.testing.assert_array_equal(
        trained.posterior(counts, reference).mean.numpy(), again.posterior(counts, reference).mean.numpy()
    )
    assert again.support == (FLOOR, CEILING)
    assert again.calibration.freedom == 7.0
    (tmp_path / "other.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a network of Galcarto"):
        Trained.load(tmp_path / "other.pt")
