"""Posterior, calibration, networks, streams of examples, training and its resumption."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from conftest import one_survey
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom
from torch import Tensor, nn
from torch.utils.data import DataLoader

from galcarto.__main__ import main
from galcarto.core.errors import UserError
from galcarto.core.netcdf import BLOCK, require_filter
from galcarto.dustmap.batches import DiagramFiles, images, planes, prepare
from galcarto.dustmap.diagrams.files import write_examples
from galcarto.dustmap.diagrams.forward import EXTINCTION_GRID, View
from galcarto.dustmap.infer import infer
from galcarto.dustmap.network import ProfileEstimator, ProfileNetwork, at_knots, running_mean
from galcarto.dustmap.settings import Training, read_settings
from galcarto.dustmap.train import calibrated
from galcarto.learning import data
from galcarto.learning.calibration import FEWEST, Calibration, calibrate
from galcarto.learning.data import Examples, Windows
from galcarto.learning.heads.tree import CONTEXT, END, FRACTION, KERNELS, PARAMETERS, Posterior, Tree, levels
from galcarto.learning.networks import NETWORKS
from galcarto.learning.training import check_accelerator, fit
from galcarto.learning.trust import FeatureDistribution
from galcarto.surveys import TWOMASS

BINS = 12
FLOOR, CEILING = 0.01, 30.0
EDGES = np.linspace(0.0, 6.0, BINS + 1)
SHAPE: dict[str, Any] = {
    "name": "compact", "channels": 2, "pixels": 16, "bins": BINS, "dropout": 0.1, "support": (FLOOR, CEILING)
}  # fmt: skip


def tree(seed: int = 0, widths: float = -1.0) -> Tree:
    """A tree of random weights whose kernels are close together, so that fractions are rarely 0 or 1.

    `widths` is added to the kernels' log widths.
    """
    torch.manual_seed(seed)
    made = Tree()
    with torch.no_grad():
        for part, apart in ((made.end, END), (made.fraction, FRACTION)):
            part[-1].bias[KERNELS : 2 * KERNELS] -= 0.45 * torch.linspace(-apart, apart, KERNELS)
            part[-1].bias[2 * KERNELS :] += widths
    return made.requires_grad_(False)


def posterior(batch: int, seed: int, scale: float = 1.0, of: Tree | None = None, bins: int = BINS) -> Posterior:
    """A posterior from random outputs, of profiles with a total of about 4, or less if they have few bins."""
    outputs = scale * torch.randn(batch, PARAMETERS * bins, generator=torch.Generator().manual_seed(seed))
    outputs[:, :bins] += 2.0
    return Posterior.from_outputs(outputs, of or tree(), FLOOR, CEILING)


def uncalibrated(bins: int = BINS) -> dict[str, Tensor]:
    """What leaves a density as it is."""
    none = Calibration.none(bins)
    return {"density_shift": none.shift, "density_stretch": none.stretch}


def sample(calibration: Calibration, drawn: Posterior, number: int, seed: int) -> Tensor:
    """Calibrated samples, as in the map."""
    network = ProfileNetwork(ProfileEstimator(**SHAPE), {}, calibration, None, uncalibrated())
    return network.sample(drawn, number, torch.Generator().manual_seed(seed))


def found(of: Posterior, truth: Tensor, used: Tensor | None = None) -> Calibration:
    """Calibration of a posterior against true profiles, as after a training."""
    samples = of.sample(128, torch.Generator().manual_seed(1))
    return calibrate(samples, truth, torch.ones_like(truth, dtype=torch.bool) if used is None else used, running_mean)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.0, 8.0))
def test_samples_are_non_negative_and_non_decreasing(seed: int, scale: float) -> None:
    drawn = posterior(3, seed, scale)
    stretch = torch.linspace(0.3, 3.0, 6 * BINS).reshape(2, 3, BINS)
    for calibration in (Calibration.none(BINS), Calibration(torch.linspace(-1.0, 1.0, BINS), stretch)):
        samples = sample(calibration, drawn, 40, seed)
        assert torch.isfinite(samples).all()
        assert (samples >= 0).all()
        assert (samples.diff(dim=2) >= 0).all()
    raw = drawn.sample(40, torch.Generator().manual_seed(seed))
    assert (raw <= CEILING * 1.00001).all()
    assert (raw.diff(dim=2) >= 0).all()


def test_no_calibration_leaves_samples_unchanged() -> None:
    drawn = posterior(5, 1)
    same = sample(Calibration.none(BINS), drawn, 50, 1)
    torch.testing.assert_close(same, drawn.sample(50, torch.Generator().manual_seed(1)), rtol=1e-5, atol=1e-5)


def cumulative(value: torch.Tensor, mixture: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Cumulative probability at `value` of a mixture of normal distributions."""
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


