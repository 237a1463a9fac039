"""The posterior, its calibration, networks, the stream of examples, training and its resume."""

import math
import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import netCDF4
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import one_survey
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom
from torch import Tensor, nn
from torch.utils.data import DataLoader

from galcarto.__main__ import main
from galcarto.core.errors import UserError
from galcarto.dustmap.diagrams.files import BLOCK, require_filter, write_examples
from galcarto.dustmap.diagrams.forward import EXTINCTION_GRID, View
from galcarto.dustmap.settings import read_settings
from galcarto.learning import data
from galcarto.learning.calibration import FEWEST, Calibration, calibrate
from galcarto.learning.data import Examples, Windows, images
from galcarto.learning.heads.tree import CONTEXT, END, KERNELS, PARAMETERS, SHARE, Posterior, Tree, levels
from galcarto.learning.networks import NETWORKS, Estimator, planes, prepare
from galcarto.learning.trained import Trained
from galcarto.learning.training import check_accelerator, fit
from galcarto.learning.trust import FeatureDistribution
from galcarto.surveys import TWOMASS

BINS = 12
FLOOR, CEILING = 0.01, 30.0
EDGES = np.linspace(0.0, 6.0, BINS + 1)


def tree(seed: int = 0, widths: float = -1.0) -> Tree:
    """A tree of random weights whose kernels lie together, so that hardly a share is none or all.

    `widths` is added to their log widths.
    """
    torch.manual_seed(seed)
    made = Tree()
    with torch.no_grad():
        for part, apart in ((made.end, END), (made.share, SHARE)):
            part[-1].bias[KERNELS : 2 * KERNELS] -= 0.45 * torch.linspace(-apart, apart, KERNELS)
            part[-1].bias[2 * KERNELS :] += widths
    return made.requires_grad_(False)


def posterior(batch: int, seed: int, scale: float = 1.0, of: Tree | None = None, bins: int = BINS) -> Posterior:
    """A posterior from random outputs, of profiles that end at about 4 or, of few bins, less."""
    outputs = scale * torch.randn(batch, PARAMETERS * bins, generator=torch.Generator().manual_seed(seed))
    outputs[:, :bins] += 2.0
    return Posterior.from_outputs(outputs, of or tree(), FLOOR, CEILING)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.0, 8.0))
def test_every_sample_is_a_profile(seed: int, scale: float) -> None:
    drawn = posterior(3, seed, scale)
    stretch = torch.linspace(0.3, 3.0, 6 * BINS).reshape(2, 3, BINS)
    for calibration in (Calibration.none(BINS), Calibration(torch.linspace(-1.0, 1.0, BINS), stretch)):
        samples = calibration.sample(drawn, 40, torch.Generator().manual_seed(seed))
        assert torch.isfinite(samples).all()
        assert (samples >= 0).all()
        assert (samples.diff(dim=2) >= 0).all()
    raw = drawn.sample(40, torch.Generator().manual_seed(seed))
    assert (raw <= CEILING * 1.00001).all()
    assert (raw.diff(dim=2) >= 0).all()


def test_the_calibration_that_is_none_changes_nothing() -> None:
    drawn = posterior(5, 1)
    same = Calibration.none(BINS).sample(drawn, 50, torch.Generator().manual_seed(1))
    torch.testing.assert_close(same, drawn.sample(50, torch.Generator().manual_seed(1)), rtol=1e-5, atol=1e-5)


