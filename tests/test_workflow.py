"""The workflow: the rules of a config, a tiny region from start to end, reruns."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
from astropy.io.fits import getdata
from forked import start

from galcarto import open_cube
from galcarto.__main__ import STAGES, main
from galcarto.core.provenance import code_digest
from galcarto.dustmap.settings import read_settings

ROOT = Path(__file__).parent.parent
FILES = [{"path": "stars.csv", "columns": {"longitude": "glon", "latitude": "glat", "J": "j", "Ks": "k"}}]
PARTS = ("Snakefile", "rules", "config", "slurm", "src", "envs")


def copy_project(to: Path, edited: bool = False) -> Path:
    """A copy; a test that edits the sources has its own, others share what numba compiled of them."""
    to.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_symlink():
            (to / part).symlink_to(os.readlink(source))
        elif part == "src" and not edited:
            (to / part).symlink_to(source)
        elif source.is_dir():
            # with numba's files, but not those that another process writes
            shutil.copytree(source, to / part, ignore=shutil.ignore_patterns("*.pyc*", "*.tmp.*", "*.egg-info"))
        else:
            shutil.copy(source, to / part)
    shutil.copy(ROOT / "tests/tiny.yaml", to / "config/tiny.yaml")
    (to / "tests").mkdir(exist_ok=True)
    shutil.copy(ROOT / "tests/tiny_galaxy.yaml", to / "tests")
    return to


def changed_project(to: Path, **sections: Any) -> Path:
    """A copy in which keys of the tiny region's sections are others."""
    project = copy_project(to)
    path = project / "config/tiny.yaml"
    config = yaml.safe_load(path.read_text())
    for name, keys in sections.items():
        config[name] = config.get(name, {}) | keys if isinstance(keys, dict) else keys
    path.write_text(yaml.safe_dump(config))
    return project


def command(*arguments: str) -> list[str]:
    """A snakemake command line for the tiny region."""
    tiny = ["--configfile", "config/tiny.yaml", "--replace-workflow-config"]
    return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, *tiny]


