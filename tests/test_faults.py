"""Faults: kills, damaged files, a full or read-only disk, concurrent runs. Each is recovered from, or reported."""

import contextlib
import errno
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import xarray as xr
import yaml
from test_inference import BINS, EDGES, write
from test_maps import write as write_cube
from test_workflow import changed_project, command, copy_project, environment, snakemake

from galcarto.__main__ import main
from galcarto.core.errors import UserError
from galcarto.core.files import Output, whole
from galcarto.dustmap.settings import read_settings

ROOT = Path(__file__).parent.parent
TINY = read_settings(yaml.safe_load((ROOT / "tests/tiny.yaml").read_text()))
PROFILES = ("--settings", TINY.for_stage("draw_profiles"), "--seed", "7", "--split", "train")
ROUNDS = 6


def draw(output: Path, number: int = 2000) -> int:
    """Run a fast stage that writes a netCDF file."""
    return main(["draw_profiles", *PROFILES, "--number", str(number), "--output", str(output)])


def synthesize(output: Path) -> int:
    """Run a stage that writes a Parquet file."""
    settings = TINY.for_stage("synthesize_stars")
    return main(
        ["synthesize_stars", "--settings", settings, "--seed", "1", "--l=30", "--b=20", "--output", str(output)]
    )


def wait(ready: Callable[[], object], running: subprocess.Popen) -> None:
    """Wait for a condition while a process runs."""
    deadline = time.monotonic() + 120
    while not ready():
        assert running.poll() is None, "ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- training


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small files of examples: two for training, one for validation and one for tests."""
    folder = tmp_path_factory.mktemp("examples")
    for number, name in enumerate(("a", "b", "valid", "test")):
        write(folder / f"{name}.nc", 512, number)
    return folder


def training(examples: Path, to: Path) -> list[str]:
    """Command line of a training that writes to the folder `to`."""
    step = float(EDGES[1] - EDGES[0])
    found = json.loads(TINY.for_stage("train_network"))
    found["training"] |= {"epochs": 2, "rounds": ROUNDS // 2, "batch": 64, "buffer": 2, "accelerator": "cpu"}
    found["distance"] = {"step": f"{step} kpc", "max": f"{step * BINS} kpc"}
    words = ["train_network", "--settings", json.dumps(found), "--seed", "3"]
    words += ["--train", str(examples / "a.nc"), str(examples / "b.nc"), "--valid", str(examples / "valid.nc")]
    words += ["--checkpoints", str(to / "checkpoints")]
    return [*words, "--network", str(to / "network.pt"), "--history", str(to / "history.csv")]


def trained(folder: Path) -> list[bytes]:
    """Bytes of the files that a training wrote."""
    return [(folder / name).read_bytes() for name in ("network.pt", "history.csv")]


@pytest.fixture(scope="module")
def undisturbed(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert main(training(examples, folder)) == 0
    return folder


def test_a_killed_training_resumes_to_the_same_bytes(
    examples: Path, undisturbed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [sys.executable, "-m", "galcarto", *training(examples, tmp_path)]
    threads = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums depend on it
    with subprocess.Popen(words, env=threads, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        wait(lambda: list(tmp_path.glob("checkpoints/*/last.ckpt")), running)
        running.kill()
    assert running.returncode == -signal.SIGKILL
    (last,) = tmp_path.glob("checkpoints/*/last.ckpt")
    done = len(torch.load(last, weights_only=True)["progress"]["history"])
    assert 1 <= done < ROUNDS
    assert not (tmp_path / "network.pt").exists()
    with caplog.at_level(logging.INFO):
        assert main(training(examples, tmp_path)) == 0
    assert sum("train loss" in line for line in caplog.messages) == ROUNDS - done
    assert trained(tmp_path) == trained(undisturbed)
    assert {path.name for path in tmp_path.iterdir()} == {"network.pt", "history.csv"}


# --- damaged files


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stars of a sightline, without dust."""
    path = tmp_path_factory.mktemp("stars") / "l030.000_b+20.000.parquet"
    assert synthesize(path) == 0
    return path


