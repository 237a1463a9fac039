"""The metallicity task's workflow: its plan, a tiny run, and what its settings leave alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from test_workflow import ROOT, copy_project, planned, snakemake

import galcarto
from galcarto.core.settings import load
from galcarto.metallicity.settings import Settings

TINY = ("--config", "metallicity=config/tiny_metallicity.yaml")


def project(to: Path) -> Path:
    copied = copy_project(to)
    shutil.copy(ROOT / "tests/tiny_metallicity.yaml", copied / "config/tiny_metallicity.yaml")
    return copied


@pytest.mark.parametrize("name", ["metallicity", "metallicity_goals", "segue"])
def test_the_configs_of_the_project_are_valid(name: str) -> None:
    settings = load(ROOT / f"config/{name}.yaml", Settings)
    assert settings.name == name
    variants = settings.variants()
    assert {"network", *(f"seed_{number}" for number in range(1, settings.evaluation.seeds))} < set(variants)
    thesis = {"thesis", "thesis_attention", "thesis_autoencoder"}
    assert thesis & set(variants) == (thesis if name == "segue" else set())
    if name == "segue":
        # each colour is left out with each seed
        assert {"without_u-g", "without_u-g_seed_1", "without_i-z_seed_2"} < set(variants)
        assert variants["thesis"][0].widths[0] == 32
        assert variants["thesis"][0].widths[6] == settings.evaluation.thesis_width


def test_a_key_of_the_task_reruns_no_job_of_the_dust_map(tmp_path: Path) -> None:
    """Its settings never enter a region's: the jobs of the demo get the same parameters."""
    copied = project(tmp_path)

    def parameters() -> list[str]:
        ran = snakemake(copied, "-n", "--forceall", "--printshellcmds", *TINY)
        assert ran.returncode == 0, ran.stdout
        return sorted(line for line in ran.stdout.splitlines() if "python -m galcarto" in line)

    before = parameters()
    path = copied / "config/tiny_metallicity.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"comparison": {"least": 7}, "seed": 9}))
    assert parameters() == before
    assert len(before) > 20
    assert not any("train_labels" in line for line in before)


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    copied = project(tmp_path)
    path = copied / "config/tiny_metallicity.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"bands": ["u"]}))
    ran = snakemake(copied, "-n", "metallicity", *TINY)
    assert ran.returncode != 0
    assert "bands: unknown key" in ran.stdout


def test_a_tiny_run_from_start_to_end(labelled: Path) -> None:
    results = labelled / "results/tiny_metallicity"
    labels = galcarto.open_labels(results / "labels.parquet")
    assert {"feh", "feh_sd", "feh_p16", "giant", "u_predicted", "distance", "quality"} <= set(labels)
    with xr.open_dataset(results / "map.nc") as found:
        assert int(found["number"].sum()) > 0
    metrics = json.loads((results / "metrics.json").read_text())
    assert {row["what"] for row in metrics["goals"]} > {"coverage of 68 % intervals, mock stars"}
    assert np.isfinite(metrics["labels"]["exact"]["ratio"])
    assert {"ours", "trees", "cubic", "thesis", "thesis_attention", "thesis_autoencoder"} == set(
        metrics["labels"]["networks"]
    )
    page = (results / "report.html").read_text()
    assert page.count("<img src=") == 6
    again = snakemake(labelled, "-n", "metallicity", *TINY)
    assert planned(again.stdout) == {}
