"""Tables of stars, networks on any set of bands, label files: on made-up stars whose metallicity is known."""

import logging
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from astropy.table import Table

import galcarto
from galcarto.__main__ import main
from galcarto.core.errors import UserError
from galcarto.core.tables import column_names, floats, read_parts
from galcarto.labels import baselines, posterior, scores
from galcarto.labels.network import LabelEstimator, LabelTrained, Scale
from galcarto.labels.settings import LabelNetwork, Split, StarTable
from galcarto.labels.table import NO_ULTRAVIOLET, REFUSED, REPEATED, Reader, arrays, split_of
from galcarto.labels.train import labels_of, learn
from galcarto.learning.heads.mixture import Mixture
from galcarto.learning.networks import Chain, Residual
from galcarto.learning.settings import Training

BANDS = ["u", "g", "r", "i"]
SCATTER = 0.1  # dex, of [Fe/H] at given colours
TRAINING = Training(epochs=25, batch=64, rounds=1, learning_rate=5e-3, accelerator="cpu")


def toy(number: int, rng: np.random.Generator) -> pd.DataFrame:
    """Stars whose [Fe/H] is linear in u-g, whose Teff is linear in g-r, and whose giants are bright."""
    colour = rng.normal(0.5, 0.2, number)
    excess = rng.normal(1.2, 0.3, number)
    bright = rng.uniform(14, 19, number)
    frame = pd.DataFrame(
        {"r": bright, "g": bright + colour, "i": bright - 0.3 * colour + 0.02 * rng.normal(size=number)}
    )
    frame["u"] = frame["g"] + excess
    frame["feh"] = 2.0 * (excess - 1.2) - 1.0 + SCATTER * rng.normal(size=number)
    frame["teff"] = 6500.0 - 2000.0 * (colour - 0.3)
    frame["logg"] = np.nan
    frame["giant"] = (bright < 15.0).astype(float)
    for name in BANDS:
        frame[f"{name}_error"] = 0.02
    for label, error in (("feh", 0.05), ("teff", 50.0), ("logg", np.nan), ("giant", np.nan)):
        frame[f"{label}_error"] = error
    return frame


@pytest.fixture(scope="module")
def stars() -> pd.DataFrame:
    return toy(4000, np.random.default_rng(3))


