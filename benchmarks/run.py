"""Time the heavy steps on one thread, against named peers and the machine's limits: ``make bench``.

    python benchmarks/run.py                    run all groups and store the table in benchmarks/results.json
    python benchmarks/run.py kernel training    run some groups and print them
    python benchmarks/run.py query --update     run some groups and replace the stored ones

Each value is the median CPU time over rounds. Its ratio to a peer and its share of a limit are from the same rounds.
"""

import os

# before numpy, torch and tqdm are imported
os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "KINETO_LOG_LEVEL": "99"}

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import astropy.units as u
import measure
import numba
import numpy as np
import peers
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import xarray as xr
from astropy.coordinates import SkyCoord

from galcarto.core.netcdf import BLOCK
from galcarto.core.sky import Tiles, sightline_name
from galcarto.dust import profiles
from galcarto.dustmap import examples
from galcarto.dustmap.batches import DiagramFiles, planes, prepare
from galcarto.dustmap.diagrams import kernel
from galcarto.dustmap.diagrams.files import write_examples
from galcarto.dustmap.diagrams.forward import EXTINCTION_GRID, ForwardModel, Stars
from galcarto.dustmap.diagrams.nuisances import Nuisances, Populations
from galcarto.dustmap.infer import infer
from galcarto.dustmap.instrument import Instrument
from galcarto.dustmap.network import ProfileEstimator, ProfileNetwork
from galcarto.dustmap.settings import Realism, Settings, read_settings
from galcarto.galaxy.synthesis import StarModel
from galcarto.learning.calibration import Calibration
from galcarto.learning.data import Examples
from galcarto.learning.heads.tree import Posterior
from galcarto.learning.training import CLIP
from galcarto.learning.trust import FeatureDistribution
from galcarto.maps import cube, grid
from galcarto.maps.query import DustAccessor

ROOT = Path(__file__).parents[1]
L, B = 284.0, 0.8  # deg: the sightline


@dataclass(frozen=True)
class Sizes:
    """Sizes of the benchmarks."""

    repeats: int = 7
    few: int = 3  # repeats of calls that take seconds
    stars: int = 1_000_000
    loop: int = 10_000
    directions: int = 512  # as many as `render_references` integrates at once
    images: int = 400
    peer_images: int = 40
    examples: int = 8192
    batches: tuple[tuple[str, int], ...] = (("compact", 256), ("cornu2022", 128))
    precisions: tuple[str, ...] = ("32-true", "bf16-mixed")
    tiles: int = 24
    strips: int = 4
    points: int = 10_000_000
    peer_points: int = 1_000_000


SMALL = Sizes(2, 2, 20_000, 500, 4, 32, 4, 64, (("compact", 8),), ("32-true",), 4, 2, 20_000, 2_000)


@cache
def region() -> Settings:
    """Settings of the Carina tangent with the default nuisances: tiles and diagrams of the usual size."""
    return read_settings(ROOT / "config/carina.yaml").model_copy(update={"realism": Realism()})


@cache
def mock() -> StarModel:
    """The mock Galaxy of the region."""
    return Instrument.of(region()).star_model


@dataclass(frozen=True)
class Scene:
    """Input of the kernel and its peers."""

    model: ForwardModel
    stars: Stars
    extinction: np.ndarray
    area: np.ndarray
    nuisances: Nuisances

    def first(self, number: int) -> tuple[np.ndarray, np.ndarray, Nuisances]:
        """Extinction, area and nuisances of the first images."""
        nuisances = Nuisances(*(values[:number] for values in vars(self.nuisances).values()))
        return self.extinction[:number], self.area[:number], nuisances

    def render(self) -> np.ndarray:
        """The kernel's images."""
        return self.model.render(self.stars, self.extinction, self.area, np.random.default_rng(3), self.nuisances)

    def entering(self, number: int) -> float:
        """Expected number of stars in the first images, before detection."""
        stars = self.nuisances.weights[:number] @ self.stars.populations.number
        return float((self.area[:number] / self.stars.area * stars).sum())

    def visits(self) -> float:
        """Expected number of stars that are read from the list, before the populations are thinned."""
        return float((self.area * self.nuisances.weights.max(axis=1)).sum() / self.stars.area * len(self.stars.packed))