def test_the_likelihood_of_the_tree_is_normalised() -> None:
    """For two bins the likelihood integrates to one over the total and over the logit of the fraction half-way."""
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
    shares = one._fractions(torch.tensor([[0.0, 0.0, end]]), torch.tensor([[0, 1, 2]]))
    inside = cumulative(logit[-1:, None], shares) - cumulative(logit[:1, None], shares)
    assert float(torch.trapezoid(log_density.exp(), logit) / at_end) == pytest.approx(float(inside), rel=1e-3)


def test_sampled_fractions_follow_the_likelihood() -> None:
    """The likelihood's cumulative probability of each sampled fraction, given the coarser ones, is uniform."""
    drawn = posterior(4, seed=3, scale=0.3)
    number = 4000
    samples = drawn.sample(number, torch.Generator().manual_seed(4))
    padded = torch.nn.functional.pad(samples, (1, 0))
    off = (torch.log1p(samples[..., -1]) - drawn.mean[:, -1:]) / drawn.log_sigma[:, -1:].exp()
    ends = cumulative(off, tuple(part[:, None] for part in drawn._end()))
    nodes = torch.tensor([node for level in levels(BINS) for node in level])
    low, middle, high = (padded[..., edge] for edge in nodes.T)
    shares = cumulative(drawn._logit(low, middle, high), drawn._fractions(padded, nodes))
    # fractions outside the interval are set to its ends
    assert float(((middle > low) & (middle < high)).float().mean()) > 0.99
    for values in (ends[..., None], shares):
        for share in (0.25, 0.5, 0.75):
            below = (values < share).float().mean(dim=(0, 1))
            assert (below - share).abs().max() < 5 * math.sqrt(share * (1 - share) / (4 * number)) + 0.01


def test_samples_have_nominal_coverage() -> None:
    """Truths drawn from the posterior itself have nominal coverage."""
    truth_from = posterior(600, seed=3, scale=0.5)
    truth = truth_from.sample(1, torch.Generator().manual_seed(4))[:, 0]
    samples = truth_from.sample(200, torch.Generator().manual_seed(5))
    rank = (samples < truth[:, None]).float().mean(dim=1)
    assert float(rank.mean()) == pytest.approx(0.5, abs=0.05)
    inside = ((rank > 0.16) & (rank < 0.84)).float().mean()
    assert float(inside) == pytest.approx(0.68, abs=0.03)
    # neither another tree nor other contexts have a higher likelihood
    own = float(truth_from.negative_log_likelihood(truth)[1])
    assert own < float(posterior(600, seed=3, scale=0.5, of=tree(9)).negative_log_likelihood(truth)[1])
    assert own < float(posterior(600, seed=6, scale=0.5).negative_log_likelihood(truth)[1])


def test_a_bimodal_posterior_can_be_learnt() -> None:
    """A cloud at one of two equally likely places: samples have it at one place, never half of it at both."""
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
    # exactly one cloud
    assert float(((found[:, -1] > 3.0) & (found[:, -1] < 6.0)).float().mean()) > 0.95