@pytest.fixture(scope="module")
def trained(stars: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> LabelTrained:
    labels = ["teff", "feh", "giant"]
    train, valid = (arrays(part, BANDS, labels) for part in (stars[:3000], stars[3000:]))
    folder = tmp_path_factory.mktemp("checkpoints")
    network = LabelNetwork(widths=[32, 32, 32], dropout=0.0)
    found, history = learn(train, valid, BANDS, labels, folder, network, TRAINING, seed=1)
    assert len(history) == TRAINING.epochs
    path = folder / "network.pt"
    found.save(path, {})
    return LabelTrained.load(path)


def test_a_network_reads_metallicity_and_knows_when_the_ultraviolet_is_missing(trained: LabelTrained) -> None:
    test = toy(2000, np.random.default_rng(4))
    values, errors, *_ = arrays(test, BANDS, [])
    found = posterior.describe(trained, values, errors)
    residual = (found["feh"] - test["feh"]).to_numpy()
    assert scores.rms(residual) < 1.3 * SCATTER
    assert found["feh_sd"].median() == pytest.approx(SCATTER, rel=0.35)
    assert scores.rms((found["teff"] - test["teff"]).to_numpy()) < 60.0
    assert ((found["giant"] > 0.5) == (test["giant"] > 0.5)).mean() > 0.97
    assert found["u_predicted"].isna().all()
    # without u nothing tells [Fe/H]: its spread is that of all stars
    blind = posterior.describe(trained, values, errors, posterior.hidden(values, BANDS, "u"))
    assert blind["feh_sd"].median() == pytest.approx(test["feh"].std(), rel=0.3)
    assert scores.rms((blind["u_predicted"] - test["u"]).to_numpy()) == pytest.approx(0.3, rel=0.2)
    # and without i, which g and r tell
    seen = posterior.hidden(values, BANDS, "i")
    assert scores.rms((posterior.describe(trained, values, errors, seen)["i_predicted"] - test["i"]).to_numpy()) < 0.08


def test_quantiles_follow_the_calibration(trained: LabelTrained, stars: pd.DataFrame) -> None:
    values, errors, *_ = arrays(stars[:50], BANDS, [])
    before = posterior.describe(trained, values, errors)
    wider = replace(trained.calibration, stretch=2.0 * trained.calibration.stretch)
    after = posterior.describe(replace(trained, calibration=wider), values, errors)
    for end in ("p16", "p84", "p2_5", "p97_5"):
        off = before[f"feh_{end}"] - before["feh_p50"]
        assert np.allclose(after[f"feh_{end}"] - after["feh_p50"], 2.0 * off, rtol=1e-3, atol=1e-5)
    assert np.allclose(after["feh_sd"], 2.0 * before["feh_sd"], rtol=1e-5)
    # Teff is log-normal: ln(1 + (sd / mean)^2) is the variance of ln(Teff), and half of it raises the mean
    once, twice = (np.log1p((one["teff_sd"] / one["teff"]) ** 2) for one in (before, after))
    assert np.allclose(twice, 4.0 * once, rtol=1e-3)
    assert np.allclose(np.log(after["teff"] / before["teff"]), 1.5 * once, rtol=0.02, atol=1e-6)


def test_bands_are_scaled_as_most_stars_are() -> None:
    """Two colours of nine stars, of which one is wild, and of one that was not measured."""
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 900.0, np.nan])[:, None] * [1.0, -2.0]
    errors = np.array([0.1] * 6 + [50.0] * 3 + [np.nan])[:, None] * [1.0, 2.0]
    labels = np.array([[0.0], [2.0], *[[np.nan]] * 8])
    scale = Scale.learn(values, errors, labels, np.zeros(2, bool))
    assert scale.centre == [5.0, -10.0]
    assert scale.error == [0.1, 0.2]
    # 16 and 84 % of nine stars lie 1.28 and 6.72 steps from the first
    assert scale.width == pytest.approx([2.72, 5.44])
    assert (scale.mean, scale.sd) == ([1.0], [1.0])


def test_a_hidden_band_changes_nothing_but_its_bit() -> None:
    """What is hidden must not reach the network by another way, such as a star's mean over its bands."""
    scale = Scale([16.0] * 4, [0.5] * 4, [0.02] * 4, 1.0, [0.5] * 3, [0.0], [1.0])
    one = LabelEstimator(BANDS, [True] * 4, ["feh"], asdict(scale), LabelNetwork().model_dump(), {})
    values = torch.tensor([[18.0, 17.0, 16.5, 16.2], [13.0, 17.0, 16.5, 16.2]])
    shown = torch.tensor([[False, True, True, True]] * 2)
    first, second = one.encode(values, torch.full_like(values, 0.02), shown)
    assert torch.equal(first, second)
    assert first[8:12].tolist() == [0.0, 1.0, 1.0, 1.0]
    # a fainter star of the same colours differs in its brightness alone
    fainter = one.encode(values[:1] + 1.0, torch.full((1, 4), 0.02), shown[:1])[0]
    assert torch.allclose(fainter[:-1], first[:-1], atol=1e-6)
    assert float(fainter[-1] - first[-1]) == pytest.approx(1.0)


