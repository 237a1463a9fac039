"""Scores of a posterior against the truth: errors, coverage of intervals, probability integral transform."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.8, 0.9, 0.95])
PIT_BINS = 20


def relative_error(estimate: np.ndarray, truth: np.ndarray, softening: float = 0.1) -> np.ndarray:
    """|estimate - truth| / (truth + softening), all in one unit."""
    return np.abs(estimate - truth) / (truth + softening)


def score(samples: np.ndarray, truth: np.ndarray, valid: np.ndarray, axis: xr.DataArray, unit: str) -> xr.Dataset:
    """Errors and coverage, overall and by output.

    Parameters
    ----------
    samples : ndarray, shape (example, sample, output)
    truth : ndarray, shape (example, output)
    valid : ndarray of bool, shape (example, output)
        What is scored.
    axis : DataArray, shape (output,)
        Coordinate of the outputs; its name is their dimension's.
    unit : str
        Of the outputs.

    Returns
    -------
    Dataset
        ``coverage(level, output)``, ``coverage_all(level)``: fraction of truths inside central intervals;
        ``pit_density(pit)``: histogram of the truth's rank among the samples, 1 where calibrated;
        ``median_relative_error``, ``bias`` (mean error), ``rmse``, ``valid_share`` by output; attributes with the
        overall figures. The estimate is the posterior mean.
    """
    mean = samples.mean(axis=1, dtype=float)
    tails = np.concatenate([0.5 - LEVELS / 2, 0.5 + LEVELS / 2])
    # a truth drawn as the samples are lies below the k-th of n with probability k / (n + 1)
    low, high = np.split(np.quantile(samples, tails, axis=1, method="weibull"), 2)
    inside = (truth >= low) & (truth <= high)  # (level, example, output)
    number = valid.sum(axis=0)
    known = number > 0

    def by_output(values: np.ndarray) -> np.ndarray:
        total = np.where(valid, values, 0.0).sum(axis=-2)
        return np.divide(total, number, out=np.full(total.shape, np.nan), where=np.broadcast_to(known, total.shape))

    error = mean - truth
    relative = np.where(valid, relative_error(mean, truth), np.nan)
    # randomised within its step of 1 / (samples + 1), so that all bins of the histogram hold as many
    step = np.random.default_rng(0).random(truth.shape)
    rank = ((samples < truth[:, None]).sum(axis=1) + step) / (samples.shape[1] + 1)
    pit, edges = np.histogram(rank[valid], bins=PIT_BINS, range=(0, 1), density=True)
    by = {
        "median_relative_error": [np.nanmedian(c) if k else np.nan for c, k in zip(relative.T, known, strict=True)],
        "bias": by_output(error),
        "rmse": np.sqrt(by_output(error**2)),
        "valid_share": valid.mean(axis=0),
    }
    dataset = xr.Dataset(
        {name: (axis.name, np.asarray(values)) for name, values in by.items()},
        coords={
            axis.name: axis,
            "level": LEVELS,
            "pit": 0.5 * (edges[1:] + edges[:-1]),
        },
    )
    dataset["coverage"] = ("level", axis.name), by_output(inside)
    dataset["coverage_all"] = "level", inside[:, valid].mean(axis=1)
    dataset["pit_density"] = "pit", pit
    for name in ("bias", "rmse"):
        dataset[name].attrs["units"] = unit
    dataset.attrs = {
        "median_relative_error": float(np.nanmedian(relative)),
        "coverage_68": float(dataset["coverage_all"].sel(level=0.68)),
        "coverage_95": float(dataset["coverage_all"].sel(level=0.95)),
        f"bias_{unit}": float(error[valid].mean()),
        f"rmse_{unit}": float(np.sqrt((error[valid] ** 2).mean())),
        "n": len(truth),
    }
    return dataset


def medians(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over seeds of nested numbers; of a list, of each of its places."""
    first = each[0]
    result: dict[str, Any] = {}
    for name, value in first.items():
        values = [one[name] for one in each]
        if isinstance(value, Mapping):
            result[name] = medians(values)
        elif isinstance(value, list):
            result[name] = np.median(np.array(values, float), axis=0).tolist()
        else:
            result[name] = float(np.median(np.array(values, float)))
    return result
