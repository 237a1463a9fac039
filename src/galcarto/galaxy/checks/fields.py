"""Bare colour-magnitude diagrams and distances of three fields, and the stars at the ends of the isochrones."""

from typing import Any

import numpy as np
import xarray as xr
from scipy.special import ndtr

from galcarto.core.files import variable
from galcarto.galaxy import isochrones
from galcarto.galaxy.hess import Hess
from galcarto.galaxy.integrals import brighter_than, by_cell, component_numbers, kinds, moduli
from galcarto.galaxy.synthesis import MODULUS_RANGE, MODULUS_STEP, StarModel

FIELDS = {"plane": (30.0, 0.0), "middle": (90.0, 30.0), "pole": (0.0, 90.0)}  # (l, b), deg

PIXEL = 2 * MODULUS_STEP  # mag, height of the pixels of a diagram
DIAGRAMS = {  # survey: magnitude, colour, their ranges, width of the pixels in mag
    "twomass": ("Ks", ("J", "Ks"), (5.0, 15.5), (-0.3, 1.5), 0.02),
    "gaia": ("G", ("BP", "RP"), (7.0, 21.0), (-0.5, 4.5), 0.05),
}
FIELD_LIMIT = 14.8  # mag, in Ks: 2MASS is complete in the plane


def diagram(model: StarModel, l: float, b: float, hess: Hess, magnitude: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Bare colour-magnitude diagram of a direction.

    Parameters
    ----------
    model : StarModel
    l, b : float, deg
    hess : Hess
        With magnitude cells as wide as the distance bins.
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
    # the sum of two uniform distributions over bins of equal width covers two bins, half of it in each
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


def field_diagrams(model: StarModel) -> tuple[dict[str, Any], xr.Dataset]:
    """Compute bare diagrams and distances of the three fields."""
    names, kind = kinds(model.galaxy)
    owners = kind[component_numbers(model)]
    within = brighter_than(model, "Ks", np.array([FIELD_LIMIT]))[..., 0]
    step, middle = np.log10(model.edges[1] / model.edges[0]), np.sqrt(model.edges[:-1] * model.edges[1:])  # dex, kpc
    distances = np.zeros((len(FIELDS), len(names), len(model.edges) - 1))
    metrics: dict[str, Any] = {}
    for i, (field, at) in enumerate(FIELDS.items()):
        stars = np.concatenate(model.content(*at)) * within
        distances[i] = [stars[owners == k].sum(axis=0) for k in range(len(names))]
        total = distances[i].sum(axis=0)
        fraction = np.cumsum(total) / total.sum()
        metrics[field] = {
            "l": at[0],
            "b": at[1],
            "stars_per_deg2": float(total.sum()),
            "median_distance_kpc": float(np.interp(0.5, fraction, model.edges[1:])),
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
INNER, CENTRE = 5.0, 2.5  # kpc: radii of the inner disc and of the bulge around the Galactic centre
CENTRAL_FIELD = (0.0, -2.0)  # (l, b), deg


def _clamped(model: StarModel, at: tuple[float, float], within: np.ndarray, radius: float) -> float:
    """Fraction of a field's stars within a galactocentric radius whose [M/H] exceeds that of the isochrones."""
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
    """Fractions of very red stars and of stars more metal-rich than the isochrones."""
    hess = model.hess([("Ks",), ("J", "Ks")], [MODULUS_STEP, MODULUS_STEP])
    magnitude, colour = ((hess.cell + 0.5) * hess.step).T
    weights = by_cell(hess).T @ np.concatenate(model.content(*FIELDS["plane"]))
    stars = np.where(magnitude[:, None] + moduli(model) < RED_LIMIT, weights, 0.0).sum(axis=1)
    within = brighter_than(model, "Ks", np.array([RED_LIMIT]))[..., 0]
    return {
        "share_J_Ks_over_2": float(stars[colour > 2.0].sum() / stars.sum()),
        "share_J_Ks_over_4": float(stars[colour > 4.0].sum() / stars.sum()),
        "reddest_J_Ks": float(colour[stars > 0].max()),
        "clamped_metallicity_inner_disc": _clamped(model, FIELDS["plane"], within, INNER),
        "clamped_metallicity_bulge": _clamped(model, CENTRAL_FIELD, within, CENTRE),
    }
