"""Time the hot paths against named peers: ``make bench``.

Every ratio is measured in one run on one machine: mock stars against a plain loop over the same densities, the
CMD kernel against numpy on the same stars, training and inference of both networks.
"""

import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numba
import numpy as np
import torch

from galcarto.cmd.forward import LAW_GRID, TABLE_SIZE, TABLE_START, TABLE_STEP, ForwardModel, Stars, View
from galcarto.cmd.integration import Integrator
from galcarto.cmd.kernel import HOPELESS
from galcarto.dust import law, profiles
from galcarto.galaxy import isochrones
from galcarto.galaxy.components import load
from galcarto.galaxy.synthesis import StarModel
from galcarto.inference.networks import NETWORKS, Estimator, planes, prepare
from galcarto.inference.posterior import Posterior
from galcarto.settings import Profiles
from galcarto.surveys import SURVEYS

REPEATS = 5
BINS = 100
LIMITS = {"J": 16.3, "Ks": 14.8}
AREA = 0.25  # deg2, a tile of 30 arcmin


def median_seconds(function: Callable[[], object], repeats: int = REPEATS) -> tuple[float, float, float]:
    """Median wall time, spread (max - min) and median CPU time of a call, after one that is not timed."""
    function()
    wall, cpu = [], []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return statistics.median(wall), max(wall) - min(wall), statistics.median(cpu)


def line(name: str, value: float, unit: str, note: str = "") -> None:
    """Print one result."""
    print(f"{name:<44} {value:>12,.3g} {unit:<28} {note}", flush=True)


def numpy_images(
    model: ForwardModel, stars: Stars, extinction: np.ndarray, area: float, rng: np.random.Generator
) -> np.ndarray:
    """The peer: the kernel's work with np.interp and np.histogram2d, one image after the other.

    It is given what the kernel has: single precision, tabulated errors and completeness, and hopeless stars
    left out before they are measured.
    """
    (view,) = model.views
    nodes = np.arange(len(model.edges))
    table = TABLE_START + TABLE_STEP * (np.arange(TABLE_SIZE) + 0.5)
    errors = {band: view.survey.bands[band].error(table).astype("f4") for band in view.bands}
    shares = {band: view.survey.bands[band].completeness(table).astype("f4") for band in view.bands}
    images = []
    for profile in extinction:
        chosen = stars.packed[rng.integers(len(stars.packed), size=rng.poisson(len(stars.packed) * area / stars.area))]
        a_v = np.interp(chosen[:, 0], nodes, np.append(0.0, profile)).astype("f4")
        true = {band: chosen[:, 1 + i] + np.float32(view.coefficients[band]) * a_v for i, band in enumerate(view.bands)}
        hopeful = np.all([true[band] < view.limits[band] + HOPELESS for band in view.bands], axis=0)
        seen = np.ones(int(hopeful.sum()), bool)
        measured = {}
        for band in view.bands:
            kept = true[band][hopeful]
            at = ((kept - TABLE_START) / TABLE_STEP).astype(np.int32)
            seen &= rng.random(len(kept), dtype=np.float32) < shares[band][at]
            measured[band] = kept + errors[band][at] * rng.standard_normal(len(kept), dtype=np.float32)
            seen &= (measured[band] < view.limits[band]) & (measured[band] >= view.bright)
        colour = measured[view.colour_bands[0]] - measured[view.colour_bands[1]]
        image, *_ = np.histogram2d(measured[view.magnitude_band][seen], colour[seen], bins=view.axis_edges())
        images.append(image)
    return np.stack(images)


def loop_stars(model: StarModel, l: float, b: float, area: float, rng: np.random.Generator) -> list[tuple]:
    """A plain loop: every metallicity and distance bin, and every star in it, one after the other.

    The same densities, isochrone segments, limits and columns as `StarModel.draw`.
    """
    stars = []
    near, far = model.edges[:-1], model.edges[1:]
    for expected, population, reach in zip(model.expected(l, b), model.populations, model._reach, strict=True):
        for node, bins in np.ndindex(expected.shape):
            for _ in range(rng.poisson(expected[node, bins] * area)):
                at = population.number[population.first[node]] + rng.random() * reach[node, bins]
                segment = np.searchsorted(population.number, at, side="right") - 1
                start, stop = population.number[segment], population.number[segment + 1]
                values = population.low[segment] + (at - start) / (stop - start) * (
                    population.high[segment] - population.low[segment]
                )
                distance = np.cbrt(near[bins] ** 3 + rng.random() * (far[bins] ** 3 - near[bins] ** 3))
                values[: len(model.bands)] += 5.0 * np.log10(distance) + 10.0
                if model._faintness(values[None])[0] <= 0.0:
                    stars.append((distance, *values, population.age[segment], population.ratio[segment]))
    return stars


def bench_stars(model: StarModel) -> None:
    """Mock stars per second on one core, against a plain loop; memory of a field and of one ten times its size."""
    l, b = 284.0, 0.8
    area = 1_200_000 / model.density(l, b)
    start = time.perf_counter()
    few = len(loop_stars(model, l, b, area / 100, np.random.default_rng(1)))
    peer = few / (time.perf_counter() - start)
    line("mock stars, plain loop", peer, "stars/s, one core", f"{len(model.bands)} bands")
    for size in (1, 3):
        number = len(model.draw(l, b, size * area, np.random.default_rng(1)))
        wall, spread, _ = median_seconds(lambda size=size: model.draw(l, b, size * area, np.random.default_rng(1)), 5)
        note = f"{number / wall / peer:.0f} x plain loop, +-{spread / wall:.0%}"
        line(f"mock stars, a field of {number / 1e6:.1f} million", number / wall, "stars/s, one core", note)
    for size in (1, 10):
        tracemalloc.start()
        number = sum(map(len, model.chunks(l, b, size * area, np.random.default_rng(1), blocks=4)))
        line(f"peak memory, {number / 1e6:.1f} million stars in parts", tracemalloc.get_traced_memory()[1] / 1e6, "MB")
        tracemalloc.stop()