def test_a_residual_block_is_the_formula() -> None:
    torch.manual_seed(0)
    block, given = Residual(3, 3, 0.0), torch.randn(5, 3)
    _, _, first, _, _, _, second = block.dense

    def norm(x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()

    expected = second(torch.relu(norm(first(torch.relu(norm(given)))))) + given
    assert torch.allclose(block(given), expected, atol=1e-6)


def test_later_heads_see_earlier_ones() -> None:
    torch.manual_seed(0)
    chain, given = Chain(4, (2, 3), 8), torch.randn(6, 4)
    before = chain(given)
    with torch.no_grad():
        chain.heads[0][-1].bias += 1.0  # type: ignore[index, operator]
    after = chain(given)
    assert torch.allclose(after[:, :2], before[:, :2] + 1.0, atol=1e-6)
    assert (after[:, 2:] - before[:, 2:]).abs().min() > 1e-4


def test_scores_of_a_known_posterior(rng: np.random.Generator) -> None:
    truth = rng.normal(size=20_000)
    ends = {"p2_5": -1.96, "p16": -0.9945, "p50": 0.0, "p84": 0.9945, "p97_5": 1.96}
    sure = pd.DataFrame({f"feh_{name}": np.full(len(truth), value) for name, value in ends.items()})
    sure["feh"] = rng.normal(size=len(truth))
    found = scores.coverage(truth, np.zeros(len(truth)), sure, "feh")
    assert found["coverage_68"] == pytest.approx(0.68, abs=0.01)
    assert found["coverage_95"] == pytest.approx(0.95, abs=0.005)
    assert np.ptp(found["coverage_68_by_fifth"]) < 0.05
    # a known error of what it is compared with widens the interval
    noisy = scores.coverage(np.hypot(1, 2) * truth, np.full(len(truth), 2.0), sure, "feh")
    assert noisy["coverage_68"] == pytest.approx(0.68, abs=0.01)
    rank = scores.pit(truth[:2000], sure[:2000], "feh")
    assert np.histogram(rank, 4, (0, 1))[0] / 2000 == pytest.approx(0.25, abs=0.04)
    mixed = np.concatenate([0.1 * truth, rng.normal(0, 2, 1000)])
    assert scores.core(mixed) == pytest.approx(0.1, rel=0.1)
    assert scores.rms(mixed) > 0.4


def test_a_cubic_reproduces_a_cubic(rng: np.random.Generator) -> None:
    x = rng.normal(size=(500, 2))

    def law(x: np.ndarray) -> np.ndarray:
        return 1.0 - x[:, 0] + 0.5 * x[:, 0] * x[:, 1] ** 2 - 0.1 * x[:, 1] ** 3

    inside = np.abs(x).max(axis=1) < 3.0
    found = baselines.cubic(x, law(x), x)
    assert np.abs(found - law(x))[inside].max() < 0.05


def test_trees_beat_the_mean(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3000, 2))
    answer = baselines.trees(x[:2000], x[:2000, 0] ** 2, x[2000:], seed=1)
    assert scores.rms(answer - x[2000:, 0] ** 2) < 0.6  # of 1.41


def read(path: Path, **columns: str) -> tuple[pd.DataFrame, Reader]:
    settings = StarTable(path=str(path), columns=columns)
    reader = Reader(settings, settings.features())
    return pd.concat(reader.parts(), ignore_index=True), reader


def test_what_cannot_be_used_is_counted(tmp_path: Path, stars: pd.DataFrame) -> None:
    bad = stars[:200].reset_index(drop=True)
    bad.loc[0, "u"], bad.loc[1, "u"], bad.loc[2, "g"] = -9999.0, 99.999, np.nan
    bad.loc[3, "u_error"], bad.loc[4, "u_error"] = 0.0, -1.0
    bad.loc[5, "feh"] = -9999.0
    bad.loc[7, BANDS] = bad.loc[6, BANDS]
    path = tmp_path / "stars.csv"
    bad.to_csv(path, index=False)
    names = {name: name for name in [*BANDS, "feh", "u_error", "g_error"]}
    frame, reader = read(path, **names)
    assert len(frame) == 200
    assert reader.counts["u: a sentinel"] == 2
    assert reader.counts["u: no error above zero, so an upper limit"] == 2
    assert reader.counts["feh: outside -5 to 1, so missing"] == 1
    assert reader.counts["repeated stars"] == 1
    assert frame["u"].isna()[:5].tolist() == [True, True, False, True, True]
    assert frame["refused"].sum() == 4
    assert frame["repeated"].to_numpy().nonzero()[0].tolist() == [7]
    assert np.isnan(frame["feh"][5])


