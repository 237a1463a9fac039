"""The cube: posteriors of all sightlines in one self-describing netCDF file, written strip by strip."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from galcarto.core.netcdf import Table, create_variables
from galcarto.core.sky import Tiles
from galcarto.maps.footprint import footprint
from galcarto.maps.grid import CONVENTIONS, SAMPLES_GROUP, distance_coordinate, sample_coordinate, tile_coordinates
from galcarto.maps.quality import CONTRACTED, NOT_OBSERVED, PARTLY_OBSERVED, POOR_FIT, STARS_RUN_OUT, UNLIKE_TRAINING

POOR = 0.02  # p-value below which a fit is poor
UNLIKE = 0.999  # out-of-distribution score above which a sightline is unlike the training set
COMPLETE = 0.95  # fraction of its area from which a tile counts as fully observed
# a mean profile is right at a distance if it differs from the truth by no more than this error, in mag and as a
# fraction of A_V, at that distance or at one that differs by less than this factor
ERROR, SHIFT = (0.1, 0.25), 1.2
CERTAIN = 0.9  # probability of being right from which a map is trusted
TRUSTED = "distance_min distance_max quality"  # ancillary variables: where to trust a value


def _posterior(name: str, units: str, meaning: str, cells: str) -> Table:
    """Mean, standard deviation and samples of a quantity along sightlines."""
    axes, absorption = ("l", "b", "distance"), "phys.absorption.gal"
    return {
        name: (
            axes,
            "f8",
            {
                "units": units,
                "long_name": f"posterior mean of {meaning}",
                "ucd": absorption,
                "cell_methods": f"{cells} realization: mean",
                "ancillary_variables": f"{name}_sd {TRUSTED}",
                "coverage_content_type": "modelResult",
            },
        ),
        f"{name}_sd": (
            axes,
            "f8",
            {
                "units": units,
                "long_name": f"posterior standard deviation of {meaning}",
                "ucd": f"stat.stdev;{absorption}",
                "cell_methods": f"{cells} realization: standard_deviation",
                "coverage_content_type": "qualityInformation",
            },
        ),
        f"{name}_samples": (
            ("sample", *axes),
            "f4",
            {
                "units": units,
                "long_name": f"posterior samples of {meaning}",
                "ucd": absorption,
                "cell_methods": cells,
                "ancillary_variables": TRUSTED,
                "coverage_content_type": "modelResult",
            },
        ),
    }


def _diagnostic(
    kind: str, long_name: str, content: str = "qualityInformation", **attributes: Any
) -> tuple[tuple[str, ...], str, dict[str, Any]]:
    """A variable of sightlines without distances."""
    return ("l", "b"), kind, {**attributes, "long_name": long_name, "coverage_content_type": content}


_DISTANCE = {"units": "kiloparsec", "standard_name": "distance_from_sun"}
_COUNT = {"content": "auxiliaryInformation", "cell_methods": "l: b: sum"}
VARIABLES: Table = {
    **_posterior(
        "extinction",
        "mag",
        "cumulative A_V from the Sun to the outer edge of each distance bin",
        "l: b: mean distance: sum (from the Sun to the outer bound of the bin)",
    ),
    **_posterior(
        "extinction_density", "mag kpc-1", "A_V per unit of distance in each distance bin", "l: b: distance: mean"
    ),
    "distance_min": _diagnostic(
        "f4",
        "distance from which on A_V is known to 0.1 mag + 25 percent, within 20 percent in distance",
        ucd="pos.distance;stat.min",
        **_DISTANCE,
    ),
    "distance_max": _diagnostic(
        "f4", "distance beyond which stars run out or tell no more than the prior", ucd="pos.distance", **_DISTANCE
    ),
    "fit_p_value": _diagnostic(
        "f4", "posterior predictive p-value of the observed diagrams", units="1", ucd="stat.fit.goodness"
    ),
    "fit_chi2": _diagnostic(
        "f4", "chi2 of the observed diagrams over what chance makes", units="1", ucd="stat.fit.chi2"
    ),
    "out_of_distribution": _diagnostic(
        "f4", "share of training-like examples that look less strange to the network", units="1"
    ),
    "stars": _diagnostic(
        "i4",
        "observed stars within the limits",
        units="1",
        standard_name="number_of_observations",
        ucd="meta.number;src",
        **_COUNT,
    ),
    "area": _diagnostic("f4", "observed solid angle", units="degree2", ucd="phys.angArea", **_COUNT),
    "quality": _diagnostic(
        "u1",
        "quality of the sightline",
        standard_name="quality_flag",
        ucd="meta.code.qual",
        flag_masks=np.array([NOT_OBSERVED, PARTLY_OBSERVED, STARS_RUN_OUT, POOR_FIT, UNLIKE_TRAINING], "u1"),
        flag_meanings="not_observed partly_observed stars_run_out_before_the_last_bin poor_fit unlike_training",
    ),
}


@dataclass(frozen=True)
class Strip:
    """Results of inference for a strip of tiles, l-major.

    Attributes
    ----------
    samples : ndarray, shape (tile, sample, distance), mag
        Cumulative extinction; NaN for tiles that are not observed.
    stars_beyond : ndarray, shape (tile, distance)
        Detectable stars in or beyond each bin.
    contraction : ndarray, shape (tile, distance)
        Posterior over prior standard deviation of the log-density.
    out_of_distribution, fit_p_value, fit_chi2 : ndarray, shape (tile,)
    stars : ndarray, shape (tile,)
    area, full_area : ndarray, shape (tile,), deg2
    """

    samples: np.ndarray
    stars_beyond: np.ndarray
    contraction: np.ndarray
    out_of_distribution: np.ndarray
    fit_p_value: np.ndarray
    fit_chi2: np.ndarray
    stars: np.ndarray
    area: np.ndarray
    full_area: np.ndarray


def right(mean: np.ndarray, truth: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Whether a mean profile is right about a true one, to `ERROR` and within a factor `SHIFT` in distance.

    A cloud that is put a little too far is wrong by its whole extinction just behind it; the shift in distance forgives
    that, but not a cloud that is smeared over a long distance.

    Parameters
    ----------
    mean, truth : ndarray, shapes (..., distance) that broadcast, mag
        Cumulative A_V at the outer edges of the bins.
    edges : ndarray, shape (distance + 1,), kpc

    Returns
    -------
    ndarray of bool, shape (..., distance)
    """
    units = np.eye(len(edges))[1:]
    least, most = (
        truth @ np.array([np.interp(edges[1:] * shift, edges, unit) for unit in units]) for shift in (1 / SHIFT, SHIFT)
    )
    slack = ERROR[0] + ERROR[1] * mean
    return (mean >= least - slack) & (mean <= most + slack)


