"""The mock Galaxy against the Besançon model and against what is measured around the Sun.

Everything is integrated over the model's populations; no star is drawn. Each check returns its numbers, as a
dictionary, and what its figure shows, as a dataset.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import xarray as xr
from scipy.optimize import curve_fit
from scipy.sparse import csr_matrix
from scipy.special import ndtr

from galcarto.errors import UserError
from galcarto.galaxy import isochrones
from galcarto.galaxy.components import Galaxy
from galcarto.galaxy.hess import Hess
from galcarto.galaxy.synthesis import MODULUS_RANGE, MODULUS_STEP, StarModel

BANDS = ("Ks", "J", "G", "BP", "RP", "g", "r")  # of the models that are checked
ALL_STARS = {"Ks": 30.0}  # a limit that hides none
SUN = 0.02  # kpc: "at the Sun" is within this distance
FIELDS = {"plane": (30.0, 0.0), "middle": (90.0, 30.0), "pole": (0.0, 90.0)}  # (l, b), deg
CELL = 0.025  # mag, of the cumulative counts
DIRECTIONS = 2  # nside of the HEALPix directions that average over the sphere
DWARF, GIANT = 3.8, 3.5  # log g above which a star counts as a dwarf, below which as a giant

DWARF_TABLE = "Pecaut & Mamajek 2013, ApJS 208, 9, the table's version 2024.05.15"
NOMINAL_SUN = "nominal Sun: Prša et al. 2016, AJ 152, 41"
HAWKINS = "Hawkins et al. 2017, MNRAS 471, 722"
BOVY = "Bovy 2017, MNRAS 470, 1360"
DENSITY_MEMO = "E. Mamajek, www.pas.rochester.edu/~emamajek/memo_star_dens.html, the first of each type's entries"

Check = tuple[dict[str, Any], xr.Dataset]  # numbers, and what the figures show


class CountsError(UserError):
    """A table of star counts that cannot be used."""


def _known(value: Any, source: str, error: float | None = None) -> dict[str, Any]:
    """An entry of ``literature``."""
    return {"value": value, **({} if error is None else {"error": error}), "source": source}


def _variable(dims: str | tuple[str, ...], values: Any, units: str, name: str) -> tuple[Any, ...]:
    """A variable of a dataset."""
    return dims, values, {"units": units, "long_name": name}


def _table(hess: Hess) -> csr_matrix:
    """Stars per unit of density, shape (population, cell)."""
    return csr_matrix((hess.number, hess.entry, hess.first), shape=(len(hess.first) - 1, len(hess.cell)))


def _metallicities(model: StarModel) -> list[np.ndarray]:
    """[M/H] of each component's populations, dex."""
    return [population.metallicity for population in model.populations]


def _owners(model: StarModel) -> np.ndarray:
    """Number of the component that each population belongs to."""
    sizes = [len(nodes) for nodes in _metallicities(model)]
    return np.repeat(np.arange(len(sizes)), sizes)


def kinds(galaxy: Galaxy) -> tuple[list[str], np.ndarray]:
    """Kinds of components, as thin1, thin2, ... and thick_young, thick_old are of two, and each component's kind."""
    names = [re.split(r"[\d_]", component.name)[0] for component in galaxy.components]
    distinct = list(dict.fromkeys(names))
    return distinct, np.array([distinct.index(name) for name in names])


def _moduli(model: StarModel) -> np.ndarray:
    """Distance moduli of the middles of the distance bins, mag."""
    return 5.0 * np.log10(np.sqrt(model.edges[:-1] * model.edges[1:])) + 10.0


def reach(model: StarModel, band: str, limits: np.ndarray) -> np.ndarray:
    """Stars brighter than limits, per unit of density.

    Parameters
    ----------
    model : StarModel
    band : str
    limits : ndarray, shape (limit,), mag

    Returns
    -------
    ndarray, shape (population, distance, limit)
    """
    hess = model.hess([(band,)], [CELL])
    first = hess.cell[0, 0]
    cells = np.zeros((len(hess.first) - 1, hess.cell[-1, 0] - first + 1))
    cells[:, hess.cell[:, 0] - first] = _table(hess).toarray()
    below = np.concatenate([np.zeros((len(cells), 1)), np.cumsum(cells, axis=1)], axis=1)
    place = (limits - _moduli(model)[:, None]) / CELL - first
    place = np.clip(place, 0.0, cells.shape[1] - 1e-9)
    cell = place.astype(int)
    return below[:, cell] + (place - cell) * (below[:, cell + 1] - below[:, cell])


def expected(model: StarModel, l: np.ndarray, b: np.ndarray, reaches: Sequence[np.ndarray]) -> np.ndarray:
    """Stars per deg2 in several directions, without dust.

    Parameters
    ----------
    model : StarModel
    l, b : ndarray, shape (direction,), deg
    reaches : sequence of ndarray, shape (population, distance, limit)
        From `reach`, of this model or of one that differs only in its binaries.

    Returns
    -------
    ndarray, shape (reach, direction, limit)
    """
    # rows (reach, limit), columns (population, distance)
    matrix = np.stack(reaches).transpose(0, 3, 1, 2).reshape(len(reaches) * reaches[0].shape[2], -1)
    numbers = [matrix @ np.concatenate(model.content(*at)).ravel() for at in zip(l, b, strict=True)]
    return np.stack(numbers, axis=-1).reshape(len(reaches), -1, len(numbers)).transpose(0, 2, 1)


def density_within(model: StarModel, radius: float) -> np.ndarray:
    """Mean density within a distance from the Sun.

    Parameters
    ----------
    model : StarModel
    radius : float, kpc
        Rounded to a distance bin's edge.

    Returns
    -------
    ndarray, shape (population,), Msun/pc3 or stars/pc3
    """
    bins = int(np.argmin(np.abs(np.log(model.edges / radius))))
    pixels = np.arange(hp.nside2npix(DIRECTIONS))
    l, b = hp.pix2ang(DIRECTIONS, pixels, lonlat=True)
    total = sum(np.concatenate(model.content(*at))[:, :bins].sum(axis=1) for at in zip(l, b, strict=True))
    volume = np.radians(1.0) ** 2 * (model.edges[bins] ** 3 - model.edges[0] ** 3) / 3.0 * 1e9  # pc3 per deg2
    return np.asarray(total) / (len(pixels) * volume)


