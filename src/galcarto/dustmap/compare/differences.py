"""Scores of the difference of two maps on the same sightlines."""

import numpy as np
from scipy import stats

FEWEST = 3  # sightlines needed for scores


def differences(ours: np.ndarray, theirs: np.ndarray, variance: np.ndarray | None) -> dict[str, float]:
    """Scores of `ours` minus `theirs` over sightlines.

    Parameters
    ----------
    ours, theirs : ndarray, shape (sightline,)
        In the same unit.
    variance : ndarray, shape (sightline,), or None
        Expected variance of the difference; None if unknown.

    Returns
    -------
    dict
        ``bias``, the median difference; ``scatter``, 1.4826 times the median absolute deviation from it; ``ratio`` of
        the means; ``spearman``, the rank correlation; ``chi2``, the mean of the squared difference over its variance,
        1 if the errors are correct; ``n``. Undefined scores are NaN, and all but ``n`` with fewer than three
        sightlines.
    """
    scores = dict.fromkeys(("bias", "scatter", "ratio", "spearman", "chi2"), float("nan")) | {"n": len(ours)}
    if len(ours) < FEWEST:
        return scores
    difference = ours - theirs
    bias = np.median(difference)
    scores["bias"] = float(bias)
    scores["scatter"] = float(1.4826 * np.median(np.abs(difference - bias)))
    if theirs.mean() > 0:
        scores["ratio"] = float(ours.mean() / theirs.mean())
    if np.ptp(ours) > 0 and np.ptp(theirs) > 0:
        scores["spearman"] = float(stats.spearmanr(ours, theirs).statistic)
    if variance is not None and (variance > 0).all():
        scores["chi2"] = float(np.mean(difference**2 / variance))
    return scores