def trusted_range(
    samples: np.ndarray, stars_beyond: np.ndarray, contraction: np.ndarray, edges: np.ndarray, min_stars: float
) -> tuple[np.ndarray, np.ndarray]:
    """Distances between which a profile can be trusted.

    Parameters
    ----------
    samples : ndarray, shape (tile, sample, distance), mag
        Of the posterior of cumulative A_V.
    stars_beyond : ndarray, shape (tile, distance)
    contraction : ndarray, shape (tile, distance)
    edges : ndarray, shape (distance + 1,), kpc
    min_stars : float

    Returns
    -------
    distance_min, distance_max : ndarray, shape (tile,), kpc
        `distance_max` is the outer edge of the last bin with at least `min_stars` in or beyond it and a posterior that
        is narrower than the prior (`contraction` below `CONTRACTED`), 0 if there is none. `distance_min` is the outer
        edge of the first bin from which, up to `distance_max`, the posterior mean is `right` in a fraction `CERTAIN` of
        the samples; NaN if there is none.
    """
    good = (stars_beyond >= min_stars) & (contraction < CONTRACTED)
    bins = good.shape[1]
    last = np.where(good.any(axis=1), bins - good[:, ::-1].argmax(axis=1), 0)
    certain = right(samples.mean(axis=1, keepdims=True, dtype=float), samples, edges).mean(axis=1) >= CERTAIN
    doubtful = ~certain & (np.arange(bins) < last[:, None])
    first = np.where(doubtful.any(axis=1), bins - doubtful[:, ::-1].argmax(axis=1), 0)
    return np.where(first < last, edges[np.minimum(first + 1, bins)], np.nan), edges[last]


def statistics(density_samples: np.ndarray, width: np.ndarray) -> dict[str, np.ndarray]:
    """Variables of the cube that follow from samples of the density.

    Parameters
    ----------
    density_samples : ndarray of float32, shape (tile, sample, distance), mag kpc-1
    width : ndarray, shape (distance,), kpc

    Returns
    -------
    dict of ndarray
        Samples, means and standard deviations of extinction and density; first axis tile.
    """
    extinction_samples = np.cumsum(density_samples.astype(float) * width, axis=2)
    density = density_samples.mean(axis=1, dtype=float)
    return {
        "extinction": np.cumsum(density * width, axis=1),
        "extinction_sd": extinction_samples.std(axis=1),
        "extinction_density": density,
        "extinction_density_sd": density_samples.std(axis=1, dtype=float),
        "extinction_samples": extinction_samples.astype(np.float32),
        "extinction_density_samples": density_samples,
    }