@dataclass(frozen=True)
class Stretches:
    """Stretches of the isochrones, and the stars or unresolved pairs on them at the Sun.

    Attributes
    ----------
    number : ndarray, shape (stretch,), pc-3
    component : ndarray of int, shape (stretch,)
    ratio : ndarray, shape (stretch,)
        Mass ratio of a pair; 0 for single stars.
    values : dict of ndarray, shape (stretch,)
        At the middle: absolute magnitudes, ``mass`` (Msun), ``logte`` and ``logg`` of the primary.
    """

    number: np.ndarray
    component: np.ndarray
    ratio: np.ndarray
    values: dict[str, np.ndarray]

    @classmethod
    def near(cls, model: StarModel) -> "Stretches":
        """Those of a model."""
        density = density_within(model, SUN)
        sizes = np.concatenate([np.diff(population.first) for population in model.populations])
        middle = np.concatenate([0.5 * (population.low + population.high) for population in model.populations])
        return cls(
            number=np.concatenate([np.diff(population.number) for population in model.populations])
            * np.repeat(density, sizes),
            component=np.repeat(_owners(model), sizes),
            ratio=np.concatenate([population.ratio for population in model.populations]),
            values=dict(zip((*model.bands, "mass", "logte", "logg"), middle.T, strict=True)),
        )

    def colour(self, first: str, second: str) -> np.ndarray:
        """A colour, mag."""
        return self.values[first] - self.values[second]


SCORED = (10, 12, 14, 16)  # mag: limits of the scores; brighter ones have few stars
SHARED = 14  # mag: limit of the shares
PLANE, POLE = 0.15, 0.20  # tolerances of the shares
# K - Ks, mag: the Besançon model's K is that of Bessell & Brett (1988, PASP 100, 1134). For stars of all colours the
# difference is the same within 0.005 mag: Carpenter 2001, AJ 121, 2851.
K_OVER_KS = 0.044


@dataclass(frozen=True)
class Counts:
    """Cumulative star counts of the Besançon model, without dust.

    Attributes
    ----------
    l, b : ndarray, shape (direction,), deg
    limit : ndarray, shape (limit,), mag
        In the K of Bessell & Brett (1988, PASP 100, 1134).
    number : ndarray, shape (direction, limit), deg-2
        Stars brighter than the limit.
    """

    l: np.ndarray
    b: np.ndarray
    limit: np.ndarray
    number: np.ndarray


