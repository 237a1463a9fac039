"""How two maps differ over the same sightlines: bias, scatter, rank and chi2."""

import numpy as np
from scipy import stats

FEWEST = 3  # sightlines: with fewer there are no scores


def differences(ours: np.ndarray, theirs: np.ndarray, variance: np.ndarray | None) -> dict[str, float]:
    """Scores of ours - theirs over sightlines.

    Parameters
    ----------
    ours, theirs : ndarray, shape (sightline,)
        Of one unit.
    variance : ndarray, shape (sightline,)
        Expected of the difference, in the square of that unit; None where nobody knows.

    Returns
    -------
    dict
        ``bias``, the median difference; ``scatter``, 1.4826 times the median absolute deviation from it; ``ratio`` of
        the means, ours over theirs; ``spearman``, the rank correlation; ``chi2``, the mean of the squared difference
        over its variance: 1 where the maps differ as the errors say; ``n``. All but ``n`` are NaN with fewer than
        three sightlines, as is what has no value.
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