@pytest.mark.parametrize("fault", ["narrow", "wide", "low", "skewed"])
def test_calibration_corrects_widths_and_medians(fault: str) -> None:
    """Coverage and median of a wrong posterior, on profiles that were not used to calibrate it."""
    factor = {"narrow": -0.7, "wide": 0.7}.get(fault, 0.0)
    right = posterior(1000, seed=7, scale=0.3, of=tree(widths=-1.5))
    truth = right.sample(1, torch.Generator().manual_seed(8))[:, 0]
    wrong = posterior(1000, seed=7, scale=0.3, of=tree(widths=factor - 1.5))
    if fault == "low":
        truth = 1.4 * truth
    if fault == "skewed":  # the truths above the median lie twice as far from it
        middle = right.sample(200, torch.Generator().manual_seed(10)).median(dim=1).values
        truth = torch.where(truth > middle, middle + 2.0 * (truth - middle), truth)
        truth = torch.cummax(truth, dim=1).values

    def scores(calibration: Calibration) -> dict[float, float]:
        """Coverage of central intervals by their level, and at 0 the share of truths below the median."""
        # 400 samples, as the quantiles of 100 would lower the coverage by two per cent
        samples = sample(calibration, wrong[600:1000], 400, 9)
        result = {0: float((truth[600:] < samples.median(dim=1).values).float().mean())}
        for level in (0.5, 0.68, 0.95):
            low, high = torch.quantile(samples, torch.tensor([0.5 - level / 2, 0.5 + level / 2]), dim=1)
            result[level] = float(((truth[600:] >= low) & (truth[600:] <= high)).float().mean())
        return result

    before, after = scores(Calibration.none(BINS)), scores(found(wrong[:600], truth[:600]))
    assert abs(before[0.68] - 0.68) > 0.05 or abs(before[0] - 0.5) > 0.05
    assert after[0.5] == pytest.approx(0.5, abs=0.05)
    assert after[0.68] == pytest.approx(0.68, abs=0.05)
    assert after[0.95] == pytest.approx(0.95, abs=0.03)
    assert after[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("enough", [True, False])
def test_calibration_ignores_profiles_that_the_data_do_not_constrain(enough: bool) -> None:
    number = FEWEST + 200 if enough else FEWEST // 2
    right = posterior(2 * number, seed=7, scale=0.3, of=tree(widths=-1.5))
    truth = right.sample(1, torch.Generator().manual_seed(8))[:, 0]
    truth[number:] *= 1.5  # wrong where the data do not constrain it
    informative = (torch.arange(2 * number) < number)[:, None].expand(-1, BINS)
    off = float(found(right, truth, informative).shift.mean())
    assert abs(off) < 0.1 if enough else off > 0.3  # too few: all are used


def test_between_knots_profiles_keep_the_shares_of_the_samples() -> None:
    samples = torch.tensor([0.0, 1.0, 1.0, 4.0, *[4.0] * 28]).expand(1, 1, 32)
    calibrated = torch.linspace(2.0, 33.0, 32).expand(1, 1, 32)
    (((*first, fourth, fifth, sixth),),) = at_knots(samples, calibrated)[..., :6].tolist()
    # the knots are the ends of every fourth bin; a piece without dust has it everywhere
    assert first == pytest.approx([0.0, 5.0 / 4.0, 5.0 / 4.0])
    assert (fourth, fifth, sixth) == pytest.approx((5.0, 6.0, 7.0))


def test_intervals_of_the_density_hold_after_the_calibration() -> None:
    """A posterior whose totals are too uncertain, and whose shares are right."""
    bins, ones = 64, 1000

    def draw(shape: tuple[int, ...], spread: float, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        steps = torch.exp(1.5 * torch.randn((*shape, bins), generator=generator))
        total = torch.exp(spread * torch.randn((*shape, 1), generator=generator))
        return 10.0 * total * steps.cumsum(dim=-1) / steps.sum(dim=-1, keepdim=True)

    truth = draw((ones,), 0.2, 1)
    network = ProfileNetwork(ProfileEstimator(**SHAPE | {"bins": bins}), {}, Calibration.none(bins), None, {})
    network = calibrated(network, draw((ones, 128), 0.6, 2), truth, torch.ones(ones, bins, dtype=torch.bool))
    raw, true = draw((ones, 128), 0.6, 3), draw((ones,), 0.2, 4)
    wrong: Any = SimpleNamespace(sample=lambda number, generator: raw)
    profiles = network.sample(wrong, 128, torch.Generator())

    def coverage(samples: Tensor, true: Tensor) -> float:
        low, high = torch.quantile(samples, torch.tensor([0.16, 0.84]), dim=1)
        return float(((true >= low) & (true <= high)).float().mean())

    assert coverage(raw, true) > 0.8
    assert coverage(profiles, true) == pytest.approx(0.68, abs=0.03)
    assert coverage(profiles.diff(dim=-1), true.diff(dim=-1)) == pytest.approx(0.68, abs=0.03)
    # what calibrating the profile alone does
    assert coverage(network.calibration.apply(raw).diff(dim=-1), true.diff(dim=-1)) < 0.6


def test_calibration_of_a_correct_posterior_is_the_identity() -> None:
    right = posterior(1000, seed=7, scale=0.3, of=tree(widths=-1.5))
    truth = right.sample(1, torch.Generator().manual_seed(8))[:, 0]
    calibration = found(right, truth)
    assert float(calibration.shift.abs().max()) < 0.15
    assert float((calibration.stretch - 1.0).abs().mean()) < 0.1


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_give_finite_outputs_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    estimator = ProfileEstimator(**SHAPE | {"name": name, "pixels": 64})
    counts = torch.poisson(torch.full((2, 1, 64, 64), 2.0), torch.Generator().manual_seed(1))
    outputs = estimator(prepare(counts, counts, torch.ones(2, 1)))
    assert outputs.shape == (2, PARAMETERS * BINS)
    fitted = estimator.posterior(outputs)
    loss = sum(fitted.negative_log_likelihood(torch.ones(2, BINS).cumsum(1)))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in estimator.parameters())
    assert fitted.context.shape == (2, BINS, CONTEXT)


def test_the_paper_network_has_its_54_million_weights() -> None:
    weights = sum(p.numel() for p in NETWORKS["cornu2022"](2, 100, 64, 0.1).parameters())
    assert weights == pytest.approx(54e6, rel=0.02)


def test_unobserved_channels_are_masked() -> None:
    counts, reference = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 4.0)
    present = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    images = prepare(counts, reference, present)
    assert images.shape == (2, planes(3), 8, 8)
    assert torch.equal(images[0, 6:], torch.ones(3, 8, 8))
    assert torch.equal(images[1, 6:].mean(dim=(1, 2)), torch.tensor([1.0, 0.0, 0.0]))
    # counts of unobserved channels are ignored
    counts[1, 1:] = 9.0
    assert torch.equal(prepare(counts, reference, present)[1], images[1])
    assert torch.equal(images[1, 3:6].mean(dim=(1, 2)), torch.tensor([2.0, 0.0, 0.0]))


