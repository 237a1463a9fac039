"""Memory, disk space and read rate at the paper's full size, extrapolated from parts of it: ``make bench-full``.

Renders and trains on two parts of the training set of config/carina.yaml, records each process's peak resident memory
and the bytes on disk, and extrapolates both linearly to the full size. Then it measures how fast examples are read, how
long a training waits for them, and, with --shuffle, whether shuffling a stream trains as well as shuffling the whole
set in memory. The results go to benchmarks/full.json.

    python benchmarks/full.py --scale 0.1 --shuffle    # the larger part; the smaller is a quarter of it
"""

import argparse
import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from galcarto.core.sky import sightline_position
from galcarto.dustmap.batches import DiagramFiles, planes
from galcarto.dustmap.settings import Settings, read_settings
from galcarto.dustmap.train import CALIBRATION, Build
from galcarto.learning.data import Examples
from galcarto.learning.training import fit

ROOT = Path(__file__).parents[1]
LIMITS = {"memory": 4000.0, "disk": 10_000.0}  # MB, targets
EACH = 4  # every fourth training sightline is used, three of the nine, with three times its share of the examples
STEPS = 40  # batches of a training whose memory or waiting is measured
SEEDS = 3  # trainings of each shuffle
# runs a stage as the workflow does, but cuts its training to a few batches
CUT = """
import sys
from galcarto.__main__ import main
from galcarto.learning.data import Order
batches = Order.__len__
Order.__len__ = lambda order: min(batches(order), {steps}) if order.buffer else batches(order)
sys.exit(main(sys.argv[1:]))
"""