def test_a_star_is_known_again_in_every_later_part() -> None:
    settings = StarTable(path="none", columns={"u": "u"})
    reader = Reader(settings, settings.features())
    parts = [[5, 3, 9], [3, 4, 4], [9, 1, 5, 7]]
    found = [reader._repeated(np.array(part, np.uint64)).tolist() for part in parts]
    assert found == [[False] * 3, [True, False, True], [True, False, True, False]]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"u-g": "u"}, "expected a colour"),
        ({"g": "gr"}, "expected apparent magnitudes"),
        ({"z": "nowhere"}, "expected at least one of nowhere"),
    ],
)
def test_what_a_column_says_must_be_in_it(
    tmp_path: Path, stars: pd.DataFrame, columns: dict[str, str], found: str
) -> None:
    path = tmp_path / "stars.csv"
    stars[:100].assign(gr=stars["g"] - stars["r"]).to_csv(path, index=False)
    with pytest.raises(UserError, match=found):
        read(path, **columns)


def test_an_empty_file_is_refused(tmp_path: Path, stars: pd.DataFrame) -> None:
    path = tmp_path / "stars.csv"
    stars[:0].to_csv(path, index=False)
    with pytest.raises(UserError, match=r"no row|no readable"):
        read(path, u="u")


def test_no_label_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="found no label in 10 stars"):
        labels_of(np.full((10, 4), np.nan))


def test_all_rows_of_a_star_lie_in_one_split(rng: np.random.Generator) -> None:
    keys = rng.integers(0, 1 << 62, 20_000).astype(np.uint64)
    member = split_of(keys, Split(valid=0.2, test=0.1), seed=1)
    assert np.array_equal(member, split_of(keys[::-1], Split(valid=0.2, test=0.1), seed=1)[::-1])
    assert np.bincount(member) / len(keys) == pytest.approx([0.7, 0.2, 0.1], abs=0.02)
    assert (member != split_of(keys, Split(valid=0.2, test=0.1), seed=2)).mean() > 0.3


@pytest.mark.parametrize("suffix", [".csv", ".fits", ".parquet", ".ecsv", ".vot"])
def test_parts_of_a_file_are_the_whole(tmp_path: Path, stars: pd.DataFrame, suffix: str, monkeypatch) -> None:
    monkeypatch.setattr("galcarto.core.tables.LARGE", 0)  # text too
    path, columns = tmp_path / f"stars{suffix}", ["u", "feh"]
    table = Table.from_pandas(stars[[*BANDS, "feh"]])
    if suffix == ".parquet":
        stars.to_parquet(path)
    else:
        table.write(path, format={".csv": "ascii.csv", ".vot": "votable", ".ecsv": "ascii.ecsv"}.get(suffix, "fits"))
    assert set(columns) <= set(column_names(path, "columns"))
    parts = list(read_parts(path, columns, "columns", rows=1500))
    assert [len(part) for part in parts] == [1500, 1500, 1000]
    for name in columns:
        assert np.allclose(np.concatenate([floats(part[name]) for part in parts]), stars[name])


