"""The task's goals beside what was found."""

from collections.abc import Mapping
from typing import Any


def goals(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of ``what``, ``goal`` and ``found``, those that the metrics can answer.

    Parameters
    ----------
    metrics : mapping
        With ``labels`` of `evaluate` and, where there is a map, ``map``.
    """
    labels = metrics["labels"]
    rows: list[tuple[str, str, Any]] = []
    feh = labels["labels"].get("feh", {})
    mock = "exact" in labels
    if not mock:
        if "fg" in feh:
            rows.append(("[Fe/H] of F and G stars, rms (dex)", "<= 0.252", feh["fg"]["rms"]))
        if feh:
            rows.append(("[Fe/H] of all stars, rms (dex)", "<= 0.285", feh["all"]["rms"]))
    for level in ("68", "95") if feh else ():
        parts = feh["all"][f"coverage_{level}_by_fifth"]
        off = max(parts, key=lambda share: abs(share - int(level) / 100))
        rows.append(
            (f"coverage of {level} % intervals, fifth of predicted [Fe/H] that is farthest off", "+- 0.015", off)
        )
    ratios = [block["ratio"] for block in labels["missing"].values() if "ratio" in block]
    if ratios:
        rows.append(("one network without a band over a network of its own, worst rms ratio", "<= 1.03", max(ratios)))
    bands = [block["ratio"] for block in labels["bands"].values() if "ratio" in block]
    if bands:
        rows.append(("predicted missing band over boosted trees, worst rms ratio", "<= 1.1", max(bands)))
    if mock:
        rows.append(
            ("[Fe/H] of mock stars over the exact posterior mean, rms ratio", "<= 1.02", labels["exact"]["ratio"])
        )
        rows.append(("coverage of 68 % intervals, mock stars", "0.66 to 0.70", feh["all"]["coverage_68"]))
    found = metrics.get("map", {})
    if "relative_difference" in found:
        rows.append(("slope of [Fe/H] with |Z| over the true one, less 1", "+- 0.1", found["relative_difference"]))
        rows.append(("the same, in standard errors", "+- 2", found["difference_in_errors"]))
    return [{"what": what, "goal": goal, "found": value} for what, goal, value in rows]
