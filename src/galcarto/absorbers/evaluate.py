"""A network judged on mock sightlines."""

import time
from typing import Any

import numpy as np
import pandas as pd

from galcarto.absorbers.catalogue import ABSORBERS
from galcarto.absorbers.find import AbsorberTrained
from galcarto.absorbers.mock import LOOKED_FOR
from galcarto.absorbers.population import DAMPED
from galcarto.absorbers.scores import BRIGHT, distribution, match, path, score, true_distribution, truth_table
from galcarto.absorbers.sightlines import Sightlines

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # thresholds of the curve
BINS = 10  # of the probability
MEANINGS = ABSORBERS | {
    "sightline": "number of the mock sightline",
    "pixel": "of Lyman alpha",
    "score": "share of the pixels near by that vote for it",
    "kind": "found, or true",
    "match": "of one that was found: number of the true absorber that it is; -1: none",
    "seen": "of a true one: whether it was found",
}


def evaluate(trained: AbsorberTrained, sightlines: Sightlines) -> tuple[dict[str, Any], pd.DataFrame]:
    """Search sightlines whose absorbers are known.

    Returns
    -------
    metrics : dict
        ``damped`` and ``thin``: `galcarto.absorbers.scores.score` from lg N = 20.3 and from 19.5 on; ``threshold``;
        ``curve``: completeness and purity over the threshold; ``distribution``: f(N, X) and l(X), found and true;
        ``reliability``: numbers of detections, and of true ones, in bins of the probability; ``sightlines_per_second``.
    table : DataFrame
        Detections (``kind`` found) and true absorbers (``kind`` true); ``match`` of a detection is the number of the
        true absorber, ``seen`` of a true one whether it is found.
    """
    start = time.perf_counter()
    found, _ = trained.find(sightlines)
    seconds = time.perf_counter() - start
    truth = truth_table(sightlines)
    found["match"] = match(found, truth)
    threshold = float(trained.number("threshold"))
    factor, factor_error = trained.number("correction"), trained.number("correction_error")
    measured = distribution(found, threshold, path(sightlines), sightlines.snr(), factor, factor_error)
    expected = true_distribution()
    measured |= {f"true_{name}": value for name, value in expected.items()}
    measured["worst_sigma"] = float(
        np.max(np.abs(np.array(measured["f"]) - expected["f"]) / np.array(measured["f_error"]))
    )
    measured["l_sigma"] = abs(measured["l"] - expected["l"]) / measured["l_error"]
    curve = {level: score(found, truth, level) for level in LEVELS}
    edges = np.linspace(0, 1, BINS + 1)
    number = np.histogram(found["probability"], edges)[0]
    real = np.histogram(found["probability"], edges, weights=1.0 * (found["match"] >= 0))[0]
    metrics = {
        "sightlines": len(sightlines),
        "bright_sightlines": int((sightlines.snr() > BRIGHT).sum()),
        "threshold": threshold,
        "damped": score(found, truth, threshold, DAMPED),
        "thin": score(found, truth, threshold, LOOKED_FOR),
        "curve": {"threshold": list(curve)}
        | {kind: [row[kind] for row in curve.values()] for kind in ("completeness", "purity")},
        "distribution": measured,
        "reliability": {"number": list(number), "true": list(real)},
        "sightlines_per_second": len(sightlines) / seconds,
    }
    seen = np.isin(np.arange(len(truth)), found.loc[found["probability"] >= threshold, "match"])
    both = [found.assign(kind="found", seen=False), truth.assign(kind="true", seen=seen, match=-1)]
    return metrics, pd.concat(both, ignore_index=True)
