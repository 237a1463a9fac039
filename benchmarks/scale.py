"""Cost per tile of maps of 100 to 100 000 tiles: ``make bench-scale``, after ``make demo``.

The demo's tiles are repeated to the size of the map. Each stage runs as its rule does, in a process of its own, on one
thread: the references of a strip, posteriors and checks of three strips (the first, the middle one and the last), the
images of the whole sky, the cube of all strips. CPU time and resident memory are those that the operating system
reports. The costs at the largest map are extrapolated to the Galactic plane and to the whole sky.
"""

import argparse
import copy
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from matplotlib.figure import Figure
from tqdm import tqdm

from galcarto.dustmap.settings import Settings, read_settings
from galcarto.figures.style import PAGE, STYLE, save

DEMO = Path("results/demo")
ROWS, COLUMNS = 10, 5  # tiles of a strip
TILE = 2  # arcmin, so that 100 000 tiles fit side by side; the cost of a tile does not depend on its size
START = 258.0  # deg: first longitude, beside the demo's first sightlines
STARS = 500  # per tile of the catalogue that is binned
BLOCK = 1000  # tiles written at a time
# tiles of 15 arcmin
PLANS = {"Galactic plane, |b| < 10 deg": 1440 * 80, "whole sky": 1440 * 720}


def settings_of(tiles: int) -> Settings:
    """The demo's settings with a window of `tiles` tiles."""
    config = copy.deepcopy(yaml.safe_load(Path("config/config.yaml").read_text()))
    columns = tiles // ROWS
    config["sky"] |= {
        "l": [f"{START} deg", f"{START + columns * TILE / 60} deg"],
        "b": [f"{-ROWS * TILE / 120} deg", f"{ROWS * TILE / 120} deg"],
        "strip_columns": COLUMNS,
    }
    config["tile"] |= {"size": f"{TILE} arcmin"}
    config["sightlines"] = {split: sightlines[:1] for split, sightlines in config["sightlines"].items()}
    return read_settings(config)


def stage(name: str, *options: object) -> dict[str, float]:
    """Run a stage on one thread; returns its CPU time (s) and peak resident memory (MB)."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "galcarto", name, *map(str, options)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=os.environ | threads, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{name} failed:\n{log.read().decode()}")
    return {"cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 1024}


def repeat(source: Path, target: Path, tiles: int) -> None:
    """Copy a file with its tiles repeated to a total of `tiles`."""
    with netCDF4.Dataset(source) as old, netCDF4.Dataset(target, "w") as new:
        new.setncatts({name: old.getncattr(name) for name in old.ncattrs()})
        for name, dimension in old.dimensions.items():
            new.createDimension(name, tiles if name == "tile" else len(dimension))
        for name, variable in old.variables.items():
            large = variable.ndim > 2
            shape = [len(new.dimensions[name]) for name in variable.dimensions]
            made = new.createVariable(
                name,
                variable.dtype,
                variable.dimensions,
                compression="zlib" if large else None,
                complevel=1,
                chunksizes=[min(c, n) for c, n in zip(variable.chunking(), shape, strict=True)] if large else None,
                fill_value=None if variable.dtype is str else False,
            )
            if "tile" not in variable.dimensions:
                made[:] = variable[:]
                continue
            values = variable[:]
            for start in range(0, tiles, BLOCK):
                stop = min(start + BLOCK, tiles)
                made[start:stop] = values[np.arange(start, stop) % len(values)]


def write_catalogue(path: Path, settings: Settings) -> None:
    """Write the demo's stars at random positions in the window, `STARS` per tile on average."""
    stars = pq.read_table(DEMO / "sky/stars.parquet").to_pandas()
    tiles = settings.sky.grid(settings.tile.size)
    rng = np.random.default_rng(1)
    left = tiles.area().size * STARS
    with pq.ParquetWriter(path, pa.Schema.from_pandas(stars, preserve_index=False)) as writer:
        while left:
            part = stars.sample(min(left, 1_000_000), replace=True, random_state=rng)
            part["l"] = rng.uniform(tiles.l_edges[0], tiles.l_edges[-1], len(part))
            part["b"] = rng.uniform(tiles.b_edges[0], tiles.b_edges[-1], len(part))
            writer.write_table(pa.Table.from_pandas(part, preserve_index=False))
            left -= len(part)


def write_footprint(path: Path, settings: Settings) -> None:
    """Write a footprint that covers the whole window."""
    area = settings.sky.grid(settings.tile.size).area()
    with netCDF4.Dataset(path, "w") as file:
        for name, size in zip(("survey", "l", "b"), (1, *area.shape), strict=True):
            file.createDimension(name, size)
        file.createVariable("survey", str, ("survey",))[:] = np.array(["2mass"], object)
        file.createVariable("area", "f8", ("survey", "l", "b"))[:] = area[None]


