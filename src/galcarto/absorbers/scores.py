"""How well absorbers are found: matches with the truth, completeness, purity, errors, and their numbers in the sky."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from galcarto.absorbers.lines import LIGHT
from galcarto.absorbers.population import DAMPED, absorption_distance, column_density_distribution
from galcarto.absorbers.sightlines import Sightlines

MATCH = 800.0  # km/s between an absorber and one that was found
LIKE = 0.3  # lg N below `DAMPED` down to which a true absorber excuses a detection above it: twice the error of lg N
BRIGHT = 3.0  # S/N above which sightlines are scored
COLUMN_EDGES = np.array([20.3, 20.5, 20.7, 20.9, 21.1, 21.4, 22.0])
SNR_EDGES = np.array([0.0, 1.5, 2.0, 3.0, 4.0, 6.0, np.inf])


def truth_table(sightlines: Sightlines) -> pd.DataFrame:
    """True absorbers that lie in data, one row each: sightline, z, log_nhi, snr."""
    row, column = np.nonzero(np.isfinite(sightlines.absorber_z))
    pixel = np.rint(sightlines.pixel_of(sightlines.absorber_z)[row, column]).astype(int)
    # a masked pixel in the middle of the data is no reason to leave an absorber out
    first, last, some = sightlines.ends()
    inside = some[row] & (pixel >= first[row]) & (pixel <= last[row])
    row, column = row[inside], column[inside]
    return pd.DataFrame(
        {
            "sightline": row,
            "z": sightlines.absorber_z[row, column],
            "log_nhi": sightlines.absorber_log_n[row, column],
            "snr": sightlines.snr()[row],
        }
    )


def match(found: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """Row of the truth that each found absorber is, -1 where it is none; each is matched once.

    As many pairs as can be are matched, with the least sum of their differences in velocity.

    Parameters
    ----------
    found, truth : DataFrame
        With ``sightline`` and ``z``; numbered from 0.
    """
    matched = np.full(len(found), -1)
    true_rows = dict(tuple(truth.groupby("sightline").indices.items()))
    for sightline, rows in found.groupby("sightline").indices.items():
        if sightline not in true_rows:
            continue
        theirs = true_rows[sightline]
        here, there = found["z"].to_numpy()[rows], truth["z"].to_numpy()[theirs]
        velocity = LIGHT * np.abs(here[:, None] - there) / (1 + there)
        cost = np.where(velocity < MATCH, velocity, 1e6)
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if cost[i, j] < MATCH:
                matched[rows[i]] = theirs[j]
    return matched


def score(found: pd.DataFrame, truth: pd.DataFrame, threshold: float, least: float = DAMPED) -> dict[str, float]:
    """Completeness, purity and errors on sightlines with a S/N above `BRIGHT`.

    An absorber is found if a detection with a probability above the threshold is within `MATCH` of it. A detection of
    lg N above `least` is right if an absorber of lg N above ``least - LIKE`` is; ``purity_strict`` asks for one above
    `least`.

    Parameters
    ----------
    found, truth : DataFrame
        ``found`` has a column ``match`` from `match`.
    threshold : float
    least : float
        lg N from which absorbers and detections count.
    """
    found = found[(found["probability"] >= threshold) & (found["snr"] > BRIGHT)]
    real = truth["log_nhi"].to_numpy()
    counted = (real >= least) & (truth["snr"].to_numpy() > BRIGHT)
    seen = np.isin(np.flatnonzero(counted), found["match"])
    claimed = found[found["log_nhi"] >= least]
    theirs = np.where(claimed["match"] >= 0, real[claimed["match"]] if len(real) else 0.0, -np.inf)
    good = found[found["match"].isin(np.flatnonzero(counted))]
    velocity = (
        LIGHT
        * (good["z"].to_numpy() - truth["z"].to_numpy()[good["match"]])
        / (1 + truth["z"].to_numpy()[good["match"]])
    )
    column = good["log_nhi"].to_numpy() - real[good["match"]]
    inside = {
        level: (real[good["match"]] >= good[f"log_nhi_{low}"]) & (real[good["match"]] <= good[f"log_nhi_{high}"])
        for level, low, high in (("68", "16", "84"), ("95", "025", "975"))
    }
    return {
        "absorbers": float(counted.sum()),
        "detections": float(len(claimed)),
        "completeness": float(seen.mean()) if len(seen) else np.nan,
        "purity": float((theirs >= least - LIKE).mean()) if len(claimed) else np.nan,
        "purity_strict": float((theirs >= least).mean()) if len(claimed) else np.nan,
        "velocity_robust": float(1.4826 * np.median(np.abs(velocity - np.median(velocity)))) if len(good) else np.nan,
        "velocity_bias": float(np.median(velocity)) if len(good) else np.nan,
        "log_nhi_sd": float(column.std()) if len(good) else np.nan,
        "log_nhi_bias": float(column.mean()) if len(good) else np.nan,
        **{f"coverage_{level}": float(rows.mean()) if len(good) else np.nan for level, rows in inside.items()},
    }


def best_threshold(found: pd.DataFrame, truth: pd.DataFrame, least: float = DAMPED) -> float:
    """Probability above which completeness and purity have the highest harmonic mean; of validation sightlines.

    It is 0.5 where there are no absorbers, or none is claimed.
    """
    tried = np.linspace(0.01, 0.99, 99)
    values = []
    for threshold in tried:
        row = score(found, truth, float(threshold), least)
        both = np.array([row["completeness"], row["purity"]])
        values.append(2 / (1 / both.clip(1e-9)).sum())
    return float(tried[int(np.nanargmax(values))]) if np.isfinite(values).any() else 0.5


def path(sightlines: Sightlines) -> np.ndarray:
    """Absorption distance that was searched in each sightline."""
    first, last, some = sightlines.ends()
    rows = np.arange(len(sightlines))
    ends = [absorption_distance(sightlines.redshift_of(pixel, rows)) for pixel in (first - 0.5, last + 0.5)]
    # an absorber is in front of its quasar
    ends[1] = np.minimum(ends[1], absorption_distance(sightlines.redshift))
    return np.where(some, np.maximum(ends[1] - ends[0], 0.0), 0.0)


def completeness(found: pd.DataFrame, truth: pd.DataFrame, threshold: float) -> np.ndarray:
    """Share of the damped absorbers that are found, in bins of S/N."""
    damped = truth["log_nhi"].to_numpy() >= DAMPED
    seen = np.isin(np.arange(len(truth)), found.loc[found["probability"] >= threshold, "match"])
    number, hit = (np.histogram(truth["snr"][rows], SNR_EDGES)[0] for rows in (damped, damped & seen))
    return np.divide(hit, number, out=np.full(len(number), np.nan), where=number > 0)


def correction(found: pd.DataFrame, truth: pd.DataFrame, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """True absorbers over detections in bins of S/N and lg N, and its error; shape (S/N bin, lg N bin).

    It corrects for what is missed, for what is none, and for errors of lg N that carry absorbers from bin to bin.
    """
    kept = found[found["probability"] >= threshold]
    edges = [SNR_EDGES, COLUMN_EDGES]
    true_counts = np.histogram2d(truth["snr"], truth["log_nhi"], edges)[0]
    counts = np.histogram2d(kept["snr"], kept["log_nhi"], edges)[0]
    ratio = (true_counts + 0.5) / (counts + 0.5)
    return ratio, ratio * np.sqrt(1 / (true_counts + 0.5) + 1 / (counts + 0.5))


def distribution(
    found: pd.DataFrame,
    threshold: float,
    searched: np.ndarray,
    snr: np.ndarray,
    factor: np.ndarray,
    factor_error: np.ndarray,
) -> dict[str, Any]:
    """f(N, X) and l(X), corrected, with standard errors.

    Parameters
    ----------
    found : DataFrame
    threshold : float
    searched, snr : ndarray, shape (sightline,)
        Absorption distance and S/N.
    factor, factor_error : ndarray
        Of `correction`.
    """
    kept = found[(found["probability"] >= threshold) & (found["snr"] > BRIGHT)]
    used = SNR_EDGES[:-1] >= BRIGHT
    total = searched[snr > BRIGHT].sum()
    counts = np.histogram2d(kept["snr"], kept["log_nhi"], [SNR_EDGES, COLUMN_EDGES])[0]
    number = (counts * factor)[used].sum(axis=0)
    variance = ((counts * factor**2) + (counts * factor_error) ** 2)[used].sum(axis=0)
    # an empty bin may have held one
    error = np.sqrt(np.maximum(variance, 1.0))
    width = 10 ** COLUMN_EDGES[1:] - 10 ** COLUMN_EDGES[:-1]
    return {
        "log_nhi": list(0.5 * (COLUMN_EDGES[1:] + COLUMN_EDGES[:-1])),
        "detections": list(counts[used].sum(axis=0)),
        "path": float(total),
        "f": list(number / total / width),
        "f_error": list(error / total / width),
        "l": float(number.sum() / total),
        "l_error": float(np.sqrt(max(variance.sum(), 1.0)) / total),
    }


def true_distribution() -> dict[str, Any]:
    """f(N, X) and l(X) of the mock: means over the bins of `distribution`."""
    means = []
    for low, high in pairwise(COLUMN_EDGES):
        n = np.logspace(low, high, 400)
        means.append(float(np.trapezoid(column_density_distribution(np.log10(n)), n) / (n[-1] - n[0])))
    width = 10 ** COLUMN_EDGES[1:] - 10 ** COLUMN_EDGES[:-1]
    return {"f": means, "l": float(np.sum(means * width))}
