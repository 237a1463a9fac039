"""The workflow on a real Slurm of one node with two fake GPUs."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from test_workflow import command, copy_project, environment

HERE = Path(__file__).parent
PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
NEEDED = {
    "munge": ("munged", "mungekey"),
    "slurmctld": ("slurmctld",),
    "slurmd": ("slurmd",),
    "slurm-client": ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun"),
}
MISSING = [package for package, tools in NEEDED.items() if not all(shutil.which(tool, path=PATH) for tool in tools)]
LIMIT = 600.0  # s, of a snakemake run
# short rules share a job, and job states are polled early
QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")
GROUPS = {
    "prepare": "draw_profiles synthesize_together render_together observe_sky render_references render_sky",
    "map": "infer_sightlines check_sightlines assemble_cube",
}

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"no Slurm: apt-get install --no-install-recommends {' '.join(MISSING)}"),
]


def free_ports() -> int:
    """The first of two neighbouring TCP ports that are free."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    """Environment variables of a running Slurm."""
    # pytest's folders are too long for the path of a unix socket
    with tempfile.TemporaryDirectory(prefix="slurm", dir="/tmp", ignore_cleanup_errors=True) as folder:
        try:
            subprocess.run(["bash", HERE / "start.sh", folder, str(free_ports())], check=True, timeout=60)
            yield {"SLURM_CONF": f"{folder}/etc/slurm.conf", "PATH": f"{folder}/bin{os.pathsep}{PATH}"}
        finally:
            subprocess.run(["bash", HERE / "stop.sh", folder], check=True, timeout=90)


@dataclass(frozen=True)
class Run:
    """A running snakemake."""

    process: subprocess.Popen[bytes]
    said: Path
    end: float = field(default_factory=lambda: time.monotonic() + LIMIT)

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        while not condition():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < self.end, self.said.read_text()
            time.sleep(0.02)

    def finish(self, status: int) -> str:
        """Wait for the end; returns the output."""
        found = self.process.wait(self.end - time.monotonic())
        assert found == status, self.said.read_text()
        return self.said.read_text()


class Cluster:
    """Runs snakemake and Slurm's programs in a project."""

    def __init__(self, project: Path, variables: dict[str, str]) -> None:
        self.project = project
        self.environment = environment(project) | variables
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"

    @contextmanager
    def snakemake(self, *arguments: str) -> Iterator["Run"]:
        """Run snakemake with the profile, for ten minutes at most; it is killed at the end."""
        tiny = ["--configfile", "config/tiny.yaml", "--replace-workflow-config"]
        words = [sys.executable, "-m", "snakemake", "--profile", "slurm", *arguments, *QUICK, *tiny]
        with (
            (self.project / "said.txt").open("w+") as said,
            subprocess.Popen(
                words,
                cwd=self.project,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield Run(process, Path(said.name))
            finally:
                process.kill()

    def ask(self, *words: str) -> str:
        """Output of one of Slurm's programs."""
        return subprocess.run(
            words, env=self.environment, check=True, capture_output=True, text=True, timeout=30
        ).stdout

    def jobs(self, rule: str) -> list[dict[str, str]]:
        """Slurm's records of this project's jobs of a rule or a group, oldest first."""
        records = [
            dict(word.split("=", 1) for word in line.split() if "=" in word)
            for line in self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        ]
        own = [record for record in records if record.get("WorkDir") == str(self.project)]
        return [record for record in own if rule in record.get("Comment", "")]


def training(project: Path) -> list[int]:
    """Ids of a project's training processes, without their workers."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[1:4] == [b"-m", b"galcarto", b"train_network"] and os.readlink(process / "cwd") == str(project):
                found[int(process.name)] = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
    return [own for own, parent in found.items() if parent not in found]


def elapsed(job: dict[str, str]) -> int:
    """Run time of a job, minutes."""
    hours, minutes, _ = job["RunTime"].split(":")
    return 60 * int(hours) + int(minutes)


def map_region(slurm: Cluster) -> tuple[Cluster, Path, str]:
    """Map the tiny region by jobs; the training reaches its time limit and needs two.

    Returns the project, another with an uninterrupted training, and snakemake's output.
    """
    path = slurm.project / "config/tiny.yaml"
    config = yaml.safe_load(path.read_text())
    config["sky"]["strip_columns"], config["training"]["epochs"] = 2, 2
    config["training_job"] = {"gpus": 1, "mem_mb": 4000, "runtime": 60}
    config["inference_job"] = {"gpus": 1}
    path.write_text(yaml.safe_dump(config))
    groups = [f"{rule}={group}" for group, rules in GROUPS.items() for rule in rules.split()]
    with slurm.snakemake("results/tiny/cube.nc", "--groups", *groups) as run:
        checkpoints = slurm.project / "results/tiny/network/checkpoints"
        run.wait(lambda: list(checkpoints.glob("*/last.ckpt")))
        (process,) = training(slurm.project)
        # suspended until Slurm's signal, so that the speed of the machine does not matter
        os.kill(process, signal.SIGSTOP)
        (job,) = slurm.jobs("train_network")
        # Slurm signals five minutes before the limit, and checks every half minute
        slurm.ask("scontrol", "update", f"jobid={job['JobId']}", f"timelimit={elapsed(job) + 5}")
        undisturbed = slurm.project.parent / "undisturbed"
        shutil.copytree(
            slurm.project, undisturbed, symlinks=True, ignore=shutil.ignore_patterns("network", ".snakemake")
        )
        words = command("results/tiny/network/network.pt", "--rerun-triggers", "mtime")
        subprocess.run(
            words, cwd=undisturbed, env=environment(undisturbed), stderr=subprocess.DEVNULL, check=True, timeout=LIMIT
        )
        return slurm, undisturbed, run.finish(0)


def break_jobs(slurm: Cluster) -> tuple[Cluster, str]:
    """Run jobs of which one is cancelled, one exceeds its memory, and one cannot be submitted.

    Returns the project and snakemake's output.
    """
    shutil.copy(HERE / "faults.smk", slurm.project)
    half = slurm.project / "slow.txt"
    targets = ("lent.txt", "hungry.txt", "slow.txt", "impossible.txt")
    with slurm.snakemake("--snakefile", "faults.smk", "--retries", "1", *targets) as run:
        # the retry is also cancelled
        for attempt in (1, 2):
            run.wait(lambda: half.exists() and len(slurm.jobs("slow")) == attempt)  # noqa: B023
            slurm.ask("scancel", slurm.jobs("slow")[-1]["JobId"])
        return slurm, run.finish(1)


@pytest.fixture(scope="module")
def runs(cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Future]]:
    """Results of `map_region` and `break_jobs`, run in parallel as both mostly wait."""
    with ThreadPoolExecutor() as pool:
        projects = [copy_project(tmp_path_factory.mktemp(name) / "project") for name in ("mapped", "broken")]
        yield [
            pool.submit(run, Cluster(at, cluster)) for run, at in zip((map_region, break_jobs), projects, strict=True)
        ]


@pytest.fixture(scope="module")
def broken(runs: list[Future]) -> tuple[Cluster, str]:
    """Result of `break_jobs`."""
    return runs[1].result()


@pytest.fixture(scope="module")
def mapped(runs: list[Future]) -> tuple[Cluster, Path, str]:
    """Result of `map_region`."""
    return runs[0].result()


def test_a_job_gets_a_gpu(broken: tuple[Cluster, str]) -> None:
    slurm, _ = broken
    assert (slurm.project / "lent.txt").read_text() in ("0\n", "1\n")


def test_a_request_that_no_node_can_meet_is_reported(broken: tuple[Cluster, str]) -> None:
    _, said = broken
    assert "Requested node configuration is not available" in said
    assert "--gpus=3" in said


def test_a_cancelled_job_is_reported_and_rerun_alone(broken: tuple[Cluster, str]) -> None:
    slurm, said = broken
    assert "SLURM status is: 'CANCELLED'" in said
    assert not (slurm.project / "slow.txt").exists()
    (slurm.project / "go").touch()
    with slurm.snakemake("--snakefile", "faults.smk", "lent.txt", "hungry.txt", "slow.txt") as run:
        run.finish(0)
    assert [len(slurm.jobs(rule)) for rule in ("lent", "hungry", "slow")] == [1, 2, 3]
    assert (slurm.project / "slow.txt").read_text() == "half\nwhole\n"


def test_a_job_that_exceeds_its_memory_is_retried_with_more(broken: tuple[Cluster, str]) -> None:
    slurm, said = broken
    killed, done = slurm.jobs("hungry")
    assert killed["MinMemoryNode"] == "600M"
    assert killed["JobState"] == "FAILED"
    assert "Exceeded job memory limit" in said
    assert done["MinMemoryNode"] == "1200M"
    assert done["JobState"] == "COMPLETED"


def test_the_tiny_region_is_mapped_with_gpus(mapped: tuple[Cluster, Path, str]) -> None:
    slurm, _, _ = mapped
    assert (slurm.project / "results/tiny/cube.nc").stat().st_size > 0
    jobs = {rule: slurm.jobs(rule) for rule in ("prepare", "train_network", "map")}
    assert [len(each) for each in jobs.values()] == [1, 2, 1]
    assert all("TresPerJob" not in job for job in jobs["prepare"])
    assert all(job["TresPerJob"] == "gres:gpu:1" for job in (*jobs["train_network"], *jobs["map"]))
    assert all(job["NumNodes"] == "1" for job in jobs["train_network"])


def test_a_training_near_its_time_limit_resumes_in_the_next_job(mapped: tuple[Cluster, Path, str]) -> None:
    slurm, undisturbed, said = mapped
    cut, whole = slurm.jobs("train_network")
    # it stopped before Slurm would have killed it
    assert cut["JobState"] == "FAILED"
    assert "stopped by SIGTERM or as its time is up; run again to go on" in said
    assert whole["JobState"] == "COMPLETED"
    log = (slurm.project / "results/tiny/logs/train_network.log").read_text()
    rounds = len((slurm.project / "results/tiny/network/history.csv").read_text().splitlines()) - 1
    assert 0 < log.count("train loss") < rounds, "the second job did not resume"
    for name in ("network.pt", "history.csv"):
        file = f"results/tiny/network/{name}"
        assert (slurm.project / file).read_bytes() == (undisturbed / file).read_bytes()
