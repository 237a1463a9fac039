"""Maps of metallicity: mean, median, scatter and number of stars against (R, |Z|) and against (x, y, z)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from galcarto.core.errors import UserError
from galcarto.core.seeds import generator
from galcarto.core.sky import cartesian, sightline_name
from galcarto.galaxy.components import GalaxyModel
from galcarto.galaxy.settings import GalaxySettings
from galcarto.galaxy.synthesis import StarModel
from galcarto.maps.cartesian import AXES
from galcarto.maps.grid import CONVENTIONS, bounded
from galcarto.metallicity.distances import NODES, STARTS, STEPS, IsochroneDistances, overall
from galcarto.metallicity.settings import MapSettings, Mock
from galcarto.metallicity.simulate import GIANT, area, iron, star_model

MODULI = np.arange(0.0, 20.0, 0.05)  # mag
DEEPER = 3.0  # mag: by which the stars that tell the truth are fainter than those of the map
WIDER = 3.0  # and the area that they fill, relative to that of the map's
SLOPE_RANGE = (0.5, 4.0)  # kpc: |Z| of the slope
RADIAL_RANGE = 1.5  # kpc: largest difference of R from the Sun's in the cells of the slope
PARTS = {
    "feh": ("mean [Fe/H]", "mean", "modelResult", "1"),
    "feh_median": ("median [Fe/H]", "median", "modelResult", "1"),
    "feh_scatter": ("standard deviation of the stars' predicted [Fe/H]", "standard_deviation", "modelResult", "1"),
    "feh_error": ("standard error of the mean [Fe/H]", "mean", "qualityInformation", "1"),
    "feh_population": ("mean [Fe/H] of the population, without the network's prior", "mean", "modelResult", "1"),
    "feh_population_error": ("standard error of feh_population", "mean", "qualityInformation", "1"),
    "number": ("stars", "sum", "auxiliaryInformation", "1"),
}
GRID = np.arange(-3.5, 1.01, 0.05)  # dex: [Fe/H] of a population's distribution
PRIORS = 12  # ranges of distance, each with a prior of its own
ROUNDS, SETTLED = 300, 1e-4  # of the population's mean (dex): most, and the change at which it has settled
MOST = 2000  # stars of a cell that tell its population


@dataclass(frozen=True)
class Selection:
    """Share of the stars of one [M/H] and distance that pass the survey's limits."""

    share: np.ndarray  # shape ([M/H], distance modulus)

    @classmethod
    def build(cls, settings: MapSettings, limits: Mapping[str, float], bright: float) -> "Selection":
        """From isochrones, for the stars of the map: their Teff and log g, an initial mass function, any age.

        Parameters
        ----------
        settings : MapSettings
        limits : mapping of str to float, mag
            Faint limits of bands of the isochrones, without dust.
        bright : float, mag
        """
        grid = IsochroneDistances.build(tuple(limits))
        teff = 10.0 ** (STARTS[0] + (np.arange(grid.number.shape[0]) + 0.5) * STEPS[0])
        logg = STARTS[2] + (np.arange(grid.number.shape[2]) + 0.5) * STEPS[2]
        used = (teff >= settings.teff[0]) & (teff < settings.teff[1])
        height = {"dwarfs": logg >= GIANT, "giants": logg < GIANT, "all": np.ones(len(logg), bool)}[settings.stars]
        number = grid.number * (used[:, None, None] & height)
        share = np.empty((len(NODES), len(MODULI)))
        for column, modulus in enumerate(MODULI):
            inside = np.ones(number.shape, bool)
            for band, limit in enumerate(limits.values()):
                magnitude = grid.mean[..., band] + modulus
                inside &= (magnitude >= bright) & (magnitude < limit)
            share[:, column] = (number * inside).sum(axis=(0, 2)) / np.maximum(number.sum(axis=(0, 2)), 1e-300)
        return cls(share)

    def of(self, feh: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Share of the stars of some [Fe/H] (dex) and distance (kpc) that pass."""
        modulus = 5.0 * np.log10(distance) + 10.0
        place = np.clip((overall(feh) - NODES[0]) / STEPS[1], 0.0, len(NODES) - 1.0)
        row = np.minimum(place.astype(int), len(NODES) - 2)
        column = np.clip(np.round(modulus / (MODULI[1] - MODULI[0])).astype(int), 0, len(MODULI) - 1)
        part = place - row
        return (1.0 - part) * self.share[row, column] + part * self.share[row + 1, column]

    def least(self, distance: np.ndarray) -> np.ndarray:
        """Share of the stars of a distance (kpc) that pass, of the [Fe/H] of which fewest do."""
        modulus = 5.0 * np.log10(distance) + 10.0
        column = np.clip(np.round(modulus / (MODULI[1] - MODULI[0])).astype(int), 0, len(MODULI) - 1)
        return self.share.min(axis=0)[column]


def chosen(labels: pd.DataFrame, settings: MapSettings) -> tuple[np.ndarray, dict[str, int]]:
    """Which stars of a label file make the map, and how many each condition leaves out.

    Raises
    ------
    UserError
        If the file lacks a column, or no star is left.
    """
    error = f"{settings.distance}_error"
    needed = ["l", "b", "feh", "feh_sd", "teff", "quality", settings.distance, error]
    needed += ["giant"] if settings.stars != "all" else []
    if missing := [name for name in needed if name not in labels]:
        raise UserError(
            f"labels: found no {', '.join(missing)}; expected a label file of stars with positions and distances: a "
            "table of colours alone, or without positions, makes no map"
        )
    values = {name: labels[name].to_numpy() for name in needed}
    distance = values[settings.distance].astype(float)
    with np.errstate(invalid="ignore"):
        conditions = {
            "no position, distance or [Fe/H]": np.isfinite(
                [values[name].astype(float) for name in ("l", "b", "feh", "teff", settings.distance)]
            ).all(axis=0),
            "flagged": (values["quality"].astype(int) & settings.quality) == 0,
            "distance too uncertain": values[error].astype(float) < settings.distance_error * distance,
            "other Teff": (values["teff"] >= settings.teff[0]) & (values["teff"] < settings.teff[1]),
        }
        if settings.stars != "all":
            conditions[f"not {settings.stars}"] = (values["giant"] > 0.5) == (settings.stars == "giants")
    left, counts = np.ones(len(labels), bool), {}
    for name, kept in conditions.items():
        counts[name] = int((left & ~kept).sum())
        left &= kept
    if not left.any():
        why = ", ".join(f"{number} {name}" for name, number in counts.items())
        raise UserError(
            f"labels: found no star for the map among {len(labels)} ({why}); expected some: widen map.teff, "
            "map.distance_error or map.quality"
        )
    return left, counts


def statistics(index: np.ndarray, cells: int, feh: np.ndarray, weight: np.ndarray, least: int) -> dict[str, np.ndarray]:
    """Weighted statistics of [Fe/H] in cells.

    Parameters
    ----------
    index : ndarray of int, shape (star,)
        Cell of each star.
    cells : int
    feh, weight : ndarray, shape (star,)
    least : int
        Stars in a cell for anything but their number.

    Returns
    -------
    dict of ndarray, shape (cells,)
        By the names of `PARTS`; NaN in cells of too few stars. The error of the mean is the scatter over the square
        root of the effective number of stars, (sum of weights)^2 over the sum of their squares.
    """
    number = np.bincount(index, minlength=cells)
    total, squares = (np.bincount(index, values, minlength=cells) for values in (weight, weight**2))
    enough = number >= least
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(enough, np.bincount(index, weight * feh, minlength=cells) / total, np.nan)
        effective = total**2 / squares
        about = np.bincount(index, weight * (feh - mean[index]) ** 2, minlength=cells) / total
        scatter = np.where(enough, np.sqrt(about * effective / (effective - 1.0)), np.nan)
        error = scatter / np.sqrt(effective)
    order = np.lexsort((feh, index))
    median = np.full(cells, np.nan)
    ends = np.cumsum(number)
    for cell in np.flatnonzero(enough):
        own = order[ends[cell] - number[cell] : ends[cell]]
        # half of the weight lies below
        below = np.cumsum(weight[own]) - 0.5 * weight[own]
        median[cell] = np.interp(0.5 * total[cell], below, feh[own])
    return {"feh": mean, "feh_median": median, "feh_scatter": scatter, "feh_error": error, "number": number}


def population(
    index: np.ndarray,
    cells: int,
    feh: np.ndarray,
    feh_sd: np.ndarray,
    weight: np.ndarray,
    distance: np.ndarray,
    least: int,
) -> dict[str, np.ndarray]:
    """Mean [Fe/H] of the stars of each cell, from their posteriors without the prior that these share.

    A posterior mean is drawn towards the stars that train the network, of any height above the plane, and a map of
    posterior means is too flat. Each posterior over the prior is a likelihood; the cell's distribution of [Fe/H] is
    what makes those of its stars most likely, found by expectation maximisation (Dempster, Laird & Rubin 1977, J. R.
    Stat. Soc. B 39, 1). The prior is the mean of the posteriors at the star's distance, in all directions, as the
    network knows brightness but not place.

    Parameters
    ----------
    index, cells, weight, least
        As for `statistics`.
    feh, feh_sd : ndarray, shape (star,), dex
        Mean and standard deviation of each posterior, taken as normal.
    distance : ndarray, shape (star,), kpc

    Returns
    -------
    dict of ndarray, shape (cells,)
        ``feh_population`` and ``feh_population_error``, dex; NaN in cells of too few stars. The error is that of the
        mean of the stars' new posterior means, over their share of the population's scatter.
    """
    mean, error = np.full((2, cells), np.nan)
    ranges = np.searchsorted(np.quantile(distance, np.linspace(0.0, 1.0, PRIORS + 1)[1:-1]), distance)
    width = np.maximum(feh_sd, GRID[1] - GRID[0])
    priors = np.zeros((PRIORS, len(GRID)))
    for number in range(PRIORS):
        for some in np.array_split(np.flatnonzero(ranges == number), 1 + len(feh) // 10_000):
            priors[number] += _normal(feh[some], width[some]).sum(axis=0)
    priors /= np.maximum(priors.sum(axis=1, keepdims=True), 1e-300)
    priors = np.maximum(priors, 1e-3 * priors.max(axis=1, keepdims=True))
    order = np.argsort(index, kind="stable")
    ends = np.cumsum(np.bincount(index, minlength=cells))
    for cell, stop in enumerate(ends):
        own = order[ends[cell - 1] if cell else 0 : stop]
        if len(own) < least:
            continue
        own = own[:: 1 + (len(own) - 1) // MOST]
        likelihood = _normal(feh[own], width[own]) / priors[ranges[own]]
        share = weight[own] / weight[own].sum()
        spread = priors[ranges[own]].mean(axis=0)
        middle = np.inf
        for _ in range(ROUNDS):
            after = likelihood * spread
            after /= after.sum(axis=1, keepdims=True)
            spread = share @ after
            middle, before = float(spread @ GRID), middle
            if abs(middle - before) < SETTLED:
                break
        stars = after @ GRID
        own_variance = float(share @ (stars - middle) ** 2)
        reliability = own_variance / max(float(spread @ (GRID - middle) ** 2), 1e-9)
        mean[cell] = middle
        # the standard error of a weighted mean, over what the posteriors' means have kept of a shift of the population
        error[cell] = np.sqrt(own_variance * (share**2).sum()) / max(reliability, 1e-3)
    return {"feh_population": mean, "feh_population_error": error}


def _normal(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Normal distributions on `GRID`, each with a sum of 1, shape (star, grid)."""
    values = np.exp(-0.5 * ((GRID - mean[:, None]) / sd[:, None]) ** 2)
    return values / np.maximum(values.sum(axis=1, keepdims=True), 1e-300)


def cells_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Index of the bin that holds each value, -1 outside."""
    index = np.searchsorted(edges, values, side="right") - 1
    return np.where((index >= 0) & (index < len(edges) - 1), index, -1)


def _binned(
    places: list[tuple[np.ndarray, np.ndarray]],
    feh: np.ndarray,
    feh_sd: np.ndarray,
    weight: np.ndarray,
    distance: np.ndarray,
    least: int,
) -> dict[str, np.ndarray]:
    """Statistics on a grid: values and edges along each axis."""
    columns = [cells_of(values, edges) for values, edges in places]
    shape = tuple(len(edges) - 1 for _, edges in places)
    inside = np.all([column >= 0 for column in columns], axis=0)
    index = np.ravel_multi_index([column[inside] for column in columns], shape)
    cells, given = int(np.prod(shape)), (feh[inside], feh_sd[inside], weight[inside], distance[inside])
    found = statistics(index, cells, given[0], given[2], least) | population(index, cells, *given, least)
    return {name: values.reshape(shape) for name, values in found.items()}


def galactocentric(
    galaxy: GalaxyModel, l: np.ndarray, b: np.ndarray, distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Galactocentric radius and distance from the plane of stars, kpc."""
    x, y, z = galaxy.position(l, b, distance)  # type: ignore[arg-type]
    return np.hypot(x, y), np.abs(z)


def metallicity_map(
    labels: pd.DataFrame, settings: MapSettings, galaxy: GalaxyModel, selection: Selection | None
) -> xr.Dataset:
    """Maps of the stars' predicted [Fe/H].

    Parameters
    ----------
    labels : DataFrame
        From `galcarto.labels.file.open_labels`.
    settings : MapSettings
    galaxy : GalaxyModel
        Of which the Sun's position is used.
    selection : Selection or None
        Each star counts 1 over its share; distances at which less than ``settings.seen`` of the stars of any [Fe/H]
        pass the limits do not count. None: every star counts 1.

    Returns
    -------
    Dataset
        ``feh``, ``feh_median``, ``feh_scatter``, ``feh_error`` (of the stars' predicted [Fe/H]), ``feh_population`` and
        ``feh_population_error`` (from `population`; all in dex), and ``number``, against ``radius`` and ``height``, and
        the same with ``_xyz`` against ``z``, ``y`` and ``x`` (heliocentric, kpc); NaN in cells of too few stars.

    Raises
    ------
    UserError
        If the file lacks a column, or no star is left.
    """
    left, counts = chosen(labels, settings)
    stars = labels[left]
    feh, feh_sd = stars["feh"].to_numpy(float), stars["feh_sd"].to_numpy(float)
    distance = stars[settings.distance].to_numpy(float)
    l, b = stars["l"].to_numpy(float), stars["b"].to_numpy(float)
    weight = np.ones(len(stars))
    if selection is not None:
        # by distance alone: left out by its own share, a star would be left out by its [Fe/H]
        enough = selection.least(distance) >= settings.seen
        weight = np.where(enough, 1.0 / np.maximum(selection.of(feh, distance), settings.seen), 0.0)
        counts["at distances where the limits let too few pass"] = int((weight == 0).sum())
        feh, feh_sd, distance, l, b = (values[weight > 0] for values in (feh, feh_sd, distance, l, b))
        weight = weight[weight > 0]
    radius, height = galactocentric(galaxy, l, b, distance)
    voxels, (r_edges, z_edges) = settings.voxels(), settings.edges()
    x, y, z = cartesian(l, b, distance)
    planes = _binned([(radius, r_edges), (height, z_edges)], feh, feh_sd, weight, distance, settings.least)
    spaces = _binned([(z, voxels), (y, voxels), (x, voxels)], feh, feh_sd, weight, distance, settings.least)
    kiloparsec = {"units": "kiloparsec"}
    coordinates = {
        **bounded("radius", r_edges, {**kiloparsec, "long_name": "galactocentric radius in the plane"}),
        **bounded("height", z_edges, {**kiloparsec, "long_name": "distance from the Galactic plane"}),
    }
    for name, where in AXES.items():
        described = {**kiloparsec, "long_name": f"heliocentric, {where}", "ucd": f"pos.cartesian.{name}"}
        coordinates |= bounded(name, voxels, described)
    dataset = xr.Dataset(coords=coordinates)
    for suffix, axes, found in (("", ("radius", "height"), planes), ("_xyz", ("z", "y", "x"), spaces)):
        for name, values in found.items():
            dataset[f"{name}{suffix}"] = axes, *_described(name, suffix, axes, values)
    dataset.attrs = _attributes(settings, galaxy, selection is not None, len(feh), counts)
    return dataset


def _described(name: str, suffix: str, axes: tuple[str, ...], values: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Values in the type of the file, and their attributes."""
    long_name, method, content, units = PARTS[name]
    attributes = {"units": units, "long_name": long_name, "coverage_content_type": content}
    attributes["cell_methods"] = "".join(f"{axis}: " for axis in axes) + method
    if name == "number":
        return values.astype("i4"), attributes | {"standard_name": "number_of_observations", "ucd": "meta.number;src"}
    attributes |= {"ucd": "phys.abund.Fe", "comment": "dex"}
    if name == "feh":
        attributes["ancillary_variables"] = f"feh_error{suffix} number{suffix}"
    return values.astype("f4"), attributes


def _attributes(
    settings: MapSettings, galaxy: GalaxyModel, selected: bool, stars: int, counts: Mapping[str, int]
) -> dict[str, Any]:
    """Global attributes, with the selection in words and numbers."""
    words = (
        "Each star counts 1 over the share of stars of its [Fe/H] and distance, of the map's Teff and gravity, that "
        f"pass the limits, by isochrones, without dust; distances at which less than {settings.seen:g} of the stars of "
        "any [Fe/H] pass do not count."
        if selected
        else "The limits of the stars are not known: every star counts 1, and no selection is taken out."
    )
    return {
        "Conventions": CONVENTIONS,
        "title": "Metallicity of stars: mean, median, scatter and number",
        "summary": "[Fe/H] predicted from photometry, in cells of galactocentric R and |Z| and of heliocentric x, y, z",
        "selection": words,
        "selection_stars": settings.stars,
        "selection_teff_kelvin": list(settings.teff),
        "selection_limits": ", ".join(f"{band} < {limit:g} mag" for band, limit in (settings.limits or {}).items()),
        "selection_bright_mag": settings.bright,
        "selection_largest_relative_distance_error": settings.distance_error,
        "selection_quality_mask": settings.quality,
        "selection_left_out": "; ".join(f"{number} stars: {name}" for name, number in counts.items()),
        "stars": stars,
        "sun_radius_kpc": galaxy.sun.radius,
        "sun_height_kpc": galaxy.sun.height,
    }


# --- mock stars: the truth


def truth(galaxy: GalaxySettings, mock: Mock, settings: MapSettings, seed: int) -> xr.Dataset:
    """The map of all stars of the mock's fields, seen or not, by their true labels and distances.

    Returns
    -------
    Dataset
        As from `metallicity_map`. The stars are deeper by `DEEPER` mag than the mock's limits, fill a `WIDER` area, and
        all bright ones count.
    """
    shallow = star_model(galaxy, mock)
    limits = [{band: limit + DEEPER for band, limit in survey.items()} for survey in shallow.limits]
    deep = StarModel(shallow.galaxy, limits, bands=shallow.bands, binaries=galaxy.binaries)
    offset, parts = iron(shallow.galaxy), []
    for field in mock.fields:
        rng = generator(seed, "metallicity_truth", sightline_name(field.l, field.b))
        stars = deep.draw(field.l, field.b, WIDER * area(shallow, mock, field), rng)
        feh = stars["metallicity"] + stars["component"].map(offset).astype(float)
        parts.append(
            pd.DataFrame(
                {
                    "l": field.l,
                    "b": field.b,
                    "teff": stars["teff"],
                    "feh": feh,
                    "feh_sd": 0.0,
                    "giant": (stars["logg"] < GIANT).astype(float),
                    settings.distance: stars["distance"],
                    f"{settings.distance}_error": 0.0,
                    "quality": 0,
                }
            )
        )
    return metallicity_map(pd.concat(parts, ignore_index=True), settings, shallow.galaxy, None)


def slope(dataset: xr.Dataset, name: str, errors: xr.DataArray) -> tuple[float, float]:
    """Slope of mean [Fe/H] with |Z| near the Sun's radius, and its standard error, dex per kpc.

    A plane in |Z| and R is fitted to the cells. Where these scatter about it by more than their errors, the slope's
    error grows by as much (Birge 1932, Phys. Rev. 40, 207).

    Parameters
    ----------
    dataset : Dataset
        From `metallicity_map`.
    name : str
        The mean: ``feh`` or ``feh_population``.
    errors : DataArray
        Standard errors that weigh the cells, dex. Cells without one do not count.
    """
    height, radius = np.meshgrid(dataset["height"], dataset["radius"])
    value, error = dataset[name].to_numpy(), errors.to_numpy()
    used = np.isfinite(value) & np.isfinite(error) & (error > 0)
    used &= (height >= SLOPE_RANGE[0]) & (height < SLOPE_RANGE[1])
    used &= np.abs(radius - dataset.attrs["sun_radius_kpc"]) < RADIAL_RANGE
    design = np.stack([np.ones(used.sum()), height[used], radius[used]], axis=1) / error[used][:, None]
    if np.linalg.matrix_rank(design) < 3:
        return float("nan"), float("nan")
    covariance = np.linalg.inv(design.T @ design)
    plane = covariance @ design.T @ (value[used] / error[used])
    residual = value[used] / error[used] - design @ plane
    scatter = float((residual**2).sum() / max(used.sum() - 3, 1))
    return float(plane[1]), float(np.sqrt(covariance[1, 1] * max(1.0, scatter)))


def compared(found: xr.Dataset, real: xr.Dataset) -> dict[str, float]:
    """Slope of a map's populations and of the truth over the same cells with the same weights.

    Returns
    -------
    dict of str to float
        ``slope``, ``slope_true`` and ``slope_error`` (of their difference, dex/kpc); ``relative_difference``;
        ``difference_in_errors``; ``slope_of_predictions``, of the plain mean of the stars' predicted [Fe/H]; and of
        the cells (dex) ``cell_difference``, the rms of their means less the true ones, and ``cell_error``, that of the
        stated errors.
    """
    name = "feh_population"
    # the true stars are a sample too
    errors = (found[f"{name}_error"] ** 2 + real["feh_error"] ** 2) ** 0.5
    off = (found[name] - real["feh"]).where(np.isfinite(errors))
    ours, _ = slope(found, name, errors)
    theirs, _ = slope(real, "feh", errors)
    _, error = slope(found.assign(off=off), "off", errors)
    return {
        "slope": ours,
        "slope_true": theirs,
        "slope_error": error,
        "relative_difference": (ours - theirs) / theirs,
        "difference_in_errors": (ours - theirs) / error,
        "slope_of_predictions": slope(found, "feh", errors)[0],
        "cell_difference": float(np.sqrt((off**2).mean())),
        "cell_error": float(np.sqrt((errors.where(np.isfinite(off)) ** 2).mean())),
    }
