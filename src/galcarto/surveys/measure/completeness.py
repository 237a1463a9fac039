"""Completeness of a survey against magnitude, from observed star counts and those of the mock Galaxy."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial import ConvexHull
from scipy.special import ndtr

from galcarto.galaxy.integrals import brighter_than
from galcarto.galaxy.synthesis import StarModel
from galcarto.surveys.survey import logistic

STEP = 0.25  # mag: bins of the counts
FINE = 0.05  # mag: steps of the true magnitude
BRIGHTWARD, FAINTWARD = 4.0, 0.75  # mag: fitted range around the first guess of `half`
DUST_HEIGHT = 0.125  # kpc: scale height of the dust, as in the synthetic sky
LOWER = 2.71  # increase of the deviance at a one-sided limit of 95 %


def solid_angle(longitude: np.ndarray, latitude: np.ndarray) -> float:
    """Area of the convex hull of stars, deg2.

    Parameters
    ----------
    longitude, latitude : ndarray, shape (star,), deg
        In any frame; the field must be small and away from the poles.
    """
    middle = np.radians(np.median(latitude))
    centre = np.median(longitude)
    east = (longitude - centre + 180.0) % 360.0 - 180.0
    plane = np.stack([east * np.cos(np.radians(latitude)), latitude - np.degrees(middle)], axis=1)
    return float(ConvexHull(plane).volume)


def layer(extinction: float, b: float) -> Callable[[np.ndarray], np.ndarray]:
    """Extinction against distance (kpc) of an exponential layer around the plane; its total is `extinction`."""
    scale = DUST_HEIGHT / max(abs(np.sin(np.radians(b))), 1e-3)
    return lambda distance: extinction * -np.expm1(-distance / scale)


def expected(
    model: StarModel, band: str, l: float, b: float, edges: np.ndarray, dust: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Expected stars per deg2 between magnitudes, without errors and incompleteness, shape (magnitude,).

    Parameters
    ----------
    model : StarModel
    band : str
    l, b : float, deg
    edges : ndarray, shape (magnitude + 1,), mag
        In equal steps.
    dust : callable
        Extinction in the band against distance in kpc.
    """
    behind = dust(np.sqrt(model.edges[:-1] * model.edges[1:]))
    step = edges[1] - edges[0]
    grid = np.arange(edges[0] - np.ceil(behind.max() / step) * step, edges[-1] + step / 2, step)
    stars = np.einsum("pd,pdm->dm", np.concatenate(model.content(l, b)), brighter_than(model, band, grid))
    below = sum(np.interp(edges - shift, grid, row) for shift, row in zip(behind, stars, strict=True))
    return np.diff(below)


def mock_counts(
    model: StarModel, band: str, l: float, b: float, extinction: float
) -> Callable[[np.ndarray], np.ndarray]:
    """`expected` counts against the edges behind a `layer` of dust, cached because fits request them repeatedly."""
    dust = layer(extinction, b)
    between = cache(lambda edges: expected(model, band, l, b, np.array(edges), dust))
    return lambda edges: between(tuple(edges))


@dataclass(frozen=True)
class Decline:
    """A fitted completeness."""

    half: float  # mag
    width: float  # mag
    # mag: statistical, increased if the fit is worse than Poisson noise allows
    half_error: float
    width_error: float
    # shape (bin,): centres of the bins in mag; numbers of stars: observed, fitted, and fitted for a complete survey
    magnitude: np.ndarray
    found: np.ndarray
    fitted: np.ndarray
    complete: np.ndarray
    quality: float  # deviance per degree of freedom
    tilt: float  # mag-1: additional slope of ln of the true counts with magnitude


