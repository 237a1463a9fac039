"""Stellar evolution against the literature: the Sun, the turn-off of old stars, lifetimes on the AGB."""

from typing import Any

import numpy as np
import xarray as xr

from galcarto.core.files import variable
from galcarto.galaxy import isochrones
from galcarto.galaxy.components import GalaxyModel

DWARF_TABLE = "Pecaut & Mamajek 2013, ApJS 208, 9, the table's version 2024.05.15"
NOMINAL_SUN = "nominal Sun: Prša et al. 2016, AJ 152, 41"
# [M/H] of the Sun at its birth, from the initial Z = 0.01774 of PARSEC's solar model (Bressan et al. 2012, MNRAS 427,
# 127); its age in Gyr
SOLAR_METALLICITY, SOLAR_AGE = 0.085, 4.6
SOLAR_GRAVITY = 4.438  # log g, cgs: the nominal Sun's (Prša et al. 2016, AJ 152, 41)


def literature(value: Any, source: str, error: float | None = None) -> dict[str, Any]:
    """Published value to compare with, for the metrics."""
    return {"value": value, **({} if error is None else {"error": error}), "source": source}


def sun() -> dict[str, Any]:
    """Compare the isochrone at the age, initial abundance and mass of the Sun with the Sun."""
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
            "M_Ks": literature(3.27, "Willmer 2018, ApJS 236, 47", 0.04),
            "M_G": literature(4.67, "Casagrande & VandenBerg 2018, MNRAS 479, L102"),
            "BP_RP": literature(0.823, f"G2V of {DWARF_TABLE}"),
            "teff": literature(5772.0, NOMINAL_SUN),
            "logg": literature(SOLAR_GRAVITY, NOMINAL_SUN),
        },
    }


OLD = 10.0  # Gyr: components at least as old have one turn-off
# The binary V69 at the turn-off of 47 Tuc. Mass in Msun and radius in Rsun of its primary: Thompson et al. 2010 (AJ
# 139, 329); age in Gyr and [Fe/H] = -0.70 of the cluster: Brogaard et al. 2017 (MNRAS 468, 645); with an [alpha/Fe] of
# 0.4, usual for such a cluster, [M/H] is -0.41 (Salaris et al. 1993, ApJ 414, 580)
V69_MASS, V69_RADIUS, V69_AGE, V69_METALLICITY = 0.8762, 1.3148, 11.8, -0.41


def _main_sequence(metallicity: float, age: float) -> dict[str, np.ndarray]:
    """Columns of an isochrone (age in Gyr) from 0.5 Msun to the hottest point of the main sequence."""
    _, values = isochrones.load().at(np.array([metallicity]), age)[0]
    column = dict(zip(isochrones.PROPERTIES, values[0].T, strict=True))
    heavy = {name: value[column["mass"] > 0.5] for name, value in column.items()}
    return {name: value[: int(np.argmax(heavy["logte"])) + 1] for name, value in heavy.items()}


def turn_off(galaxy: GalaxyModel) -> dict[str, Any]:
    """Hottest main-sequence star of each old component at its mean [M/H], and a turn-off star of 47 Tuc."""
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
    metrics["literature"] = {"V69_teff": literature(5900.0, "Brogaard et al. 2017, MNRAS 468, 645", 72.0)}
    return metrics


def lifetimes() -> tuple[dict[str, Any], xr.Dataset]:
    """Lifetimes on the asymptotic giant branch at the metallicity nearest to solar."""
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
        {"lifetime": variable(("phase", "log_age"), np.stack(found), "Myr", "lifetime")},
        coords={
            "phase": list(names),
            "log_age": variable("log_age", grid.log_age.astype(float), "1", "log10 of the age in years"),
        },
    )
    return metrics, dataset
