"""The independent Bayesian finder gp-dla-finder (Ho et al. 2020, arXiv:2003.11036) on the same sightlines."""

import time
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from galcarto.absorbers.find import AbsorberTrained
from galcarto.absorbers.population import DAMPED
from galcarto.absorbers.scores import BRIGHT, LIKE, match, truth_table
from galcarto.absorbers.sightlines import LATTICE, PIXELS, SCALE, Sightlines
from galcarto.core.errors import UserError

HINT = "the package gp-dla-finder is not installed: 'pip install --no-deps gp-dla-finder==0.1.0'"


def search(sightlines: Sightlines) -> tuple[pd.DataFrame, float]:
    """Search each sightline for one absorber, with the package's table of eBOSS quasars.

    Returns
    -------
    found : DataFrame
        sightline, z, log_nhi, probability, snr.
    seconds : float
        Of a sightline.

    Raises
    ------
    UserError
        If the package is not installed.
    """
    try:
        from gp_dla_finder import Config
        from gp_dla_finder.finder import Finder
        from gp_dla_finder.gp.spectrum import Spectrum
    except ImportError as fault:
        raise UserError(HINT) from fault
    finder = Finder(
        Config.desi_y3_fast(max_absorbers=1, lsf_kernel="boss-r2000-7tap"), model=quasars(), warn_about_threads=False
    )
    snr, rows = sightlines.snr(), []
    start = time.perf_counter()
    for i in tqdm(range(len(sightlines)), unit="sightline", mininterval=5):
        error = sightlines.error[i].astype(float)
        inverse = np.divide(1.0, error**2, out=np.zeros(PIXELS), where=error > 0)
        wavelength = 10 ** (LATTICE * (sightlines.first[i] + np.arange(PIXELS)))
        flux = sightlines.flux[i].astype(float)
        said = finder.run(Spectrum(wavelength, flux, inverse, z_qso=float(sightlines.redshift[i])))
        for one in said.absorber_candidates[:1]:
            rows.append((i, one.grid_z_abs, one.grid_log_nhi, said.p_absorber, snr[i]))
    seconds = (time.perf_counter() - start) / len(sightlines)
    return pd.DataFrame(rows, columns=["sightline", "z", "log_nhi", "probability", "snr"]), seconds


def quasars() -> Any:
    """The package's model of eBOSS quasars, scaled where our sightlines are: they end before 1425 Angstrom."""
    from gp_dla_finder import GPModel, load_model

    model = load_model("eboss_dr16q_minus_dr12q")
    band = (model.rest_wavelengths > SCALE[0]) & (model.rest_wavelengths < SCALE[1])
    level = float(np.median(model.mu[band]))
    return GPModel(
        model.name,
        model.rest_wavelengths,
        model.mu / level,
        model.M / level,
        model.log_omega - np.log(level),  # of a standard deviation
        model.log_c_0,
        model.log_tau_0,
        model.log_beta,
        *SCALE,
    )


def compare(trained: AbsorberTrained, sightlines: Sightlines) -> dict[str, Any]:
    """Completeness at equal purity of a network and of the Bayesian finder, on sightlines with a S/N above 3.

    The finder looks for one absorber a sightline, and its threshold is a probability of 0.5; the network's threshold is
    that of the highest completeness among those whose purity is as high.

    Returns
    -------
    dict
        ``finder`` and ``ours``: threshold, completeness, purity, and seconds of a sightline.
    """
    truth = truth_table(sightlines)
    theirs, seconds = search(sightlines)
    theirs["match"] = match(theirs, truth)
    row = _at(theirs, truth, 0.5)
    start = time.perf_counter()
    found, _ = trained.find(sightlines)
    own = (time.perf_counter() - start) / len(sightlines)
    found["match"] = match(found, truth)
    rows = [_at(found, truth, threshold) for threshold in np.unique(found["probability"])]
    pure = [one for one in rows if one["purity"] >= row["purity"]]
    best = max(pure, key=lambda one: one["completeness"]) if pure else max(rows, key=lambda one: one["purity"])
    return {
        "sightlines": len(sightlines),
        "finder": row | {"seconds": seconds},
        "ours": best | {"seconds": own, "times_faster": seconds / own},
    }


def _at(found: pd.DataFrame, truth: pd.DataFrame, threshold: float) -> dict[str, float]:
    """Completeness and purity of damped absorbers, as `galcarto.absorbers.scores.score` has them."""
    real = truth["log_nhi"].to_numpy()
    kept = found[(found["probability"] >= threshold) & (found["snr"] > BRIGHT)]
    counted = np.flatnonzero((real >= DAMPED) & (truth["snr"].to_numpy() > BRIGHT))
    claimed = kept[kept["log_nhi"] >= DAMPED]
    right = np.where(claimed["match"] >= 0, real[claimed["match"]], -np.inf) >= DAMPED - LIKE
    return {
        "threshold": float(threshold),
        "absorbers": float(len(counted)),
        "detections": float(len(claimed)),
        "completeness": float(np.isin(counted, kept["match"]).mean()) if len(counted) else np.nan,
        "purity": float(right.mean()) if len(right) else np.nan,
    }