def test_a_catalogue_gets_one_row_for_each_star(
    trained: LabelTrained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network, catalogue, output = (tmp_path / name for name in ("network.pt", "my.fits", "labels.parquet"))
    trained.save(network, {"galcarto_rule": "train_labels"})
    test = toy(1000, np.random.default_rng(9))
    test.loc[0, "u"] = -9999.0
    test.loc[1, BANDS] = np.nan
    test.loc[3, BANDS] = test.loc[2, BANDS]
    test["name"] = np.arange(1000) + 7
    Table.from_pandas(test.rename(columns={"u": "psfMag_u"})).write(catalogue)
    words = ["--network", network, "--catalogue", catalogue, "--columns", "u=psfMag_u", "id=name", "--output", output]
    with caplog.at_level(logging.INFO):
        assert main(["predict-labels", *map(str, words)]) == 0
    assert "u: a sentinel: 1" in caplog.text
    labels = galcarto.open_labels(output)
    assert labels["id"].tolist() == test["name"].tolist()
    assert labels.attrs["units"]["feh_sd"] == "dex"
    assert labels.attrs["units"]["u_predicted"] == "mag"
    assert labels["quality"][0] == NO_ULTRAVIOLET | REFUSED
    assert labels["quality"][1] & REFUSED
    assert np.isnan(labels["feh"][1])
    assert labels["quality"][3] & REPEATED
    assert np.isfinite(labels["u_predicted"]).to_numpy().nonzero()[0].tolist() == [0]
    assert scores.rms((labels["feh"] - test["feh"]).to_numpy()[4:]) < 1.4 * SCATTER


def test_another_system_is_told(trained: LabelTrained, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = tmp_path / "network.pt"
    trained.save(network, {})
    for shift, code in ((0.9, 0), (6.0, 1)):  # as from AB to Vega in u; a flux
        catalogue = tmp_path / f"{shift}.csv"
        toy(500, np.random.default_rng(9)).assign(u=lambda one, by=shift: one["u"] - by).to_csv(catalogue, index=False)
        words = ["--network", network, "--catalogue", catalogue, "--output", tmp_path / "labels.parquet"]
        assert main(["predict-labels", *map(str, words)]) == code
    assert "is it in the other system (AB, Vega)" in caplog.text


MEASURE = r"""
import re, sys
from galcarto.__main__ import main
code = main(sys.argv[1:])
# not getrusage, whose peak a new program has from its parent
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_two_million_stars_take_no_more_memory_than_a_part(trained: LabelTrained, tmp_path: Path) -> None:
    network = tmp_path / "network.pt"
    trained.save(network, {})
    peaks = []
    for number in (400_000, 2_000_000):
        catalogue = tmp_path / f"{number}.parquet"
        some = toy(number, np.random.default_rng(5))[[*BANDS, *(f"{name}_error" for name in BANDS)]].astype("f4")
        some.to_parquet(catalogue, row_group_size=200_000)
        words = ["predict-labels", "--network", network, "--catalogue", catalogue, "--output", tmp_path / "l.parquet"]
        ran = subprocess.run(
            [sys.executable, "-c", MEASURE, *map(str, words)], capture_output=True, text=True, check=True, timeout=600
        )
        peaks.append(int(ran.stdout.split()[-1]) * 1024)
    assert len(galcarto.open_labels(tmp_path / "l.parquet")) == 2_000_000
    assert peaks[1] < 2e9
    assert peaks[1] - peaks[0] < 3e8  # five times as many stars


def test_the_head_of_a_label_adds_its_known_error(stars: pd.DataFrame) -> None:
    """The estimator passes errors on, scaled as its labels are."""
    scale = Scale([16.0] * 4, [0.5] * 4, [0.02] * 4, 1.0, [0.5] * 3, [-1.0], [0.5])
    network = LabelNetwork(band_weight=0.0).model_dump()
    one = LabelEstimator(BANDS, [True] * 4, ["feh"], asdict(scale), network, {}).eval()
    values, errors, labels, known = (torch.from_numpy(a) for a in arrays(stars[:64], BANDS, ["feh"]))
    outputs = one(one.inputs([values, errors]))
    expected = Mixture(4).negative_log_likelihood(outputs[:, :12], (labels + 1.0) / 0.5, known / 0.5)
    assert one.loss(outputs, [values, errors, labels, known]).item() == pytest.approx(expected.item())
