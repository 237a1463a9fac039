"""Which pixels a label comes from: derivatives, and what is lost when a stretch is hidden."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import xarray as xr

from galcarto.labels.scores import rms
from galcarto.spectra.predict import SpectraTrained, jacobian, means
from galcarto.spectra.spectra import Spectra

STRETCHES = 34  # into which the pixels are cut
ENDS = (0.02, 0.98)  # quantiles of [Fe/H], or else of the first label, of the two stars whose derivatives are shown
STARS = 2000  # at most, of which stretches are hidden

# nm in air (NIST Atomic Spectra Database; bands of molecules by their heads: Pearse & Gaydon 1976)
LINES = {
    "Ca II H, K": 395.1,  # between 393.366 and 396.847
    "CH (G band)": 430.8,
    "Hβ": 486.135,
    "Mg b": 517.268,
    "Na D": 589.3,
    "Hα": 656.279,
    "TiO": 705.4,
    "Ca II triplet": 854.209,
}


def explain(trained: SpectraTrained, spectra: Spectra, magnitudes: np.ndarray) -> xr.Dataset:
    """Derivatives of labels for a metal-poor and a metal-rich star, and the effect of hidden stretches on all.

    Parameters
    ----------
    trained, spectra, magnitudes
        As of `galcarto.spectra.predict.describe`.

    Returns
    -------
    Dataset
        ``jacobian(star, label, wavelength)``: change of a label (its unit) when the flux of a pixel rises by the star's
        median flux; ``flux(star, wavelength)``; ``value(star, label)``; ``hidden(label, stretch)``: rms change of the
        label when a stretch of pixels is hidden; ``wavelength`` and ``stretch`` (middle) in nm.
    """
    first = trained.estimator.first
    step = max(len(spectra) // STARS, 1)
    some = replace(
        spectra, flux=spectra.flux[::step], error=spectra.error[::step], stars=spectra.stars[::step].reset_index()
    )
    seen = magnitudes[::step]
    whole = means(trained, some, seen)
    by = first.labels.index("fe_h") if "fe_h" in first.labels else 0
    rank = np.argsort(whole[:, by])
    rank = rank[np.isfinite(some.flux[rank]).any(axis=1)]
    chosen = [int(rank[int(share * (len(rank) - 1))]) for share in ENDS]
    unit = np.array(first.scale.label_sd)
    pair = replace(some, flux=some.flux[chosen], error=some.error[chosen], stars=some.stars.iloc[chosen])
    inputs = next(trained.batches(pair, seen[chosen]))
    slopes = jacobian(trained, inputs, pair.flux) * unit[:, None]
    edges = np.linspace(0, first.pixels, min(STRETCHES, first.pixels) + 1).round().astype(int)
    effects = []
    for start, stop in pairwise(edges.tolist()):
        flux = some.flux.copy()
        flux[:, start:stop] = np.nan
        other = means(trained, replace(some, flux=flux), seen)
        effects.append([rms(one) for one in (other - whole).T])
    return xr.Dataset(
        {
            "jacobian": (("star", "label", "wavelength"), slopes),
            "flux": (("star", "wavelength"), pair.flux),
            "value": (("star", "label"), whole[chosen]),
            "hidden": (("label", "stretch"), np.array(effects).T),
        },
        coords={
            "label": first.labels,
            "wavelength": ("wavelength", first.wavelength, {"units": "nm"}),
            "stretch": (
                "stretch",
                0.5 * (first.wavelength[edges[:-1]] + first.wavelength[edges[1:] - 1]),
                {"units": "nm"},
            ),
        },
        attrs={"lines": json.dumps(LINES)},
    )
