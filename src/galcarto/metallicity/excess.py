"""Extinction against distance from the colour excess of labelled stars, beside a cube's."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from galcarto.core.errors import UserError
from galcarto.core.files import variable
from galcarto.core.sky import separation
from galcarto.dust.law import coefficients
from galcarto.dust.settings import Dust
from galcarto.maps.grid import bounded, edges_of, tiles_of
from galcarto.metallicity.distances import IsochroneDistances, from_modulus
from galcarto.metallicity.settings import LabelComparison
from galcarto.surveys import SURVEYS

LABELS = ("teff", "feh", "logg")


def star_extinctions(stars: pd.DataFrame, settings: LabelComparison, dust: Dust) -> pd.DataFrame:
    """A_V and distance of each star, from its colour, magnitude and labels.

    The intrinsic colour is the isochrones' mean at the star's Teff, [Fe/H] and log g; the excess over it is A_V by the
    law, and the distance is that of the magnitude without this dust.

    Parameters
    ----------
    stars : DataFrame
        ``teff`` (K), ``feh``, ``logg`` (dex), each with ``_error``, and magnitudes of the settings' bands.
    settings : LabelComparison
    dust : Dust

    Returns
    -------
    DataFrame
        ``a_v`` (mag), ``distance`` (kpc), NaN where a label or band is missing.

    Raises
    ------
    UserError
        If the table lacks a column.
    """
    blue, red = settings.colour
    bands = list(dict.fromkeys((blue, red, settings.band)))
    needed = [*bands, *LABELS, *(f"{name}_error" for name in LABELS)]
    if missing := [name for name in needed if name not in stars]:
        raise UserError(
            f"stars: found no {', '.join(missing)}; expected the bands of comparison.colour and comparison.band, and "
            "Teff, [Fe/H] and log g with their errors"
        )
    waves = {name: band.wavelength for survey in SURVEYS.values() for name, band in survey.bands.items()}
    ratio = coefficients(dust.law, dust.r_v, {name: waves[name] for name in bands})
    grid = IsochroneDistances.build(bands)
    labels = stars[list(LABELS)].to_numpy(float)
    errors = stars[[f"{name}_error" for name in LABELS]].to_numpy(float)
    absolute = {name: grid.absolute(name, labels, errors)[0] for name in bands}
    observed = {name: stars[name].to_numpy(float) for name in bands}
    excess = (observed[blue] - observed[red]) - (absolute[blue] - absolute[red])
    a_v = excess / (ratio[blue] - ratio[red])
    modulus = observed[settings.band] - absolute[settings.band] - ratio[settings.band] * a_v
    return pd.DataFrame({"a_v": a_v, "distance": from_modulus(modulus, np.zeros(1))[0]}, index=stars.index)


def profiles(stars: pd.DataFrame, cube: xr.Dataset, settings: LabelComparison) -> xr.Dataset:
    """Mean A_V of stars against distance along a cube's sightlines, beside the cube's own.

    Parameters
    ----------
    stars : DataFrame
        ``l``, ``b`` (deg), ``a_v`` (mag), ``distance`` (kpc).
    cube : Dataset
        From `open_cube`, on a grid of l and b.
    settings : LabelComparison

    Returns
    -------
    Dataset
        Against ``sightline`` and ``distance``: ``a_v``, ``a_v_error`` (of the mean), ``number``; ``cube`` and
        ``cube_sd``, the cube's A_V in the middle of the bin, mag. ``l``, ``b`` (deg) and ``stars`` of each sightline.
        Without any star in a cone there is no sightline; attribute ``verdict`` says in words what can be compared.

    Raises
    ------
    UserError
        If the cube is not on a grid of l and b.
    """
    if "l" not in cube.dims:
        raise UserError("cube: found one in HEALPix pixels; expected cube.nc, on a grid of l and b")
    tiles, outer = tiles_of(cube), edges_of(cube, "distance")
    edges = np.linspace(0.0, outer[-1], max(1, round(outer[-1] / settings.step)) + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    l, b = (values.ravel() for values in np.meshgrid(tiles.l, tiles.b, indexing="ij"))
    known = stars[np.isfinite(stars[["l", "b", "a_v", "distance"]]).all(axis=1)]
    near = [
        np.flatnonzero(separation(one_l, one_b, known["l"].to_numpy(), known["b"].to_numpy()) < settings.radius)
        for one_l, one_b in zip(l, b, strict=True)
    ]
    counts = np.array([len(one) for one in near])
    most = [int(at) for at in np.argsort(-counts, kind="stable")[: settings.sightlines] if counts[at] > 0]
    shape = (len(most), len(edges) - 1)
    number = np.zeros(shape, int)
    mean, error, theirs, theirs_sd = np.full((4, *shape), np.nan)
    ordered = {name: cube[name].transpose("l", "b", "distance") for name in ("extinction", "extinction_sd")}
    for row, at in enumerate(most):
        own = known.iloc[near[at]]
        place = np.searchsorted(edges, own["distance"].to_numpy(), side="right") - 1
        for column in range(shape[1]):
            values = own["a_v"].to_numpy()[place == column]
            number[row, column] = len(values)
            if len(values) >= settings.least:
                mean[row, column] = values.mean()
                error[row, column] = values.std(ddof=1) / np.sqrt(len(values))
        where = np.unravel_index(at, tiles.shape)
        ends = {name: values[where].to_numpy() for name, values in ordered.items()}
        for name, target in (("extinction", theirs), ("extinction_sd", theirs_sd)):
            # the cube's values are those at the outer edges of its bins
            target[row] = np.interp(middle, outer, np.concatenate([[0.0], ends[name]]))
    axes = ("sightline", "distance")
    found = xr.Dataset(
        {
            "a_v": variable(axes, mean, "mag", "mean A_V of the stars, from their colour excess"),
            "a_v_error": variable(axes, error, "mag", "standard error of a_v"),
            "number": variable(axes, number, "1", "stars"),
            "cube": variable(axes, theirs, "mag", "A_V of the cube"),
            "cube_sd": variable(axes, theirs_sd, "mag", "standard deviation of cube"),
            "stars": variable("sightline", counts[most], "1", "stars in the cone"),
            "l": variable("sightline", l[most], "degree", "galactic longitude"),
            "b": variable("sightline", b[most], "degree", "galactic latitude"),
        },
        coords=bounded("distance", edges, {"units": "kiloparsec", "long_name": "distance from the Sun"}),
    )
    found.attrs["verdict"] = _verdict(found, len(known), settings)
    return found


def _verdict(found: xr.Dataset, stars: int, settings: LabelComparison) -> str:
    """What can be compared, in words."""
    bins = int(np.isfinite(found["a_v"]).sum())
    if found.sizes["sightline"] == 0:
        return (
            f"Too few stars: none of the {stars} stars with colour, labels and position is within "
            f"{settings.radius:g} deg of a tile of the cube."
        )
    if bins == 0:
        return (
            f"Too few stars: the fullest cone has {int(found['stars'].max())}, and no distance bin the "
            f"{settings.least} that a mean needs."
        )
    return f"{bins} distance bins of {found.sizes['sightline']} sightlines have {settings.least} stars or more."


def scores(found: xr.Dataset) -> dict[str, Any]:
    """Agreement of the stars' A_V with the cube's.

    Returns
    -------
    dict
        ``bins`` that are compared; ``difference``, the mean of stars minus cube (mag), ``difference_error``, both
        weighted by the errors; ``chi2`` per bin; and ``verdict``. None for what too few stars tell.
    """
    difference = (found["a_v"] - found["cube"]).to_numpy()
    error = np.hypot(found["a_v_error"].to_numpy(), found["cube_sd"].to_numpy())
    used = np.isfinite(difference) & (error > 0)
    result: dict[str, Any] = {"bins": int(used.sum()), "difference": None, "difference_error": None, "chi2": None}
    if used.any():
        weight = error[used] ** -2
        result["difference"] = float(np.average(difference[used], weights=weight))
        result["difference_error"] = float(weight.sum() ** -0.5)
        result["chi2"] = float(((difference[used] / error[used]) ** 2).mean())
    return result | {"verdict": found.attrs["verdict"]}