def compressed(path: Path, name: str) -> Path:
    """Write a compressed netCDF file with one long variable."""
    noise = xr.Dataset({name: ("tile", np.random.default_rng(1).random(50_000))}, attrs={"galcarto_version": "0.1.0"})
    noise.to_netcdf(path, encoding={name: {"zlib": True}})
    return path


def reading(kind: str, folder: Path, examples: Path, undisturbed: Path, stars: Path) -> tuple[Path, list[str]]:
    """A file of the given kind in `folder`, and the command line of a stage that reads it."""
    out = ["--seed", "1", "--output", str(folder / "out.nc")]
    if kind in ("a", "valid"):  # examples
        shard = Path(shutil.copytree(examples, folder / "examples"))
        return shard / f"{kind}.nc", training(shard, folder)
    if kind in ("test", "network"):
        shard, network = (Path(shutil.copy(one, folder)) for one in (examples / "test.nc", undisturbed / "network.pt"))
        inference = {"inference": {"samples": 16, "min_stars": 1e-3}}  # these examples have hardly any stars
        words = ["evaluate_heldout", "--settings", json.dumps(inference), "--seed", "1"]
        words += ["--network", str(network), "--examples", str(shard)]
        words += ["--comparison", str(folder / "out.nc"), "--metrics", str(folder / "out.json")]
        assert main(words) == 0  # before the damage
        for path in folder.glob("out*"):
            path.unlink()
        return (shard if kind == "test" else network), words
    if kind == "stars":
        path, profiles = Path(shutil.copy(stars, folder)), folder / "profiles.nc"
        assert draw(profiles) == 0
        words = ["render_cmds", "--settings", TINY.for_stage("render_cmds"), "--split", "train", "--stars", str(path)]
        return path, [*words, "--profiles", str(profiles), "--first", "0", "--number", "9", *out]
    if kind == "sky":
        path = compressed(folder / "cmds.nc", "counts")
        words = ["infer_sightlines", "--settings", TINY.for_stage("infer_sightlines"), "--sky", str(path)]
        return path, [*words, "--network", str(undisturbed / "network.pt"), "--strip", "0000", *out]
    if kind == "strip":
        path = compressed(folder / "0000.nc", "extinction_samples")
        words = ["assemble_cube", "--settings", TINY.for_stage("assemble_cube"), "--region", "tiny"]
        return path, [*words, "--strips", str(path), "--fits", str(path), *out]
    path = write_cube(folder / "cube.nc", {"galcarto_version": "0.1.0"})
    return path, ["project_faceon", "--settings", TINY.for_stage("project_faceon"), "--cube", str(path), *out]