def environment(project: Path) -> dict[str, str]:
    """The copy's sources, and this interpreter first on the path, since the rules call ``python``."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(project / "src"), "PATH": path}


def snakemake(project: Path, *arguments: str, tiny: bool = True) -> subprocess.CompletedProcess[str]:
    """Run snakemake in a project and return what it said; it and its jobs are forks if the sources are the root's."""
    words = command(*arguments) if tiny else [sys.executable, "-m", "snakemake", *arguments]
    variables = environment(project)
    if (project / "src").resolve() == ROOT / "src":
        first = start()
        words[0] = str(first / "python")
        variables["PATH"] = f"{first}{os.pathsep}{variables['PATH']}"
    return subprocess.run(
        words,
        cwd=project,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def planned(output: str) -> dict[str, int]:
    """Rules and numbers of jobs in a dry run's table."""
    table = output.split("Job stats:", 1)[1] if "Job stats:" in output else ""
    jobs = {}
    for line in table.splitlines():
        words = line.split()
        if len(words) == 2 and words[0].isidentifier() and words[1].isdigit():
            jobs[words[0]] = int(words[1])
    jobs.pop("total", None)
    return jobs


def plan(project: Path, *arguments: str) -> tuple[dict[str, int], list[str]]:
    """Numbers of jobs by rule in a dry run of the tiny region, and the commands."""
    ran = snakemake(project, "-n", "--printshellcmds", *arguments)
    assert ran.returncode == 0, ran.stdout
    return planned(ran.stdout), [line for line in ran.stdout.splitlines() if "python -m galcarto" in line]


def test_the_demo_plans_each_rule_once_per_wildcard() -> None:
    ran = snakemake(ROOT, "-n", "--forceall", "--nolock", tiny=False)
    assert ran.returncode == 0, ran.stdout
    jobs = planned(ran.stdout)
    assert jobs["synthesize_together"] == jobs["render_together"] == 1
    assert not {"synthesize_stars", "render_learnt", "render_cmds"} & set(jobs)
    assert jobs["draw_profiles"] == 3
    assert jobs["train_network"] == jobs["assemble_cube"] == jobs["project_faceon"] == jobs["report"] == 1
    assert jobs["infer_sightlines"] == 2
    assert jobs["render_references"] == 1
    assert jobs["compare_truth"] == jobs["compare_planck"] == 1
    assert jobs["measure_artefacts"] == jobs["plot_artefacts"] == jobs["compare_arms"] == jobs["plot_arms"] == 1
    assert "collect_tracers" not in jobs  # nothing is fetched
    assert {name for name in jobs if name.startswith("publish_")} == {
        f"publish_{form}" for form in ("zarr", "healpix", "cartesian", "footprint", "fits")
    }


def test_the_settings_choose_the_published_forms(tmp_path: Path) -> None:
    jobs, _ = plan(changed_project(tmp_path / "healpix", publish={"forms": ["healpix"]}))
    assert [name for name in jobs if name.startswith("publish_")] == ["publish_healpix"]
    jobs, _ = plan(changed_project(tmp_path / "fits", publish={"forms": ["fits"]}))  # made of the HEALPix form
    assert {name for name in jobs if name.startswith("publish_")} == {"publish_healpix", "publish_fits"}


def test_the_slurm_profile_resolves_from_the_root() -> None:
    ran = snakemake(ROOT, "--profile", "slurm", "-n", "--forceall", "--nolock", tiny=False)
    assert ran.returncode == 0, ran.stdout
    assert planned(ran.stdout)["train_network"] == 1


def test_a_catalogue_replaces_the_synthetic_sky(tmp_path: Path) -> None:
    (tmp_path / "stars.csv").write_text("glon,glat,j,k\n")
    jobs, _ = plan(changed_project(tmp_path, sky={"source": "files", "files": FILES}, compare={"planck": []}))
    assert jobs["observe_sky"] == 1
    assert "compare_truth" not in jobs
    assert "compare_planck" not in jobs


def test_a_control_field_corrects_the_mock_and_is_compared(tmp_path: Path) -> None:
    (tmp_path / "stars.csv").write_text("glon,glat,j,k\n")
    control = {"l": ["230 deg", "233 deg"], "b": ["-20 deg", "-18 deg"], "files": FILES}
    project = changed_project(tmp_path, control=control, compare={"structure": {"map": "synthetic"}})
    jobs, commands = plan(project)
    assert jobs["measure_control"] == jobs["compare_excess"] == jobs["compare_structure"] == 1
    for stage in ("synthesize_stars", "render_cmds", "render_references"):
        own = [line for line in commands if f"galcarto {stage} " in line]
        assert own
        assert all("--control results/tiny/control.json" in line for line in own), stage


def test_masers_and_hii_regions_are_collected_where_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "masers.txt").write_text("ra dec plx e_plx\n")
    tracers = {"masers": ["masers.txt", "absent.txt"], "hii": "http://127.0.0.1:9/hii"}
    jobs, lines = plan(changed_project(tmp_path, sky={"offline": True}, tracers=tracers))
    assert jobs["collect_tracers"] == 1
    commands = {line.split("galcarto ")[1].split()[0]: line for line in lines}
    assert "--offline" in commands["collect_tracers"]
    for stage in ("compare_arms", "plot_faceon"):
        assert "--tracers results/tiny/tracers.nc" in commands[stage]
    assert "--arms synthetic" in commands["plot_faceon"]  # a synthetic sky is drawn with its own arms


def test_published_maps_are_fetched_unless_they_are_on_disk(tmp_path: Path) -> None:
    (tmp_path / "marshall.h5").write_text("")
    maps = [{"name": "bayestar19"}, {"name": "marshall06", "path": "marshall.h5"}]
    jobs, commands = plan(changed_project(tmp_path, compare={"maps": maps}))
    assert jobs["fetch_map"] == 1
    assert jobs["compare_maps"] == jobs["plot_map"] == 2
    (one,) = (line for line in commands if "galcarto compare_maps --name bayestar19" in line)
    assert "--map results/tiny/maps/bayestar19.json" in one
    (other,) = (line for line in commands if "galcarto compare_maps --name marshall06" in line)
    assert "--map marshall.h5" in other
    (collect,) = (line for line in commands if "galcarto collect_metrics" in line)
    assert "comparisons/map_bayestar19.json" in collect
    (report,) = (line for line in commands if "galcarto report" in line)
    assert "figures/map_marshall06.png" in report


