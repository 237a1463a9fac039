"""The goals of the task beside what was measured."""

from collections.abc import Iterator, Mapping
from typing import Any

from galcarto.learning.goals import Goal

ERRORS = {  # rms and robust width, on XP spectra and colours
    "teff": (120.0, 47.0),  # K
    "logg": (0.225, 0.148),  # dex
    "fe_h": (0.130, 0.088),  # dex
    "alpha_m": (0.056, 0.032),  # dex
    "a_k": (0.054, 0.020),  # mag
}
SCORES = (0.95, 1.05)  # of the normal scores' standard deviation and robust width
COVERAGE = 0.015  # of a label's coverage, from 0.68 and from 0.95
COVERAGE_PART = 0.03  # in each fifth of S/N and of [Fe/H]
HIDDEN = 1.05  # rms with half of the labels hidden, over that with all
NOISE = 0.90  # rms with the errors told to the loss, over that without
HOT, HOT_TRUST = 0.98, 0.9  # areas under the curve
RATIOS = {"dwarfs_100": 1.2, "dwarfs_20": 1.1, "giants_50": 1.3}  # rms over the Cramér-Rao bound, largest of the labels
BOUND = 0.1  # dex: labels of giants whose bound is below it count


def goals(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every goal of which something was measured.

    Parameters
    ----------
    metrics : mapping
        Of the stage ``collect_spectra``.
    """
    found = [*_network(metrics), *_trials(metrics), *_emulations(metrics)]
    return [goal.row() for goal in found]


def _network(metrics: Mapping[str, Any]) -> Iterator[Goal]:
    labels = metrics["network"]["labels"]
    for name, one in labels.items():
        if name in ERRORS:
            for kind, most in zip(("rms", "robust"), ERRORS[name], strict=True):
                yield Goal(f"{kind} of {name}", one[kind], None, most)
    for name, one in labels.items():
        for kind in ("score_sd", "score_robust"):
            yield Goal(f"{kind} of {name}", one[kind], *SCORES)
        for level in (0.68, 0.95):
            key = f"coverage_{100 * level:.0f}"
            yield Goal(f"{key} of {name}", one[key], level - COVERAGE, level + COVERAGE)
            for other in ("snr", "fe_h"):
                parts = one.get(f"{key}_by_{other}", [])
                if parts:
                    worst = max(parts, key=lambda share: abs(share - level))
                    yield Goal(
                        f"{key} of {name}, worst fifth of {other}", worst, level - COVERAGE_PART, level + COVERAGE_PART
                    )
    if hot := metrics["network"].get("hot"):
        best = max(value for name, value in hot.items() if name.startswith("auc_"))
        yield Goal("AUC of hot stars, best of predicted errors and trust", best, HOT, None)
        yield Goal("AUC of hot stars, trust alone", hot["auc_trust"], HOT_TRUST, None)


def _trials(metrics: Mapping[str, Any]) -> Iterator[Goal]:
    trials = metrics.get("trials", {})
    if "hidden" in trials:
        # as many networks on both sides
        alone = trials["hidden"]["members"] == 1 and "single" in trials
        labels = (trials["single"] if alone else metrics["network"])["labels"]
        for name in ("fe_h", "alpha_m"):
            ratio = trials["hidden"]["labels"][name]["rms"] / labels[name]["rms"]
            yield Goal(f"half of the labels hidden: rms of {name} over that with all", ratio, None, HIDDEN)
    if {"noise_known", "noise_unknown"} <= set(trials):
        known, unknown = (trials[f"noise_{one}"]["labels"]["fe_h"]["rms"] for one in ("known", "unknown"))
        yield Goal(
            "0.2 dex of noise on half of [Fe/H]: rms over that without known errors", known / unknown, None, NOISE
        )
    for number, methods in metrics.get("baselines", {}).items():
        trial = metrics["network"] if number == "0" else trials.get(f"stars_{number}")
        if trial is not None:
            ratio = max(
                trial["labels"][name]["rms"] / min(method[name]["rms"] for method in methods.values())
                for name in trial["labels"]
            )
            stars = "all" if number == "0" else number
            yield Goal(f"{stars} training stars: rms over the better of trees and ridge, worst label", ratio, None, 1.0)


def _emulations(metrics: Mapping[str, Any]) -> Iterator[Goal]:
    for name, one in metrics.get("emulations", {}).items():
        if name in RATIOS:
            counted = {label: row for label, row in one["labels"].items() if _counts(name, label, row)}
            worst = max(row["ratio"] for row in counted.values())
            yield Goal(f"{name}: rms over the Cramér-Rao bound, worst label", worst, None, RATIOS[name])


def _counts(name: str, label: str, row: Mapping[str, float]) -> bool:
    return not name.startswith("giants") or label == "teff" or row["bound"] < BOUND