def deviance(found: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Signed square roots of the contributions to the Poisson deviance."""
    fitted = np.maximum(fitted, 1e-9)
    term = found * np.log(np.where(found > 0, found, 1.0) / fitted) - found + fitted
    return np.sign(found - fitted) * np.sqrt(2.0 * np.maximum(term, 0.0))


def measured_below(limit: np.ndarray, true: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Probability that a measured magnitude is brighter than a limit, for normal errors of the flux.

    Parameters
    ----------
    limit, true, error : ndarray, mag
        Arrays that broadcast. The errors are 1.0857 times the noise over the signal, whether small or not.
    """
    return ndtr((1.0 - 10.0 ** (-0.4 * (limit - true))) * 2.5 / np.log(10.0) / error)


def decline(
    magnitude: np.ndarray,
    density: Callable[[np.ndarray], np.ndarray] | None,
    error: Callable[[np.ndarray], np.ndarray],
    guess: float,
    faintest: float = np.inf,
    tilted: bool = True,
    fixed: tuple[float, float] | None = None,
) -> Decline:
    """Fit the completeness to counts.

    Free parameters are the half point, the width, and the overall number and tilt of the counts, in which no mock is
    accurate. The true counts are convolved with the errors of the flux before the completeness applies, as surveys
    detect stars by their measured flux. In the reverse order the errors alone cause a wider decline than that of 2MASS.

    Parameters
    ----------
    magnitude : ndarray, shape (star,), mag
        Measured.
    density : callable or None
        True stars between edges (mag). None: a free parabola in the logarithm instead of a mock.
    error : callable
        Error against magnitude, mag.
    guess : float, mag
        First guess of the half point, which also sets the fitted range.
    faintest : float, mag
        Faint limit of the catalogue.
    tilted : bool
        Whether the tilt is free.
    fixed : (float, float) or None, mag
        Half point and width to keep fixed.
    """
    top = np.floor(min(guess + FAINTWARD, faintest) / STEP + 1e-9) * STEP
    edges = np.arange(np.floor((guess - BRIGHTWARD) / STEP) * STEP, top + STEP / 2, STEP)
    found = np.histogram(magnitude, edges)[0].astype(float)
    borders = np.arange(edges[0] - 2.0, edges[-1] + 2.0 + FINE / 2, FINE)
    true = 0.5 * (borders[1:] + borders[:-1])
    parts = round(STEP / FINE)
    cells = np.linspace(edges[0], edges[-1], parts * len(found) + 1)
    measured = 0.5 * (cells[1:] + cells[:-1])
    blurred = np.diff(measured_below(cells[:, None], true, error(true)), axis=0)
    true_counts = np.full(len(true), FINE) if density is None else density(borders)
    pivot = edges[0] + 0.5 * (edges[-1] - edges[0])

    def counts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        half, width = (values[0], np.exp(values[1])) if fixed is None else fixed
        rise = values[3] * (true - pivot) if tilted else 0.0
        bend = values[4] * (true - pivot) ** 2 if density is None else 0.0
        complete = blurred @ (true_counts * np.exp(np.clip(values[2] + rise + bend, -60.0, 60.0)))
        starts = np.arange(0, len(measured), parts)
        return np.add.reduceat(complete * logistic(measured, half, width), starts), np.add.reduceat(complete, starts)

    scale = np.log(found.sum() / (blurred @ true_counts).sum())
    start = [min(guess, top), np.log(0.15), scale, *([0.0] if tilted else []), *([0.0] if density is None else [])]
    lower = np.array([guess - 3.0, np.log(0.01), -60.0, -3.0, -1.0])[: len(start)]
    upper = np.array([guess + 3.0, np.log(1.0), 60.0, 3.0, 1.0])[: len(start)]
    fit = least_squares(lambda values: deviance(found, counts(values)[0]), start, bounds=(lower, upper), x_scale="jac")
    fitted, complete = counts(fit.x)
    half, width = (float(fit.x[0]), float(np.exp(fit.x[1]))) if fixed is None else fixed
    quality = 2.0 * fit.cost / max(len(found) - len(start), 1)
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac) * max(quality, 1.0)
    return Decline(
        half=half,
        width=width,
        half_error=float(np.sqrt(covariance[0, 0])),
        width_error=float(width * np.sqrt(covariance[1, 1])),
        magnitude=0.5 * (edges[1:] + edges[:-1]),
        found=found,
        fitted=fitted,
        complete=complete,
        quality=float(quality),
        tilt=float(fit.x[3]) if tilted else 0.0,
    )


def lowest_half(fit: Callable[[tuple[float, float]], Decline], halves: np.ndarray, width: float) -> float:
    """Lower limit of a half point that is fainter than a catalogue's limit.

    Parameters
    ----------
    fit : callable
        Fit with a fixed half point and width.
    halves : ndarray, mag
        Half points to try, ascending.
    width : float, mag

    Returns
    -------
    float, mag
        Brightest half point whose deviance is within 2.71 of the least one (95 %, one-sided).
    """
    tried = [fit((float(half), width)) for half in halves]
    total = np.array([(deviance(one.found, one.fitted) ** 2).sum() for one in tried])
    return float(halves[np.argmax(total <= total.min() + LOWER)])


def fit_fraction(
    magnitude: np.ndarray, has: np.ndarray, edges: np.ndarray, plateau: bool
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Fit a logistic decline to the fraction of stars that have some property.

    Parameters
    ----------
    magnitude : ndarray, shape (star,), mag
    has : ndarray of bool, shape (star,)
        Whether a star has the property.
    edges : ndarray, mag
    plateau : bool
        Whether the fraction of bright stars is free instead of 1.

    Returns
    -------
    values : dict of float
        ``half``, ``width`` (mag), their errors, and the ``plateau``.
    bins : dict of ndarray, shape (bin,)
        ``magnitude``, ``number``, ``with`` (the property), ``fitted`` fraction.
    """
    number = np.histogram(magnitude, edges)[0].astype(float)
    found = np.histogram(magnitude[has], edges)[0].astype(float)
    used = number > 0
    number, found = number[used], found[used]
    borders = np.linspace(edges[:-1], edges[1:], 11)[:, used]
    middle = borders.mean(axis=0)

    def fractions(values: np.ndarray) -> np.ndarray:
        most = values[2] if plateau else 1.0
        return most * logistic(borders, values[0], np.exp(values[1])).mean(axis=0)

    def residuals(values: np.ndarray) -> np.ndarray:
        model = np.clip(fractions(values), 1e-9, 1.0 - 1e-9)
        with_, without = deviance(found, number * model), deviance(number - found, number * (1.0 - model))
        return np.sign(found - number * model) * np.hypot(with_, without)

    start = [float(edges[-1]), np.log(0.1 if plateau else 1.0), *([0.99] if plateau else [])]
    fit = least_squares(residuals, start, x_scale="jac")
    quality = 2.0 * fit.cost / max(len(number) - len(start), 1)
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac) * max(quality, 1.0)
    values = {
        "half": float(fit.x[0]),
        "width": float(np.exp(fit.x[1])),
        "half_error": float(np.sqrt(covariance[0, 0])),
        "width_error": float(np.exp(fit.x[1]) * np.sqrt(covariance[1, 1])),
        "plateau": float(fit.x[2]) if plateau else 1.0,
        "quality": float(quality),
    }
    return values, {"magnitude": middle, "number": number, "with": found, "fitted": fractions(fit.x)}
