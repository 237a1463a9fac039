"""Errors and CPU times of the network, the information limit and colour excesses on the same held-out diagrams."""

import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from galcarto.core.errors import UserError
from galcarto.dust.settings import ProfileSettings
from galcarto.dustmap.batches import owners
from galcarto.dustmap.compare.heldout import bins
from galcarto.dustmap.diagrams.forward import View, stars_beyond
from galcarto.dustmap.instrument import Instrument
from galcarto.dustmap.limit import colour_excess
from galcarto.dustmap.limit.solver import Likelihood, Prior, Solution, solve
from galcarto.dustmap.limit.tables import tabulate
from galcarto.dustmap.network import ProfileNetwork
from galcarto.dustmap.settings import Limit
from galcarto.learning.scores import score

METHODS = ["network", "solver", "colour_excess"]
RESAMPLED = 1000  # bootstrap sets of examples
_likelihood: tuple[Any, ...] = ()  # arguments of `Likelihood` that the examples share, kept by each process


@dataclass(frozen=True)
class HeldOut:
    """Held-out examples that the first survey sees."""

    counts: np.ndarray  # int, shape (example, channel, magnitude, colour)
    reference: np.ndarray  # shape (example, channel, magnitude, colour): expected counts without dust
    present: np.ndarray  # shape (example, channel)
    area: np.ndarray  # shape (example,), deg2
    truth: np.ndarray  # shape (example, distance), mag
    valid: np.ndarray  # bool, shape (example, distance): where enough stars remain behind the true profile

    @classmethod
    def read(cls, path: str | Path, number: int, least: int, min_stars: float) -> "HeldOut":
        """Read up to `number` examples, but at least `least`, from a file of `render_cmds`.

        Raises
        ------
        UserError
            If the file has fewer.
        """
        with netCDF4.Dataset(path) as file:
            seen = np.flatnonzero(np.asarray(file["present"][:, 0]))[:number]
            if len(seen) < least:
                raise UserError(
                    f"compare.limit.examples: found {least}, but only {len(seen)} test examples with the first "
                    "survey; lower it or raise examples.test"
                )
            counts, area, truth = (np.asarray(file[name][:])[seen] for name in ("counts", "area", "extinction"))
            reference = np.asarray(file["reference"][:]) * area[:, None, None, None]
            present = np.asarray(file["present"][:])[seen][:, owners(file)]
            beyond = stars_beyond(np.asarray(file["detectable"][0]), truth) * area[:, None]
        return cls(counts, reference, present, area, truth, beyond >= min_stars)


