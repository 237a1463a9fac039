"""Completeness of a survey against magnitude, from star counts that fall short of the mock Galaxy's."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial import ConvexHull
from scipy.special import ndtr

from galcarto.galaxy.checks.integrals import reach
from galcarto.galaxy.synthesis import StarModel
from galcarto.surveys.survey import logistic

STEP = 0.25  # mag: bins of the counts
FINE = 0.05  # mag: steps of the true magnitude
BRIGHTWARD, FAINTWARD = 4.0, 0.75  # mag: the fitted range about the first guess of `half`
DUST_HEIGHT = 0.125  # kpc: scale height of the dust's layer, as of the synthetic sky's
LOWER = 2.71  # rise of the deviance at a one-sided limit of 95 %


def solid_angle(longitude: np.ndarray, latitude: np.ndarray) -> float:
    """Area of the stars' convex hull, deg2.

    Parameters
    ----------
    longitude, latitude : ndarray, shape (star,), deg
        Of any frame; of a field that is small and away from the poles.
    """
    middle = np.radians(np.median(latitude))
    centre = np.median(longitude)
    east = (longitude - centre + 180.0) % 360.0 - 180.0
    plane = np.stack([east * np.cos(np.radians(latitude)), latitude - np.degrees(middle)], axis=1)
    return float(ConvexHull(plane).volume)


def layer(extinction: float, b: float) -> Callable[[np.ndarray], np.ndarray]:
    """Extinction against distance (kpc) through an exponential layer about the plane that sums up to `extinction`."""
    scale = DUST_HEIGHT / max(abs(np.sin(np.radians(b))), 1e-3)
    return lambda distance: extinction * -np.expm1(-distance / scale)


def expected(
    model: StarModel, band: str, l: float, b: float, edges: np.ndarray, dust: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The mock's stars between magnitudes, per deg2, without errors and completeness.

    Parameters
    ----------
    model : StarModel
    band : str
    l, b : float, deg
    edges : ndarray, shape (magnitude + 1,), mag
        In equal steps.
    dust : callable
        Extinction in the band against distance in kpc.

    Returns
    -------
    ndarray, shape (magnitude,)
    """
    behind = dust(np.sqrt(model.edges[:-1] * model.edges[1:]))
    step = edges[1] - edges[0]
    grid = np.arange(edges[0] - np.ceil(behind.max() / step) * step, edges[-1] + step / 2, step)
    stars = np.einsum("pd,pdm->dm", np.concatenate(model.content(l, b)), reach(model, band, grid))
    below = sum(np.interp(edges - shift, grid, row) for shift, row in zip(behind, stars, strict=True))
    return np.diff(below)


@dataclass(frozen=True)
class Decline:
    """A completeness that was fitted.

    Attributes
    ----------
    half, width : float, mag
    half_error, width_error : float, mag
        Of the counts alone, scaled up where the fit is worse than Poisson noise.
    magnitude, found, fitted, complete : ndarray, shape (bin,)
        Middles of the bins in mag; stars that were counted, fitted, and expected if all were found.
    quality : float
        Deviance per degree of freedom.
    tilt : float, mag-1
        By which ln of the true counts rises more steeply than assumed.
    """

    half: float
    width: float
    half_error: float
    width_error: float
    magnitude: np.ndarray
    found: np.ndarray
    fitted: np.ndarray
    complete: np.ndarray
    quality: float
    tilt: float

    @property
    def share(self) -> np.ndarray:
        """Found over complete."""
        return self.found / self.complete