def scene(settings: Settings, number: int) -> Scene:
    """A scene of the sightline with profiles, areas and nuisances as in the training set."""
    instrument = Instrument.of(settings)
    model = instrument.forward_model
    area = settings.galaxy.stars / mock().density(L, B)
    drawn = mock().draw(L, B, area, np.random.default_rng(1))
    populations = Populations.sort(
        drawn["component"].cat.codes.to_numpy(), drawn["metallicity"].to_numpy(), drawn["mass_ratio"].to_numpy() > 0
    )
    magnitudes = {band: drawn[band].to_numpy() for band in mock().bands}
    stars = model.pack(drawn["distance"].to_numpy(), magnitudes, area, populations)
    rng = np.random.default_rng(2)
    extinction = profiles.draw(rng, number, instrument.edges, **settings.profiles.model_dump())
    solid = settings.tile.size**2 * rng.uniform(settings.tile.min_area_fraction, 1.0, number)
    nuisances = instrument.draw_nuisances(rng, number, populations[0])
    return Scene(model, stars, extinction, solid, nuisances)


def bench_stars(results: measure.Results, sizes: Sizes) -> None:
    """Mock stars, against a plain loop over the same densities."""
    density = mock().density(L, B)
    area, few = sizes.stars / density, sizes.loop / density
    number = len(mock().draw(L, B, area, np.random.default_rng(1)))
    peer = len(peers.loop_stars(mock(), L, B, few, np.random.default_rng(1)))
    draw = partial(mock().draw, L, B, area)
    cpu, wall = measure.rounds(
        {
            "ours": lambda: draw(np.random.default_rng(1)),
            "loop": lambda: peers.loop_stars(mock(), L, B, few, np.random.default_rng(1)),
        },
        sizes.few,
    )
    size = draw(np.random.default_rng(1)).memory_usage(index=False).sum()
    loop = ("a plain loop", peer, cpu["loop"])
    results.add("stars", "mock stars", number, "stars", cpu["ours"], wall["ours"], loop, results.copied(size))
    parts = {
        "densities": ["synthesis.py:expected"],
        "random numbers": [
            "<method 'random' of 'numpy.random._generator.Generator' objects>",
            "<method 'poisson' of 'numpy.random._generator.Generator' objects>",
        ],
        "searching bins and segments": ["fromnumeric.py:searchsorted", "_function_base_impl.py:searchsorted"],
        "limits": ["synthesis.py:_faintness"],
        "the table": ["synthesis.py:_frame", "concat.py:concat"],
    }
    results.profile("mock stars", measure.function_shares(lambda: draw(np.random.default_rng(1)), parts))


def bench_expected(results: measure.Results, sizes: Sizes) -> None:
    """Diagrams without dust and tables of detectable stars by integration: of one direction, and of many at once."""
    instrument = Instrument.of(region())
    (integrator,) = instrument.integrators
    l, b = L + 0.01 * np.arange(sizes.directions), np.full(sizes.directions, B)
    calls = {
        "bare diagram by integration": lambda: integrator.image(L, B),
        "detectable stars by integration": lambda: integrator.detectable(L, B),
        "references of a direction": lambda: instrument.references(L, B),
        "references of many directions": lambda: instrument.many_references(l, b),
    }
    cpu, wall = measure.rounds(calls, sizes.few)
    for name in cpu:
        many = name == "references of many directions"
        peer = ("one direction after the other", 1, cpu["references of a direction"]) if many else None
        results.add("expected", name, len(l) if many else 1, "directions", cpu[name], wall[name], peer)