def measure(
    trained: ProfileNetwork,
    instrument: Instrument,
    profiles: ProfileSettings,
    examples: HeldOut,
    direction: tuple[float, float],
    stars: Mapping[str, np.ndarray],
    limit: Limit,
    *,
    samples: int,
    processes: int,
    seed: int,
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Apply the three methods and compare their errors.

    Parameters
    ----------
    trained : ProfileNetwork
    instrument : Instrument
        Of the first survey alone.
    profiles, limit
        Settings.
    examples : HeldOut
        The solver takes the first ``limit.examples``.
    direction : (float, float), deg
        l and b of the sightline.
    stars : mapping of str to ndarray, shape (star,)
        Mock stars for `colour_excess.profile`.
    samples : int
        Posterior samples of the network.
    processes : int
        Examples solved at the same time.
    seed : int

    Returns
    -------
    dataset : Dataset
        Errors by distance.
    metrics : dict
        Overall errors, coverage and CPU times.
    """
    drawn, seconds = _apply_network(trained, examples, limit.examples, samples, seed)
    start = time.process_time()
    slices, mix, widths = tabulate(instrument, *direction)
    prior = Prior(instrument.edges, profiles.model_dump(), len(mix.tilt))
    seconds["tables"] = time.process_time() - start
    jobs = [(examples.counts[i, 0], float(examples.area[i]), limit.particles, seed + i) for i in range(limit.examples)]
    solutions = _solve_all(jobs, processes, slices, prior, widths, mix)
    seconds["solver"] = float(np.mean([s.seconds for s in solutions]))
    start = time.process_time()
    excess = _excesses(examples.counts[:, 0], instrument.views[0], stars, instrument.edges, seed)
    seconds["colour_excess"] = (time.process_time() - start) / len(examples.truth)

    solved = slice(limit.examples)
    posteriors = {
        "network": drawn[solved],
        "solver": np.stack([s.samples for s in solutions]),
        "colour_excess": excess[solved, None],
    }
    middle = 0.5 * (instrument.edges[1:] + instrument.edges[:-1])
    dataset, metrics = compare(posteriors, examples.truth[solved], examples.valid[solved], middle, seed)
    means = {"network": drawn.mean(axis=1), "colour_excess": excess}
    many, metrics_of_many = compare_many(means, examples.truth, examples.valid, seed)
    times = {
        "speed_ratio": seconds["solver"] / seconds["network"],
        "speed_ratio_single": seconds["solver"] / seconds["network_single"],
        **{f"{name}_seconds": value for name, value in seconds.items()},
    }
    return dataset.merge(many), metrics | metrics_of_many | times | _diagnostics(solutions)


def _apply_network(
    trained: ProfileNetwork, examples: HeldOut, singles: int, samples: int, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """Posterior samples of all examples, and CPU seconds for one: in a batch, as for a map, and singly."""

    def apply(part: slice) -> torch.Tensor:
        posterior, _ = trained.posterior(examples.counts[part], examples.reference[part], examples.present[part])
        return trained.sample(posterior, samples, torch.Generator().manual_seed(seed))

    number = len(examples.truth)
    start = time.process_time()
    drawn = apply(slice(number)).numpy()
    seconds = {"network": (time.process_time() - start) / number}
    start = time.process_time()
    for i in range(singles):
        apply(slice(i, i + 1))
    seconds["network_single"] = (time.process_time() - start) / singles
    return drawn, seconds


def _solve_all(jobs: list[tuple[np.ndarray, float, int, int]], processes: int, *shared: Any) -> list[Solution]:
    """Solve the examples, each with one thread."""
    progress = partial(tqdm, desc="solving", total=len(jobs), unit="sightline", mininterval=5)
    if processes == 1:
        _share(*shared)
        return [_solve(*job) for job in progress(jobs)]
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_share, initargs=shared) as pool:
        waiting = [pool.submit(_solve, *job) for job in jobs]
        return [future.result() for future in progress(waiting)]


def _share(*shared: Any) -> None:
    global _likelihood
    torch.set_num_threads(1)
    _likelihood = shared


def _solve(counts: np.ndarray, area: float, particles: int, seed: int) -> Solution:
    slices, prior, widths, mix = _likelihood
    return solve(Likelihood(slices, prior, counts, area, widths, mix), particles, seed)


def _excesses(
    images: np.ndarray, view: View, stars: Mapping[str, np.ndarray], edges: np.ndarray, seed: int
) -> np.ndarray:
    """Profiles from colour excesses, shape (example, distance), mag."""
    progress = tqdm(images, desc="colour excesses", unit="sightline", mininterval=5)
    return np.stack([colour_excess.profile(image, view, stars, edges, seed) for image in progress])


def _diagnostics(solutions: list[Solution]) -> dict[str, float]:
    """Mixing of the solver's samples, over the examples."""
    return {
        "solver_acceptance": float(np.mean([s.acceptance["hamiltonian"] for s in solutions])),
        "solver_effective": float(np.min([s.effective for s in solutions])),
        "solver_distinct": float(np.median([s.distinct for s in solutions])),
        "solver_steps": float(np.mean([s.steps for s in solutions])),
    }


def compare(
    samples: dict[str, np.ndarray], truth: np.ndarray, valid: np.ndarray, distance: np.ndarray, seed: int
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Errors of the three methods.

    Parameters
    ----------
    samples : dict of ndarray, shape (example, sample, distance), mag
        By method.
    truth : ndarray, shape (example, distance), mag
    valid : ndarray of bool, shape (example, distance)
    distance : ndarray, shape (distance,), kpc
    seed : int
        Of the bootstrap.

    Returns
    -------
    dataset : Dataset
        Errors by distance, with 68 % intervals over bootstrap sets of examples.
    metrics : dict
    """
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
        scores = score(samples[name], truth, valid, bins(distance), "mag").attrs
        metrics |= {f"{name}_coverage_68": scores["coverage_68"], f"{name}_coverage_95": scores["coverage_95"]}
    return dataset, metrics


def compare_many(
    means: dict[str, np.ndarray], truth: np.ndarray, valid: np.ndarray, seed: int
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Errors of the posterior means of network and colour excesses on many examples; returns as `compare`."""
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
    """Bootstrap sets of examples, shape (RESAMPLED, number)."""
    return np.random.default_rng(seed).integers(number, size=(RESAMPLED, number))


def _rms(squared: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Root mean square of the finite values."""
    weight = np.isfinite(squared).sum(axis=axis)
    total = np.where(np.isfinite(squared), squared, 0.0).sum(axis=axis)
    return np.sqrt(np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0))


def _interval(drawn: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """68 % intervals over the sets, shape (method, end, distance), of errors of shape (method, set, distance)."""
    ends = np.full((2, len(drawn), drawn.shape[2]), np.nan)
    some = valid.any(axis=0)
    ends[..., some] = np.nanquantile(drawn[..., some], [0.16, 0.84], axis=1)
    return np.moveaxis(ends, 0, 1)
