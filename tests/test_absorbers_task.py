"""The absorbers task's workflow: its plan, a tiny run, and what its settings leave alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.io import fits
from test_absorbers import SMOOTH, spec
from test_workflow import ROOT, copy_project, planned, snakemake

from galcarto.__main__ import main
from galcarto.absorbers import mock
from galcarto.absorbers.catalogue import write
from galcarto.absorbers.find import AbsorberTrained
from galcarto.absorbers.goals import goals
from galcarto.absorbers.settings import SWITCHES, Mock, Settings
from galcarto.absorbers.sightlines import open_sightlines
from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.settings import SettingsError, load

TINY = ("--config", "absorbers=config/tiny_absorbers.yaml")


def project(to: Path) -> Path:
    """A copy with a model of quasars, four spectra, and a catalogue of an absorber in one of them."""
    copied = copy_project(to)
    shutil.copy(ROOT / "tests/tiny_absorbers.yaml", copied / "config/tiny_absorbers.yaml")
    np.savez(copied / "quasars.npz", rest_wavelengths=SMOOTH.rest, mu=SMOOTH.mean, M=SMOOTH.components)
    sightlines = mock.draw(np.random.default_rng(3), 40, Mock(snr=(5.0, 8.0)), SMOOTH, enriched=True)
    (copied / "spectra").mkdir()
    for number in range(3):
        spec(copied / "spectra", sightlines, number)
    spec(copied / "spectra", sightlines, 3, CLASS="STAR", Z=0.0)
    thick = np.nan_to_num(sightlines.absorber_log_n[0])
    known = {"plate": [3655], "mjd": [55240], "fiber": [1], "z_dla": [2.5], "log_nhi": [max(thick[0], 20.0)]}
    pd.DataFrame(known).to_csv(copied / "known.csv", index=False)
    return copied


@pytest.mark.parametrize("name", ["absorbers", "absorbers_goals"])
def test_the_configs_of_the_project_are_valid(name: str) -> None:
    assert load(ROOT / f"config/{name}.yaml", Settings).name == name


def test_settings_that_do_not_fit_are_refused() -> None:
    config = yaml.safe_load((ROOT / "config/absorbers.yaml").read_text())
    with pytest.raises(SettingsError, match="layers: unknown key"):
        load(config | {"trials": {"a": {"network": {"layers": 3}}}}, Settings)
    with pytest.raises(SettingsError, match="found 5 to 2; expected the lower end first"):
        load(config | {"mock": {"redshift": [5, 2]}}, Settings)


def test_each_switch_is_judged_alone() -> None:
    config = yaml.safe_load((ROOT / "config/absorbers.yaml").read_text())
    mocks = load(config | {"ablation": True}, Settings).mocks()
    assert set(mocks) == {"hard", "plain", "reddened", *(f"without_{name}" for name in SWITCHES)}
    assert [name for name in SWITCHES if getattr(mocks["plain"], name)] == ["forest"]
    for name in SWITCHES:
        own = mocks[f"without_{name}"].model_dump()
        assert own == mocks["hard"].model_dump() | {name: False}


def test_a_tiny_run_from_start_to_end(absorbed: Path) -> None:
    folder = absorbed / "results/tiny_absorbers"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["hard"]["sightlines"] == 200
    assert set(metrics["trials"]) == {"squared"}
    assert metrics["real"]["spectra"] == 4
    assert metrics["real"]["searched"] == 3
    assert len(metrics["real"]["known"]) == 1
    assert len(metrics["goals"]) > 15
    assert (folder / "report.html").read_text().count("data:image/png") == 7
    absorbers = pd.read_parquet(folder / "absorbers.parquet")
    sightlines = pd.read_parquet(folder / "absorbers_sightlines.parquet")
    assert list(sightlines["name"]) == [f"3655-55240-{number}" for number in (1, 2, 3, 4)]
    assert set(absorbers["name"]) <= set(sightlines["name"])
    assert sightlines["z_min"].notna().tolist() == [True, True, True, False]
    sets = {path.parent.name for path in folder.glob("sightlines/*/*.nc")}
    assert {"train_0", "valid_0", "hard", "plain", "reddened"} == sets
    again = snakemake(absorbed, "absorbers", *TINY)
    assert "Nothing to be done" in again.stdout


def test_samples_share_no_random_stream(absorbed: Path) -> None:
    folder = absorbed / "results/tiny_absorbers/sightlines"
    seen = [open_sightlines([str(path)]).redshift for path in sorted(folder.glob("*/*.nc"))]
    everything = np.concatenate(seen)
    assert len(np.unique(everything)) == len(everything)


def test_a_catalogue_in_desis_columns(absorbed: Path, tmp_path: Path) -> None:
    network = str(absorbed / "results/tiny_absorbers/network/ours/0.pt")
    spectra = str(absorbed / "spectra")
    words = ["find-absorbers", "--network", network, "--spectra", spectra, "--threshold", "0"]
    assert main([*words, "--output", str(tmp_path / "dla.fits")]) == 0
    assert main([*words, "--output", str(tmp_path / "dla.parquet")]) == 0
    frame = pd.read_parquet(tmp_path / "dla.parquet")
    with fits.open(tmp_path / "dla.fits") as file:
        assert len(frame) > 0
        assert file["DLACAT"].data["NHI"] == pytest.approx(frame["log_nhi"].to_numpy())
        assert file["DLACAT"].data["Z_DLA"] == pytest.approx(frame["z"].to_numpy())
        assert len(file["SIGHTLINES"].data) == 4
    with pytest.raises(UserError, match=r"expected a name ending with .parquet or .fits"):
        write(Output(str(tmp_path / "a.csv")), frame, frame, {})


def test_intervals_are_ordered_and_probabilities_are_shares(absorbed: Path) -> None:
    trained = AbsorberTrained.load(absorbed / "results/tiny_absorbers/network/ours/0.pt")
    sightlines = open_sightlines([str(absorbed / "results/tiny_absorbers/sightlines/hard/0000.nc")])
    found, strange = trained.find(sightlines)
    columns = found[[f"log_nhi_{name}" for name in ("025", "16", "50", "84", "975")]].to_numpy()
    assert (np.diff(columns, axis=1) >= 0).all()
    assert found["probability"].between(0, 1).all()
    assert ((strange >= 0) & (strange <= 1)).all()
    assert (np.diff(trained.number("probability")) >= 0).all()


def test_goals_are_met_by_good_numbers_alone() -> None:
    good = {"completeness": 0.99, "purity": 0.99, "velocity_robust": 90.0, "log_nhi_sd": 0.12, "log_nhi_bias": 0.01}
    one = {
        "damped": good | {"coverage_68": 0.68, "coverage_95": 0.95},
        "thin": {"completeness": 0.96},
        "distribution": {"worst_sigma": 1.0, "l_sigma": 1.0},
        "sightlines_per_second": 300.0,
    }
    known = {"name": "a", "z_known": 2.3, "log_nhi_known": 20.3, "z": 2.301, "log_nhi": 20.4}
    finder = {"ours": {"completeness": 0.9, "times_faster": 1000.0}, "finder": {"completeness": 0.9}}
    metrics = {"plain": one, "hard": one, "reddened": one, "finder": finder, "real": {"known": [known]}}
    assert all(row["met"] for row in goals(metrics))
    missed = known | {"z": float("nan"), "log_nhi": float("nan")}
    rows = goals(metrics | {"real": {"known": [missed]}})
    assert [row["met"] for row in rows if row["what"].startswith("a: ")] == [False, False]
    worse = one | {"damped": one["damped"] | {"purity": 0.8, "coverage_68": 0.71}}
    assert sum(not row["met"] for row in goals(metrics | {"hard": worse})) == 3  # the dust's change is one


def test_a_trial_that_is_added_reruns_no_training_of_the_network(absorbed: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(absorbed, tmp_path / "copy", symlinks=True))
    config = yaml.safe_load((copied / "config/tiny_absorbers.yaml").read_text())
    config["trials"]["other"] = {"network": {"offset_loss": "squared"}}
    (copied / "config/tiny_absorbers.yaml").write_text(yaml.safe_dump(config))
    jobs = planned(snakemake(copied, "-n", "absorbers", *TINY).stdout)
    assert jobs["train_absorbers"] == 1
    assert "simulate_sightlines" not in jobs