def test_a_single_channel_has_no_mask_plane() -> None:
    images = prepare(torch.full((1, 1, 8, 8), 9.0), torch.full((1, 1, 8, 8), 4.0), torch.ones(1, 1))
    assert images.shape == (1, planes(1), 8, 8)
    assert images.mean(dim=(2, 3)).tolist() == [[3.0, 2.0]]


VIEW = View(TWOMASS, {"J": 16.3, "Ks": 14.8}, 4.0, {"J": 0.27, "Ks": 0.11}, "Ks", ("J", "Ks"),
            (5.0, 15.0), (-0.5, 6.0), 16)  # fmt: skip
MODEL = one_survey(VIEW, EDGES)
Files = tuple[list[Path], np.ndarray]  # paths of examples, and their profiles


def write(path: Path, number: int, seed: int) -> np.ndarray:
    """Write a file of examples whose counts follow the profile's total; returns the profiles."""
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
def files(tmp_path: Path) -> Files:
    """Three files of examples, the last with an incomplete block, and all their profiles."""
    paths = [tmp_path / f"{i}.nc" for i in range(3)]
    profiles = [write(path, number, i) for i, (path, number) in enumerate(zip(paths, (512, 512, 300), strict=True))]
    return paths, np.concatenate(profiles)


def test_evaluation_reads_each_example_once_and_in_order(files: Files) -> None:
    paths, profiles = files
    source = DiagramFiles(paths)
    data = Examples(source, batch=100)
    batch = [torch.cat(parts) for parts in zip(*data, strict=True)]
    counts, reference, present = images(batch, source.references)
    read = batch[-1]
    assert len(list(data)) == len(data) == 14
    np.testing.assert_array_equal(read.numpy(), profiles)
    assert float(counts.float().mean(dim=(1, 2, 3)).sub(read[:, -1]).abs().mean()) < 0.5
    assert torch.equal(present, torch.ones(len(read), 1))
    assert ((reference >= 1.0) & (reference <= 2.0)).all()  # stars per deg2 times the tile's area


