"""The prior: random extinction profiles along a sightline.

Smooth dust and discrete clouds. The density of the smooth dust is a falling envelope times the exponential of a
one-dimensional Gaussian random field with a power-law spectrum, as in Cornu et al. 2022 (arXiv:2201.05571), thinned
inside the Local Bubble, whose wall lies at 60 to 200 pc in most directions (Pelgrims et al. 2020, A&A 636, A17; Zucker
et al. 2022, Nature 601, 334). Clouds are steps, as molecular clouds are: a few pc to some ten pc deep (Zucker et al.
2021, ApJ 919, 35). The paper publishes neither the field's slope nor its amplitude: these and the clouds' numbers are
ours and are settings.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import ndtr

from galcarto.core.errors import UserError

ATTEMPTS = 100


def gaussian_field(rng: np.random.Generator, number: int, cells: int, slope: float) -> np.ndarray:
    """Gaussian random fields of unit variance and zero mean over the realisations, shape (number, cells).

    The power spectrum goes as k^-slope.
    """
    # twice the length, of which half is kept: a Fourier sum is periodic and a sightline is not
    length = 2 * cells
    k = np.fft.rfftfreq(length)
    amplitude = np.zeros_like(k)
    amplitude[1:] = k[1:] ** (-slope / 2)
    modes = rng.standard_normal((number, len(k), 2)) @ np.array([1.0, 1j])
    modes[:, -1] = np.sqrt(2.0) * modes[:, -1].real  # the Nyquist mode is real
    field = np.fft.irfft(modes * amplitude, n=length)[:, :cells]
    variance = (2.0 * 2.0 * np.sum(amplitude[1:-1] ** 2) + 2.0 * amplitude[-1] ** 2) / length**2
    return field / np.sqrt(variance)


def field_covariance(cells: int, slope: float) -> np.ndarray:
    """Covariance of the cells of `gaussian_field`, shape (cells, cells)."""
    length = 2 * cells
    k = np.fft.rfftfreq(length)
    power = np.zeros_like(k)
    power[1:] = k[1:] ** -slope
    power[-1] *= 0.5  # the Nyquist mode is counted once
    lag = np.arange(cells)
    correlation = np.cos(2.0 * np.pi * np.outer(lag, k)) @ power / power.sum()
    return correlation[np.abs(lag[:, None] - lag)]


def draw(
    rng: np.random.Generator,
    number: int,
    edges: np.ndarray,
    *,
    slope: float,
    contrast: tuple[float, float],
    envelope: tuple[float, float],
    smooth: tuple[float, float],
    bubble: tuple[float, float],
    bubble_density: tuple[float, float],
    clouds: Mapping[str, Any],
    max_extinction: float,
) -> np.ndarray:
    """Random cumulative extinction profiles.

    Each profile draws its own contrast (uniform), envelope scale, total of the smooth dust and density inside the
    bubble (log-uniform), bubble (uniform) and clouds, so that the set reaches from nearly nothing to the largest
    extinction.

    Parameters
    ----------
    rng : numpy Generator
    number : int
    edges : ndarray, shape (distance + 1,), kpc
        Equal bins from 0.
    slope : float
        Slope of the field's power spectrum.
    contrast : (float, float)
        Range of the standard deviation of ln(density).
    envelope : (float, float), kpc
        Range of the scale over which the density falls exponentially.
    smooth : (float, float), mag
        Range of the smooth dust's A_V at the last edge.
    bubble : (float, float), kpc
        Range of the distance to the bubble's wall.
    bubble_density : (float, float)
        Range of the density inside over that outside.
    clouds : mapping
        ``mean`` (of the Poisson-distributed number), log-uniform ranges of ``extinction`` (mag) and ``width`` (standard
        deviation of the cloud's normal density along the sightline; kpc), and the uniform range of ``distance``
        (kpc): a sightline meets as many clouds in each kpc. No cloud stands inside the bubble.
    max_extinction : float, mag
        A profile with more is drawn again.

    Returns
    -------
    ndarray, shape (number, distance), mag
        A_V from the Sun to the outer edge of each bin; non-decreasing.

    Raises
    ------
    UserError
        If hardly a profile stays below `max_extinction`.
    """
    profiles = np.empty((number, len(edges) - 1))
    todo = np.arange(number)
    for _ in range(ATTEMPTS):
        field = gaussian_field(rng, len(todo), len(edges) - 1, slope)
        wall = rng.uniform(*bubble, size=(len(todo), 1))
        drawn = _smooth(rng, field, edges, wall, contrast, envelope, smooth, bubble_density)
        drawn += _clouds(rng, edges, wall, **clouds)
        profiles[todo] = drawn
        todo = todo[drawn[:, -1] > max_extinction]
        if len(todo) == 0:
            return profiles
    raise UserError(
        f"profiles.max_extinction: {len(todo)} of {number} profiles stay above {max_extinction:g} mag; "
        "expected more than the clouds and the smooth dust have as a rule"
    )


def _smooth(rng, field, edges, wall, contrast, envelope, smooth, bubble_density) -> np.ndarray:
    number = len(field)
    sigma = rng.uniform(*contrast, size=(number, 1))
    scale, total, inside = (_log_uniform(rng, ends, (number, 1)) for ends in (envelope, smooth, bubble_density))
    centre = 0.5 * (edges[1:] + edges[:-1])
    # share of each bin that lies inside the bubble
    share = np.clip((wall - edges[:-1]) / np.diff(edges), 0.0, 1.0)
    density = np.exp(sigma * field - centre / scale) * (1.0 - share * (1.0 - inside))
    cumulative = np.cumsum(density * np.diff(edges), axis=1)
    return cumulative * (total / cumulative[:, -1:])


def _clouds(rng, edges, wall, *, mean, extinction, distance, width) -> np.ndarray:
    counts = rng.poisson(mean, size=len(wall))
    result = np.zeros((len(wall), len(edges) - 1))
    owner = np.repeat(np.arange(len(wall)), counts)
    depth, thick = (_log_uniform(rng, ends, len(owner)) for ends in (extinction, width))
    place = rng.uniform(np.maximum(distance[0], wall[owner, 0]), distance[1])
    steps = ndtr((edges[1:] - place[:, None]) / thick[:, None]) - ndtr(-place / thick)[:, None]
    np.add.at(result, owner, depth[:, None] * steps)
    return result


def _log_uniform(rng: np.random.Generator, ends: tuple[float, float], size: int | tuple[int, ...]) -> np.ndarray:
    return np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]), size=size))