def two_mass() -> ForwardModel:
    """The diagram of the kernel's and the integral's benchmarks."""
    survey = SURVEYS["2mass"]
    coefficients = law.coefficients("G23", 3.1, {name: band.wavelength for name, band in survey.bands.items()})
    edges = np.linspace(0.0, 10.0, BINS + 1)
    view = View(survey, LIMITS, 4.0, coefficients, "Ks", ("J", "Ks"), (5.0, 15.0), (-0.5, 6.0), 64)
    law_table = np.stack([coefficients[band] * LAW_GRID for band in view.bands])[None]
    return ForwardModel([view], edges, law_table, np.empty(0))


def bench_expected(model: StarModel) -> None:
    """A bare diagram and its table of detectable stars by integration, one thread."""
    numba.set_num_threads(1)
    forward = two_mass()
    integrator = Integrator(model, forward.views[0].diagram(), forward.edges)
    for name, function in (("bare diagram", integrator.image), ("detectable stars", integrator.detectable)):
        function(284.0, 0.8)
        wall, spread, _ = median_seconds(lambda function=function: function(284.0, 0.8))
        line(f"expected {name}", wall, "s, one thread", f"+-{spread / wall:.0%}")


def bench_kernel(model: StarModel) -> None:
    """The CMD kernel against numpy on the same stars and profiles."""
    l, b = 284.0, 0.8
    area = 150_000 / model.density(l, b)
    rng = np.random.default_rng(2)
    drawn = model.draw(l, b, area, rng)
    forward = two_mass()
    stars = forward.pack(drawn["distance"].to_numpy(), {band: drawn[band].to_numpy() for band in LIMITS}, area)
    extinction = profiles.draw(rng, 2000, forward.edges, **Profiles().model_dump())
    per_image = len(stars.packed) * AREA / stars.area

    few = extinction[:60]
    wall, spread, _ = median_seconds(lambda: numpy_images(forward, stars, few, AREA, np.random.default_rng(3)))
    peer = len(few) * per_image / wall
    line("CMD, numpy interp + histogram2d", peer / 1e6, "M stars/s, one thread", f"+-{spread / wall:.0%}")
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        areas = np.full(len(extinction), AREA)
        wall, spread, _ = median_seconds(
            lambda areas=areas: forward.render(stars, extinction, areas, np.random.default_rng(3))
        )
        rate = len(extinction) * per_image / wall
        note = f"{rate / peer:.1f} x numpy, {len(extinction) / wall:,.0f} images/s, +-{spread / wall:.0%}"
        line(f"CMD kernel, {threads} thread(s)", rate / 1e6, "M stars/s", note)


def bench_networks() -> None:
    """Training steps and inference of both networks, in images per second of CPU time."""
    generator = torch.Generator().manual_seed(4)
    for name, batch, repeats in (("compact", 256, 5), ("cornu2022", 128, 3)):
        assert name in NETWORKS
        network = Estimator(name, planes(1), 64, BINS, 0.1)
        network = network.to(memory_format=torch.channels_last)
        counts = torch.poisson(torch.full((batch, 1, 64, 64), 2.0), generator)
        images = prepare(counts, counts, torch.ones(batch, 1)).contiguous(memory_format=torch.channels_last)
        truth = torch.cumsum(torch.rand(batch, BINS, generator=generator) * 0.1, dim=1)
        optimiser = torch.optim.AdamW(network.parameters())

        def step(network=network, images=images, truth=truth, optimiser=optimiser) -> None:
            optimiser.zero_grad()
            posterior = Posterior.from_outputs(network(images), network.tree, 0.002, 40.0)
            sum(posterior.negative_log_likelihood(truth)).backward()
            optimiser.step()

        def infer(network=network, images=images) -> None:
            with torch.inference_mode():
                network(images)

        weights = sum(p.numel() for p in network.parameters())
        for kind, function in (("training", step), ("inference", infer)):
            wall, spread, cpu = median_seconds(function, repeats)
            note = f"{batch / wall:,.0f} images/s, {weights / 1e6:.1f} M weights, +-{spread / wall:.0%}"
            line(f"{kind}, {name}, batch {batch}", batch / cpu, "images per CPU-second", note)


def main() -> None:
    """Run all."""
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads; Python {platform.python_version()}, "
        f"numpy {np.__version__}, numba {numba.__version__}, torch {torch.__version__}; medians"
    )
    start = time.perf_counter()
    isochrones.load()
    middle = time.perf_counter()
    model = StarModel(load("robin2003"), [{band: limit + 0.5 for band, limit in LIMITS.items()}])
    stop = time.perf_counter()
    note = f"{middle - start:.2f} s of them for the isochrones"
    line("mock Galaxy, set-up", stop - start, "s", note)
    bench_stars(model)
    bench_expected(model)
    bench_kernel(model)
    bench_networks()


if __name__ == "__main__":
    main()