@pytest.mark.parametrize(
    ("kind", "how"),
    [*product(("a", "valid", "test", "network", "stars", "sky", "strip"), ("cut", "changed")), ("cube", "cut")],
)
def test_a_damaged_file_is_reported(kind, how, examples, undisturbed, stars, tmp_path: Path, capfd) -> None:
    path, words = reading(kind, tmp_path, examples, undisturbed, stars)
    content = bytearray(path.read_bytes())
    if how == "cut":
        del content[len(content) // 2 :]
    else:  # one byte of a compressed chunk, or of a weight
        content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    assert main(words) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith(f"galcarto {words[0]}: {path}: ")
    assert "delete it and" in said
    assert not list(tmp_path.glob("out*"))


# --- a full or read-only disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a small disk, or remounts it, with the given options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        if os.path.ismount(folder):
            options = f"remount,{options}"
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        ran = subprocess.run(words, capture_output=True, text=True) if shutil.which("mount") else None
        if ran is None or ran.returncode:
            pytest.skip(f"needs the right to mount a tmpfs: {ran.stderr.strip() if ran else 'no mount'}")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("stage", [draw, synthesize])
def test_a_full_disk_is_reported_and_leaves_no_file(stage, disk, tmp_path: Path, capfd) -> None:
    assert stage(tmp_path / "whole") == 0
    expected = (tmp_path / "whole").read_bytes()
    pages = -(-len(expected) // os.sysconf("SC_PAGE_SIZE"))
    for room in np.linspace(1, pages - 1, 3).astype(int):
        folder = disk(f"size={room * os.sysconf('SC_PAGE_SIZE')}")
        assert stage(folder / "out") == 1, room
        said = capfd.readouterr().err
        assert f"{folder / 'out'}: cannot be written: No space left on device (0." in said
        assert f" MB free in {folder})" in said
        assert not list(folder.iterdir())
    disk("size=100m")
    assert stage(folder / "out") == 0
    assert (folder / "out").read_bytes() == expected


def test_a_full_disk_is_reported_even_if_there_is_room_again(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="cannot be written: No space left on device"),
        whole([Output(str(tmp_path / "a"))]),
    ):
        raise OSError(errno.ENOSPC, "as pyarrow does")


def test_the_message_of_a_full_disk_fits_into_a_log_beside_the_file(disk) -> None:
    folder = disk("size=20k")
    words = [sys.executable, "-m", "galcarto", "draw_profiles", *PROFILES, "--number", "2000"]
    with (folder / "log").open("w") as log:
        ran = subprocess.run([*words, "--output", str(folder / "train.nc")], stdout=log, stderr=log)
    assert ran.returncode == 1
    assert "train.nc: cannot be written: No space left on device" in (folder / "log").read_text()
    assert [path.name for path in folder.iterdir()] == ["log"]


@pytest.mark.filterwarnings("ignore:This process .*fork")
@pytest.mark.parametrize(
    "writer", [lambda path: write(path, 512, 0), write_cube, lambda path: compressed(path, "counts")]
)
def test_incomplete_netcdf_files_on_a_full_disk_are_errors(writer, disk, tmp_path: Path) -> None:
    writer(tmp_path / "whole")
    pages = -(-(tmp_path / "whole").stat().st_size // os.sysconf("SC_PAGE_SIZE"))

    def attempt() -> None:
        with pytest.raises(UserError, match="No space left on device"), whole([output := Output(str(folder / "out"))]):
            writer(output)
        assert not list(folder.iterdir())

    for room in range(1, pages):
        folder = disk(f"size={room * os.sysconf('SC_PAGE_SIZE')}")
        # in a process of its own, like a stage: HDF5 keeps what it could not write, and may crash later
        child = multiprocessing.get_context("fork").Process(target=attempt)
        child.start()
        child.join()
        assert child.exitcode in (0, -signal.SIGSEGV), room
        assert not (folder / "out").exists()


def test_a_training_on_a_full_disk_resumes_when_there_is_room(
    examples: Path, undisturbed: Path, disk, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = torch.load(undisturbed / "network.pt", weights_only=True)["weights"].values()
    checkpoint = 3 * sum(weight.numel() * weight.element_size() for weight in weights)  # with AdamW's moments
    folder = disk(f"size={int(0.8 * checkpoint)}")  # room for best.ckpt and half of last.ckpt
    assert main(training(examples, folder)) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert "last.ckpt: cannot be written: No space left on device" in said
    assert [path.name for path in folder.rglob("*.*")] == ["best.ckpt"]
    disk("size=200m")
    assert main(training(examples, folder)) == 0
    assert trained(folder) == trained(undisturbed)


def test_a_read_only_folder_is_reported(examples: Path, disk, capfd: pytest.CaptureFixture[str]) -> None:
    folder = disk("size=1m")
    disk("ro")
    assert draw(folder / "profiles.nc") == 1
    assert f"{folder / 'profiles.nc'}: cannot be written: Read-only file system" in capfd.readouterr().err
    assert main(training(examples, folder)) == 1
    assert "cannot be written: Read-only file system" in capfd.readouterr().err


# --- the workflow


TARGET = "results/tiny/profiles/train.nc"
MANY = 30_000  # profiles, drawn in about a second


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose profiles take a while to draw."""
    return changed_project(tmp_path / "project", examples={"train": MANY})


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Profiles of an undisturbed run."""
    path = tmp_path_factory.mktemp("expected") / "train.nc"
    assert draw(path, MANY) == 0
    return xr.load_dataset(path)


@pytest.fixture
def start(project: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], psutil.Process]]]:
    """A function that starts snakemake and suspends its stage while it writes; the output goes to ``said``."""
    groups = []

    def begin(*arguments: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
        with (project / "said").open("w") as said:
            running = subprocess.Popen(
                command(TARGET, *arguments),
                cwd=project,
                env=environment(project),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        groups.append(running.pid)
        wait(lambda: list((project / TARGET).parent.glob("*.part")), running)
        stage = next(
            child
            for child in psutil.Process(running.pid).children(recursive=True)
            if child.cmdline()[1:4] == ["-m", "galcarto", "draw_profiles"]
        )
        stage.suspend()
        assert not (project / TARGET).exists()
        return running, stage

    yield begin
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


@pytest.mark.parametrize("killed", ["all of it", "snakemake only"])
def test_a_killed_run_can_be_repeated(killed: str, start, project: Path, expected: xr.Dataset) -> None:
    running, stage = start()
    os.killpg(running.pid, signal.SIGKILL) if killed == "all of it" else running.kill()
    running.wait()
    assert not (project / TARGET).exists()
    assert snakemake(project, "--unlock").returncode == 0
    ran = snakemake(project, "--rerun-incomplete", TARGET)
    assert ran.returncode == 0, ran.stdout
    assert xr.load_dataset(project / TARGET).equals(expected)
    if killed == "snakemake only":  # its job survives, and ends after the second run
        stage.resume()
        psutil.wait_procs([stage], timeout=60)
        assert xr.load_dataset(project / TARGET).equals(expected)
    assert not list((project / TARGET).parent.glob("*.part"))


def test_an_orphaned_job_does_not_overwrite_the_file_of_a_later_run(tmp_path: Path) -> None:
    path = tmp_path / "file"
    old, new = Output(str(path)), Output(str(path))
    orphan = contextlib.ExitStack()
    orphan.enter_context(whole([old]))
    Path(old).write_text("old")
    with whole([new]):
        Path(new).write_text("ne")
        with pytest.raises(FileNotFoundError):
            orphan.close()
        assert not path.exists()
        Path(new).write_text("new")
    assert path.read_text() == "new"


def test_two_runs_in_one_folder(start, project: Path, expected: xr.Dataset) -> None:
    running, stage = start()
    second = snakemake(project, TARGET)
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stdout
    assert "--unlock" in second.stdout
    stage.resume()
    assert running.wait(timeout=60) == 0, (project / "said").read_text()
    assert xr.load_dataset(project / TARGET).equals(expected)


def test_a_job_killed_for_its_memory_is_retried(start, project: Path, expected: xr.Dataset) -> None:
    running, stage = start("--retries", "1")
    stage.kill()  # as the kernel does
    assert running.wait(timeout=60) == 0, (project / "said").read_text()
    assert "Error in rule draw_profiles" in (project / "said").read_text()
    assert xr.load_dataset(project / TARGET).equals(expected)
    assert not list((project / TARGET).parent.glob("*.part"))


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can make a folder read-only for itself")
@pytest.mark.parametrize("made", [False, True])
def test_stages_run_where_home_and_package_cannot_be_written(tmp_path: Path, made: bool) -> None:
    """Without numba's cache, unless the Makefile gives them one, which Snakemake cannot do without."""
    project, home = copy_project(tmp_path / "project", edited=True), tmp_path / "home"
    home.mkdir()
    bound = "; ".join(f"mount --bind {one} {one} && mount -o remount,bind,ro {one}" for one in (project / "src", home))
    variables = environment(project) | {"HOME": str(home)}
    variables.pop("XDG_CACHE_HOME", None)
    words = f'{sys.executable} -c "import galcarto.dustmap.diagrams.integration"'
    if made:
        words = f"make -f {ROOT}/Makefile --eval 'probe:; {sys.executable} -m snakemake -n -q && {words}' probe"
    words = ["unshare", "-m", "bash", "-c", f"{bound}; {words}"]
    ran = subprocess.run(words, cwd=project, env=variables, capture_output=True, text=True, check=False)
    if "unshare failed" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip("this machine does not let folders be mounted")
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert ("set NUMBA_CACHE_DIR" in ran.stderr) == (not made)