def measure(tiles: int, folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each stage's name, with CPU time per tile (s), memory (MB) and bytes written per tile."""
    settings = settings_of(tiles)
    seed = "--seed", settings.seed
    strips = settings.sky.strips(settings.tile.size)
    some = sorted({strips[0], strips[len(strips) // 2], strips[-1]})
    members = ROWS * COLUMNS

    def result(runs: list[dict[str, float]], number: int, output: Path) -> dict[str, float]:
        return {
            "cpu_s": sum(run["cpu"] for run in runs) / number,
            "memory_MB": max(run["memory"] for run in runs),
            "bytes": output.stat().st_size * len(runs) / number,
        }

    def each_strip(name: str, output: str, strips: list[str], *options: object) -> dict[str, float]:
        runs = [stage(name, *options, "--strip", strip, "--output", folder / output) for strip in strips]
        return result(runs, members * len(strips), folder / output)

    galaxy, references = settings.for_stage("render_references"), folder / "references.nc"
    yield (
        "references",
        result([stage("render_references", "--settings", galaxy, "--output", references)], tiles, references),
    )

    sky = folder / "cmds.nc"
    write_catalogue(folder / "stars.parquet", settings)
    write_footprint(folder / "footprint.nc", settings)
    run = stage(
        "render_sky",
        "--settings",
        settings.for_stage("render_sky"),
        *seed,
        *("--stars", folder / "stars.parquet", "--footprint", folder / "footprint.nc"),
        *("--references", references, "--output", sky),
    )
    yield "images", result([run], tiles, sky)

    sky.unlink()
    repeat(DEMO / "sky/cmds.nc", sky, tiles)
    network = "--network", DEMO / "network/network.pt", "--sky", sky
    yield (
        "posteriors",
        each_strip(
            "infer_sightlines",
            "strip.nc",
            some,
            *("--settings", settings.for_stage("infer_sightlines")),
            *seed,
            *network,
        ),
    )

    check = settings.for_stage("check_sightlines")
    names = settings.sightlines.names("train")
    stars = [DEMO / f"stars/{name}.parquet" for name in names]
    examples = [DEMO / f"cmds/valid/{name}.nc" for name in names]
    checked = "--posterior", folder / "strip.nc", "--sky", sky, "--stars", *stars, "--examples", *examples
    yield "checks", each_strip("check_sightlines", "fit.nc", some, "--settings", check, *seed, *checked)

    run = stage(
        "assemble_cube",
        *("--settings", settings.for_stage("assemble_cube"), *seed, "--region", "scale"),
        *("--strips", *[folder / "strip.nc"] * len(strips), "--fits", *[folder / "fit.nc"] * len(strips)),
        *("--output", folder / "cube.nc"),
    )
    yield "cube", result([run], tiles, folder / "cube.nc")


def plans(costs: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Core-hours and disk space (GB) of each plan, from the costs per tile."""
    cpu = sum(cost["cpu_s"] for cost in costs.values())
    return {
        name: {
            "tiles": tiles,
            "core_hours": tiles * cpu / 3600,
            "GB_intermediate": tiles * sum(costs[k]["bytes"] for k in costs if k != "cube") / 1e9,
            "GB_cube": tiles * costs["cube"]["bytes"] / 1e9,
        }
        for name, tiles in PLANS.items()
    }


@STYLE
def draw(table: dict[str, dict[str, dict[str, float]]]) -> Figure:
    """Plot CPU time per tile and memory against the number of tiles."""
    figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
    axes = figure.subplots(1, 2)
    number = [int(n) for n in table]
    for ax, quantity, label in zip(axes, ("cpu_s", "memory_MB"), ("CPU time per tile (s)", "Memory (MB)"), strict=True):
        for name, mark in zip(next(iter(table.values())), "osD^v", strict=True):
            ax.plot(number, [row[name][quantity] for row in table.values()], marker=mark, ms=4, label=name)
        ax.set(xscale="log", yscale="log", xlabel="Tiles of the map", ylabel=label)
    axes[1].legend()
    return figure


def main() -> None:
    """Measure, print, store, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[100, 1000, 10_000, 100_000], help="sizes of the map")
    parser.add_argument("--output", default="benchmarks/scale.json", help="JSON file to write")
    parser.add_argument("--figure", default="docs/scale.png", help="PNG file to write")
    args = parser.parse_args()
    if not (DEMO / "network/network.pt").exists():
        raise SystemExit(f"found no network in {DEMO}; expected the demo: run 'make demo' first")
    wrong = [tiles for tiles in args.tiles if tiles % (ROWS * COLUMNS)]
    if wrong:
        raise SystemExit(f"--tiles: found {wrong}; expected multiples of {ROWS * COLUMNS}, the tiles of a strip")
    table: dict[str, Any] = {}
    for tiles in tqdm(sorted(args.tiles), desc="maps", unit="map"):
        with tempfile.TemporaryDirectory(dir=DEMO) as folder:
            table[str(tiles)] = {}
            for name, cost in measure(tiles, Path(folder)):
                table[str(tiles)][name] = cost
                described = f"{cost['cpu_s'] * 1e3:9.2f} ms {cost['memory_MB']:7.0f} MB {cost['bytes'] / 1e3:8.1f} kB"
                tqdm.write(f"{tiles:>8,d} tiles  {name:<12}{described} a tile")
    found = {"machine": platform.machine(), "tiles": table, "plans": plans(table[str(max(args.tiles))])}
    for name, plan in found["plans"].items():
        print(name + ": " + ", ".join(f"{value:,.0f} {unit}" for unit, value in plan.items()))
    Path(args.output).write_text(json.dumps(found, indent=2) + "\n")
    save(draw(table), args.figure)


if __name__ == "__main__":
    main()
