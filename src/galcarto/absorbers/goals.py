"""The goals of the task beside what was measured."""

from collections.abc import Iterator, Mapping
from typing import Any

from galcarto.learning.goals import Goal

PLAIN = (0.98, 0.97)  # completeness and purity of damped absorbers in the plain mock
HARD = (0.90, 0.90)
THIN = 0.95  # completeness from lg N = 19.5 on
VELOCITY = 110.0  # km/s, robust
COLUMN, COLUMN_BIAS = 0.15, 0.02  # dex
COVERAGE = 0.02
FASTER = 300.0  # times, than the Bayesian finder
SIGMAS = 2.0
RATE = 50.0  # sightlines a second
REAL_Z, REAL_COLUMN = 0.003, 0.15


def goals(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every goal of which something was measured.

    Parameters
    ----------
    metrics : mapping
        Of the stage ``collect_absorbers``.
    """
    return [goal.row() for goal in _goals(metrics)]


def _goals(metrics: Mapping[str, Any]) -> Iterator[Goal]:
    for name, (complete, pure) in (("plain", PLAIN), ("hard", HARD)):
        damped = metrics[name]["damped"]
        yield Goal(f"{name} mock, lg N >= 20.3, S/N > 3: completeness", damped["completeness"], complete, None)
        yield Goal(f"{name} mock, lg N >= 20.3, S/N > 3: purity", damped["purity"], pure, None)
    for name in ("plain", "hard"):
        yield Goal(f"{name} mock, lg N >= 19.5: completeness", metrics[name]["thin"]["completeness"], THIN, None)
    for name in ("plain", "hard"):
        damped = metrics[name]["damped"]
        yield Goal(f"{name} mock: velocity, robust (km/s)", damped["velocity_robust"], None, VELOCITY)
        yield Goal(f"{name} mock: lg N, standard deviation", damped["log_nhi_sd"], None, COLUMN)
        yield Goal(f"{name} mock: lg N, bias", damped["log_nhi_bias"], -COLUMN_BIAS, COLUMN_BIAS)
    damped = metrics["hard"]["damped"]
    for level in (0.68, 0.95):
        found = damped[f"coverage_{100 * level:.0f}"]
        yield Goal(f"lg N in its {100 * level:.0f} % interval", found, level - COVERAGE, level + COVERAGE)
    if "finder" in metrics:
        ours, theirs = metrics["finder"]["ours"], metrics["finder"]["finder"]
        gain = ours["completeness"] - theirs["completeness"]
        yield Goal("completeness minus gp-dla-finder's at its purity, hard sightlines", gain, 0.0, None)
        yield Goal("times as fast as gp-dla-finder", ours["times_faster"], FASTER, None)
    one = metrics["hard"]["distribution"]
    yield Goal("f(N): largest deviation of a bin in standard errors", one["worst_sigma"], None, SIGMAS)
    yield Goal("l(X): deviation in standard errors", one["l_sigma"], None, SIGMAS)
    if "reddened" in metrics:
        for kind in ("completeness", "purity"):
            change = abs(metrics["reddened"]["damped"][kind] - metrics["hard"]["damped"][kind])
            yield Goal(f"change of {kind} behind the Galaxy's dust", change, None, COVERAGE)
    for row in metrics.get("real", {}).get("known", []):
        name = f"{row['name']}: catalogued absorber at z = {row['z_known']:.4f}"
        yield Goal(f"{name}, found off by (z)", abs(row["z"] - row["z_known"]), None, REAL_Z)
        yield Goal(f"{name}, found off by (lg N)", abs(row["log_nhi"] - row["log_nhi_known"]), None, REAL_COLUMN)
    yield Goal("sightlines searched in a second, one thread", metrics["hard"]["sightlines_per_second"], RATE, None)
