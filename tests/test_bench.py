"""Benchmarks: the peers agree with the kernel, and the stored table has the suite's format."""

import importlib
import json
import os
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

from galcarto.__main__ import main
from galcarto.dustmap.settings import read_settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def suite():
    """The modules of benchmarks/, which is not a package; threads and environment are restored."""
    threads = torch.get_num_threads(), numba.get_num_threads()
    environment = dict(os.environ)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import measure
    import peers
    import run

    os.environ.clear()
    os.environ.update(environment)
    yield run, measure, peers
    sys.path.remove(str(ROOT / "benchmarks"))
    torch.set_num_threads(threads[0])
    numba.set_num_threads(threads[1])


@pytest.fixture(scope="module")
def scene(suite):
    """A scene with every nuisance."""
    run, *_ = suite
    return run.scene(run.region(), 60)


@pytest.mark.parametrize("peer", ["numpy", "boost-histogram", "torch"])
def test_peers_agree_with_the_kernel(suite, scene, peer):
    _, _, peers = suite
    given = (scene.model, scene.stars, scene.extinction, scene.area, scene.nuisances)
    if peer == "torch":
        found = peers.torch_images(*given, torch.Generator().manual_seed(1))
    else:
        histogram = peers.boost_histogram if peer == "boost-histogram" else peers.numpy_histogram
        found = peers.numpy_images(*given, np.random.default_rng(1), histogram)
    a, b = found.sum(axis=0, dtype=float), scene.render()[:, 0].sum(axis=0, dtype=float)
    filled = a + b > 30
    assert filled.sum() > 500
    chi2 = ((a - b)[filled] ** 2 / (a + b)[filled]).sum()
    assert abs(chi2 - filled.sum()) < 5 * np.sqrt(2 * filled.sum())


def test_the_suite_runs_and_writes_the_stored_format(suite, tmp_path, capsys):
    run, measure, _ = suite
    groups = ["kernel", "training", "samples", "cube", "query"]
    run.main([*groups, "--output", str(tmp_path / "some.json")], run.SMALL)
    some = json.loads((tmp_path / "some.json").read_text())
    stored = json.loads((ROOT / "benchmarks/results.json").read_text())
    for content in (some, stored):
        assert content.keys() == {"machine", "memory", "items", "profiles"}
        assert content["memory"] > 0
        for item in content["items"]:
            assert tuple(item) == measure.KEYS
            assert item["value"] > 0
            assert (item["ratio"] is None) == (item["peer"] is None)
            assert (item["share"] is None) == (item["limit"] is None)
    assert {item["group"] for item in some["items"]} == set(groups)
    assert {item["group"] for item in stored["items"]} == set(run.GROUPS)
    peers = {item["peer"] for item in stored["items"] if item["group"] == "kernel"}
    assert peers == {"numpy", "boost-histogram", "torch"}
    assert some["machine"].keys() == stored["machine"].keys()
    printed = capsys.readouterr().out
    assert all(item["name"] in printed for item in some["items"])


def test_update_replaces_single_groups(suite):
    run, measure, _ = suite
    stored = json.loads((ROOT / "benchmarks/results.json").read_text())
    results = measure.Results(1.0)
    results.items, results.profiles = [{"group": "cube", "name": "new"}], {"cube": {"new": 1.0}}
    results.update(stored, list(run.GROUPS))
    assert [item["name"] for item in results.items if item["group"] == "cube"] == ["new"]
    others = [item for item in stored["items"] if item["group"] != "cube"]
    assert [item for item in results.items if item["group"] != "cube"] == others
    assert results.profiles == stored["profiles"] | {"cube": {"new": 1.0}}
    assert results.memory == stored["memory"]


def test_the_cost_of_a_job_is_read_from_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    demo = importlib.import_module("demo")
    caplog.set_level("INFO")
    stars = ["--l", "284.2", "--b", "0.2", "--output", str(tmp_path / "stars.parquet")]
    settings = read_settings(ROOT / "tests/tiny.yaml").for_stage("synthesize_stars")
    assert main(["synthesize_stars", "--settings", settings, "--seed=1", *stars]) == 0
    (tmp_path / "logs/synthesize_stars").mkdir(parents=True)
    (tmp_path / "logs/synthesize_stars/one.log").write_text(caplog.text)
    (job,) = demo.jobs(tmp_path / "logs").itertuples()
    assert (job.rule, job.start) == ("synthesize_stars", 0.0)
    assert job.wall > 0
    assert job.cpu > 0.1
    assert job.memory > 50
    with pytest.raises(SystemExit, match="expected the logs of a run"):
        demo.jobs(tmp_path / "absent")