def cumulative(value: torch.Tensor, mixture: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Probability of less than `value` in a mixture of normal distributions."""
    weights, means, widths = mixture
    return (weights.exp() * torch.distributions.Normal(means, widths.exp()).cdf(value[..., None])).sum(dim=-1)


@pytest.mark.parametrize("bins", [1, 2, 3, 12, 50])
def test_the_tree_splits_every_interval_once(bins: int) -> None:
    nodes = [node for level in levels(bins) for node in level]
    assert sorted(middle for _, middle, _ in nodes) == list(range(1, bins))
    known = {0, bins}
    for first, middle, last in nodes:  # an interval's ends are known before it is split
        assert {first, last} <= known
        assert first < middle < last
        known.add(middle)


def test_the_tree_is_a_density() -> None:
    """Two bins: the likelihood integrates to one over the end and over the logit of the share before the middle."""
    one = posterior(1, seed=1, scale=0.3, bins=2)
    end = torch.expm1(one.mean[0, 1])
    furthest = float(torch.log(end / FLOOR + 1.0)) - 1e-4
    logit = torch.linspace(-furthest, furthest, 4001)
    middle = torch.sigmoid(logit) * (end + 2 * FLOOR) - FLOOR
    profile = torch.stack([middle, end.expand_as(middle)], dim=1)
    log_density = torch.stack([-2.0 * one.negative_log_likelihood(part)[1] for part in profile.split(1)]) - math.log(
        2 * math.pi
    )
    weights, means, widths = one._end()
    off = (torch.log1p(end) - one.mean[0, 1]) / one.log_sigma[0, 1].exp()
    at_end = (weights.exp() * torch.distributions.Normal(means, widths.exp()).log_prob(off).exp()).sum()
    shares = one._shares(torch.tensor([[0.0, 0.0, end]]), torch.tensor([[0, 1, 2]]))
    inside = cumulative(logit[-1:, None], shares) - cumulative(logit[:1, None], shares)
    assert float(torch.trapezoid(log_density.exp(), logit) / at_end) == pytest.approx(float(inside), rel=1e-3)


def test_samples_are_drawn_from_the_density() -> None:
    """What a sample has at each place is uniform in the likelihood's cumulative probability given its own state."""
    drawn = posterior(4, seed=3, scale=0.3)
    number = 4000
    samples = drawn.sample(number, torch.Generator().manual_seed(4))
    padded = torch.nn.functional.pad(samples, (1, 0))
    off = (torch.log1p(samples[..., -1]) - drawn.mean[:, -1:]) / drawn.log_sigma[:, -1:].exp()
    ends = cumulative(off, tuple(part[:, None] for part in drawn._end()))
    nodes = torch.tensor([node for level in levels(BINS) for node in level])
    low, middle, high = (padded[..., edge] for edge in nodes.T)
    shares = cumulative(drawn._logit(low, middle, high), drawn._shares(padded, nodes))
    # what would leave the interval is put at its end
    assert float(((middle > low) & (middle < high)).float().mean()) > 0.99
    for values in (ends[..., None], shares):
        for share in (0.25, 0.5, 0.75):
            below = (values < share).float().mean(dim=(0, 1))
            assert (below - share).abs().max() < 5 * math.sqrt(share * (1 - share) / (4 * number)) + 0.01


def test_samples_follow_the_likelihood() -> None:
    """The truth is drawn from the posterior itself: its coverage must be nominal."""
    truth_from = posterior(600, seed=3, scale=0.5)
    truth = truth_from.sample(1, torch.Generator().manual_seed(4))[:, 0]
    samples = truth_from.sample(200, torch.Generator().manual_seed(5))
    rank = (samples < truth[:, None]).float().mean(dim=1)
    assert float(rank.mean()) == pytest.approx(0.5, abs=0.05)
    inside = ((rank > 0.16) & (rank < 0.84)).float().mean()
    assert float(inside) == pytest.approx(0.68, abs=0.03)
    # and no other parameters explain those truths better: neither another tree nor the contexts of others
    own = float(truth_from.negative_log_likelihood(truth)[1])
    assert own < float(posterior(600, seed=3, scale=0.5, of=tree(9)).negative_log_likelihood(truth)[1])
    assert own < float(posterior(600, seed=6, scale=0.5).negative_log_likelihood(truth)[1])


def test_two_answers_can_be_learnt() -> None:
    """A cloud in front or behind, as likely: samples have it at either place and never half of it at both."""
    torch.manual_seed(1)
    place = torch.randint(0, 2, (512,))
    steps = 0.02 * torch.exp(0.3 * torch.randn(512, BINS))
    steps[torch.arange(512), torch.where(place == 0, 2, 8)] = 4.0 * torch.exp(0.1 * torch.randn(512))
    truth = steps.cumsum(dim=1)
    outputs = nn.Parameter(torch.zeros(1, PARAMETERS * BINS))
    learnt = Tree()
    optimiser = torch.optim.Adam([outputs, *learnt.parameters()], 1e-2)
    for _ in range(400):
        optimiser.zero_grad()
        fitted = Posterior.from_outputs(outputs.expand(512, -1), learnt, FLOOR, CEILING)
        sum(fitted.negative_log_likelihood(truth)).backward()
        optimiser.step()
    with torch.no_grad():
        found = Posterior.from_outputs(outputs, learnt, FLOOR, CEILING).sample(2000, torch.Generator().manual_seed(3))[
            0
        ]
    middle = found[:, 5]  # between the two places
    assert float((middle > 3.0).float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float(((middle > 0.6) & (middle < 3.0)).float().mean()) < 0.02
    # there is one cloud, not none and not two
    assert float(((found[:, -1] > 3.0) & (found[:, -1] < 6.0)).float().mean()) > 0.95


@pytest.mark.parametrize("fault", ["narrow", "wide", "low", "skewed"])
def test_calibration_mends_wrong_widths_and_medians(fault: str) -> None:
    """Coverage and median of a posterior that is not the truth's, on profiles that did not calibrate it."""
    factor = {"narrow": -0.7, "wide": 0.7}.get(fault, 0.0)
    right = posterior(1000, seed=7, scale=0.3, of=tree(widths=-1.5))
    truth = right.sample(1, torch.Generator().manual_seed(8))[:, 0]
    wrong = posterior(1000, seed=7, scale=0.3, of=tree(widths=factor - 1.5))
    if fault == "low":
        truth = 1.4 * truth
    if fault == "skewed":  # the upper half of the truths lies further up
        middle = right.sample(200, torch.Generator().manual_seed(10)).median(dim=1).values
        truth = torch.where(truth > middle, middle + 2.0 * (truth - middle), truth)
        truth = torch.cummax(truth, dim=1).values

    # so many samples that their quantiles are the posterior's: those of 100 hold two per cent less
    def coverage(calibration: Calibration, level: float) -> float:
        samples = calibration.sample(wrong[600:1000], 400, torch.Generator().manual_seed(9))
        low, high = torch.quantile(samples, torch.tensor([0.5 - level / 2, 0.5 + level / 2]), dim=1)
        return float(((truth[600:] >= low) & (truth[600:] <= high)).float().mean())

    def below(calibration: Calibration) -> float:
        samples = calibration.sample(wrong[600:1000], 400, torch.Generator().manual_seed(9))
        return float((truth[600:] < samples.median(dim=1).values).float().mean())

    mended = calibrate(wrong[:600], truth[:600], everywhere, seed=1)
    none = Calibration.none(BINS)
    assert abs(coverage(none, 0.68) - 0.68) > 0.05 or abs(below(none) - 0.5) > 0.05
    assert coverage(mended, 0.5) == pytest.approx(0.5, abs=0.05)
    assert coverage(mended, 0.68) == pytest.approx(0.68, abs=0.05)
    assert coverage(mended, 0.95) == pytest.approx(0.95, abs=0.03)
    assert below(mended) == pytest.approx(0.5, abs=0.05)


def everywhere(samples: Tensor) -> Tensor:
    """The data tell of every profile at every bin."""
    return torch.ones(len(samples), samples.shape[2], dtype=torch.bool)


@pytest.mark.parametrize("enough", [True, False])
def test_profiles_that_the_data_do_not_tell_of_are_not_calibrated_on(enough: bool) -> None:
    number = FEWEST + 200 if enough else FEWEST // 2
    right = posterior(2 * number, seed=7, scale=0.3, of=tree(widths=-1.5))
    truth = right.sample(1, torch.Generator().manual_seed(8))[:, 0]
    truth[number:] *= 1.5  # wrong where the data do not tell
    seen = 0

    def told(samples: Tensor) -> Tensor:
        nonlocal seen
        first = torch.arange(seen, seen + len(samples)) < number
        seen += len(samples)
        return first[:, None].expand(-1, samples.shape[2])

    off = float(calibrate(right, truth, told, seed=1).shift.mean())
    assert abs(off) < 0.1 if enough else off > 0.3  # too few to go by: all count


def test_calibration_leaves_a_right_posterior_alone() -> None:
    right = posterior(1000, seed=7, scale=0.3, of=tree(widths=-1.5))
    truth = right.sample(1, torch.Generator().manual_seed(8))[:, 0]
    found = calibrate(right, truth, everywhere, seed=1)
    assert float(found.shift.abs().max()) < 0.15
    assert float((found.stretch - 1.0).abs().mean()) < 0.1


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_give_finite_outputs_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    estimator = Estimator(name, 2, 64, BINS, 0.1)
    counts = torch.poisson(torch.full((2, 1, 64, 64), 2.0), torch.Generator().manual_seed(1))
    outputs = estimator(prepare(counts, counts, torch.ones(2, 1)))
    assert outputs.shape == (2, PARAMETERS * BINS)
    fitted = Posterior.from_outputs(outputs, estimator.tree, FLOOR, CEILING)
    loss = sum(fitted.negative_log_likelihood(torch.ones(2, BINS).cumsum(1)))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in estimator.parameters())
    assert fitted.context.shape == (2, BINS, CONTEXT)


def test_the_paper_network_has_its_54_million_weights() -> None:
    weights = sum(p.numel() for p in NETWORKS["cornu2022"](2, 100, 64, 0.1).parameters())
    assert weights == pytest.approx(54e6, rel=0.02)


def test_a_diagram_that_was_not_observed_is_not_an_empty_sky() -> None:
    counts, reference = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 4.0)
    present = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    images = prepare(counts, reference, present)
    assert images.shape == (2, planes(3), 8, 8)
    assert torch.equal(images[0, 6:], torch.ones(3, 8, 8))
    assert torch.equal(images[1, 6:].mean(dim=(1, 2)), torch.tensor([1.0, 0.0, 0.0]))
    # nothing of what was not observed comes through, whatever the counts say
    counts[1, 1:] = 9.0
    assert torch.equal(prepare(counts, reference, present)[1], images[1])
    assert torch.equal(images[1, 3:6].mean(dim=(1, 2)), torch.tensor([2.0, 0.0, 0.0]))