def summarise(strip: Strip, edges: np.ndarray, min_stars: float) -> dict[str, np.ndarray]:
    """Variables of the cube for the tiles of a strip.

    Means and samples satisfy extinction = cumsum(density * width): the means exactly, in double precision, the samples
    to single precision.

    Returns
    -------
    dict of ndarray
        First axis tile; samples have shape (tile, sample, distance).
    """
    width = np.diff(edges)
    density_samples = (np.diff(strip.samples.astype(float), axis=2, prepend=0.0) / width).astype(np.float32)
    near, far = trusted_range(strip.samples, strip.stars_beyond, strip.contraction, edges, min_stars)
    fraction = strip.area / strip.full_area
    missing = np.isnan(strip.samples[:, 0, 0])
    partly = np.where(fraction < COMPLETE, PARTLY_OBSERVED, 0) | np.where(far < edges[-1], STARS_RUN_OUT, 0)
    partly |= np.where(strip.fit_p_value < POOR, POOR_FIT, 0) | np.where(
        strip.out_of_distribution > UNLIKE, UNLIKE_TRAINING, 0
    )
    return {
        **statistics(density_samples, width),
        "distance_min": np.where(missing, np.nan, near),
        "distance_max": np.where(missing, np.nan, far),
        "out_of_distribution": strip.out_of_distribution,
        "fit_p_value": strip.fit_p_value,
        "fit_chi2": strip.fit_chi2,
        "stars": strip.stars,
        "area": strip.area,
        "quality": np.where(missing, NOT_OBSERVED, partly).astype(np.uint8),
    }


def create(
    file: netCDF4.Dataset,
    coordinates: Mapping[str, xr.DataArray],
    table: Table,
    chunks: Mapping[str, int],
    sample_chunks: Mapping[str, int],
) -> dict[str, netCDF4.Variable]:
    """Write the coordinates of a cube and create its variables, those with samples in a group of their own.

    Parameters
    ----------
    file : netCDF4.Dataset
        Empty, open for writing.
    coordinates : mapping of str to DataArray
        They define the sizes of the dimensions.
    table : mapping of str to (dimensions, type, attributes)
    chunks, sample_chunks : mapping of str to int
        Chunks of variables without and with samples, as for `create_variables`.

    Returns
    -------
    dict of netCDF4.Variable
        The variables of the table, empty.
    """
    sizes = {str(name): size for one in coordinates.values() for name, size in one.sizes.items()}
    axes = {name: (tuple(map(str, one.dims)), one.dtype, one.attrs) for name, one in coordinates.items()}
    # xarray takes these for coordinates, not for data, whose dimensions and types change when datasets are joined
    file.coordinates = " ".join(name for name in coordinates if name == "crs" or name.endswith("_bounds"))
    created: dict[str, netCDF4.Variable] = {}
    for home, sampled, cut in ((file, False, chunks), (file.createGroup(SAMPLES_GROUP), True, sample_chunks)):
        own, rest = (
            {name: one for name, one in part.items() if ("sample" in one[0]) == sampled} for part in (axes, table)
        )
        for name, variable in create_variables(home, own, sizes).items():
            variable[...] = coordinates[name].to_numpy()
        created |= create_variables(home, rest, sizes, chunks=cut, missing=True, compression="zlib", complevel=4)
    return created


def write(
    path: str | Path,
    tiles: Tiles,
    edges: np.ndarray,
    samples: int,
    strips: Iterable[tuple[int, dict[str, np.ndarray]]],
    attributes: Mapping[str, Any],
) -> None:
    """Write the cube, one strip at a time.

    Parameters
    ----------
    path : path
    tiles : Tiles
    edges : ndarray, shape (distance + 1,), kpc
    samples : int
    strips : iterable of (first longitude column, variables of `summarise`)
    attributes : mapping
        Global attributes.
    """
    coordinates = {**tile_coordinates(tiles), **distance_coordinate(edges), **sample_coordinate(samples)}
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts({"Conventions": CONVENTIONS, **attributes})
        variables = create(file, coordinates, VARIABLES, {"l": 1}, {"l": 1, "b": 1})
        for column, values in strips:
            for name, (dimensions, *_) in VARIABLES.items():
                value = values[name]
                value = value.reshape(-1, tiles.shape[1], *value.shape[1:])  # (l, b, ...)
                part = slice(column, column + len(value))
                if dimensions[0] == "sample":
                    variables[name][:, part] = np.moveaxis(value, 2, 0)
                else:
                    variables[name][part] = value
        observed = np.asarray(file["quality"][:]) & NOT_OBSERVED == 0
        file.footprint_moc = footprint(tiles, observed).to_string()
