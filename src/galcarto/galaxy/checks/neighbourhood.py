"""Stars around the Sun against the literature: red clump, dwarfs and densities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import curve_fit

from galcarto.core.files import variable
from galcarto.galaxy.checks.evolution import DWARF_TABLE, literature
from galcarto.galaxy.integrals import (
    SUN,
    Segments,
    by_cell,
    component_numbers,
    density_within,
    kinds,
    metallicities,
)
from galcarto.galaxy.synthesis import StarModel

HAWKINS = "Hawkins et al. 2017, MNRAS 471, 722"
BOVY = "Bovy 2017, MNRAS 470, 1360"
DENSITY_MEMO = "E. Mamajek, www.pas.rochester.edu/~emamajek/memo_star_dens.html, the first of each type's entries"
DWARF, GIANT = 3.8, 3.5  # log g: dwarfs lie above the first, giants below the second

CLUMP_RADIUS = 0.4  # kpc
CLUMP_RANGE = (-2.6, -0.6)  # mag, of M_Ks
CLUMP_BIN = 0.05  # mag
CLUMP_COLOUR = (0.5, 0.8)  # mag, of J - Ks
SOLAR = 0.1  # dex: [M/H] of solar stars
COLOUR_CELL = 0.01  # mag


def clump_model(
    magnitude: np.ndarray, height: float, mean: float, width: float, level: float, slope: float, curve: float
) -> np.ndarray:
    """Gaussian on a quadratic background, whose magnitudes are relative to the middle of the range."""
    x = magnitude - np.mean(CLUMP_RANGE)
    return height * np.exp(-0.5 * ((magnitude - mean) / width) ** 2) + level + slope * x + curve * x**2


def fit_clump(magnitude: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Fit `clump_model` to a histogram with Poisson errors, as observers do; return its 6 parameters.

    The second is M_Ks of the clump. `magnitude` is M_Ks at the centres of the bins, `number` the stars in any unit.
    """
    peak, scale = magnitude[np.argmax(number)], number.max()
    start = [1.0, peak, 0.15, number.min() / scale, 0.0, 0.0]
    error = np.sqrt(np.maximum(number / scale, 1e-3))
    found, _ = curve_fit(clump_model, magnitude, number / scale, start, sigma=error)
    found[[0, 3, 4, 5]] *= scale
    return found


def median_in_bins(value: np.ndarray, number: np.ndarray, width: float) -> float:
    """Median of values that are spread uniformly over cells of a width."""
    order = np.argsort(value, kind="stable")
    total = np.cumsum(number[order])
    edges = value[order] + 0.5 * width
    return float(np.interp(0.5 * total[-1], total, edges)) if total[-1] > 0 else np.nan


def clump(model: StarModel) -> tuple[dict[str, Any], xr.Dataset]:
    """M_Ks and colour of the red clump within 400 pc."""
    hess = model.hess([("Ks",), ("J", "Ks")], [CLUMP_BIN, COLOUR_CELL])
    table, density = by_cell(hess), density_within(model, CLUMP_RADIUS)
    magnitude, colour = ((hess.cell + 0.5) * hess.step).T
    inside = (magnitude > CLUMP_RANGE[0]) & (magnitude < CLUMP_RANGE[1])
    inside &= (colour > CLUMP_COLOUR[0]) & (colour < CLUMP_COLOUR[1])
    rows, at = np.unique(hess.cell[inside, 0], return_inverse=True)
    bins = (rows + 0.5) * CLUMP_BIN
    solar = np.abs(np.concatenate(metallicities(model))) <= SOLAR
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
        "J_Ks": median_in_bins((hues + 0.5) * COLOUR_CELL, np.bincount(hue, of_solar[near]), COLOUR_CELL),
        "literature": {
            "M_Ks": literature(-1.61, f"{HAWKINS}; -1.606 +- 0.009 in Ruiz-Dern et al. 2018, A&A 609, A116", 0.01),
            "width": literature(0.17, HAWKINS, 0.02),
            "J_Ks": literature(0.68, f"M_J - M_Ks of {HAWKINS}"),
        },
    }
    dim, unit = "clump_magnitude", "pc-3 mag-1"
    dataset = xr.Dataset(
        {
            "clump": variable(dim, number / CLUMP_BIN, unit, "stars of 0.5 < J - Ks < 0.8 within 400 pc"),
            "clump_fit": variable(dim, clump_model(bins, *fit) / CLUMP_BIN, unit, "fit"),
            "clump_background": variable(dim, clump_model(bins, 0.0, *fit[1:]) / CLUMP_BIN, unit, "fit's background"),
        },
        coords={dim: variable(dim, bins, "mag", "M_Ks")},
    )
    return metrics, dataset


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
DWARF_WINDOW = 0.15  # mag, in M_Ks: half width of the window around a type
EVOLVED = 3.1  # mag, in M_Ks: brighter dwarfs of one M_Ks have many ages and colours