def test_one_diagram_needs_no_plane_that_says_it_is_there() -> None:
    images = prepare(torch.full((1, 1, 8, 8), 9.0), torch.full((1, 1, 8, 8), 4.0), torch.ones(1, 1))
    assert images.shape == (1, planes(1), 8, 8)
    assert images.mean(dim=(2, 3)).tolist() == [[3.0, 2.0]]


VIEW = View(TWOMASS, {"J": 16.3, "Ks": 14.8}, 4.0, {"J": 0.27, "Ks": 0.11}, "Ks", ("J", "Ks"),
            (5.0, 15.0), (-0.5, 6.0), 16)  # fmt: skip
MODEL = one_survey(VIEW, EDGES)


def write(path: Path, number: int, seed: int) -> np.ndarray:
    """A file of examples whose image holds the profile's end value; the profiles."""
    rng = np.random.default_rng(seed)
    profile = np.cumsum(rng.uniform(0, 0.5, (number, BINS)), axis=1).astype(np.float32)
    counts = rng.poisson(profile[:, -1, None, None, None] * np.ones((1, 1, 16, 16))).astype(np.uint16)
    area = rng.uniform(0.1, 0.2, number).astype(np.float32)
    reference = np.full((1, 16, 16), 10.0, np.float32)
    detectable = np.ones((1, BINS, len(EXTINCTION_GRID)), np.float32)
    present = np.ones((number, 1))
    arrays = (counts, profile, area, present)
    blocks = [tuple(array[i : i + 100] for array in arrays) for i in range(0, number, 100)]
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
    batch = [torch.cat(parts) for parts in zip(*data, strict=True)]
    counts, reference, present = images(batch, data.references)
    read = batch[-1]
    assert len(list(data)) == len(data) == 14
    np.testing.assert_array_equal(read.numpy(), profiles)
    assert float(counts.float().mean(dim=(1, 2, 3)).sub(read[:, -1]).abs().mean()) < 0.5
    assert torch.equal(present, torch.ones(len(read), 1))
    assert ((reference >= 1.0) & (reference <= 2.0)).all()  # stars per deg2 times the tile's area


