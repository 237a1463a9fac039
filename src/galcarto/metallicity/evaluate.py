"""Judge a network on test stars, beside boosted trees, a polynomial, the thesis' networks and the exact posterior."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from galcarto.dust.settings import Dust
from galcarto.galaxy.settings import GalaxySettings
from galcarto.labels import baselines, scores
from galcarto.labels.diagnostics import truth_of
from galcarto.labels.network import LabelTrained
from galcarto.labels.posterior import describe, hidden
from galcarto.labels.settings import Evaluation, Split, is_band
from galcarto.labels.table import arrays, splits
from galcarto.metallicity.posterior import pool, posterior
from galcarto.metallicity.settings import Mock

LEAST = 30.0  # effective number of mock stars behind an exact posterior that is compared
SEEDS = ("network", "seed_")  # beginnings of the names of the trainings that differ by their seed only


def one_seed(
    trained: LabelTrained, stars: pd.DataFrame, member: np.ndarray, evaluation: Evaluation, seed: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Scores of one training, with those of the baselines on the same stars.

    Parameters
    ----------
    trained : LabelTrained
    stars : DataFrame
        Of stars.parquet.
    member : ndarray, shape (star,)
        0 of training stars, 1 of validation stars, 2 of test stars.
    evaluation : Evaluation
    seed : int
        Of the trees.

    Returns
    -------
    found : dict
        Of numbers, nested.
    predicted : DataFrame
        Of `labels.posterior.describe`, for the test stars in their order.
    """
    estimator = trained.estimator
    features = estimator.features
    train, test = stars[member == 0], stars[member == 2]
    values, errors, *_ = arrays(test, features, [])
    predicted = describe(trained, values, errors)
    found: dict[str, Any] = {"labels": {}, "networks": {}, "missing": {}, "bands": {}}
    cuts: dict[str, Any] = {"all": {}} | dict(evaluation.cuts)
    for label in estimator.continuous:
        truth, error = truth_of(test, label)
        residual = predicted[label].to_numpy(float) - truth
        for name, cut in cuts.items():
            chosen = scores.selection(test, cut) & np.isfinite(truth)
            block: dict[str, Any] = {"stars": int(chosen.sum()), "rms": scores.rms(residual[chosen])}
            block |= {"core": scores.core(residual[chosen]), "bias": float(residual[chosen].mean())}
            block |= scores.coverage(truth[chosen], error[chosen], predicted[chosen], label)
            found["labels"].setdefault(label, {})[name] = block
    if "giant" in estimator.labels:
        found["labels"]["giant"] = {"all": _giants(test["giant"].to_numpy(float), predicted["giant"].to_numpy(float))}
    relative = np.array([is_band(name) for name in features])
    shown, judged = (baselines.colours_of(arrays(part, features, [])[0], relative) for part in (train, test))
    known = np.isfinite(train["feh"].to_numpy())
    if evaluation.baselines and "feh" in estimator.labels:
        goal = train["feh"].to_numpy(float)[known]
        for name, answer in (
            ("trees", baselines.trees(shown[known], goal, judged, seed)),
            ("cubic", baselines.cubic(shown[known], goal, judged)),
        ):
            found["networks"][name] = feh_scores(answer, test, cuts)
    if "feh" in estimator.labels:
        found["networks"]["ours"] = feh_scores(predicted["feh"].to_numpy(float), test, cuts)
    for name in features:
        found["missing"][name], found["bands"][name] = _without(
            trained, name, train, test, (values, errors), evaluation, seed
        )
    return found, predicted


def feh_scores(answer: np.ndarray, test: pd.DataFrame, cuts: Mapping[str, Any]) -> dict[str, Any]:
    """rms and core of predicted [Fe/H] in each set of stars."""
    truth, _ = truth_of(test, "feh")
    residual = answer - truth
    return {
        name: {"rms": scores.rms(residual[chosen]), "core": scores.core(residual[chosen])}
        for name, cut in cuts.items()
        for chosen in [scores.selection(test, cut)]
    }


