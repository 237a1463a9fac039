"""Compare the network with the information limit and with colour excesses, on the same held-out diagrams.

Example:
  galcarto compare_limit --settings "$(galcarto settings config/orion.yaml compare_limit)" --seed 1 \\
      --network network.pt --examples test.nc --stars stars.parquet --processes 2 \\
      --comparison limit.nc --metrics limit.json
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import netCDF4
import numpy as np
import pyarrow.parquet as pq
import torch
import xarray as xr
from tqdm import tqdm

from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dustmap.diagrams.forward import stars_beyond
from galcarto.dustmap.instrument import corrections, star_model, tabulate, view
from galcarto.dustmap.limit import colour_excess
from galcarto.dustmap.limit.solver import Likelihood, Prior, Solution, solve
from galcarto.dustmap.settings import (
    BackgroundGalaxies,
    Compare,
    Distance,
    Dust,
    GalaxySettings,
    Inference,
    ProfileSettings,
    Realism,
    SurveySettings,
)
from galcarto.learning.data import surveys as owners
from galcarto.learning.scores import score
from galcarto.learning.trained import Trained

METHODS = ["network", "solver", "colour_excess"]
MOCK = 60_000  # stars against which colour excesses are measured
RESAMPLED = 1000  # sets of examples, for the errors of the errors
_shared: tuple[Any, ...] = ()  # what a process of the pool keeps


class Settings(Section):
    galaxy: GalaxySettings
    surveys: list[SurveySettings]
    pixels: int
    dust: Dust
    distance: Distance
    realism: Realism
    galaxies: BackgroundGalaxies
    profiles: ProfileSettings
    inference: Inference
    compare: Compare


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "network", "control", settings=Settings)
    parser.add_argument("--examples", required=True, help="test examples of one sightline (netCDF)")
    parser.add_argument("--stars", required=True, help="bare stars of that sightline (Parquet)")
    parser.add_argument("--processes", type=int, default=1, help="examples solved at once, each with one thread")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: errors by distance")
    parser.add_argument("--metrics", required=True, type=Output, help="JSON file to write: overall numbers")


def run(args: argparse.Namespace) -> None:
    """Write errors and CPU times of the three methods where stars remain behind the true profile."""
    galaxy, surveys, pixels, dust, distance, realism, galaxies, profiles, inference, compare = dict(
        read(args.settings, Settings)
    ).values()
    if compare.limit is None:
        raise UserError("compare.limit: missing; expected this key, for example {examples: 24}")
    torch.set_num_threads(1)
    found, edges = corrections(args.control), distance.edges()
    trained = Trained.load(args.network)
    with netCDF4.Dataset(args.examples) as file:
        seen = np.flatnonzero(np.asarray(file["present"][:, 0]))[: max(compare.limit.examples, compare.limit.excess)]
        if len(seen) < compare.limit.examples:
            raise UserError(
                f"compare.limit.examples: found {len(seen)} with the first survey; lower it or raise examples.test"
            )
        counts, area, truth = (np.asarray(file[name][:])[seen] for name in ("counts", "area", "extinction"))
        reference = np.asarray(file["reference"][:]) * area[:, None, None, None]
        present = np.asarray(file["present"][:])[seen][:, owners(file)]
        beyond = stars_beyond(np.asarray(file["detectable"][0]), truth) * area[:, None]
    valid = beyond >= inference.min_stars

    # the network: all at once, as a map is made, and one by one
    start = time.process_time()
    drawn = trained.calibration.sample(
        trained.posterior(counts, reference, present)[0], inference.samples, torch.Generator().manual_seed(args.seed)
    ).numpy()
    seconds = {"network": (time.process_time() - start) / len(seen)}
    start = time.process_time()
    for i in range(compare.limit.examples):
        one, _ = trained.posterior(counts[i : i + 1], reference[i : i + 1], present[i : i + 1])
        trained.calibration.sample(one, inference.samples, torch.Generator().manual_seed(args.seed))
    seconds["network_single"] = (time.process_time() - start) / compare.limit.examples

    start = time.process_time()
    table = pq.read_table(args.stars, page_checksum_verification=True)
    l, b = (float(table.schema.metadata[name]) for name in (b"l_deg", b"b_deg"))
    mock = star_model(galaxy, surveys[:1], found.get("metallicity", 0.0))
    seen_by = view(surveys[0], pixels, dust, found)
    slices, mix, widths = tabulate(mock, seen_by, dust, realism, galaxies, found, surveys[0], edges, l, b)
    prior = Prior(edges, profiles.model_dump(), len(mix.tilt))
    seconds["tables"] = time.process_time() - start
    images = counts[:, 0]
    jobs = [(images[i], float(area[i]), compare.limit.particles, args.seed + i) for i in range(compare.limit.examples)]
    shared = (slices, prior, widths, mix)
    if args.processes == 1:
        _share(*shared)
        solutions = [_solve(*job) for job in tqdm(jobs, desc="solving", unit="sightline", mininterval=5)]
    else:
        context = get_context("spawn")
        with ProcessPoolExecutor(args.processes, context, initializer=_share, initargs=shared) as pool:
            waiting = [pool.submit(_solve, *job) for job in jobs]
            solutions = [f.result() for f in tqdm(waiting, desc="solving", unit="sightline", mininterval=5)]
    seconds["solver"] = float(np.mean([s.seconds for s in solutions]))

    frame = table.to_pandas()
    frame = frame.iloc[:: max(len(frame) // MOCK, 1)]
    stars = {name: frame[name].to_numpy(float) for name in ("distance", "logg", *seen_by.bands)}
    start = time.process_time()
    excess = np.stack(
        [
            colour_excess.profile(image, seen_by, stars, edges, args.seed)
            for image in tqdm(images, desc="colour excesses", unit="sightline", mininterval=5)
        ]
    )
    seconds["colour_excess"] = (time.process_time() - start) / len(seen)

    solved = slice(compare.limit.examples)
    samples = {
        "network": drawn[solved],
        "solver": np.stack([s.samples for s in solutions]),
        "colour_excess": excess[solved, None],
    }
    middle = 0.5 * (edges[1:] + edges[:-1])
    dataset, metrics = _compare(samples, truth[solved], valid[solved], middle, args.seed)
    many, found_on_many = _compare_many(
        {"network": drawn.mean(axis=1), "colour_excess": excess}, truth, valid, args.seed
    )
    dataset, metrics = dataset.merge(many), metrics | found_on_many
    metrics |= {
        "speed_ratio": seconds["solver"] / seconds["network"],
        "speed_ratio_single": seconds["solver"] / seconds["network_single"],
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **_diagnostics(solutions),
    }
    inputs = [args.network, args.examples, args.stars, *([args.control] if args.control else [])]
    dataset.attrs = provenance.attributes("compare_limit", json.loads(args.settings), args.seed, inputs)
    dataset.to_netcdf(args.comparison)
    with open(args.metrics, "w") as handle:
        json.dump({"limit": metrics}, handle, indent=2)


def _share(*shared: Any) -> None:
    global _shared
    torch.set_num_threads(1)
    _shared = shared


def _solve(counts: np.ndarray, area: float, particles: int, seed: int) -> Solution:
    slices, prior, widths, mix = _shared
    return solve(Likelihood(slices, prior, counts, area, widths, mix), particles, seed)


def _diagnostics(solutions: list[Solution]) -> dict[str, float]:
    """How well the solver's samples mix, over the examples."""
    return {
        "solver_acceptance": float(np.mean([s.acceptance["hamiltonian"] for s in solutions])),
        "solver_effective": float(np.min([s.effective for s in solutions])),
        "solver_distinct": float(np.median([s.distinct for s in solutions])),
        "solver_steps": float(np.mean([s.steps for s in solutions])),
    }