def test_two_surveys_are_compared_with_each_other_and_with_what_they_can_tell(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    config = yaml.safe_load((project / "config/tiny.yaml").read_text())
    gaia = {"name": "gaia", "limits": {"G": "16 mag", "BP": "30 mag", "RP": "30 mag"}}
    gaia |= {"magnitude": {"bands": ["G"], "range": ["6 mag", "17 mag"]}}
    config["surveys"].append(gaia | {"colour": {"bands": ["BP", "RP"], "range": ["-0.5 mag", "5 mag"]}})
    assert not {"compare_surveys", "measure_information"} & set(planned(snakemake(project, "-n").stdout))
    (project / "config/tiny.yaml").write_text(yaml.safe_dump(config))
    jobs = planned(snakemake(project, "-n").stdout)
    assert jobs["compare_surveys"] == jobs["measure_information"] == 1


def test_shards_are_jobs_of_their_own(tmp_path: Path) -> None:
    project = changed_project(tmp_path, examples={"train": 5000, "shards": 3, "together": False})
    jobs, commands = plan(project, "results/tiny/network/network.pt")
    assert jobs["render_cmds"] == 3 + 1
    (command,) = (line for line in commands if "galcarto train_network" in line)
    for shard in ("0000", "0001", "0002"):
        name = f"results/tiny/cmds/train/l284.200_b+00.200.{shard}.nc"
        assert name in command
        (rendered,) = (line for line in commands if f"--output {name}" in line)
        assert f"--first {1024 * {'0000': 0, '0001': 1, '0002': 3}[shard]} --number" in rendered
    assert "results/tiny/cmds/valid/l284.200_b+00.200.nc" in command


def test_sightlines_are_jobs_of_their_own_unless_together(tmp_path: Path) -> None:
    jobs, commands = plan(changed_project(tmp_path, examples={"together": False}))
    assert jobs["synthesize_stars"] == 2
    assert jobs["render_learnt"] == jobs["render_cmds"] == 1
    (learnt,) = (line for line in commands if "render_cmds" in line and "--split train valid" in line)
    assert "--first 0 0 --number 768 256" in learnt
    assert "results/tiny/cmds/test" not in learnt


def test_a_misspelt_key_is_refused_with_its_path(tmp_path: Path) -> None:
    ran = snakemake(changed_project(tmp_path, training={"epoch": 3}), "-n")
    assert ran.returncode != 0
    assert "training.epoch: unknown key" in ran.stdout


# run by itself, as Snakemake keeps a workflow's state in the process
RULES = """
import json, sys, types
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

wildcards = types.SimpleNamespace(name="map")
with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    config = ConfigSettings(configfiles=[Path(sys.argv[1])], replace_workflow_config=True)
    loaded = api.workflow(ResourceSettings(cores=1), config_settings=config, snakefile=Path("Snakefile"))
    for rule in loaded._workflow.rules:
        values = {"name": rule.name, "docstring": rule.docstring, "shell": rule.shellcmd, "log": list(rule.log)}
        if rule.shellcmd:
            values |= {key: rule.params.get(key) for key in ("stage", "code")} | {"conda": str(rule.conda_env)}
            values["memory"] = [rule.resources["mem_mb"].evaluate(wildcards, attempt=n).value for n in (1, 2)]
            values["runtime"] = rule.resources["runtime"].value
        print(json.dumps(values))
"""


@pytest.mark.parametrize("config", ["config/config.yaml", "config/orion.yaml", "config/cone.yaml"])
def test_each_rule_says_what_it_does_and_what_it_needs(config: str) -> None:
    words = [sys.executable, "-c", RULES, config]
    ran = subprocess.run(words, cwd=ROOT, env=environment(ROOT), capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    rules = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(rules) > 40
    for rule in rules:
        assert re.fullmatch(r"[A-Z].*\.", rule["docstring"]), rule
        if rule["shell"]:  # else a target
            assert rule["log"], rule
            assert rule["conda"].endswith("envs/galcarto.yaml"), rule
            assert rule["runtime"] >= 10, rule
            assert rule["memory"][1] == 2 * rule["memory"][0] > 0, rule
            assert re.fullmatch("[0-9a-f]{16}", rule["code"]), rule
            (stage,) = re.findall(r"python -m galcarto (\S+) ", rule["shell"])
            assert stage in (*STAGES, "{params.stage}"), rule
            # the digest is that of the stage that runs
            stage = rule["stage"] if stage == "{params.stage}" else stage
            assert rule["code"] == code_digest(stage), rule


def test_a_cluster_job_reads_the_settings_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = copy_project(tmp_path / "project")
    # as Snakemake calls itself in a job: without --replace-workflow-config, in the run's environment
    words = ("-n", "--printshellcmds", "--configfile", "config/tiny.yaml", "--", "results/tiny/profiles/train.nc")
    assert '"clouds":{"mean":2.0' in snakemake(project, *words, tiny=False).stdout
    monkeypatch.setenv("GALCARTO_REPLACE_CONFIG", "1")
    assert '"clouds":{"mean":1.5' in snakemake(project, *words, tiny=False).stdout


def test_memory_grows_with_each_attempt(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    (project / "probe.smk").write_text("""
include: "rules/common.smk"
rule probe:
    output: "probe.txt"
    resources: mem_mb=growing(500)
    shell: "echo {resources.mem_mb} >> tries.txt; test {resources.mem_mb} -eq 1500; touch {output}"
""")
    ran = snakemake(project, "--snakefile", "probe.smk", "--retries", "2", "probe.txt")
    assert ran.returncode == 0, ran.stdout
    assert (project / "tries.txt").read_text().split() == ["500", "1000", "1500"]


def test_the_tiny_region_makes_the_contract(finished: Path) -> None:
    results = finished / "results/tiny"
    metrics = json.loads((results / "metrics.json").read_text())
    for block, names in {
        "heldout": ("median_relative_error", "coverage_68", "coverage_95"),
        "sky": ("median_relative_error",),
    }.items():
        assert all(np.isfinite(metrics[block][name]) for name in names)
    # 256 test examples are too few to quote a worst distance
    assert metrics["heldout"]["coverage_68_worst"] is None
    assert len(metrics["heldout"]["coverage_68_by_distance"]) == 10
    for name in ("spearman", "slope", "offset_mag", "scatter_mag", "n"):
        assert np.isfinite(metrics["planck"]["synthetic"][name])
    with open_cube(results / "cube.nc") as cube:
        assert dict(cube.sizes) == {"sample": 32, "l": 2, "b": 2, "distance": 10, "bounds": 2}
        width = np.diff(cube["distance_bounds"].to_numpy(), axis=1)[:, 0]
        cumulative = np.cumsum(cube["extinction_density"].to_numpy() * width, axis=-1)
        np.testing.assert_array_equal(cumulative, cube["extinction"].to_numpy())
        assert (np.diff(cube["extinction_samples"].to_numpy(), axis=-1) >= 0).all()
        assert json.loads(cube.attrs["galcarto_config"])["sky"]["source"] == "synthetic"
    with xr.open_dataset(results / "faceon.nc") as faceon:
        assert faceon["extinction_density"].dims == ("y", "x")
    with open_cube(results / "cube.nc") as cube, open_cube(results / "cube.zarr") as stored:
        xr.testing.assert_identical(stored, cube)
    with open_cube(results / "cube_healpix.nc") as pixels, xr.open_dataset(results / "cartesian.nc") as voxels:
        assert pixels.sizes["distance"] == 10
        assert voxels.attrs["conservation_error"] < 0.01
    with open_cube(results / "cube.nc") as cube:
        assert set(json.loads(cube.attrs["bands"])) >= {"J", "H", "Ks", "G", "BP", "RP"}
        values = getdata(results / "cube.fits")
        np.testing.assert_array_equal(values[..., ::-1], cube["extinction"].transpose("distance", "b", "l"))
    assert (results / "footprint.moc.fits").is_file()
    figures = {path.stem for path in (results / "figures").glob("*.png")}
    assert figures == {path.stem for path in (results / "figures").glob("*.pdf")}
    assert figures >= {"cmds", "training", "profiles", "calibration", "errors", "faceon", "planck_synthetic"}
    assert (results / "report.html").stat().st_size > 100_000
    assert "sightlines hold a result" in (results / "explorer.html").read_text()
    with xr.open_dataset(results / "sky/cmds.nc") as sky:
        observed = sky["counts"].sum(["channel", "magnitude", "colour"]).to_numpy()
    fits = [xr.load_dataset(path)["predicted"] for path in sorted((results / "sightlines").glob("*_fit.nc"))]
    predicted = xr.concat(fits, "tile").sum(["channel", "magnitude", "colour"]).to_numpy()
    assert predicted.shape == observed.shape
    # behind the dust that is found, about as many stars as are seen
    assert (np.abs(np.log(predicted / observed)) < np.log(2.0)).all()


def test_a_second_run_has_nothing_to_do(finished: Path) -> None:
    ran = snakemake(finished)
    assert ran.returncode == 0, ran.stdout
    assert "Nothing to be done" in ran.stdout


def test_a_deleted_file_is_rebuilt_with_one_job(finished: Path) -> None:
    faceon = finished / "results/tiny/faceon.nc"
    before = faceon.read_bytes()
    faceon.unlink()
    assert planned(snakemake(finished, "-n", "results/tiny/faceon.nc").stdout) == {"project_faceon": 1}
    ran = snakemake(finished, "results/tiny/faceon.nc")
    assert ran.returncode == 0, ran.stdout
    assert faceon.read_bytes() == before


def test_an_edited_module_reruns_its_stage_and_what_follows(finished: Path) -> None:
    """Which stages a module belongs to is tested by their digests."""
    (finished / "src").unlink()
    shutil.copytree(ROOT / "src", finished / "src", ignore=shutil.ignore_patterns("*.pyc*", "*.tmp.*", "*.egg-info"))
    for module in ("maps/faceon.py", "pages/explorer.js"):
        path = finished / "src/galcarto" / module
        path.write_text(path.read_text() + "\n")
    jobs = set(planned(snakemake(finished, "-n").stdout)) - {"all"}
    shutil.rmtree(finished / "src")
    (finished / "src").symlink_to(ROOT / "src")
    assert jobs == {"project_faceon", "plot_faceon", "report", "explorer"}


def test_two_runs_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "again")
    ran = snakemake(project, "results/tiny/cube.nc")
    assert ran.returncode == 0, ran.stdout
    assert (project / "results/tiny/cube.nc").read_bytes() == (finished / "results/tiny/cube.nc").read_bytes()


def test_checks_draw_stars_in_the_ratio_of_the_references(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    tiny, name = finished / "results/tiny", "l284.200_b+00.200"
    settings = read_settings(finished / "config/tiny.yaml").for_stage("check_sightlines")
    examples, totals = xr.load_dataset(tiny / f"cmds/valid/{name}.nc")[["reference"]].drop_encoding(), []
    words = ["check_sightlines", "--settings", settings, "--seed=7", "--strip=0000", "--sky", str(tiny / "sky/cmds.nc")]
    words += ["--posterior", str(tiny / "sightlines/0000.nc"), "--stars", str(tiny / f"stars/{name}.parquet")]
    for factor in (1.0, 2.0):
        (factor * examples).to_netcdf(tmp_path / f"{name}.nc")
        chosen = ["--examples", str(tmp_path / f"{name}.nc"), "--output", str(tmp_path / "fit.nc")]
        assert main([*words, *chosen]) == 0
        with xr.open_dataset(tmp_path / "fit.nc") as fit:
            totals.append(float(fit["predicted"].sum()))
    assert totals[0] / totals[1] == pytest.approx(2.0, rel=0.1)
    other = tmp_path / "l285.000_b+00.000.nc"
    (tmp_path / f"{name}.nc").rename(other)
    assert main([*words, "--examples", str(other), "--output", str(tmp_path / "fit.nc")]) == 1
    assert f"expected the sightlines of --stars: {name}" in capsys.readouterr().err