def bench_kernel(results: measure.Results, sizes: Sizes) -> None:
    """The kernel, against numpy, boost-histogram and torch on the same stars with the same physics."""
    demo = read_settings(ROOT / "config/config.yaml")
    for title, settings in (
        ("every nuisance", region()),
        ("the tile's spread alone", region().model_copy(update={"realism": demo.realism})),
    ):
        ours = scene(settings, sizes.images)
        few = (ours.model, ours.stars, *ours.first(sizes.peer_images))
        calls = {
            "kernel": ours.render,
            "numpy": lambda few=few: peers.numpy_images(*few, np.random.default_rng(3)),
            "boost-histogram": lambda few=few: peers.numpy_images(
                *few, np.random.default_rng(3), peers.boost_histogram
            ),
            "torch": lambda few=few: peers.torch_images(*few, torch.Generator().manual_seed(3)),
        }
        cpu, wall = measure.rounds(calls, sizes.repeats)
        stars, peer = ours.entering(sizes.images), ours.entering(sizes.peer_images)
        # a cache line per star read, and the image: cleared, filled, converted to its final type
        moved = ours.visits() * 64 + ours.extinction.shape[0] * ours.model.pixels**2 * (2 * 4 + 4 + 2)
        for name in ("numpy", "boost-histogram", "torch"):
            results.add(
                "kernel",
                f"CMD kernel, {title}",
                stars,
                "stars",
                cpu["kernel"],
                wall["kernel"],
                (name, peer, cpu[name]),
                results.copied(moved),
            )
    results.profile(f"CMD kernel, {title}", _kernel_parts(ours, sizes))


def _kernel_parts(ours: Scene, sizes: Sizes) -> dict[str, float]:
    """Shares of the kernel's time, from its gain when a part is switched off."""
    some = ours.stars.packed[:: len(ours.stars.packed) // kernel.BLOCK][: kernel.BLOCK]
    share = len(some) / len(ours.stars.packed)
    near = replace(ours, stars=replace(ours.stars, packed=some, area=ours.stars.area * share))
    away = replace(ours.model.views[0], magnitude_range=(100.0, 110.0))
    unseen = replace(ours, model=replace(ours.model, views=[away]))
    bits = np.empty(int(ours.visits() * (1 + len(ours.model.bands)) / sizes.images), np.uint64)
    cpu, _ = measure.rounds(
        {
            "all": ours.render,
            "near": near.render,
            "unseen": unseen.render,
            "random": lambda: [kernel._draw(np.uint64(1), bits) for _ in range(sizes.images)],
        },
        sizes.repeats,
    )
    shares = {
        "stars from beyond the caches": float(np.median(1.0 - cpu["near"] / cpu["all"])),
        "counting": float(np.median(1.0 - cpu["unseen"] / cpu["all"])),
        "random bits": float(np.median(cpu["random"] / cpu["all"])),
    }
    return shares | {"extinction, errors, completeness, cuts": 1.0 - sum(shares.values())}


def bench_render(results: measure.Results, sizes: Sizes) -> None:
    """Examples of a sightline from star list to file, and writing and reading of the file's blocks."""
    settings = region()
    rng = np.random.default_rng(2)
    prior = settings.profiles.model_dump()
    extinction = profiles.draw(rng, sizes.examples, settings.distance.edges(), **prior)
    with tempfile.TemporaryDirectory() as folder:
        stars, path = Path(folder) / f"{sightline_name(L, B)}.parquet", Path(folder) / "examples.nc"
        area = 2 * settings.galaxy.stars / mock().density(L, B)
        table = pa.Table.from_pandas(mock().draw(L, B, area, np.random.default_rng(1)), preserve_index=False)
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, "area_deg2": str(area)}), stars)

        def render() -> None:
            chunks = (extinction[at : at + examples.CHUNK] for at in range(0, len(extinction), examples.CHUNK))
            examples.render(path, stars, chunks, Instrument.of(settings), settings.tile, {}, split="train", seed=1)

        cpu, wall = measure.rounds({"render": render}, sizes.few)
        with xr.open_dataset(path) as file:
            counts, references, area_of = (file[name].to_numpy() for name in ("counts", "reference", "area"))
            present = file["present"].to_numpy()
        moved = counts.nbytes / 2 * (2 * 4 + 4 + 2) + counts.astype(bool).sum() * 64
        results.add(
            "render", "examples", sizes.examples, "examples", cpu["render"], wall["render"], None, results.copied(moved)
        )
        parts = {
            "reading the stars": ["instrument.py:read_stars"],
            "bare diagram and detectable stars": ["instrument.py:integrators", "instrument.py:references"],
            "nuisances": ["instrument.py:draw_nuisances"],
            "kernel": ["forward.py:render"],
        }
        found = measure.function_shares(render, parts)
        results.profile("examples", found | {"writing": found.pop("rest")})

        model = Instrument.of(settings).forward_model
        detectable = np.ones((1, len(model.edges) - 1, len(EXTINCTION_GRID)), np.float32)
        plain = Path(folder) / "examples.npy"

        def write() -> None:
            chunk = examples.CHUNK
            blocks = (
                tuple(each[at : at + chunk] for each in (counts, extinction, area_of, present))
                for at in range(0, len(counts), chunk)
            )
            write_examples(path, blocks, references, detectable, model, {})

        def read() -> None:
            for _ in Examples(DiagramFiles([path]), BLOCK):
                pass

        calls = {"write": write, "read": read, "save": lambda: np.save(plain, counts), "load": lambda: np.load(plain)}
        cpu, wall = measure.rounds(calls, sizes.few)
        for name, call, peer in (("written", "write", "save"), ("read", "read", "load")):
            size = counts.nbytes
            rival = (f"numpy.{peer} of the bare counts", size, cpu[peer])
            results.add(
                "render", f"bytes {name}", size, "bytes", cpu[call], wall[call], rival, results.copied(2 * size)
            )
            results.add("render", f"examples {name}", len(counts), "examples", cpu[call], wall[call])
        print(f"    {path.stat().st_size / len(counts):,.0f} bytes each on disk, {size / len(counts):,.0f} in memory")