def run(*words: str | Path, steps: int = 0) -> dict[str, Any]:
    """Run a stage in a process of its own: wall time (s), peak memory (MB) of it or its largest child, and output."""
    start = time.perf_counter()
    code = ["-c", CUT.format(steps=steps)] if steps else ["-m", "galcarto"]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([sys.executable, *code, *map(str, words)], stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        said.seek(0)
        text = said.read()
    if status:
        sys.exit(f"{words[0]} failed:\n{text}")
    scale = 1 if platform.system() == "Darwin" else 1024  # bytes there, KiB elsewhere
    return {"seconds": time.perf_counter() - start, "memory": used.ru_maxrss * scale / 1e6, "said": text}


def shrunk(config: dict[str, Any], scale: float) -> Settings:
    """Settings of the region with a part of its training and validation examples."""
    lines = config["sightlines"]["train"]
    some = lines[::EACH]
    share = scale * len(lines) / len(some)
    sizes = {split: round(share * config["examples"][split]) for split in ("train", "valid")}
    # the calibration uses the same number of examples at any size
    sizes["valid"] = max(sizes["valid"], -(-CALIBRATION // len(some)))
    changes = {"examples": config["examples"] | sizes, "sightlines": config["sightlines"] | {"train": some}}
    return read_settings(config | changes)


def rendered(settings: Settings, stars: Path, folder: Path, peaks: dict[str, float]) -> dict[str, list[Path]]:
    """Render examples and return their files; record the stages' peak memory (MB) in `peaks`."""
    files: dict[str, list[Path]] = {}
    seed = ["--seed", str(settings.seed)]
    for split in ("train", "valid"):
        names, number = settings.sightlines.names(split), getattr(settings.examples, split)
        profiles = folder / f"{split}_profiles.nc"
        words = ["draw_profiles", "--settings", settings.for_stage("draw_profiles"), *seed]
        done = run(*words, "--split", split, "--number", str(number * len(names)), "--output", profiles)
        peaks["draw_profiles"] = max(peaks.get("draw_profiles", 0.0), done["memory"])
        files[split] = []
        for at, name in enumerate(names):
            star_list = stars / f"{name}.parquet"
            if not star_list.exists():
                l, b = sightline_position(name)
                words = ["synthesize_stars", "--settings", settings.for_stage("synthesize_stars"), *seed]
                run(*words, f"--l={l}", f"--b={b}", "--output", star_list)
            files[split].append(folder / f"{split}_{name}.nc")
            words = ["render_cmds", "--settings", settings.for_stage("render_cmds"), *seed, "--split", split]
            words += ["--stars", str(star_list), "--profiles", str(profiles), "--first", str(at * number)]
            done = run(*words, "--number", str(number), "--output", files[split][-1])
            peaks["render_cmds"] = max(peaks.get("render_cmds", 0.0), done["memory"])
    return files


def trained(
    settings: Settings, files: dict[str, list[Path]], folder: Path, workers: int, **changes: Any
) -> dict[str, Any]:
    """Train for a few batches; returns what `run` does."""
    changed = settings.model_copy(update=changes)
    sections = changed.for_stage("train_network")
    words = ["train_network", "--settings", sections, "--seed", str(settings.seed), "--workers", str(workers)]
    words += ["--train", *map(str, files["train"]), "--valid", *map(str, files["valid"])]
    for name in ("checkpoints", "network", "history"):
        words += [f"--{name}", str(folder / f"{name}_{workers}")]
    return run(*words, steps=STEPS)


def measured(config: dict[str, Any], scale: float, stars: Path, folder: Path) -> tuple[dict[str, Any], Any]:
    """Peak memory and disk space (MB) of a part of the full size, and its settings and files."""
    settings = shrunk(config, scale)
    peaks: dict[str, float] = {}
    files = rendered(settings, stars, folder, peaks)
    once = settings.training.model_copy(update={"epochs": 1, "rounds": 1})
    peaks["train_network"] = trained(settings, files, folder, 1, training=once)["memory"]
    stored = [*files["train"], *files["valid"], *folder.glob("*_profiles.nc")]
    result = {
        "scale": scale,
        "examples": {split: getattr(settings.examples, split) * len(files[split]) for split in files},
        "memory": peaks,
        "disk": sum(path.stat().st_size for path in stored) / 1e6,
    }
    return result, (settings, files)


def line(small: float, large: float, scales: tuple[float, float]) -> float:
    """Value at scale 1, extrapolated linearly from two scales."""
    return large + (large - small) / (scales[1] - scales[0]) * (1.0 - scales[1])


def reading(files: list[Path], batch: int, buffer: int) -> dict[str, float]:
    """Examples read and shuffled per second, by the number of workers."""
    rates = {}
    for workers in (0, 1, 2):
        examples = Examples(DiagramFiles(files), batch, buffer, workers=workers)
        start, seen = time.perf_counter(), 0
        for epoch in range(3):
            examples.epoch = epoch
            seen += sum(len(each[0]) for each in examples)
        rates[str(workers)] = seen / (time.perf_counter() - start)
    return rates


def shuffles(settings: Settings, files: dict[str, list[Path]]) -> dict[str, Any]:
    """Validation losses after each of two passes, for the stream and for the whole set shuffled in memory."""
    training = settings.training
    losses: dict[str, list[list[float]]] = {"stream": [], "whole": []}
    edges, bounds = settings.distance.edges(), settings.profiles.support(settings.distance.step)
    shape = {"name": "compact", "channels": planes(1), "pixels": settings.pixels, "bins": len(edges) - 1}
    shape |= {"dropout": 0.1, "support": bounds}
    options = training.model_copy(update={"epochs": 2, "rounds": 1, "precision": "bf16-mixed", "devices": 1})
    train, valid = DiagramFiles(files["train"]), DiagramFiles(files["valid"], first=len(files["train"]))
    build = Build(shape, torch.cat([train.references, valid.references]))
    for seed in range(SEEDS):
        for kind, buffer in (("stream", training.buffer), ("whole", 1_000_000)):
            with tempfile.TemporaryDirectory() as folder:
                learning = Examples(train, training.batch, buffer, seed)
                _, history = fit(build, learning, Examples(valid, training.batch), Path(folder), options, seed)
            losses[kind].append([row["valid_loss"] for row in history])
            print(f"{kind}, seed {seed}: validation losses {losses[kind][-1]}", flush=True)
    pairs = [(a[-1], b[-1]) for a, b in zip(losses["stream"], losses["whole"], strict=True)]
    return {
        **losses,
        "difference": statistics.mean(a - b for a, b in pairs),
        "scatter": {kind: statistics.stdev(row[-1] for row in rows) for kind, rows in losses.items()},
    }


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="the larger part, as a fraction of the full size")
    parser.add_argument("--shuffle", action="store_true", help="also compare the shuffles, which takes minutes")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/full.json")
    args = parser.parse_args()
    config = yaml.safe_load((ROOT / "config/carina.yaml").read_text())
    scales = args.scale / 4, args.scale
    result: dict[str, Any] = {"machine": machine(), "sizes": []}
    with tempfile.TemporaryDirectory() as name:
        sets = []
        for scale in scales:
            folder = Path(name) / str(scale)
            folder.mkdir()
            found, made = measured(config, scale, Path(name), folder)
            result["sizes"].append(found)
            sets.append(made)
            peaks = ", ".join(f"{stage} {peak:,.0f} MB" for stage, peak in found["memory"].items())
            print(f"{sum(found['examples'].values()):,} examples: {found['disk']:,.0f} MB; peaks {peaks}", flush=True)
        small, large = result["sizes"]
        memory = {stage: line(small["memory"][stage], large["memory"][stage], scales) for stage in large["memory"]}
        result["full"] = {"memory": memory, "disk": line(small["disk"], large["disk"], scales), "limits": LIMITS}
        print(f"extrapolated to the full size: {result['full']}")
        (settings, files), (full, most) = sets
        result["examples_per_second"] = reading(most["train"], full.training.batch, full.training.buffer)
        print(f"examples read per second, by workers: {result['examples_per_second']}")
        compact = {"network": full.network.model_copy(update={"name": "compact"})}
        compact["training"] = full.training.model_copy(update={"epochs": 1, "rounds": 1})
        result["waiting"] = {}
        for workers in (0, 1, 2):
            said = trained(full, most, Path(name), workers, **compact)["said"]
            result["waiting"][str(workers)] = float(re.findall(r"waited ([\d.]+) %", said)[-1])
        print(f"time that a training of the compact network waits for examples, %, by workers: {result['waiting']}")
        if args.shuffle:
            result["shuffle"] = shuffles(settings, files)
            print(f"shuffle: {result['shuffle']}")
    args.output.write_text(json.dumps(result, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Processor, cores, GPU and torch's version."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
        cpu = found.group(1) if found else cpu
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "gpu": device, "torch": torch.__version__}


if __name__ == "__main__":
    main()