def test_training_rounds_share_out_a_pass(files: tuple[list[Path], np.ndarray]) -> None:
    paths, profiles = files
    data = Examples(paths, batch=64, buffer=2, seed=5, rounds=2)
    seen = []
    for epoch in (0, 1):
        data.epoch = epoch
        batches = [batch[-1] for batch in data]
        assert len(batches) == len(data)
        seen.append(torch.cat(batches).numpy())
        again = torch.cat([batch[-1] for batch in data]).numpy()
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


def test_a_filter_that_is_missing_is_explained() -> None:
    with pytest.raises(UserError, match=r"HDF5_PLUGIN_PATH: found .*no Zstandard filter"):
        require_filter(SimpleNamespace(has_zstd_filter=lambda: False))


def test_too_few_examples_are_refused(files: tuple[list[Path], np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"lower training\.batch"):
        Examples(files[0], batch=1000, buffer=2, rounds=2)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight files of four blocks each."""
    folder = tmp_path_factory.mktemp("many")
    paths = [folder / f"{i}.nc" for i in range(8)]
    for i, path in enumerate(paths):
        write(path, 4 * BLOCK, i)
    return paths


def same(one: list[list[torch.Tensor]], other: list[list[torch.Tensor]]) -> bool:
    """Whether two lists of batches are equal."""
    pairs = ((a, b) for first, second in zip(one, other, strict=True) for a, b in zip(first, second, strict=True))
    return all(torch.equal(a, b) for a, b in pairs)


# on a machine of one core, and where Python warns of every fork
WORKERS_ANYHOW = pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:This process .*fork")


def epochs(data: Examples) -> list[list[torch.Tensor]]:
    """All batches of the first three epochs."""
    batches = []
    for data.epoch in range(3):
        batches += list(data)
    return batches


@WORKERS_ANYHOW
def test_the_order_does_not_depend_on_the_workers(many: list[Path]) -> None:
    drawn = torch.get_rng_state()
    found = [epochs(Examples(many, 100, 6, seed=5, rounds=2, workers=workers)) for workers in (0, 1, 2)]
    assert torch.equal(torch.get_rng_state(), drawn), "the training's random numbers were used"
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    whole = [list(Examples(many, 100, workers=workers)) for workers in (0, 2)]
    assert same(*whole)


def test_reading_goes_on_past_the_end_of_an_epoch(many: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As Lightning reads, which counts the batches."""
    started = []
    monkeypatch.setattr(data, "DataLoader", lambda *a, **k: started.append(1) or DataLoader(*a, **k))
    for examples, epochs in ((Examples(many, 100, 6, seed=5, rounds=2), (0, 1, 2)), (Examples(many, 100), (0, 0, 0))):
        for examples.epoch in epochs:
            assert len(list(islice(examples, len(examples)))) == len(examples)
    assert len(started) == 2


@WORKERS_ANYHOW
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_begin_later(many: list[Path], workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = epochs(Examples(many, 100, 6, seed=5, rounds=2))
    later = Examples(many, 100, 6, seed=5, rounds=2, workers=workers)
    read = []
    original = Windows.__getitem__

    monkeypatch.setattr(Windows, "__getitem__", lambda self, window: read.append(window) or original(self, window))
    later.skip = 32  # the 3201st example is in the third window of 1536
    assert same(list(later), whole[32 : len(later)])
    if not workers:
        assert len(read) == 1, "what is left out was read"
    later.epoch = 1  # only the first pass was shorter
    assert same(list(later), whole[len(later) : 2 * len(later)])


@pytest.mark.parametrize("buffer", [0, 6])
def test_devices_share_the_examples_without_overlap(many: list[Path], buffer: int) -> None:
    seen = []
    for rank in range(2):
        data = Examples(many, 128, buffer, seed=5, devices=2)
        data.order.rank = rank
        batches = list(data)
        assert len(batches) == len(data) == 64
        assert {len(batch[0]) for batch in batches} == {64}
        seen.append({row.numpy().tobytes() for batch in batches for row in batch[-1]})
    assert len(seen[0]) == len(seen[1]) == 16 * BLOCK
    assert not seen[0] & seen[1]


def test_batches_are_composed_as_by_a_full_shuffle(many: list[Path]) -> None:
    """Numbers of a sightline, or of a block, in a batch vary as in a hypergeometric distribution."""
    batch, buffer = 64, 8
    batches = list(Examples(many, batch, buffer, seed=5))
    assert len(batches) == 32 * BLOCK // batch
    block = {}
    for path in many:
        with netCDF4.Dataset(path) as file:
            profiles = np.asarray(file["extinction"][:])
        block |= {row.tobytes(): (len(block) + i) // BLOCK for i, row in enumerate(profiles)}
    sightlines = np.stack([np.bincount(file, minlength=8) for _, file, *_ in batches])
    of_block = np.stack([np.bincount([block[row.numpy().tobytes()] for row in b[-1]], minlength=32) for b in batches])
    # all examples, in eight sightlines; the examples of a window, in the eight blocks that it holds
    per_window = buffer * BLOCK // batch
    held = np.repeat(of_block.reshape(-1, per_window, 32).sum(axis=1) > 0, per_window, axis=0)
    assert (held.sum(axis=1) == buffer).all()
    for counts, total in ((sightlines.ravel(), 32 * BLOCK), (of_block[held], buffer * BLOCK)):
        expected = hypergeom(total, total // 8, batch)
        assert counts.mean() == pytest.approx(expected.mean())
        assert np.mean((counts - expected.mean()) ** 2) == pytest.approx(expected.var(), rel=0.2)


class Stop(L.Callback):
    """Ends the process's work after some epochs, as a kill would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: object, index: int) -> None:
        if trainer.current_epoch == self.after and index == 2:
            raise RuntimeError("cut")


class Small(Estimator):
    """A network with dropout, so that a resume must restore the random numbers too."""

    def __init__(self) -> None:
        super().__init__("compact", 2, 16, BINS, 0.2)
        self.network = nn.Sequential(
            nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, PARAMETERS * BINS)
        )


def train(
    paths: list[Path], checkpoints: Path, callbacks: tuple[L.Callback, ...] = (), workers: int = 0, **options: Any
):
    """A short training on the files."""
    return fit(
        Small,
        Examples(paths[:2], 64, buffer=2, seed=1, rounds=2, workers=workers),
        Examples(paths[2:], 64, workers=workers),
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
        **options,
    )


def test_an_interrupted_training_resumes_to_the_same_weights(
    files: tuple[list[Path], np.ndarray], tmp_path: Path
) -> None:
    whole, history = train(files[0], tmp_path / "whole")
    with pytest.raises(RuntimeError, match="cut"):
        train(files[0], tmp_path / "cut", (Stop(after=2),))
    assert (tmp_path / "cut/last.ckpt").exists()
    # and workers change nothing
    resumed, resumed_history = train(files[0], tmp_path / "cut", workers=1)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed_history == history
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    assert history[-1]["valid_loss"] < history[0]["valid_loss"]


def test_a_gpu_that_is_missing_is_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(UserError, match=r"finds no GPU on .* CUDA_VISIBLE_DEVICES being '1'; .* to auto"):
        check_accelerator("gpu")
    check_accelerator("cpu")
    assert not caplog.records
    check_accelerator("auto")
    assert "STANDS IDLE" in caplog.text
    caplog.clear()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    check_accelerator("auto")
    assert not caplog.records


class Terminate(L.Callback):
    """Sends this process SIGTERM while it learns from a batch, or while it validates."""

    def __init__(self, batch: int | None) -> None:
        self.batch = batch

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: object, index: int) -> None:
        if trainer.current_epoch == 2 and index == self.batch:
            signal.raise_signal(signal.SIGTERM)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.current_epoch == 2 and self.batch is None:
            signal.raise_signal(signal.SIGTERM)


# 8 batches a round; from the last one and from the validation a training goes on to the next round's first
@pytest.mark.parametrize(("batch", "kept"), [(0, 17), (3, 20), (7, 25), (None, 25)])
def test_a_terminated_training_goes_on_after_the_batch(
    files: tuple[list[Path], np.ndarray], tmp_path: Path, batch: int | None, kept: int
) -> None:
    whole, history = train(files[0], tmp_path / "whole")
    with pytest.raises(SystemExit, match="stopped by SIGTERM or as its time is up; run again"):
        train(files[0], tmp_path / "cut", (Terminate(batch),))
    assert torch.load(tmp_path / "cut/last.ckpt", weights_only=True)["global_step"] == kept
    resumed, resumed_history = train(files[0], tmp_path / "cut")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed_history == history


def test_a_training_whose_time_is_up_goes_on_after_the_batch(
    files: tuple[list[Path], np.ndarray], tmp_path: Path
) -> None:
    whole, history = train(files[0], tmp_path / "whole")
    for step in (1, 2):
        with pytest.raises(SystemExit, match="as its time is up; run again"):
            train(files[0], tmp_path / "cut", seconds=0.0)
        assert torch.load(tmp_path / "cut/last.ckpt", weights_only=True)["global_step"] == step
    resumed, resumed_history = train(files[0], tmp_path / "cut")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed_history == history


def test_a_training_whose_patience_had_run_out_does_not_go_on(
    files: tuple[list[Path], np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="cut"):
        train(files[0], tmp_path, (Stop(after=2),))
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    (stopping,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("EarlyStopping"))
    stopping["wait_count"] = 10
    torch.save(checkpoint, tmp_path / "last.ckpt")
    _, history = train(files[0], tmp_path)
    assert history == checkpoint["history"]


def test_two_devices_train_like_one(many: list[Path], config: dict[str, Any], tmp_path: Path) -> None:
    """On a CPU: two processes, each with half of every batch; the first alone writes."""
    config["distance"] = {"step": "500 pc", "max": "6 kpc"}
    config["training"] |= {"batch": 64, "buffer": 8, "rounds": 2, "accelerator": "cpu"}
    history = {}
    for devices in (1, 2):
        config["training"]["devices"] = devices
        folder = tmp_path / str(devices)
        folder.mkdir()
        words = ["train_network", "--seed", "3", "--settings"]
        words += [read_settings(config).for_stage("train_network")]
        words += ["--train", *map(str, many[:6]), "--valid", *map(str, many[6:])]
        for name in ("checkpoints", "network", "history"):
            words += [f"--{name}", str(folder / name)]
        if devices == 1:
            assert main(words) == 0
        else:  # Lightning runs the command again for the second device
            ran = subprocess.run(
                [sys.executable, "-m", "galcarto", *words],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert ran.returncode == 0, ran.stderr
            assert ran.stderr.count("train loss") == 2, "each process reported"
        assert {path.name for path in folder.iterdir()} == {"network", "history"}
        history[devices] = pd.read_csv(folder / "history")
    one, two = history[1], history[2]
    assert one.examples.tolist() == two.examples.tolist() == [3072, 6144]
    assert one.step.tolist() == two.step.tolist()
    # the training's loss has each device's own dropout and normalisation in it
    for name, tolerance in (("train_loss", 0.25), ("valid_loss", 0.1)):
        assert one[name].iloc[-1] < -1.0
        assert two[name].iloc[-1] == pytest.approx(one[name].iloc[-1], abs=tolerance)


def test_a_compiler_that_is_missing_is_named(
    files: tuple[list[Path], np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"training\.compile: found no no-such-compiler"):
        train(files[0], tmp_path, compile=True)


# (type of the arithmetic, largest deviation of an output against the outputs' standard deviation)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_cpu_and_gpu_predict_alike(name: str, kind: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    estimator = Estimator(name, 2, 64, BINS, 0.1).eval()
    counts = torch.poisson(torch.full((64, 1, 64, 64), 2.0)).to(torch.uint16)
    shown = counts, torch.full(counts.shape, 2.0), torch.ones(64, 1)
    with torch.inference_mode():
        expected = estimator(prepare(*shown))
        estimator.cuda()
        with torch.autocast("cuda", kind, enabled=kind != torch.float32):
            found = estimator(prepare(*(part.cuda() for part in shown))).float().cpu()
    assert float((found - expected).abs().max()) < tolerance * float(expected.std())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_cpu_and_gpu_draw_alike() -> None:
    """The same random numbers give the same samples, but for the few that fall to another kernel of a mixture."""
    torch.manual_seed(0)
    estimator = Estimator("compact", 2, 64, BINS, 0.0).eval()
    trained = Trained(estimator, {}, EDGES, (FLOOR, CEILING), Calibration.none(BINS), None, np.ones(BINS))
    counts = np.random.default_rng(1).poisson(2.0, (8, 1, 64, 64))
    arrays = counts, np.full(counts.shape, 2.0), np.ones((8, 1))
    drawn = []
    for one in (trained, trained.on_gpu(1)):
        posterior, _ = one.posterior(*arrays)
        drawn.append(one.calibration.sample(posterior, 100, torch.Generator().manual_seed(1)))
    close = torch.isclose(*drawn, rtol=1e-3, atol=1e-3)
    assert float(close.float().mean()) > 0.99


def test_a_network_file_round_trips_without_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    shape = {"name": "compact", "channels": planes(2), "pixels": 64, "bins": BINS, "dropout": 0.1}
    calibration = Calibration(torch.rand(BINS), torch.rand(2, 3, BINS) + 0.5)
    estimator = Estimator(**shape).eval()
    _, features = estimator.forward_features(torch.rand(60, shape["channels"], 64, 64))
    feature_distribution = FeatureDistribution.learn(features.detach())
    spread = np.linspace(0.5, 1.5, BINS)
    trained = Trained(estimator, shape, EDGES, (FLOOR, CEILING), calibration, feature_distribution, spread)
    trained.save(tmp_path / "network.pt", {"rule": "test"})
    again = Trained.load(tmp_path / "network.pt")
    counts = np.random.default_rng(1).poisson(2.0, (3, 2, 64, 64))
    reference = np.full((3, 2, 64, 64), 2.0)
    present = np.array([[1, 1], [1, 0], [0, 1]])
    answers = [one.posterior(counts, reference, present) for one in (trained, again)]
    drawn = [
        one.calibration.sample(posterior, 20, torch.Generator().manual_seed(1))
        for one, (posterior, _) in zip((trained, again), answers, strict=True)
    ]
    assert torch.equal(*drawn)
    assert again.feature_distribution is not None
    mine, theirs = (
        one.distance(features)
        for one, (_, features) in zip((feature_distribution, again.feature_distribution), answers, strict=True)
    )
    assert torch.equal(mine, theirs)
    assert torch.equal(again.feature_distribution.distances, feature_distribution.distances)
    np.testing.assert_array_equal(again.prior_spread, spread)
    assert again.support == (FLOOR, CEILING)
    np.testing.assert_array_equal(again.edges, EDGES)
    assert torch.equal(again.calibration.stretch, calibration.stretch)
    assert torch.equal(again.calibration.shift, calibration.shift)
    assert again.on_gpu(0) is again
    assert not caplog.records
    if not torch.cuda.is_available():
        assert again.on_gpu(1) is again
        assert "inference_job.gpus" in caplog.text
    (tmp_path / "other.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a network of Galcarto"):
        Trained.load(tmp_path / "other.pt")