def _giants(truth: np.ndarray, chance: np.ndarray) -> dict[str, float]:
    """Completeness and purity of the giants found, and the cross-entropy per star."""
    known = np.isfinite(truth)
    giant, called = truth[known] > 0.5, chance[known] > 0.5
    sure = np.clip(np.where(giant, chance[known], 1.0 - chance[known]), 1e-7, None)
    return {
        "completeness": float(called[giant].mean()) if giant.any() else float("nan"),
        "purity": float(giant[called].mean()) if called.any() else float("nan"),
        "cross_entropy": float(-np.log(sure).mean()),
    }


def _without(
    trained: LabelTrained,
    name: str,
    train: pd.DataFrame,
    test: pd.DataFrame,
    photometry: tuple[np.ndarray, np.ndarray],
    evaluation: Evaluation,
    seed: int,
) -> tuple[dict[str, float], dict[str, float]]:
    """Scores of [Fe/H] without one band, and of that band's predicted colour beside boosted trees'."""
    estimator, (values, errors) = trained.estimator, photometry
    features = estimator.features
    column = features.index(name)
    there = np.isfinite(values[:, column]) & (np.isfinite(values).sum(axis=1) > 1)
    answer = describe(trained, values[there], errors[there], hidden(values[there], features, name))
    missing = {"stars": float(there.sum())}
    if "feh" in estimator.labels:
        missing["rms"] = scores.rms(answer["feh"].to_numpy(float) - truth_of(test[there], "feh")[0])
    band = {"rms": scores.rms(answer[f"{name}_predicted"].to_numpy(float) - values[there, column])}
    if evaluation.baselines and len(features) > 1:
        rest = [other for other in features if other != name]
        relative = np.array([is_band(other) for other in rest])
        known = np.isfinite(train[name].to_numpy())

        def level(part: pd.DataFrame) -> np.ndarray:
            """Of the star, which is taken off the band: its colour is what is predicted."""
            if not relative.any() or not is_band(name):
                return np.zeros(len(part))
            return np.nanmean(part[[other for other in rest if is_band(other)]].to_numpy(float), axis=1)

        shown = baselines.colours_of(train.loc[known, rest].to_numpy(float), relative)
        judged = baselines.colours_of(test.loc[there, rest].to_numpy(float), relative)
        goal = train.loc[known, name].to_numpy(float) - level(train[known])
        guess = baselines.trees(shown, goal, judged, seed) + level(test[there])
        band["trees"] = scores.rms(guess - values[there, column])
        band["ratio"] = band["rms"] / band["trees"]
    return missing, band


def exact(
    tables: Sequence[pd.DataFrame], galaxy: GalaxySettings, dust: Dust, mock: Mock, evaluation: Evaluation, seed: int
) -> tuple[dict[str, Any], list[pd.DataFrame]]:
    """Compare with the exact posterior mean of [Fe/H], which no network can beat.

    Parameters
    ----------
    tables : sequence of DataFrame
        Of `evaluate`.
    galaxy, dust, mock, evaluation
        Settings.
    seed : int

    Returns
    -------
    found : dict
        rms of both on the same stars (dex), and their ratio: medians over seeds, and the ratio of each.
    tables : list of DataFrame
        With ``feh_exact`` and ``feh_exact_sd`` (dex), NaN beyond the first ``evaluation.exact`` stars.
    """
    drawn = pool(galaxy, dust, mock, evaluation.pool, seed)
    results, known = [], []
    for table in tables:
        some = table.head(evaluation.exact)
        answer = posterior(some, drawn, mock)
        good = np.isfinite(answer["feh"].to_numpy()) & (answer["effective"].to_numpy() > LEAST)
        truth = some["feh_true"].to_numpy(float)
        best = scores.rms((answer["feh"].to_numpy() - truth)[good])
        ours = scores.rms((some["predicted_feh"].to_numpy(float) - truth)[good])
        results.append({"stars": int(good.sum()), "rms": best, "network_rms": ours, "ratio": ours / best})
        known.append(table.assign(feh_exact=answer["feh"], feh_exact_sd=answer["feh_sd"]))
    return median(results) | {"by_seed": [one["ratio"] for one in results]}, known