def _compare(
    samples: dict[str, np.ndarray], truth: np.ndarray, valid: np.ndarray, distance: np.ndarray, seed: int
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Errors by distance with their 68 % intervals over resampled sets of examples, and overall numbers."""
    squared = np.stack([np.where(valid, (samples[m].mean(axis=1) - truth) ** 2, np.nan) for m in METHODS])
    choice = _resampled(len(truth), seed)

    def median(values: np.ndarray) -> np.ndarray:
        masked = np.ma.masked_invalid(values)
        return np.sqrt(np.ma.median(masked, axis=0).filled(np.nan))

    many = {
        "rmse": np.stack([[_rms(values[some], 0) for some in choice] for values in squared]),
        "median_error": np.stack([[median(values[some]) for some in choice] for values in squared]),
    }
    overall = np.array([[_rms(values[some], (0, 1)) for some in choice] for values in squared])
    data = {"rmse": _rms(squared, 1), "median_error": np.stack([median(values) for values in squared])}
    dataset = xr.Dataset(
        {name: (("method", "distance"), values, {"units": "mag"}) for name, values in data.items()},
        coords={"method": METHODS, "distance": ("distance", distance, {"units": "kiloparsec"}), "end": [0.16, 0.84]},
    )
    for name, values in many.items():
        dataset[f"{name}_interval"] = ("method", "end", "distance"), _interval(values, valid), {"units": "mag"}
    dataset["valid"] = ("example", "distance"), valid.astype(np.uint8)
    dataset["truth"] = ("example", "distance"), truth, {"units": "mag"}
    for name in METHODS:
        dataset[f"{name}_mean"] = ("example", "distance"), samples[name].mean(axis=1), {"units": "mag"}
        if name != "colour_excess":
            dataset[f"{name}_sd"] = ("example", "distance"), samples[name].std(axis=1), {"units": "mag"}
    network, solver, excess = _rms(squared, (1, 2))
    known = np.isfinite(data["rmse"][0])
    metrics: dict[str, Any] = {
        "examples": len(truth),
        "rms_ratio": float(network / solver),
        "rms_ratio_sd": float((overall[0] / overall[1]).std()),
        "rms_ratio_by_distance": [float(v) for v in (data["rmse"][0] / data["rmse"][1])[known]],
    }
    for name, value in zip(METHODS, (network, solver, excess), strict=True):
        metrics[f"{name}_rms_mag"] = float(value)
        metrics[f"{name}_median_mag"] = float(np.sqrt(np.nanmedian(squared[METHODS.index(name)])))
    for name in METHODS[:2]:
        scores = score(samples[name], truth, valid, distance).attrs
        metrics |= {f"{name}_coverage_68": scores["coverage_68"], f"{name}_coverage_95": scores["coverage_95"]}
    return dataset, metrics


def _compare_many(
    means: dict[str, np.ndarray], truth: np.ndarray, valid: np.ndarray, seed: int
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Errors by distance of network and colour excesses, with their 68 % intervals, and overall numbers."""
    squared = np.stack([np.where(valid, (mean - truth) ** 2, np.nan) for mean in means.values()])
    rms = _rms(squared, 1)
    drawn = np.stack([[_rms(values[some], 0) for some in _resampled(len(truth), seed)] for values in squared])
    dataset = xr.Dataset(
        {
            "many_rmse": (("quick_method", "distance"), rms, {"units": "mag"}),
            "many_rmse_interval": (("quick_method", "end", "distance"), _interval(drawn, valid), {"units": "mag"}),
            "many_valid": ("distance", valid.sum(axis=0), {"units": "1"}),
        },
        coords={"quick_method": list(means)},
    )
    known = np.isfinite(rms[0])
    network, excess = _rms(squared, (1, 2))
    metrics = {
        "colour_excess_examples": len(truth),
        "colour_excess_rms_ratio": float(excess / network),
        "colour_excess_rms_ratio_by_distance": [float(value) for value in (rms[1] / rms[0])[known]],
        "better_than_colour_excess": float((rms[0] < rms[1])[known].mean()),
        "fewest_examples": int(valid.sum(axis=0)[known].min()),
    }
    return dataset, metrics


def _resampled(number: int, seed: int) -> np.ndarray:
    """Sets of examples drawn with replacement, shape (RESAMPLED, number)."""
    return np.random.default_rng(seed).integers(number, size=(RESAMPLED, number))


def _rms(squared: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Root of the mean of what is finite."""
    weight = np.isfinite(squared).sum(axis=axis)
    total = np.where(np.isfinite(squared), squared, 0.0).sum(axis=axis)
    return np.sqrt(np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0))


def _interval(drawn: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """68 % intervals, shape (method, end, distance), of errors of shape (method, set, distance)."""
    ends = np.full((2, len(drawn), drawn.shape[2]), np.nan)
    some = valid.any(axis=0)
    ends[..., some] = np.nanquantile(drawn[..., some], [0.16, 0.84], axis=1)
    return np.moveaxis(ends, 0, 1)