def _images(batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    counts = torch.poisson(torch.full((batch, 1, 64, 64), 2.0), generator)
    return prepare(counts, counts, torch.ones(batch, 1)).contiguous(memory_format=torch.channels_last)


def bench_networks(results: measure.Results, sizes: Sizes, training: bool) -> None:
    """Steps of both networks in both precisions, against their layers alone: the rate that torch reaches."""
    group = "training" if training else "inference"
    bins = len(region().distance.edges()) - 1
    bounds = region().profiles.support(region().distance.step)
    for name, batch in sizes.batches:
        torch.manual_seed(1)
        network = ProfileEstimator(name, planes(1), 64, bins, 0.1, bounds).to(memory_format=torch.channels_last)
        network.train(training)
        images = _images(batch)
        truth = torch.cumsum(torch.rand(batch, bins, generator=torch.Generator().manual_seed(5)) * 0.1, dim=1)
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-4, fused=True)
        calls: dict[str, Callable[[], object]] = {}
        for precision in sizes.precisions:
            autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")

            def posterior(network=network, images=images, autocast=autocast) -> Posterior:
                with autocast:
                    outputs = network(images)
                return network.posterior(outputs)

            def step(network=network, posterior=posterior, truth=truth, optimiser=optimiser) -> None:
                optimiser.zero_grad()
                sum(posterior().negative_log_likelihood(truth)).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
                optimiser.step()

            def evaluate(posterior=posterior) -> None:
                with torch.inference_mode():
                    posterior()

            def learn(posterior=posterior, truth=truth) -> None:
                posterior().negative_log_likelihood(truth)

            layers = measure.bare_layers(network, learn if training else posterior, training, autocast)
            calls[precision] = step if training else evaluate
            calls[f"{precision}, layers"] = lambda layers=layers: [layer() for layer in layers]
        cpu, wall = measure.rounds(calls, sizes.repeats if name == "compact" else sizes.few)
        for precision in sizes.precisions:
            peer = ("32-true", batch, cpu["32-true"]) if precision != "32-true" else None
            limit = ("torch's rate for its layers", cpu[f"{precision}, layers"])
            title = f"{group}, {name}, {precision}"
            results.add(group, title, batch, "images", cpu[precision], wall[precision], peer, limit)
            results.profile(title, measure.torch_shares(calls[precision]))