def test_rounds_of_a_pass_do_not_overlap(files: Files) -> None:
    paths, profiles = files
    data = Examples(DiagramFiles(paths), batch=64, buffer=2, seed=5, rounds=2)
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


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"not a netCDF file", "get it again; if the workflow made it"),
        (b"galcarto_version, cut", "; delete it and run again"),
    ],
)
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes, hint: str) -> None:
    (tmp_path / "bad.nc").write_bytes(content)
    with pytest.raises(ValueError, match=rf"bad\.nc.*{hint}"):
        DiagramFiles([tmp_path / "bad.nc"])


def test_a_filter_that_is_missing_is_explained() -> None:
    with pytest.raises(UserError, match=r"HDF5_PLUGIN_PATH: found .*no Zstandard filter"):
        require_filter(SimpleNamespace(has_zstd_filter=lambda: False))


def test_too_few_examples_are_refused(files: Files) -> None:
    with pytest.raises(ValueError, match=r"lower training\.batch"):
        Examples(DiagramFiles(files[0]), batch=1000, buffer=2, rounds=2)


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


# torch warns on a machine with one core, and Python may warn of every fork
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
    found = [epochs(Examples(DiagramFiles(many), 100, 6, seed=5, rounds=2, workers=workers)) for workers in (0, 1, 2)]
    assert torch.equal(torch.get_rng_state(), drawn), "the training's random numbers were used"
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    whole = [list(Examples(DiagramFiles(many), 100, workers=workers)) for workers in (0, 2)]
    assert same(*whole)


