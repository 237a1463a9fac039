"""What figures of sightlines show: flux, votes, and the Voigt profiles of what was found."""

import numpy as np
import pandas as pd
import xarray as xr

from galcarto.absorbers.find import AbsorberTrained, votes
from galcarto.absorbers.lines import LYMAN_ALPHA, LYMAN_BETA, optical_depth
from galcarto.absorbers.sightlines import LATTICE, PIXELS, Sightlines
from galcarto.core.files import variable

WIDTH = 30.0  # km/s: Doppler parameter of the profiles, which the damped wings do not depend on
LEVEL = 75  # pixels of a running maximum: a continuum for the eye, no result
EXAMPLES = 8
SHALLOW = 0.03  # optical depth below which a profile is not drawn


def choose(truth: pd.DataFrame, found: pd.DataFrame, number: int = EXAMPLES) -> np.ndarray:
    """Sightlines for a figure: the first with a thick absorber, with a missed one, and with a false one, in turn."""
    hit = truth.loc[truth["seen"] & (truth["log_nhi"] > 20.3), "sightline"].unique()
    missed = truth.loc[~truth["seen"] & (truth["log_nhi"] > 20.3), "sightline"].unique()
    false = found.loc[found["match"] < 0, "sightline"].unique()
    parts = [hit[: number - 2 * (number // 4)], missed[: number // 4], false[: number // 4]]
    return np.unique(np.concatenate(parts)).astype(int)


def drawn(trained: AbsorberTrained, sightlines: Sightlines, absorbers: pd.DataFrame, names: list[str]) -> xr.Dataset:
    """What a figure shows of some sightlines.

    Parameters
    ----------
    trained : AbsorberTrained
    sightlines : Sightlines
    absorbers : DataFrame
        sightline (number in `sightlines`), z, log_nhi, probability; those that are drawn.
    names : list of str

    Returns
    -------
    Dataset
        By (sightline, pixel): ``wavelength`` (Angstrom), ``flux``, ``error``, ``votes``, ``profile``: the light that
        passes the absorbers, over a level for the eye. By (sightline, absorber): ``z``, ``log_nhi``, ``probability``;
        of the truth ``true_z``, ``true_log_nhi``.
    """
    outputs, _ = trained.look(sightlines)
    curves = votes(outputs, trained.finder.positions.cpu().numpy(), sightlines.searched())
    wavelength = 10 ** (LATTICE * (sightlines.first[:, None] + np.arange(PIXELS)))
    there = sightlines.error > 0
    flux = np.where(there, sightlines.flux, np.nan)
    profile = np.full(flux.shape, np.nan)
    most = max(int(absorbers.groupby("sightline").size().max()) if len(absorbers) else 0, 1)
    table = {name: np.full((len(sightlines), most), np.nan) for name in ("z", "log_nhi", "probability")}
    for key, group in absorbers.groupby("sightline"):
        number = int(key)  # type: ignore[arg-type]
        smooth = pd.Series(flux[number]).rolling(9, center=True, min_periods=1).median()
        level = (
            smooth.rolling(LEVEL, center=True, min_periods=1)
            .quantile(0.9)
            .rolling(LEVEL, center=True, min_periods=1)
            .max()
        )
        depth = np.zeros(PIXELS)
        for z, column in zip(group["z"], group["log_nhi"], strict=True):
            for line in (LYMAN_ALPHA, LYMAN_BETA):
                depth += optical_depth(wavelength[number], line, z, column, WIDTH)
        profile[number] = np.where(there[number] & (depth > SHALLOW), level.to_numpy() * np.exp(-depth), np.nan)
        for name, values in table.items():
            values[number, : len(group)] = group[name]
    flat = ("sightline", "pixel")
    each = ("sightline", "absorber")
    return xr.Dataset(
        {
            "wavelength": variable(flat, wavelength, "Angstrom", "wavelength in vacuum"),
            "flux": variable(flat, flux, "1", "flux over its median at 1270 to 1350 Angstrom at rest"),
            "error": variable(flat, np.where(there, sightlines.error, np.nan), "1", "standard error of the flux"),
            "votes": variable(flat, curves, "1", "share of the pixels near by that say an absorber is centred here"),
            "profile": variable(flat, profile, "1", "light that passes the absorbers, over a level for the eye"),
            "z": variable(each, table["z"], "1", "redshift of an absorber"),
            "log_nhi": variable(each, table["log_nhi"], "1", "lg of its column density in cm-2"),
            "probability": variable(each, table["probability"], "1", "that it is one"),
            "true_z": variable(("sightline", "true"), sightlines.absorber_z, "1", "redshift of a true absorber"),
            "true_log_nhi": variable(
                ("sightline", "true"), sightlines.absorber_log_n, "1", "lg of its column density in cm-2"
            ),
            "z_qso": variable("sightline", sightlines.redshift, "1", "redshift of the quasar"),
            "snr": variable("sightline", sightlines.snr(), "1", "median S/N of a pixel in the forest"),
        },
        coords={"sightline": names},
    )