def _tiles(number: int, channels: int) -> xr.Dataset:
    rng = np.random.default_rng(6)
    images = ("tile", "channel", "magnitude", "colour")
    distances = len(region().distance.edges()) - 1
    table = ("tile", "survey", "distance", "grid")
    return xr.Dataset(
        {
            "counts": (images, rng.poisson(2.0, (number, channels, 64, 64)).astype("u2")),
            "reference": (images, np.full((number, channels, 64, 64), 8.0, "f4")),
            "detectable": (table, np.ones((number, 1, distances, len(EXTINCTION_GRID)), "f4")),
            "area": (("tile", "survey"), np.full((number, 1), 0.25)),
            "full_area": ("tile", np.full(number, 0.25)),
            "stars": (("tile", "survey"), np.full((number, 1), 4000)),
            "owner": ("channel", np.zeros(channels, int)),
            "l": ("tile", L + 0.5 * np.arange(number)),
            "b": ("tile", np.full(number, B)),
        }
    )


def bench_samples(results: measure.Results, sizes: Sizes) -> None:
    """From diagrams to 100 posterior samples per tile, by the compact network."""
    settings = region()
    edges, bounds = settings.distance.edges(), settings.profiles.support(settings.distance.step)
    bins, samples = len(edges) - 1, settings.inference.samples
    torch.manual_seed(1)
    network = ProfileEstimator("compact", planes(1), 64, bins, 0.1, bounds).eval()
    features = torch.randn(2000, 512, generator=torch.Generator().manual_seed(7))
    none = Calibration.none(bins)
    extra = {"edges": torch.from_numpy(edges), "prior_log_density_sd": torch.ones(bins)}
    extra |= {"density_shift": none.shift, "density_stretch": none.stretch}
    trained = ProfileNetwork(network, {}, none, FeatureDistribution.learn(features), extra)
    images = _tiles(sizes.tiles, 1)
    run = partial(infer, trained, images, min_area_fraction=0.3, samples=samples, seed=1)
    layers = measure.bare_layers(network, run, False, torch.autocast("cpu", enabled=False))
    cpu, wall = measure.rounds({"infer": run, "layers": lambda: [layer() for layer in layers]}, sizes.few)
    results.add(
        "samples",
        f"tiles with {samples} samples",
        sizes.tiles,
        "tiles",
        cpu["infer"],
        wall["infer"],
        None,
        ("torch's rate for its layers", cpu["layers"]),
    )
    results.profile(f"tiles with {samples} samples", measure.torch_shares(run))


def bench_cube(results: measure.Results, sizes: Sizes) -> None:
    """From the strips' posteriors to the cube's file, with 100 samples per tile."""
    settings = region()
    edges, samples = settings.distance.edges(), settings.inference.samples
    tiles = Tiles.cover((0.0, 0.5 * sizes.strips), (-3.0, 3.0), settings.tile.size)
    number = tiles.area().size
    rng = np.random.default_rng(8)
    column = number // sizes.strips
    drawn = rng.exponential(0.1, (column, samples, len(edges) - 1)).cumsum(axis=2).astype("f4")
    flat = np.ones(column)
    half = np.full((column, len(edges) - 1), 0.5)
    strip = cube.Strip(drawn, 1000 * half, half, 0.5 * flat, 0.5 * flat, flat, 4000 * flat, 0.25 * flat, 0.25 * flat)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cube.nc"

        def write() -> None:
            parts = ((at, cube.summarise(strip, edges, 20.0)) for at in range(sizes.strips))
            cube.write(path, tiles, edges, samples, parts, {})

        cpu, wall = measure.rounds({"write": write}, sizes.few)
        size = 2 * sizes.strips * drawn.nbytes  # samples of the cumulative extinction and of its density
        seconds, limit = cpu["write"], results.copied(3 * size)
        results.add(
            "cube", f"cube's tiles with {samples} samples", number, "tiles", seconds, wall["write"], None, limit
        )
        results.add("cube", "cube's bytes written", size, "bytes", seconds, wall["write"])
        found = measure.function_shares(write, {"summaries": ["cube.py:summarise"]})
        results.profile("cube", {"summaries": found["summaries"], "compressing and writing": found["rest"]})