def quantiles(value: np.ndarray, number: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Weighted quantiles."""
    order = np.argsort(value, kind="stable")
    total = np.cumsum(number[order]) - 0.5 * number[order]
    return np.interp(np.array(levels) * number.sum(), total, value[order])


def dwarfs(single: Segments) -> tuple[dict[str, Any], xr.Dataset]:
    """Compare the colours of single dwarfs at the Sun with those of mean dwarfs of the same M_Ks."""
    magnitude = single.values["Ks"]
    dwarf = single.values["logg"] > DWARF
    found = np.full((len(DWARFS), len(COLOURS), 3), np.nan)
    for i, (_, at, *_) in enumerate(DWARFS):
        near = np.flatnonzero(dwarf & (np.abs(magnitude - at) < DWARF_WINDOW))
        for j, colour in enumerate(COLOURS):
            found[i, j] = quantiles(single.colour(*colour)[near], single.number[near], (0.16, 0.5, 0.84))
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
        "literature": {"median_offset": literature(0.0, f"mean dwarfs G2V to M6V: {DWARF_TABLE}")},
    }
    dims = ("dwarf", "dwarf_colour")
    dataset = xr.Dataset(
        {
            "dwarf_magnitude": variable("dwarf", place, "mag", "M_Ks"),
            "dwarf_observed": variable(dims, table, "mag", "colour of the mean dwarf"),
            "dwarf_mock": variable(dims, found[..., 1], "mag", "median colour of the mock's dwarfs"),
            "dwarf_mock_low": variable(dims, found[..., 0], "mag", "16 % quantile"),
            "dwarf_mock_high": variable(dims, found[..., 2], "mag", "84 % quantile"),
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
    """Main-sequence stars per pc3 between adjacent masses in Msun, from 0.016 M^-4.7 (Bovy 2017)."""
    return 0.016 / 3.7 * -np.diff(mass**-3.7)


def _by_type(stars: Segments) -> np.ndarray:
    """Dwarfs per pc3 of each of `TYPES`; binaries count by their primaries."""
    teff, dwarf = 10.0 ** stars.values["logte"], stars.values["logg"] > DWARF
    return np.array([stars.number[dwarf & (teff >= low) & (teff < high)].sum() for low, high in TYPES.values()])


def luminosity_function(model: StarModel) -> tuple[np.ndarray, np.ndarray]:
    """Luminosity function of stars and unresolved binaries at the Sun.

    Returns
    -------
    magnitude : ndarray, shape (bin,), mag
    density : ndarray, shape (component, bin), pc-3 mag-1
    """
    hess = model.hess([("Ks",)], [LUMINOSITY_BIN])
    table, owners, density = by_cell(hess), component_numbers(model), density_within(model, SUN)
    rows = [density * (owners == i) @ table for i in range(len(model.galaxy.components))]
    return (hess.cell[:, 0] + 0.5) * LUMINOSITY_BIN, np.stack(rows) / LUMINOSITY_BIN


def densities(
    model: StarModel, single: StarModel, stars: Segments, alone: Segments
) -> tuple[dict[str, Any], xr.Dataset]:
    """Compute luminosity and mass functions and densities of types, giants and binaries at the Sun.

    Parameters
    ----------
    model, single : StarModel
        As configured, and without binaries.
    stars, alone : Segments
        Segments of the two.
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
            "giants": literature(0.00039, BOVY, 0.00001),
            "main_sequence_1_to_2.5": literature(float(observed.sum()), BOVY),
            "dwarfs_by_type": literature({name: MEMO[name][0] for name in TYPES}, DENSITY_MEMO),
            "binaries_0.7_to_1.3_Msun": literature(0.44, "Duchêne & Kraus 2013, ARA&A 51, 269, table 1", 0.02),
            "single_stars_M_V_below_8": literature(
                BESANCON_BRIGHT, "head of the catalogues of the Besançon model's web service, version 2003-12"
            ),
        },
    }
    by_mass, by_type = "pc-3 Msun-1", "pc-3"
    width, total = np.diff(MASS_EDGES), np.interp(magnitude, same, without.sum(axis=0), left=0.0, right=0.0)
    bounds = np.column_stack([MASS_EDGES[:-1], MASS_EDGES[1:]])
    dataset = xr.Dataset(
        {
            "luminosity": variable(("component", "magnitude"), luminosity, "pc-3 mag-1", "stars and pairs"),
            "luminosity_single": variable("magnitude", total, "pc-3 mag-1", "stars, without binaries"),
            "mass_function": variable("mass", numbers / width, by_mass, "stars and pairs on the main sequence"),
            "mass_function_observed": variable("mass", observed / width, by_mass, BOVY),
            "mass_bounds": variable(("mass", "bounds"), bounds, "Msun", "mass"),
            "type_systems": variable("type", systems, by_type, "stars and pairs"),
            "type_single": variable("type", individuals, by_type, "stars, without binaries"),
            "type_observed": variable("type", [MEMO[name][0] for name in TYPES], by_type, DENSITY_MEMO),
            "type_observed_error": variable("type", [MEMO[name][1] for name in TYPES], by_type, "error"),
        },
        coords={
            "component": names,
            "magnitude": variable("magnitude", magnitude, "mag", "M_Ks"),
            "mass": variable("mass", np.sqrt(bounds.prod(axis=1)), "Msun", "mass"),
            "type": list(TYPES),
        },
    )
    return metrics, dataset
