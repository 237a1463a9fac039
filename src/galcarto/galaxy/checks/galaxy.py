"""The mock Galaxy against the Besançon model and against what is measured around the Sun.

Everything is integrated over the model's populations; no star is drawn. Each check returns its numbers, as a
dictionary, and what its figure shows, as a dataset.
"""

from typing import Any

import numpy as np
import xarray as xr
from scipy.special import ndtr

from galcarto.galaxy import isochrones
from galcarto.galaxy.checks.integrals import (
    Check,
    Stretches,
    by_cell,
    component_numbers,
    kinds,
    moduli,
    reach,
    variable,
)
from galcarto.galaxy.checks.neighbourhood import SOLAR_METALLICITY, clump, densities, dwarfs, sun, turn_off
from galcarto.galaxy.checks.star_counts import Counts, counts
from galcarto.galaxy.hess import Hess
from galcarto.galaxy.synthesis import MODULUS_RANGE, MODULUS_STEP, StarModel

FIELDS = {"plane": (30.0, 0.0), "middle": (90.0, 30.0), "pole": (0.0, 90.0)}  # (l, b), deg

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
    weights = by_cell(hess).T @ np.concatenate(model.content(l, b))  # (cell, distance)
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
    owners = kind[component_numbers(model)]
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
            "distances": variable(
                ("field", "component", "distance"), distances / step, "deg-2 dex-1", f"stars of Ks < {FIELD_LIMIT} mag"
            ),
            "field_l": variable("field", [at[0] for at in FIELDS.values()], "degree", "galactic longitude"),
            "field_b": variable("field", [at[1] for at in FIELDS.values()], "degree", "galactic latitude"),
        },
        coords={
            "field": list(FIELDS),
            "component": names,
            "distance": variable("distance", middle, "kiloparsec", "distance"),
        },
    )
    for survey, (band, bands, magnitudes, colours, hue) in DIAGRAMS.items():
        hess = model.hess([(band,), bands], [MODULUS_STEP, hue])
        rows = np.linspace(*magnitudes, round((magnitudes[1] - magnitudes[0]) / PIXEL) + 1)
        columns = np.linspace(*colours, round((colours[1] - colours[0]) / hue) + 1)
        images = [diagram(model, *at, hess, rows, columns) for at in FIELDS.values()]
        dims = ("field", f"{survey}_magnitude", f"{survey}_colour")
        dataset[f"diagram_{survey}"] = variable(dims, np.stack(images) / (PIXEL * hue), "deg-2 mag-2", "stars")
        for name, edges, label in ((dims[1], rows, band), (dims[2], columns, " - ".join(bands))):
            dataset[name] = variable(name, 0.5 * (edges[1:] + edges[:-1]), "mag", label)
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
    owners, over, total = component_numbers(model), 0.0, float(stars.sum())
    for i, component in enumerate(model.galaxy.components):
        mean = component.overall_metallicity + component.gradient * (place - model.galaxy.sun.radius)
        over += float((stars[owners == i].sum(axis=0) * ndtr((mean - end) / component.metallicity[1])).sum())
    return over / total if total > 0 else np.nan


def ends(model: StarModel) -> dict[str, Any]:
    """Stars at the ends of the isochrones: the reddest, and those richer in metals than the grid."""
    hess = model.hess([("Ks",), ("J", "Ks")], [MODULUS_STEP, MODULUS_STEP])
    magnitude, colour = ((hess.cell + 0.5) * hess.step).T
    weights = by_cell(hess).T @ np.concatenate(model.content(*FIELDS["plane"]))
    stars = np.where(magnitude[:, None] + moduli(model) < RED_LIMIT, weights, 0.0).sum(axis=1)
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
        {"lifetime": variable(("phase", "log_age"), np.stack(found), "Myr", "lifetime")},
        coords={
            "phase": list(names),
            "log_age": variable("log_age", grid.log_age.astype(float), "1", "log10 of the age in years"),
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
    modulus, galaxy = moduli(model), model.galaxy
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