def bench_query(results: measure.Results, sizes: Sizes) -> None:
    """Extinction at points of the whole sky, against dustmaps' BayestarQuery with as many sightlines."""
    tiles = Tiles.cover((0.0, 360.0), (-60.0, 60.0), 0.9375)  # 49 152, as pixels of nside 64
    moduli, edges = np.linspace(4.0, 18.875, 120), np.linspace(0.0, 12.0, 121)  # mag: Bayestar's; kpc: even bins
    rng = np.random.default_rng(9)
    # five samples, as Bayestar2019 has
    samples = rng.exponential(0.02, (5, *tiles.shape, len(moduli))).astype("f4").cumsum(axis=-1)
    sky = ("l", "b", "distance")
    dataset = xr.Dataset(
        {
            "extinction": (sky, samples.mean(axis=0, dtype=float)),
            "extinction_samples": (("sample", *sky), samples),
            "quality": (("l", "b"), np.zeros(tiles.shape, np.uint8)),
        },
        coords={**grid.tile_coordinates(tiles), **grid.distance_coordinate(edges)},
    )
    points = SkyCoord(
        rng.uniform(0.0, 360.0, sizes.points) * u.deg,
        rng.uniform(-60.0, 60.0, sizes.points) * u.deg,
        distance=rng.uniform(0.0, 10.0, sizes.points) * u.kpc,
        frame="galactic",
    )
    ask, few = DustAccessor(dataset).query, points[: sizes.peer_points]
    with tempfile.TemporaryDirectory() as folder:
        theirs = peers.bayestar(Path(folder) / "map.h5", samples.reshape(5, -1, len(moduli)).transpose(1, 0, 2), moduli)
    calls = {
        "mean": lambda: ask(points),
        "linear": lambda: ask(few, interpolation="linear"),
        "best": lambda: theirs(points, mode="best"),
        "median": lambda: ask(few, "median"),
        "their median": lambda: theirs(few, mode="median"),
    }
    cpu, wall = measure.rounds(calls, sizes.few)
    name = "dustmaps' BayestarQuery, mode"
    # coordinates in, extinction out, and a cache line on each side of the point
    limit = results.copied(sizes.points * (4 * 8 + 2 * 64))
    for call, title, peer in (
        ("mean", "mean extinction at points", "best"),
        ("linear", "the same, linear across the sky", None),
        ("median", "median of 5 samples at points", "their median"),
    ):
        number = len(points) if call == "mean" else len(few)
        rival = (f"{name} {peer.split()[-1]}", number, cpu[peer]) if peer else None
        bound = limit if call == "mean" else None
        results.add("query", title, number, "points", cpu[call], wall[call], rival, bound)
    parts = {
        "coordinates": ["query.py:_galactic"],
        "tiles": ["lookup.py:holding"],
        "distance bins": ["query.py:_position"],
        "gathering profiles": ["query.py:_taken"],
    }
    results.profile("mean extinction at points", measure.function_shares(calls["mean"], parts))


GROUPS: dict[str, Callable[[measure.Results, Sizes], None]] = {
    "stars": bench_stars,
    "expected": bench_expected,
    "kernel": bench_kernel,
    "render": bench_render,
    "training": partial(bench_networks, training=True),
    "inference": partial(bench_networks, training=False),
    "samples": bench_samples,
    "cube": bench_cube,
    "query": bench_query,
}


def main(arguments: list[str], sizes: Sizes = Sizes()) -> None:
    """Run some or all groups; a run of all stores the table."""
    parser = argparse.ArgumentParser(description="Time the heavy steps.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"some of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--output", type=Path, help="JSON file to write; by default a run of all writes results.json")
    parser.add_argument("--update", action="store_true", help="replace these groups in results.json")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.groups if name not in GROUPS]
    if unknown:
        parser.error(f"found {', '.join(unknown)}; expected some of {', '.join(GROUPS)}")
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    results = measure.Results(measure.bandwidth(sizes.repeats))
    described = measure.machine()
    print(", ".join(f"{key} {value}" for key, value in described.items()))
    print(f"copying moves {results.memory / 1e9:.1f} GB/s; one thread, medians of CPU time")
    for name in chosen.groups or GROUPS:
        GROUPS[name](results, sizes)
    stored = ROOT / "benchmarks/results.json"
    if chosen.update:
        results.update(json.loads(stored.read_text()), list(GROUPS))
    output = chosen.output or (stored if chosen.update or not chosen.groups else None)
    if output:
        results.write(output)


if __name__ == "__main__":
    main(sys.argv[1:])