def median(parts: Sequence[Any]) -> Any:
    """Median over seeds of nested numbers; a list's elements each on their own."""
    first = parts[0]
    if isinstance(first, dict):
        return {key: median([part[key] for part in parts]) for key in first}
    if isinstance(first, list):
        return [median(values) for values in zip(*parts, strict=True)]
    return float(np.median([float(part) for part in parts]))


def evaluate(
    networks: Mapping[str, LabelTrained],
    stars: pd.DataFrame,
    features: Sequence[str],
    split: Split,
    evaluation: Evaluation,
    seed: int,
) -> tuple[dict[str, Any], list[pd.DataFrame]]:
    """Scores of all trainings.

    Parameters
    ----------
    networks : mapping of str to LabelTrained
        By the names of `settings.Settings.variants`.
    stars : DataFrame
    features : sequence of str
    split, evaluation
        Settings.
    seed : int

    Returns
    -------
    metrics : dict
        Medians over seeds; ``by_seed`` has the rms of each.
    tables : list of DataFrame
        Test stars of each seed: their columns and, as ``predicted_``, those of `describe`.
    """
    trainings = sorted(name for name in networks if name.startswith(SEEDS))
    results, tables = [], []
    for number, name in enumerate(trainings):
        member = splits(stars, features, split, seed, number)
        found, predicted = one_seed(networks[name], stars, member, evaluation, seed + number)
        results.append(found)
        test = stars[member == 2].reset_index(drop=True)
        tables.append(pd.concat([test, predicted.add_prefix("predicted_")], axis=1))
    metrics = median(results)
    metrics["seeds"] = len(trainings)
    metrics["by_seed"] = {
        label: {cut: [one["labels"][label][cut]["rms"] for one in results] for cut in block}
        for label, block in results[0]["labels"].items()
        if label != "giant"
    }
    for name, method in metrics["networks"].items():
        for cut, block in method.items():
            block["by_seed"] = [one["networks"][name][cut]["rms"] for one in results]
    cuts: dict[str, Any] = {"all": {}} | dict(evaluation.cuts)
    own_rms: dict[str, list[float]] = {}
    for name, trained in networks.items():
        if name in trainings or "feh" not in trained.estimator.labels:
            continue
        own = trained.estimator.features
        band, _, which = name.removeprefix("without_").partition("_seed_")
        test = tables[int(which or 0)]
        values, errors, *_ = arrays(test, own, [])
        if name.startswith("without_"):
            used = np.isfinite(test[band].to_numpy()) & np.isfinite(values).any(axis=1)
            answer = describe(trained, values[used], errors[used], bands=False)["feh"].to_numpy(float)
            own_rms.setdefault(band, [np.nan] * len(trainings))[int(which or 0)] = scores.rms(
                answer - truth_of(test[used], "feh")[0]
            )
        else:
            answer = describe(trained, values, errors, bands=False)["feh"].to_numpy(float)
            found = feh_scores(answer, test, cuts)
            metrics["networks"][name] = {cut: block | {"by_seed": [block["rms"]]} for cut, block in found.items()}
            if name == "thesis_autoencoder":
                for band in own:
                    column = own.index(band)
                    there = np.isfinite(values[:, column]) & (np.isfinite(values).sum(axis=1) > 1)
                    seen = hidden(values[there], own, band)
                    guess = describe(trained, values[there], errors[there], seen)[f"{band}_predicted"].to_numpy(float)
                    metrics["bands"][band]["thesis_autoencoder"] = scores.rms(guess - values[there, column])
    for band, alone in own_rms.items():
        # each pair on the same stars
        ratios = [one["missing"][band]["rms"] / rms for one, rms in zip(results, alone, strict=True)]
        metrics["missing"][band] |= {"alone": median(alone), "ratio": median(ratios), "ratio_by_seed": ratios}
    return metrics, tables
