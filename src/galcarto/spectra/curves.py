"""Curves of the test stars, for figures."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtr

from galcarto.labels.scores import rms
from galcarto.spectra.scores import CURVE, rejection, robust

PLACES = 20  # at which running quantiles are given
SPANS = 10  # of S/N
RUNNING = (0.16, 0.5, 0.84)
COVERED = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.8, 0.9, 0.95])
PIT_BINS = 20
SCORE_EDGES = np.linspace(-5.0, 5.0, 41)


def curves(found: pd.DataFrame, labels: Sequence[str]) -> xr.Dataset:
    """Running quantiles, errors by S/N and by share rejected, coverage, histograms of the PIT and of normal scores.

    Parameters
    ----------
    found : DataFrame
        Of `galcarto.spectra.scores.predicted`.
    labels : sequence of str

    Returns
    -------
    Dataset
        ``known(label, place)`` and ``running(label, place, quantile)`` of the predicted label there; ``snr(span)`` with
        ``rms`` and ``robust`` ``(label, span)``; ``rms_kept(label, rejected)``, over the rms of all; ``coverage(label,
        level)``; ``pit(label, bin)`` and ``score(label, score)``, densities.
    """
    parts = []
    span = pd.qcut(found["snr"], SPANS, labels=False, duplicates="drop").to_numpy()
    for label in labels:
        known = found[f"{label}_known"].to_numpy(float)
        there = np.isfinite(known)
        residual = found[label].to_numpy(float) - known
        place = np.full(len(found), -1)
        place[there] = pd.qcut(known[there], PLACES, labels=False, duplicates="drop")
        score = found[f"{label}_score"].to_numpy(float)[there]
        chance = ndtr(score)
        each = [place == k for k in range(PLACES)]
        kept = rejection(found, label)
        parts.append(
            xr.Dataset(
                {
                    "known": ("place", [np.median(known[k]) if k.any() else np.nan for k in each]),
                    "running": (
                        ("place", "quantile"),
                        [np.quantile(found[label][k], RUNNING) if k.any() else [np.nan] * 3 for k in each],
                    ),
                    "rms": ("span", [rms(residual[span == k]) for k in range(SPANS)]),
                    "robust": ("span", [robust(residual[span == k]) for k in range(SPANS)]),
                    "rms_kept": ("rejected", kept / kept[0]),
                    "coverage": ("level", [(np.abs(chance - 0.5) <= 0.5 * level).mean() for level in COVERED]),
                    "pit": ("bin", np.histogram(chance, PIT_BINS, (0, 1), density=True)[0]),
                    "score": ("score_middle", np.histogram(score, SCORE_EDGES, density=True)[0]),
                }
            )
        )
    joined = xr.concat(parts, dim=pd.Index(list(labels), name="label"))
    return joined.assign_coords(
        quantile=list(RUNNING),
        snr=("span", [float(found["snr"][span == k].median()) for k in range(SPANS)]),
        rejected=list(CURVE),
        level=COVERED,
        bin=(np.arange(PIT_BINS) + 0.5) / PIT_BINS,
        score_middle=0.5 * (SCORE_EDGES[1:] + SCORE_EDGES[:-1]),
    )