def read_counts(path: str | Path) -> Counts:
    """Read a table as the model's web service prints it.

    A line holds longitude, latitude, the dust's A_V, and the stars per deg2 brighter than K = 4, 5, ... mag, whole
    numbers that end in a point; the column ``N*`` is N10.

    Raises
    ------
    CountsError
        If the file is not such a table, or one with dust.
    """
    what = "the table of K counts of the Besançon model (validation.counts; null leaves the comparison out)"
    try:
        lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise CountsError(f"{path}: found no text; expected {what}") from None
    names = lines[0].split() if lines else []
    labels = [re.fullmatch(r"N(\d+|\*)", name) for name in names[3:]]
    if names[:3] != ["longitude", "latitude", "Avtot"] or not labels or None in labels:
        raise CountsError(
            f"{path}: found the header {' '.join(names)!r}; expected 'longitude latitude Avtot N4 ... N21': {what}"
        )
    limit = np.array([10 if name == "N*" else int(name[1:]) for name in names[3:]], float)
    absent = [f"N{limit_}" for limit_ in SCORED if limit_ not in limit]
    if absent:
        raise CountsError(f"{path}: found no column {', '.join(absent)}; expected {what}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        # the largest counts fill their columns, so that the point of one touches the digits of the next
        words = [*line.split()[:3], *re.sub(r"\.(?=\d)", ". ", " ".join(line.split()[3:])).split()]
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            raise CountsError(f"{path}: line {number}: found {line!r}; expected numbers: {what}") from None
        if len(words) != len(names):
            raise CountsError(f"{path}: line {number}: found {len(words)} numbers; expected {len(names)}: {what}")
    if not rows:
        raise CountsError(f"{path}: found no direction; expected {what}")
    table = np.array(rows)
    counts = table[:, 3:]
    if not np.isfinite(table).all() or (np.diff(counts, axis=1) < 0).any() or (counts < 0).any():
        raise CountsError(f"{path}: found counts that fall towards fainter limits; expected cumulative counts: {what}")
    if table[:, 2].any():
        raise CountsError(f"{path}: found A_V up to {table[:, 2].max():g} mag; expected counts without dust: {what}")
    if (np.abs(table[:, 1]) > 90.0).any():
        raise CountsError(f"{path}: found latitudes beyond 90 deg; expected galactic coordinates in deg: {what}")
    return Counts(table[:, 0] % 360.0, table[:, 1], limit, counts)


def zones(l: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    """Parts of the sky: the plane without and with the centre, the latitudes between, the caps."""
    low = np.abs(b) <= 10.0
    away = (l >= 20.0) & (l <= 340.0)
    return {
        "plane": low & away,
        "centre": low & ~away,
        "middle": (np.abs(b) > 10.0) & (np.abs(b) <= 30.0),
        "pole": np.abs(b) > 30.0,
    }


def _median_of_known(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def count_scores(table: Counts, ours: np.ndarray) -> dict[str, Any]:
    """How far our counts agree with the table's.

    Parameters
    ----------
    table : Counts
    ours : ndarray, shape (direction, limit), deg-2

    Returns
    -------
    dict
        ``median_ratio`` of ours to the table's by limit, ``plane_within_15_percent``, ``pole_within_20_percent``,
        and for each of `zones` its directions, median ratios and the table's median Poisson noise, relative.
    """
    known = np.where(table.number > 0, table.number, np.nan)
    ratio, noise = ours / known, 1.0 / np.sqrt(known)
    parts = zones(table.l, table.b)
    everywhere = np.ones(len(table.l), bool)

    def medians(values: np.ndarray, where: np.ndarray, limits: Sequence[float] = SCORED) -> dict[str, float]:
        return {f"{limit:g}": _median_of_known(values[where][:, table.limit == limit]) for limit in limits}

    def share(where: np.ndarray, tolerance: float) -> float:
        found = ratio[where][:, table.limit == SHARED]
        near = (found >= 1.0 - tolerance) & (found <= 1.0 + tolerance)
        return float(near.mean()) if near.size else np.nan

    return {
        "directions": len(table.l),
        "median_ratio": medians(ratio, everywhere),
        "median_ratio_other_limits": medians(
            ratio, everywhere, [limit for limit in table.limit if limit > SCORED[0] and limit not in SCORED]
        ),
        "poisson_noise": medians(noise, everywhere),
        "plane_within_15_percent": share(parts["plane"], PLANE),
        "plane_directions": int(parts["plane"].sum()),
        "pole_within_20_percent": share(parts["pole"], POLE),
        "pole_directions": int(parts["pole"].sum()),
        "zones": {
            name: {
                "directions": int(where.sum()),
                "median_ratio": medians(ratio, where),
                "poisson_noise": medians(noise, where),
            }
            for name, where in parts.items()
        },
    }


def counts(model: StarModel, single: StarModel, table: Counts) -> Check:
    """Expected counts against the Besançon model's, in its K; also without binaries, and in Ks instead of K.

    Parameters
    ----------
    model, single : StarModel
        As set, and without binaries.
    table : Counts
    """
    in_k = table.limit - K_OVER_KS
    reaches = [reach(model, "Ks", in_k), reach(single, "Ks", in_k), reach(model, "Ks", table.limit)]
    ours, alone, in_ks = expected(model, table.l, table.b, reaches)
    metrics = count_scores(table, ours)
    metrics["single_stars"] = {"median_ratio": count_scores(table, alone)["median_ratio"]}
    metrics["in_Ks"] = {"median_ratio": count_scores(table, in_ks)["median_ratio"]}
    dims = ("direction", "limit")
    dataset = xr.Dataset(
        {
            "counts_besancon": _variable(dims, table.number, "deg-2", "stars brighter than K, Besançon model"),
            "counts_mock": _variable(dims, ours, "deg-2", "stars brighter than K, expected"),
            "counts_mock_single": _variable(dims, alone, "deg-2", "stars brighter than K, without binaries"),
            "counts_mock_ks": _variable(dims, in_ks, "deg-2", "stars brighter than Ks, expected"),
            "l": _variable("direction", table.l, "degree", "galactic longitude"),
            "b": _variable("direction", table.b, "degree", "galactic latitude"),
        },
        coords={"limit": _variable("limit", table.limit, "mag", "limit")},
    )
    return metrics, dataset


CLUMP_RADIUS = 0.4  # kpc
CLUMP_RANGE = (-2.6, -0.6)  # mag, of M_Ks
CLUMP_BIN = 0.05  # mag
CLUMP_COLOUR = (0.5, 0.8)  # mag, of J - Ks
SOLAR = 0.1  # dex: [M/H] of solar stars
COLOUR_CELL = 0.01  # mag


def clump_model(
    magnitude: np.ndarray, height: float, mean: float, width: float, level: float, slope: float, curve: float
) -> np.ndarray:
    """A Gaussian on a quadratic background; the magnitudes of the latter count from the middle of the range."""
    x = magnitude - np.mean(CLUMP_RANGE)
    return height * np.exp(-0.5 * ((magnitude - mean) / width) ** 2) + level + slope * x + curve * x**2


def fit_clump(magnitude: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Fit `clump_model` to a histogram, as observers do, with errors that go as the root of the number.

    Parameters
    ----------
    magnitude : ndarray, shape (bin,), mag
        M_Ks of the bins' middles.
    number : ndarray, shape (bin,)
        Stars, in any unit.

    Returns
    -------
    ndarray, shape (6,)
        The model's parameters; the second is the clump's M_Ks.
    """
    peak, scale = magnitude[np.argmax(number)], number.max()
    start = [1.0, peak, 0.15, number.min() / scale, 0.0, 0.0]
    error = np.sqrt(np.maximum(number / scale, 1e-3))
    found, _ = curve_fit(clump_model, magnitude, number / scale, start, sigma=error)
    found[[0, 3, 4, 5]] *= scale
    return found


def _median(value: np.ndarray, number: np.ndarray, width: float) -> float:
    """Median of values that are spread evenly over cells of a width."""
    order = np.argsort(value, kind="stable")
    total = np.cumsum(number[order])
    edges = value[order] + 0.5 * width
    return float(np.interp(0.5 * total[-1], total, edges)) if total[-1] > 0 else np.nan


def clump(model: StarModel) -> Check:
    """The red clump within 400 pc: M_Ks as observers fit it, and its colour."""
    hess = model.hess([("Ks",), ("J", "Ks")], [CLUMP_BIN, COLOUR_CELL])
    table, density = _table(hess), density_within(model, CLUMP_RADIUS)
    magnitude, colour = ((hess.cell + 0.5) * hess.step).T
    inside = (magnitude > CLUMP_RANGE[0]) & (magnitude < CLUMP_RANGE[1])
    inside &= (colour > CLUMP_COLOUR[0]) & (colour < CLUMP_COLOUR[1])
    rows, at = np.unique(hess.cell[inside, 0], return_inverse=True)
    bins = (rows + 0.5) * CLUMP_BIN
    solar = np.abs(np.concatenate(_metallicities(model))) <= SOLAR
    everything, of_solar = (density * chosen @ table for chosen in (np.ones(len(density)), solar))
    number = np.bincount(at, everything[inside])
    fit = fit_clump(bins, number)
    solar_fit = fit_clump(bins, np.bincount(at, of_solar[inside]))
    near = inside & (np.abs(magnitude - fit[1]) <= 0.2)
    hues, hue = np.unique(hess.cell[near, 1], return_inverse=True)
    metrics = {
        "M_Ks": fit[1],
        "width": abs(fit[2]),
        "M_Ks_solar": solar_fit[1],
        "J_Ks": _median((hues + 0.5) * COLOUR_CELL, np.bincount(hue, of_solar[near]), COLOUR_CELL),
        "literature": {
            "M_Ks": _known(-1.61, f"{HAWKINS}; -1.606 +- 0.009 in Ruiz-Dern et al. 2018, A&A 609, A116", 0.01),
            "width": _known(0.17, HAWKINS, 0.02),
            "J_Ks": _known(0.68, f"M_J - M_Ks of {HAWKINS}"),
        },
    }
    dim, unit = "clump_magnitude", "pc-3 mag-1"
    dataset = xr.Dataset(
        {
            "clump": _variable(dim, number / CLUMP_BIN, unit, "stars of 0.5 < J - Ks < 0.8 within 400 pc"),
            "clump_fit": _variable(dim, clump_model(bins, *fit) / CLUMP_BIN, unit, "fit"),
            "clump_background": _variable(dim, clump_model(bins, 0.0, *fit[1:]) / CLUMP_BIN, unit, "fit's background"),
        },
        coords={dim: _variable(dim, bins, "mag", "M_Ks")},
    )
    return metrics, dataset


# [M/H] of the Sun at its birth, from the initial Z = 0.01774 of PARSEC's solar model (Bressan et al. 2012, MNRAS 427,
# 127); its age in Gyr
SOLAR_METALLICITY, SOLAR_AGE = 0.085, 4.6
SOLAR_GRAVITY = 4.438  # log g, cgs: the nominal Sun's (Prša et al. 2016, AJ 152, 41)


def sun() -> dict[str, Any]:
    """The Sun: the isochrone at its age, initial abundance and mass."""
    log_mass, values = isochrones.load().at(np.array([SOLAR_METALLICITY]), SOLAR_AGE)[0]
    found = {
        name: float(np.interp(0.0, log_mass[0], column))
        for name, column in zip(isochrones.PROPERTIES, values[0].T, strict=True)
    }
    return {
        "M_Ks": found["Ks"],
        "M_G": found["G"],
        "BP_RP": found["BP"] - found["RP"],
        "teff": 10.0 ** found["logte"],
        "logg": found["logg"],
        "literature": {
            "M_Ks": _known(3.27, "Willmer 2018, ApJS 236, 47", 0.04),
            "M_G": _known(4.67, "Casagrande & VandenBerg 2018, MNRAS 479, L102"),
            "BP_RP": _known(0.823, f"G2V of {DWARF_TABLE}"),
            "teff": _known(5772.0, NOMINAL_SUN),
            "logg": _known(SOLAR_GRAVITY, NOMINAL_SUN),
        },
    }


OLD = 10.0  # Gyr: components at least as old have one turn-off
# The binary V69 at the turn-off of 47 Tuc. Mass in Msun and radius in Rsun of its primary: Thompson et al. 2010 (AJ
# 139, 329); age in Gyr and [Fe/H] = -0.70 of the cluster: Brogaard et al. 2017 (MNRAS 468, 645); with an [alpha/Fe] of
# 0.4, usual for such a cluster, [M/H] is -0.41 (Salaris et al. 1993, ApJ 414, 580)
V69_MASS, V69_RADIUS, V69_AGE, V69_METALLICITY = 0.8762, 1.3148, 11.8, -0.41


def _main_sequence(metallicity: float, age: float) -> dict[str, np.ndarray]:
    """Isochrone from 0.5 Msun to the hottest point of the main sequence, by column; ages in Gyr."""
    _, values = isochrones.load().at(np.array([metallicity]), age)[0]
    column = dict(zip(isochrones.PROPERTIES, values[0].T, strict=True))
    heavy = {name: value[column["mass"] > 0.5] for name, value in column.items()}
    return {name: value[: int(np.argmax(heavy["logte"])) + 1] for name, value in heavy.items()}


def turn_off(galaxy: Galaxy) -> dict[str, Any]:
    """The hottest main-sequence star of each old component, at its mean [M/H], and of 47 Tuc a star at its turn-off."""
    metrics: dict[str, Any] = {}
    for component in galaxy.components:
        if component.age[0] >= OLD:
            column = _main_sequence(component.overall_metallicity, 0.5 * sum(component.age))
            last = {name: float(value[-1]) for name, value in column.items()}
            metrics[component.name] = {
                "metallicity": component.overall_metallicity,
                "teff": 10.0 ** last["logte"],
                "g_r": last["g"] - last["r"],
                "J_Ks": last["J"] - last["Ks"],
                "BP_RP": last["BP"] - last["RP"],
            }
    _, values = isochrones.load().at(np.array([V69_METALLICITY]), V69_AGE)[0]
    gravity, logte = (values[0][:, isochrones.PROPERTIES.index(name)] for name in ("logg", "logte"))
    above = np.flatnonzero(gravity < 4.5)  # the upper main sequence, where log g falls
    wanted = SOLAR_GRAVITY + np.log10(V69_MASS) - 2.0 * np.log10(V69_RADIUS)
    metrics["V69_teff"] = 10.0 ** float(np.interp(-wanted, -gravity[above], logte[above]))
    metrics["literature"] = {"V69_teff": _known(5900.0, "Brogaard et al. 2017, MNRAS 468, 645", 72.0)}
    return metrics


# DWARF_TABLE: type, M_Ks, J - Ks, G - Ks, BP - RP in mag; its Gaia magnitudes are of DR2, ours of EDR3
DWARFS = (
    ("F5V", 2.291, 0.227, 0.969, 0.587),
    ("F8V", 2.760, 0.286, 1.140, 0.694),
    ("G0V", 3.043, 0.329, 1.282, 0.784),
    ("G2V", 3.236, 0.366, 1.399, 0.823),
    ("G5V", 3.345, 0.386, 1.456, 0.850),
    ("K0V", 3.827, 0.478, 1.726, 0.983),
    ("K2V", 3.938, 0.525, 1.892, 1.100),
    ("K3V", 4.100, 0.600, 2.120, 1.190),
    ("K5V", 4.397, 0.700, 2.453, 1.430),
    ("K7V", 4.810, 0.783, 2.760, 1.700),
    ("M0V", 5.150, 0.817, 2.950, 1.840),
    ("M1V", 5.640, 0.836, 3.180, 2.090),
    ("M2V", 5.980, 0.834, 3.310, 2.230),
    ("M3V", 6.550, 0.831, 3.500, 2.500),
    ("M4V", 7.360, 0.837, 3.850, 2.940),
    ("M5V", 8.200, 0.892, 4.250, 3.350),
    ("M6V", 9.220, 0.957, 5.040, 4.160),
)
COLOURS = (("J", "Ks"), ("G", "Ks"), ("BP", "RP"))
DWARF_WINDOW = 0.15  # mag, in M_Ks: half of the window whose stars are compared with a type
EVOLVED = 3.1  # mag, in M_Ks: brighter dwarfs of one M_Ks are of many ages and colours


def _quantiles(value: np.ndarray, number: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Quantiles of weighted values."""
    order = np.argsort(value, kind="stable")
    total = np.cumsum(number[order]) - 0.5 * number[order]
    return np.interp(np.array(shares) * number.sum(), total, value[order])


def dwarfs(single: Stretches) -> Check:
    """Colours of the dwarfs at the Sun, single stars, against the mean dwarfs of the same M_Ks."""
    magnitude = single.values["Ks"]
    dwarf = single.values["logg"] > DWARF
    found = np.full((len(DWARFS), len(COLOURS), 3), np.nan)
    for i, (_, at, *_) in enumerate(DWARFS):
        near = np.flatnonzero(dwarf & (np.abs(magnitude - at) < DWARF_WINDOW))
        for j, colour in enumerate(COLOURS):
            found[i, j] = _quantiles(single.colour(*colour)[near], single.number[near], (0.16, 0.5, 0.84))
    table = np.array([row[2:] for row in DWARFS])
    place = np.array([row[1] for row in DWARFS])
    offset = found[..., 1] - table
    names = ["_".join(colour) for colour in COLOURS]
    late, m_type = place > EVOLVED, np.array([row[0].startswith("M") for row in DWARFS])
    metrics: dict[str, Any] = {
        "median_offset": {name: float(np.median(offset[late, j])) for j, name in enumerate(names)},
        "median_offset_G_K": {name: float(np.median(offset[late & ~m_type, j])) for j, name in enumerate(names)},
        "median_offset_M": {name: float(np.median(offset[m_type, j])) for j, name in enumerate(names)},
        "largest_offset": {
            name: float(offset[late, j][np.argmax(np.abs(offset[late, j]))]) for j, name in enumerate(names)
        },
        "literature": {"median_offset": _known(0.0, f"mean dwarfs G2V to M6V: {DWARF_TABLE}")},
    }
    dims = ("dwarf", "dwarf_colour")
    dataset = xr.Dataset(
        {
            "dwarf_magnitude": _variable("dwarf", place, "mag", "M_Ks"),
            "dwarf_observed": _variable(dims, table, "mag", "colour of the mean dwarf"),
            "dwarf_mock": _variable(dims, found[..., 1], "mag", "median colour of the mock's dwarfs"),
            "dwarf_mock_low": _variable(dims, found[..., 0], "mag", "16 % quantile"),
            "dwarf_mock_high": _variable(dims, found[..., 2], "mag", "84 % quantile"),
        },
        coords={"dwarf": [row[0] for row in DWARFS], "dwarf_colour": ["-".join(colour) for colour in COLOURS]},
    )
    return metrics, dataset


LUMINOSITY_BIN = 0.5  # mag
MASS_EDGES = np.array([1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5])  # Msun
# effective temperatures of the types, K: DWARF_TABLE
TYPES = {"F": (5930.0, 7220.0), "G": (5290.0, 5930.0), "K": (3850.0, 5290.0), "M": (0.0, 3850.0)}
# dwarfs per pc3, and errors: DENSITY_MEMO
MEMO = {"F": (0.0024, 0.0003), "G": (0.0033, 0.0004), "K": (0.0105, 0.0016), "M": (0.0676, 0.0040)}
# stars of M_V < 8 per pc3: head of the catalogues of the Besançon model's web service, version 2003-12
BESANCON_BRIGHT = {"thin": 0.0154, "thick": 0.00103, "halo": 7.94e-6}


def bovy(mass: np.ndarray) -> np.ndarray:
    """Main-sequence stars per pc3 between neighbouring masses in Msun, from 0.016 M^-4.7 (Bovy 2017)."""
    return 0.016 / 3.7 * -np.diff(mass**-3.7)


def _by_type(stars: Stretches) -> np.ndarray:
    """Dwarfs per pc3 of each of `TYPES`; of a pair the primary counts."""
    teff, dwarf = 10.0 ** stars.values["logte"], stars.values["logg"] > DWARF
    return np.array([stars.number[dwarf & (teff >= low) & (teff < high)].sum() for low, high in TYPES.values()])


def luminosity_function(model: StarModel) -> tuple[np.ndarray, np.ndarray]:
    """Stars and pairs at the Sun by M_Ks.

    Returns
    -------
    magnitude : ndarray, shape (bin,), mag
    density : ndarray, shape (component, bin), pc-3 mag-1
    """
    hess = model.hess([("Ks",)], [LUMINOSITY_BIN])
    table, owners, density = _table(hess), _owners(model), density_within(model, SUN)
    rows = [density * (owners == i) @ table for i in range(len(model.galaxy.components))]
    return (hess.cell[:, 0] + 0.5) * LUMINOSITY_BIN, np.stack(rows) / LUMINOSITY_BIN


def densities(model: StarModel, single: StarModel, stars: Stretches, alone: Stretches) -> Check:
    """Stars at the Sun: luminosity and mass functions, types, giants, pairs.

    Parameters
    ----------
    model, single : StarModel
        As set, and without binaries.
    stars, alone : Stretches
        Of the two.
    """
    names, kind = kinds(model.galaxy)
    magnitude, by_component = luminosity_function(model)
    same, without = luminosity_function(single)
    luminosity = np.stack([by_component[kind == i].sum(axis=0) for i in range(len(names))])
    mass = stars.values["mass"]
    dwarf = stars.values["logg"] > DWARF
    numbers, _ = np.histogram(mass[dwarf], MASS_EDGES, weights=stars.number[dwarf])
    observed = bovy(MASS_EDGES)
    giants = float(stars.number[stars.values["logg"] < GIANT].sum())
    pair = stars.ratio > 0
    like_sun = dwarf & (mass > 0.7) & (mass < 1.3)
    # V from g and r: Jester et al. 2005, AJ 130, 873
    m_v = alone.values["g"] - 0.59 * alone.colour("g", "r") - 0.01
    bright = {
        name: float(alone.number[(kind[alone.component] == names.index(name)) & (m_v < 8.0)].sum())
        for name in BESANCON_BRIGHT
        if name in names
    }
    systems, individuals = _by_type(stars), _by_type(alone)
    metrics = {
        "systems": float(stars.number.sum()),
        "giants": giants,
        "main_sequence_over_bovy": {
            f"{low:g}-{high:g}": ratio
            for low, high, ratio in zip(MASS_EDGES[:-1], MASS_EDGES[1:], numbers / observed, strict=True)
        },
        "main_sequence_1_to_2.5": float(numbers.sum()),
        "systems_by_type": dict(zip(TYPES, systems, strict=True)),
        "single_stars_by_type": dict(zip(TYPES, individuals, strict=True)),
        "binaries": float(stars.number[pair].sum() / stars.number.sum()),
        "binaries_0.7_to_1.3_Msun": float(stars.number[pair & like_sun].sum() / stars.number[like_sun].sum()),
        "single_stars_M_V_below_8": bright,
        "literature": {
            "giants": _known(0.00039, BOVY, 0.00001),
            "main_sequence_1_to_2.5": _known(float(observed.sum()), BOVY),
            "dwarfs_by_type": _known({name: MEMO[name][0] for name in TYPES}, DENSITY_MEMO),
            "binaries_0.7_to_1.3_Msun": _known(0.44, "Duchêne & Kraus 2013, ARA&A 51, 269, table 1", 0.02),
            "single_stars_M_V_below_8": _known(
                BESANCON_BRIGHT, "head of the catalogues of the Besançon model's web service, version 2003-12"
            ),
        },
    }
    by_mass, by_type = "pc-3 Msun-1", "pc-3"
    width, total = np.diff(MASS_EDGES), np.interp(magnitude, same, without.sum(axis=0), left=0.0, right=0.0)
    bounds = np.column_stack([MASS_EDGES[:-1], MASS_EDGES[1:]])
    dataset = xr.Dataset(
        {
            "luminosity": _variable(("component", "magnitude"), luminosity, "pc-3 mag-1", "stars and pairs"),
            "luminosity_single": _variable("magnitude", total, "pc-3 mag-1", "stars, without binaries"),
            "mass_function": _variable("mass", numbers / width, by_mass, "stars and pairs on the main sequence"),
            "mass_function_observed": _variable("mass", observed / width, by_mass, BOVY),
            "mass_bounds": _variable(("mass", "bounds"), bounds, "Msun", "mass"),
            "type_systems": _variable("type", systems, by_type, "stars and pairs"),
            "type_single": _variable("type", individuals, by_type, "stars, without binaries"),
            "type_observed": _variable("type", [MEMO[name][0] for name in TYPES], by_type, DENSITY_MEMO),
            "type_observed_error": _variable("type", [MEMO[name][1] for name in TYPES], by_type, "error"),
        },
        coords={
            "component": names,
            "magnitude": _variable("magnitude", magnitude, "mag", "M_Ks"),
            "mass": _variable("mass", np.sqrt(bounds.prod(axis=1)), "Msun", "mass"),
            "type": list(TYPES),
        },
    )
    return metrics, dataset


PIXEL = 2 * MODULUS_STEP  # mag, of a diagram's magnitude
DIAGRAMS = {  # survey: magnitude, colour, their ranges, width of the colour's pixels in mag
    "twomass": ("Ks", ("J", "Ks"), (5.0, 15.5), (-0.3, 1.5), 0.02),
    "gaia": ("G", ("BP", "RP"), (7.0, 21.0), (-0.5, 4.5), 0.05),
}
FIELD_LIMIT = 14.8  # mag, in Ks: 2MASS is complete in the plane


def diagram(model: StarModel, l: float, b: float, hess: Hess, magnitude: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """The bare colour-magnitude diagram of a direction.

    Parameters
    ----------
    model : StarModel
    l, b : float, deg
    hess : Hess
        Its magnitudes in cells as wide as the distance bins.
    magnitude, colour : ndarray, mag
        Edges of the pixels, multiples of the cells.

    Returns
    -------
    ndarray, shape (magnitude, colour), deg-2
        Stars per pixel.
    """
    first, last = hess.cell.min(axis=0), hess.cell.max(axis=0)
    weights = _table(hess).T @ np.concatenate(model.content(l, b))  # (cell, distance)
    rows, columns = last - first + 1
    row, column = (hess.cell - first).T
    # cells of absolute magnitude and bins of distance, of one width: their sum fills two cells, each by half
    image = np.zeros((rows + weights.shape[1], columns))
    for distance in range(weights.shape[1]):
        here = np.zeros((rows, columns))
        here[row, column] = 0.5 * weights[:, distance]
        image[distance : distance + rows] += here
        image[distance + 1 : distance + 1 + rows] += here
    middle = (first[0] + round(MODULUS_RANGE[0] / MODULUS_STEP) + np.arange(len(image)) + 0.5) * hess.step[0]
    hue = (first[1] + np.arange(columns) + 0.5) * hess.step[1]
    total, _, _ = np.histogram2d(
        np.repeat(middle, columns), np.tile(hue, len(image)), [magnitude, colour], weights=image.ravel()
    )
    return total


def fields(model: StarModel) -> Check:
    """Bare diagrams and distances of three fields."""
    names, kind = kinds(model.galaxy)
    owners = kind[_owners(model)]
    within = reach(model, "Ks", np.array([FIELD_LIMIT]))[..., 0]
    step, middle = np.log10(model.edges[1] / model.edges[0]), np.sqrt(model.edges[:-1] * model.edges[1:])  # dex, kpc
    distances = np.zeros((len(FIELDS), len(names), len(model.edges) - 1))
    metrics: dict[str, Any] = {}
    for i, (field, at) in enumerate(FIELDS.items()):
        stars = np.concatenate(model.content(*at)) * within
        distances[i] = [stars[owners == k].sum(axis=0) for k in range(len(names))]
        total = distances[i].sum(axis=0)
        share = np.cumsum(total) / total.sum()
        metrics[field] = {
            "l": at[0],
            "b": at[1],
            "stars_per_deg2": float(total.sum()),
            "median_distance_kpc": float(np.interp(0.5, share, model.edges[1:])),
            "components": dict(zip(names, distances[i].sum(axis=1) / total.sum(), strict=True)),
        }
    dataset = xr.Dataset(
        {
            "distances": _variable(
                ("field", "component", "distance"), distances / step, "deg-2 dex-1", f"stars of Ks < {FIELD_LIMIT} mag"
            ),
            "field_l": _variable("field", [at[0] for at in FIELDS.values()], "degree", "galactic longitude"),
            "field_b": _variable("field", [at[1] for at in FIELDS.values()], "degree", "galactic latitude"),
        },
        coords={
            "field": list(FIELDS),
            "component": names,
            "distance": _variable("distance", middle, "kiloparsec", "distance"),
        },
    )
    for survey, (band, bands, magnitudes, colours, hue) in DIAGRAMS.items():
        hess = model.hess([(band,), bands], [MODULUS_STEP, hue])
        rows = np.linspace(*magnitudes, round((magnitudes[1] - magnitudes[0]) / PIXEL) + 1)
        columns = np.linspace(*colours, round((colours[1] - colours[0]) / hue) + 1)
        images = [diagram(model, *at, hess, rows, columns) for at in FIELDS.values()]
        dims = ("field", f"{survey}_magnitude", f"{survey}_colour")
        dataset[f"diagram_{survey}"] = _variable(dims, np.stack(images) / (PIXEL * hue), "deg-2 mag-2", "stars")
        for name, edges, label in ((dims[1], rows, band), (dims[2], columns, " - ".join(bands))):
            dataset[name] = _variable(name, 0.5 * (edges[1:] + edges[:-1]), "mag", label)
    return metrics, dataset


RED_LIMIT = 14.0  # mag, in Ks
INNER, CENTRE = 5.0, 2.5  # kpc: stars so near the Galactic centre are of the inner disc, of the bulge
CENTRAL_FIELD = (0.0, -2.0)  # (l, b), deg


def _clamped(model: StarModel, at: tuple[float, float], within: np.ndarray, radius: float) -> float:
    """Share of a field's stars within a galactocentric radius whose [M/H] is over the isochrones' end."""
    end = isochrones.load().metallicity[-1]
    x, y, _ = model.galaxy.position(*at, np.sqrt(model.edges[:-1] * model.edges[1:]))
    place = np.hypot(x, y)
    stars = np.concatenate(model.content(*at)) * within * (place < radius)
    owners, over, total = _owners(model), 0.0, float(stars.sum())
    for i, component in enumerate(model.galaxy.components):
        mean = component.overall_metallicity + component.gradient * (place - model.galaxy.sun.radius)
        over += float((stars[owners == i].sum(axis=0) * ndtr((mean - end) / component.metallicity[1])).sum())
    return over / total if total > 0 else np.nan


def ends(model: StarModel) -> dict[str, Any]:
    """Stars at the ends of the isochrones: the reddest, and those richer in metals than the grid."""
    hess = model.hess([("Ks",), ("J", "Ks")], [MODULUS_STEP, MODULUS_STEP])
    magnitude, colour = ((hess.cell + 0.5) * hess.step).T
    weights = _table(hess).T @ np.concatenate(model.content(*FIELDS["plane"]))
    stars = np.where(magnitude[:, None] + _moduli(model) < RED_LIMIT, weights, 0.0).sum(axis=1)
    within = reach(model, "Ks", np.array([RED_LIMIT]))[..., 0]
    return {
        "share_J_Ks_over_2": float(stars[colour > 2.0].sum() / stars.sum()),
        "share_J_Ks_over_4": float(stars[colour > 4.0].sum() / stars.sum()),
        "reddest_J_Ks": float(colour[stars > 0].max()),
        "clamped_metallicity_inner_disc": _clamped(model, FIELDS["plane"], within, INNER),
        "clamped_metallicity_bulge": _clamped(model, CENTRAL_FIELD, within, CENTRE),
    }


def lifetimes() -> Check:
    """Lifetimes on the asymptotic giant branch at the metallicity next to the Sun's."""
    grid = isochrones.load()
    node = int(np.argmin(np.abs(grid.metallicity - SOLAR_METALLICITY)))
    names = ("E-AGB", "TP-AGB")
    found = []
    for phase in isochrones.AGB:
        mass = 10.0 ** grid.log_mass[phase][node]
        life = isochrones.lifetimes(grid.log_age, mass[:, 0], mass[:, -1] - mass[:, 0])
        found.append(np.where(grid.present[node, :, phase], life, np.nan) / 1e6)
    metrics: dict[str, Any] = {"metallicity": float(grid.metallicity[node])}
    shown = (grid.log_age > 8.9) & (grid.log_age < 10.0)
    for name, life in zip(names, found, strict=True):
        metrics[f"{name}_Myr"] = {f"{age:.2f}": t for age, t in zip(grid.log_age[shown], life[shown], strict=True)}
    dataset = xr.Dataset(
        {"lifetime": _variable(("phase", "log_age"), np.stack(found), "Myr", "lifetime")},
        coords={
            "phase": list(names),
            "log_age": _variable("log_age", grid.log_age.astype(float), "1", "log10 of the age in years"),
        },
    )
    return metrics, dataset


# M_G (Gaia EDR3), M_Ks in mag and age in yr of a pure-hydrogen white dwarf of 0.6 Msun: cooling models of P. Bergeron
# and colleagues (Bédard et al. 2020, ApJ 901, 93)
COOLING = np.array(
    [
        (7.454, 8.526, 1.029e5),
        (8.006, 9.069, 4.625e5),
        (8.490, 9.540, 1.145e6),
        (9.192, 10.202, 3.732e6),
        (9.813, 10.741, 8.900e6),
        (10.256, 11.060, 1.818e7),
        (10.722, 11.368, 5.866e7),
        (11.282, 11.711, 1.954e8),
        (11.681, 11.916, 3.874e8),
        (12.173, 12.117, 6.328e8),
        (12.951, 12.413, 1.128e9),
        (13.436, 12.592, 1.599e9),
        (14.039, 12.824, 2.418e9),
        (14.427, 12.986, 3.367e9),
        (14.898, 13.226, 6.390e9),
        (15.400, 13.713, 8.517e9),
        (15.856, 14.633, 9.886e9),
    ]
)
WHITE_DWARFS = 4.9e-3  # pc-3: Jiménez-Esteban et al. 2018, MNRAS 480, 4505
FORMATION = 10.0e9  # yr: they have formed at a constant rate for this long
WHITE_DWARF_LIMITS = {"Ks": (14.8, 15.5), "G": (18.5, 20.0, 21.0)}  # mag


def _cooling(band: str, absolute: np.ndarray) -> np.ndarray:
    """Share of the white dwarfs that are brighter than absolute magnitudes."""
    column = COOLING[:, ("G", "Ks").index(band)]
    # the youngest are as bright as the table's first; beyond its last all are counted
    age = np.exp(np.interp(absolute, column, np.log(COOLING[:, 2]), left=-np.inf, right=np.log(FORMATION)))
    return np.minimum(age / FORMATION, 1.0)


def white_dwarf_counts(band: str, limit: float, modulus: np.ndarray, density: np.ndarray) -> float:
    """White dwarfs per deg2, without dust.

    Parameters
    ----------
    band : {'G', 'Ks'}
    limit : float, mag
    modulus : ndarray, shape (distance,), mag
        Distance moduli, in equal steps.
    density : ndarray, shape (distance,), pc-3
    """
    step = modulus[1] - modulus[0]
    volume = np.radians(1.0) ** 2 * 0.2 * np.log(10.0) * step * 10.0 ** (0.6 * modulus + 3.0)  # pc3 per deg2
    return float((volume * density * _cooling(band, limit - modulus)).sum())


def white_dwarfs(model: StarModel) -> dict[str, Any]:
    """White dwarfs that are missing, per deg2 and beside the model's stars, without dust on either.

    ``upper_limit`` takes them as dense everywhere as at the Sun, ``like_stars`` as the model's mass in stars.
    """
    modulus, galaxy = _moduli(model), model.galaxy
    cases = [(band, limit) for band, limits in WHITE_DWARF_LIMITS.items() for limit in limits]
    names = [f"{band}_{limit:g}" for band, limit in cases]
    parts = [reach(model, band, np.array(limits)) for band, limits in WHITE_DWARF_LIMITS.items()]
    within = np.concatenate(parts, axis=-1)  # (population, distance, case)

    def missing(density: np.ndarray) -> np.ndarray:
        return np.array([white_dwarf_counts(*case, modulus, density) for case in cases])

    def by_case(values: np.ndarray) -> dict[str, float]:
        return dict(zip(names, values, strict=True))

    upper = missing(np.full(len(modulus), WHITE_DWARFS))
    metrics: dict[str, Any] = {"upper_limit": by_case(upper)}
    for field in ("plane", "pole"):
        at = FIELDS[field]
        place = galaxy.position(*at, np.append(0.0, 10.0 ** (0.2 * modulus - 2.0)))
        massive = [component for component in galaxy.components if component.normalisation == "mass"]
        mass = np.sum([galaxy.density(component, *place) for component in massive], axis=0)
        like_stars = missing(WHITE_DWARFS * mass[1:] / mass[0])
        stars = np.tensordot(np.concatenate(model.content(*at)), within, 2)
        metrics[field] = {
            "like_stars": by_case(like_stars),
            "share_upper_limit": by_case(upper / stars),
            "share_like_stars": by_case(like_stars / stars),
        }
    return metrics


def measure(model: StarModel, single: StarModel, table: Counts | None) -> Check:
    """All checks of a model.

    Parameters
    ----------
    model, single : StarModel
        With `BANDS`; as set, and without binaries.
    table : Counts or None
        Without it there are no ``counts``.

    Returns
    -------
    metrics : dict
        Of dictionaries, a block for each check; ``literature`` in a block holds what is to be compared with.
    dataset : Dataset
        What the figures show.
    """
    stars, alone = Stretches.near(model), Stretches.near(single)
    checks: dict[str, Check] = {} if table is None else {"counts": counts(model, single, table)}
    checks |= {
        "clump": clump(model),
        "dwarfs": dwarfs(alone),
        "densities": densities(model, single, stars, alone),
        "fields": fields(model),
        "lifetimes": lifetimes(),
    }
    metrics = {name: check[0] for name, check in checks.items()}
    metrics |= {
        "sun": sun(),
        "turn_off": turn_off(model.galaxy),
        "ends": ends(model),
        "white_dwarfs": white_dwarfs(model),
    }
    return metrics, xr.merge([check[1] for check in checks.values()])