def test_workers_are_started_once_for_all_epochs(many: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the reader counts the batches and does not ask for one more."""
    started = []
    monkeypatch.setattr(data, "DataLoader", lambda *a, **k: started.append(1) or DataLoader(*a, **k))
    for examples, epochs in (
        (Examples(DiagramFiles(many), 100, 6, seed=5, rounds=2), (0, 1, 2)),
        (Examples(DiagramFiles(many), 100), (0, 0, 0)),
    ):
        for examples.epoch in epochs:
            assert len(list(islice(examples, len(examples)))) == len(examples)
    assert len(started) == 2


@WORKERS_ANYHOW
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_start_at_a_later_batch(many: list[Path], workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = epochs(Examples(DiagramFiles(many), 100, 6, seed=5, rounds=2))
    later = Examples(DiagramFiles(many), 100, 6, seed=5, rounds=2, workers=workers)
    read = []
    original = Windows.__getitem__

    monkeypatch.setattr(Windows, "__getitem__", lambda self, window: read.append(window) or original(self, window))
    later.skip = 32  # the 3201st example is in the third window of 1536
    assert same(list(later), whole[32 : len(later)])
    if not workers:
        assert len(read) == 1, "skipped examples were read"
    later.epoch = 1  # only the first pass was shorter
    assert same(list(later), whole[len(later) : 2 * len(later)])


@pytest.mark.parametrize("buffer", [0, 6])
def test_devices_share_the_examples_without_overlap(many: list[Path], buffer: int) -> None:
    seen = []
    for rank in range(2):
        data = Examples(DiagramFiles(many), 128, buffer, seed=5, devices=2)
        data.order.rank = rank
        batches = list(data)
        assert len(batches) == len(data) == 64
        assert {len(batch[0]) for batch in batches} == {64}
        seen.append({row.numpy().tobytes() for batch in batches for row in batch[-1]})
    assert len(seen[0]) == len(seen[1]) == 16 * BLOCK
    assert not seen[0] & seen[1]


def test_batches_are_composed_as_by_a_full_shuffle(many: list[Path]) -> None:
    """The number of examples of a sightline, or of a block, in a batch is hypergeometric."""
    batch, buffer = 64, 8
    batches = list(Examples(DiagramFiles(many), batch, buffer, seed=5))
    assert len(batches) == 32 * BLOCK // batch
    block = {}
    for path in many:
        with netCDF4.Dataset(path) as file:
            profiles = np.asarray(file["extinction"][:])
        block |= {row.tobytes(): (len(block) + i) // BLOCK for i, row in enumerate(profiles)}
    sightlines = np.stack([np.bincount(file, minlength=8) for _, file, *_ in batches])
    of_block = np.stack([np.bincount([block[row.numpy().tobytes()] for row in b[-1]], minlength=32) for b in batches])
    # all examples in eight sightlines; those of a window in its eight blocks
    per_window = buffer * BLOCK // batch
    held = np.repeat(of_block.reshape(-1, per_window, 32).sum(axis=1) > 0, per_window, axis=0)
    assert (held.sum(axis=1) == buffer).all()
    for counts, total in ((sightlines.ravel(), 32 * BLOCK), (of_block[held], buffer * BLOCK)):
        expected = hypergeom(total, total // 8, batch)
        assert counts.mean() == pytest.approx(expected.mean())
        assert np.mean((counts - expected.mean()) ** 2) == pytest.approx(expected.var(), rel=0.2)


class Small(ProfileEstimator):
    """A network with dropout, so that resuming needs the random state; `act` is called at each batch."""

    def __init__(self, references: Tensor, act: Callable[["Small"], None] = lambda _: None) -> None:
        super().__init__(**SHAPE)
        self.network = nn.Sequential(
            nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, PARAMETERS * BINS)
        )
        self.references, self.act, self.batches = references, act, 0

    def loss(self, outputs: Tensor, batch: Sequence[Tensor]) -> Tensor:
        """Loss; counts the training batches."""
        self.act(self)
        self.batches += self.training
        return super().loss(outputs, batch)


def train(
    paths: list[Path],
    checkpoints: Path,
    act: Callable[[Small], None] = lambda _: None,
    workers: int = 0,
    seconds: float = math.inf,
    **options: Any,
):
    """Train on the files: two passes of two rounds of eight batches."""
    learn, valid = DiagramFiles(paths[:2]), DiagramFiles(paths[2:], first=2)
    values: dict[str, Any] = {"epochs": 2, "learning_rate": 1e-2, "weight_decay": 0.0, "patience": 10}
    return fit(
        partial(Small, torch.cat([learn.references, valid.references]), act),
        Examples(learn, 64, buffer=2, seed=1, rounds=2, workers=workers),
        Examples(valid, 64, workers=workers),
        checkpoints,
        Training(**values | {"accelerator": "cpu"} | options),
        seed=3,
        seconds=seconds,
    )


def assert_same(one: tuple[nn.Module, list], other: tuple[nn.Module, list]) -> None:
    """Two trainings ended with the same weights and histories."""
    assert all(torch.equal(a, b) for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True))
    assert one[1] == other[1]


def cut(estimator: Small) -> None:
    """Interrupt the training in the third round, as a kill would."""
    if estimator.batches == 18:
        raise RuntimeError("cut")


def test_an_interrupted_training_resumes_to_the_same_weights(files: Files, tmp_path: Path) -> None:
    whole = train(files[0], tmp_path / "whole")
    with pytest.raises(RuntimeError, match="cut"):
        train(files[0], tmp_path / "cut", cut)
    assert (tmp_path / "cut/last.ckpt").exists()
    # the number of workers has no effect
    assert_same(train(files[0], tmp_path / "cut", workers=1), whole)
    history = whole[1]
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


# 8 batches a round; the signal comes during a batch of the third round, or during its validation
@pytest.mark.parametrize(("batch", "kept"), [(0, 17), (3, 20), (7, 24), (None, 24)])
def test_a_terminated_training_resumes_after_the_batch(
    files: Files, tmp_path: Path, batch: int | None, kept: int
) -> None:
    def terminate(estimator: Small) -> None:
        at = estimator.training and estimator.batches - 16 == batch
        if at or (batch is None and estimator.batches == 24 and not estimator.training):
            signal.raise_signal(signal.SIGTERM)

    whole = train(files[0], tmp_path / "whole")
    with pytest.raises(SystemExit, match="stopped by SIGTERM or as its time is up; run again"):
        train(files[0], tmp_path / "cut", terminate)
    assert torch.load(tmp_path / "cut/last.ckpt", weights_only=True)["progress"]["steps"] == kept
    assert_same(train(files[0], tmp_path / "cut"), whole)


def test_a_training_at_its_time_limit_resumes_after_the_batch(files: Files, tmp_path: Path) -> None:
    whole = train(files[0], tmp_path / "whole")
    for step in (1, 2):
        with pytest.raises(SystemExit, match="as its time is up; run again"):
            train(files[0], tmp_path / "cut", seconds=0.0)
        assert torch.load(tmp_path / "cut/last.ckpt", weights_only=True)["progress"]["steps"] == step
    assert_same(train(files[0], tmp_path / "cut"), whole)


def test_a_training_without_patience_left_does_not_continue(files: Files, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cut"):
        train(files[0], tmp_path, cut)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    checkpoint["progress"]["since_best"] = 10
    torch.save(checkpoint, tmp_path / "last.ckpt")
    _, history = train(files[0], tmp_path)
    assert history == checkpoint["progress"]["history"]


def test_a_loss_that_is_never_finite_is_reported(files: Files, tmp_path: Path) -> None:
    def spoil(estimator: Small) -> None:
        with torch.no_grad():
            next(estimator.network.parameters()).fill_(torch.nan)

    with pytest.raises(UserError, match="found a validation loss of nan; expected a finite one"):
        train(files[0], tmp_path, spoil)


def test_two_devices_train_like_one(many: list[Path], config: dict[str, Any], tmp_path: Path) -> None:
    """On a CPU: two processes, each with half of every batch; only the first writes."""
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
        else:  # as a command, which starts the process of the second device
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
    # dropout and batch normalisation differ between devices, and so the training loss
    for name, tolerance in (("train_loss", 0.25), ("valid_loss", 0.1)):
        assert one[name].iloc[-1] < -1.0
        assert two[name].iloc[-1] == pytest.approx(one[name].iloc[-1], abs=tolerance)


def test_a_compiler_that_is_missing_is_named(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"training\.compile: found no no-such-compiler"):
        train(files[0], tmp_path, compile=True)


# type of the arithmetic, and largest deviation of an output in units of the outputs' standard deviation
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_cpu_and_gpu_predict_alike(name: str, kind: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    estimator = ProfileEstimator(**SHAPE | {"name": name, "pixels": 64}).eval()
    counts = torch.poisson(torch.full((64, 1, 64, 64), 2.0)).to(torch.uint16)
    shown = counts, torch.full(counts.shape, 2.0), torch.ones(64, 1)
    with torch.inference_mode():
        expected = estimator(prepare(*shown))
        estimator.cuda()
        with torch.autocast("cuda", kind, enabled=kind != torch.float32):
            found = estimator(prepare(*(part.cuda() for part in shown))).float().cpu()
    assert float((found - expected).abs().max()) < tolerance * float(expected.std())


def profile_network(channels: int, calibration: Calibration) -> ProfileNetwork:
    """An untrained network."""
    torch.manual_seed(1)
    shape = SHAPE | {"channels": planes(channels), "pixels": 64}
    estimator = ProfileEstimator(**shape).eval()
    with torch.no_grad():
        _, features = estimator.forward_features(torch.rand(60, shape["channels"], 64, 64))
    extra = {"edges": torch.from_numpy(EDGES), "prior_log_density_sd": torch.linspace(0.5, 1.5, BINS)} | uncalibrated()
    return ProfileNetwork(estimator, shape, calibration, FeatureDistribution.learn(features), extra)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_cpu_and_gpu_sample_alike() -> None:
    """The same random numbers give the same samples, except for a few that fall in another kernel of a mixture."""
    trained = profile_network(1, Calibration.none(BINS))
    counts = np.random.default_rng(1).poisson(2.0, (8, 1, 64, 64))
    drawn = []
    for one in (trained, trained.on_gpu(1)):
        posterior, _ = one.posterior(counts, np.full(counts.shape, 2.0), np.ones((8, 1)))
        drawn.append(one.sample(posterior, 100, torch.Generator().manual_seed(1)))
    close = torch.isclose(*drawn, rtol=1e-3, atol=1e-3)
    assert float(close.float().mean()) > 0.99


def test_a_survey_counts_from_the_least_share_of_a_tile_on() -> None:
    """Of three tiles: one seen as far as it must be, one a little less, one without stars."""
    tile_survey, channel = ("tile", "survey"), ("tile", "channel", "magnitude", "colour")
    detectable = (*tile_survey, "distance", "grid"), np.ones((3, 1, 3, len(EXTINCTION_GRID)))
    seen = {"area": (tile_survey, [[0.5], [0.49], [1.0]]), "stars": (tile_survey, [[9], [9], [0]])}
    sky = {"full_area": ("tile", np.ones(3)), "l": ("tile", np.arange(3.0)), "b": ("tile", np.zeros(3))}
    counted = {name: (channel, np.zeros((3, 1, 2, 2))) for name in ("counts", "reference")}
    tiles = xr.Dataset({"detectable": detectable, "owner": ("channel", [0]), **seen, **sky, **counted})
    network: Any = SimpleNamespace(
        edges=np.arange(4.0),
        features=SimpleNamespace(score=lambda features: torch.zeros(len(features))),
        posterior=lambda counts, *_: (torch.zeros(len(counts), 1), torch.zeros(len(counts), 1)),
        sample=lambda posterior, samples, _: torch.ones(len(posterior), samples, 3),
        contraction=lambda drawn: np.zeros((3, 3)),
    )
    found = infer(network, tiles, min_area_fraction=0.5, samples=4, seed=1)
    assert found["seen"].values.ravel().tolist() == [1, 0, 0]
    assert np.isfinite(found["extinction_samples"]).all(("sample", "distance")).values.tolist() == [True, False, False]
    # one star per deg2 and bin, on half a deg2
    np.testing.assert_allclose(found["stars_beyond"], [[1.5, 1.0, 0.5], [0.0] * 3, [0.0] * 3])


def test_a_network_file_round_trips_without_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = profile_network(2, Calibration(torch.rand(BINS), torch.rand(2, 3, BINS) + 0.5))
    trained.save(tmp_path / "network.pt", {"rule": "test"})
    again = ProfileNetwork.load(tmp_path / "network.pt")
    counts = np.random.default_rng(1).poisson(2.0, (3, 2, 64, 64))
    present = np.array([[1, 1], [1, 0], [0, 1]])
    answers = [one.posterior(counts, np.full(counts.shape, 2.0), present) for one in (trained, again)]
    drawn = [
        one.sample(posterior, 20, torch.Generator().manual_seed(1))
        for one, (posterior, _) in zip((trained, again), answers, strict=True)
    ]
    assert torch.equal(*drawn)
    assert trained.features is not None
    assert again.features is not None
    assert torch.equal(trained.features.score(answers[0][1]), again.features.score(answers[1][1]))
    np.testing.assert_array_equal(again.edges, EDGES)
    np.testing.assert_array_equal(again.extra["prior_log_density_sd"], trained.extra["prior_log_density_sd"])
    assert again.estimator.support == (FLOOR, CEILING)
    assert torch.equal(again.calibration.stretch, trained.calibration.stretch)
    assert torch.equal(again.calibration.shift, trained.calibration.shift)
    assert again.on_gpu(0) is again
    assert not caplog.records
    if not torch.cuda.is_available():
        assert again.on_gpu(1) is again
        assert "inference_job.gpus" in caplog.text
    (tmp_path / "other.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a network of Galcarto"):
        ProfileNetwork.load(tmp_path / "other.pt")