def deviance(found: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Signed roots of the bins' contributions to the Poisson deviance."""
    fitted = np.maximum(fitted, 1e-9)
    term = found * np.log(np.where(found > 0, found, 1.0) / fitted) - found + fitted
    return np.sign(found - fitted) * np.sqrt(2.0 * np.maximum(term, 0.0))


def measured_below(limit: np.ndarray, true: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Share of stars whose measured magnitude is brighter than a limit, if fluxes have normal errors.

    Parameters
    ----------
    limit, true, error : ndarray, mag
        That broadcast; the errors are those of magnitudes, small or not: 1.0857 times the noise over the signal.
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

    Free are the counts' overall number and tilt, as no mock is right in these, the half point and the width. The true
    counts are spread by the errors of the flux first and thinned by the completeness afterwards, as a survey finds what
    it measures as bright enough: in the other order the errors alone make a wider decline than that of 2MASS.

    Parameters
    ----------
    magnitude : ndarray, shape (star,), mag
        As measured.
    density : callable or None
        Stars between edges (mag) that are there. None: any parabola in the logarithm, without a mock.
    error : callable
        Error against magnitude, mag.
    guess : float, mag
        Half point to start from; it chooses the range.
    faintest : float, mag
        Where the catalogue was cut.
    tilted : bool
        False to keep the tilt of `density`.
    fixed : (float, float) or None, mag
        Half point and width that are not fitted.
    """
    top = np.floor(min(guess + FAINTWARD, faintest) / STEP + 1e-9) * STEP
    edges = np.arange(np.floor((guess - BRIGHTWARD) / STEP) * STEP, top + STEP / 2, STEP)
    found = np.histogram(magnitude, edges)[0].astype(float)
    borders = np.arange(edges[0] - 2.0, edges[-1] + 2.0 + FINE / 2, FINE)
    true = 0.5 * (borders[1:] + borders[:-1])
    parts = round(STEP / FINE)
    cells = np.linspace(edges[0], edges[-1], parts * len(found) + 1)
    measured = 0.5 * (cells[1:] + cells[:-1])
    spread = np.diff(measured_below(cells[:, None], true, error(true)), axis=0)
    there = np.full(len(true), FINE) if density is None else density(borders)
    pivot = edges[0] + 0.5 * (edges[-1] - edges[0])

    def counts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        half, width = (values[0], np.exp(values[1])) if fixed is None else fixed
        rise = values[3] * (true - pivot) if tilted else 0.0
        bend = values[4] * (true - pivot) ** 2 if density is None else 0.0
        complete = spread @ (there * np.exp(np.clip(values[2] + rise + bend, -60.0, 60.0)))
        starts = np.arange(0, len(measured), parts)
        return np.add.reduceat(complete * logistic(measured, half, width), starts), np.add.reduceat(complete, starts)

    scale = np.log(found.sum() / (spread @ there).sum())
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
    """The lower limit of a half point that a catalogue's cut hides.

    Parameters
    ----------
    fit : callable
        From a half point and a width, both fixed, to the fit.
    halves : ndarray, mag
        To try, ascending.
    width : float, mag

    Returns
    -------
    float, mag
        The brightest whose deviance is within 2.71 of the least one (95 %, one-sided).
    """
    tried = [fit((float(half), width)) for half in halves]
    total = np.array([(deviance(one.found, one.fitted) ** 2).sum() for one in tried])
    return float(halves[np.argmax(total <= total.min() + LOWER)])


def share(
    magnitude: np.ndarray, has: np.ndarray, edges: np.ndarray, plateau: bool
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Fit a logistic to the share of stars that have something.

    Parameters
    ----------
    magnitude : ndarray, shape (star,), mag
    has : ndarray of bool, shape (star,)
    edges : ndarray, mag
    plateau : bool
        Whether the share of bright stars is free, or 1.

    Returns
    -------
    values : dict of float
        ``half``, ``width`` (mag), their errors, and the ``plateau``.
    bins : dict of ndarray, shape (bin,)
        ``magnitude``, ``number``, ``with``, ``fitted`` share.
    """
    number = np.histogram(magnitude, edges)[0].astype(float)
    found = np.histogram(magnitude[has], edges)[0].astype(float)
    used = number > 0
    number, found = number[used], found[used]
    borders = np.linspace(edges[:-1], edges[1:], 11)[:, used]
    middle = borders.mean(axis=0)

    def shares(values: np.ndarray) -> np.ndarray:
        most = values[2] if plateau else 1.0
        return most * logistic(borders, values[0], np.exp(values[1])).mean(axis=0)

    def residuals(values: np.ndarray) -> np.ndarray:
        model = np.clip(shares(values), 1e-9, 1.0 - 1e-9)
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
    return values, {"magnitude": middle, "number": number, "with": found, "fitted": shares(fit.x)}
