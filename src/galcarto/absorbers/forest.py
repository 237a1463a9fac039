"""The Lyman-alpha forest: a lognormal optical depth whose flux has a published mean and power spectrum.

The transmitted flux is F = exp(-a exp(s g)) with g a normal field of unit variance (Bi & Davidsen 1997). At each
redshift a and s follow from the mean and the variance of F, and the correlation of g from that of F, as the mean of
F F' is a function of the correlation of g and g' alone.
"""

from functools import cache

import numpy as np
from scipy.optimize import brentq

from galcarto.absorbers.lines import LIGHT, LYMAN_ALPHA, LYMAN_BETA

# effective optical depth at redshift 0, and its power of 1 + z (Kamble et al. 2020, arXiv:1904.01110)
DEPTH, DEPTH_POWER = 0.00554, 3.182
# power spectrum of the flux over its mean (Palanque-Delabrouille et al. 2013, arXiv:1306.5896, section 5)
AMPLITUDE, SLOPE, RUNNING, GROWTH, GROWTH_RUNNING = 0.064, -2.55, -0.10, 3.55, -0.28
PIVOT_K, PIVOT_Z = 0.009, 3.0  # s/km
REDSHIFTS = np.arange(1.6, 5.21, 0.2)  # at which a, s and the correlation are solved for
STEP = 0.5e-4  # of lg of the wavelength: half a pixel of the SDSS spectrographs
VELOCITY = LIGHT * np.log(10) * STEP  # km/s
LENGTH = 4096  # steps of a field, which is periodic
FINE = 4  # times as long is the correlation that is solved for
ORDERS = 40  # of the expansion in Hermite polynomials
SPREADS = (0.2, 6.0)  # range of s


def mean_flux(redshift: float | np.ndarray) -> np.ndarray:
    """Mean transmitted share of the light."""
    return np.exp(-DEPTH * (1 + np.asarray(redshift)) ** DEPTH_POWER)


def flux_power(k: np.ndarray, redshift: float) -> np.ndarray:
    """Power spectrum of the flux over its mean along the line of sight, km/s.

    Parameters
    ----------
    k : ndarray, s/km
        Wave numbers. The formula holds from 0.001 to 0.02; below its maximum the power is taken as constant.
    redshift : float
    """
    growth = np.log((1 + redshift) / (1 + PIVOT_Z))
    slope = SLOPE + GROWTH_RUNNING * growth
    ratio = np.log(np.maximum(k / PIVOT_K, np.exp(-(slope + 2) / (2 * RUNNING))))
    return np.pi * AMPLITUDE / PIVOT_K * np.exp((2 + slope + RUNNING * ratio) * ratio + GROWTH * growth)


@cache
def _hermite() -> tuple[np.ndarray, np.ndarray]:
    """Nodes of g, and normalised Hermite polynomials times their weights, shape (order, node)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(160)
    rows = [np.ones_like(nodes), nodes]
    for n in range(1, ORDERS):
        rows.append((nodes * rows[n] - np.sqrt(n) * rows[n - 1]) / np.sqrt(n + 1))
    return nodes, np.array(rows) * weights / weights.sum()


def _coefficients(scale: float, spread: float) -> np.ndarray:
    """Of F in normalised Hermite polynomials of g: its mean, then numbers whose squares add up to its variance."""
    nodes, polynomials = _hermite()
    return polynomials @ np.exp(-scale * np.exp(spread * nodes))


def _scale(mean: float, spread: float) -> float:
    """The a for which F has this mean."""
    return np.exp(brentq(lambda lg: _coefficients(np.exp(lg), spread)[0] - mean, -30.0, 10.0))


def solve(redshift: float) -> tuple[float, float, np.ndarray]:
    """The transformation at one redshift.

    Returns
    -------
    scale, spread : float
        a and s.
    amplitude : ndarray, shape (LENGTH / 2 + 1,)
        Of the Fourier modes of g: a field of white noise filtered by it has unit variance.
    """
    mean = float(mean_flux(redshift))
    length = FINE * LENGTH
    k = 2 * np.pi * np.fft.rfftfreq(length, VELOCITY)
    power = np.append(0.0, flux_power(k[1:], redshift))
    correlation = mean**2 * np.fft.irfft(power) / VELOCITY

    def variance(spread: float) -> float:
        squares = _coefficients(_scale(mean, spread), spread)[1:] ** 2
        return float(squares.sum())

    spread = brentq(lambda s: variance(s) - correlation[0], *SPREADS, xtol=1e-4)
    scale = _scale(mean, spread)
    squares = _coefficients(scale, spread) ** 2
    squares[0] = 0.0
    normal = np.linspace(-0.9, 1.0, 400)
    field = np.interp(correlation, np.polynomial.polynomial.polyval(normal, squares), normal)
    # a correlation that no normal field has shows as negative power
    modes = np.sqrt(np.maximum(np.fft.rfft(field).real[::FINE], 0.0))
    both = np.sum(modes[1:-1] ** 2) * 2 + modes[0] ** 2 + modes[-1] ** 2
    return scale, spread, modes * np.sqrt(LENGTH / both)


@cache
def _solutions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms of a, s and the amplitudes at all of `REDSHIFTS`."""
    scales, spreads, modes = zip(*map(solve, REDSHIFTS), strict=True)
    return np.log(scales), np.array(spreads), np.array(modes)


def with_beta(depth: np.ndarray) -> np.ndarray:
    """Optical depth in Lyman alpha and beta, from that in Lyman alpha; shape (sightline, step) of `STEP`."""
    ratio = LYMAN_BETA.oscillator * LYMAN_BETA.wavelength / (LYMAN_ALPHA.oscillator * LYMAN_ALPHA.wavelength)
    shift = round(np.log10(LYMAN_ALPHA.wavelength / LYMAN_BETA.wavelength) / STEP)
    both = depth.copy()
    both[:, :-shift] += ratio * depth[:, shift:]
    return both


def draw(rng: np.random.Generator, redshift: np.ndarray) -> np.ndarray:
    """Optical depth of random forests, in Lyman alpha.

    Parameters
    ----------
    rng : Generator
    redshift : ndarray, shape (sightline, step)
        Of Lyman alpha at each step of `STEP`; up to `LENGTH` of them. The correlation is that at the middle.

    Returns
    -------
    ndarray, shape (sightline, step)
    """
    scales, spreads, modes = _solutions()
    number, steps = redshift.shape
    middle = np.abs(redshift[:, steps // 2, None] - REDSHIFTS).argmin(axis=1)
    white = np.fft.rfft(rng.standard_normal((number, LENGTH), dtype="f4"), axis=1)
    field = np.fft.irfft(white * modes[middle], axis=1)[:, :steps]
    scale = np.interp(redshift, REDSHIFTS, scales)
    return np.exp(scale + np.interp(redshift, REDSHIFTS, spreads) * field)
