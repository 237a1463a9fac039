"""The prior: random extinction profiles along a sightline.

The density of dust is a falling envelope times the exponential of a one-dimensional Gaussian random field
with a power-law spectrum, as in Cornu et al. 2022 (arXiv:2201.05571). The paper publishes neither the field's
slope nor its amplitude: the numbers are ours and are settings.
"""

import numpy as np


def gaussian_field(rng: np.random.Generator, number: int, cells: int, slope: float) -> np.ndarray:
    """Gaussian random fields of unit variance and zero mean over the realisations.

    Parameters
    ----------
    rng : numpy Generator
    number, cells : int
    slope : float
        The power spectrum goes as k^-slope.

    Returns
    -------
    ndarray, shape (number, cells)
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


def draw(
    rng: np.random.Generator,
    number: int,
    edges: np.ndarray,
    slope: float,
    contrast: tuple[float, float],
    envelope: tuple[float, float],
    max_extinction: tuple[float, float],
) -> np.ndarray:
    """Random cumulative extinction profiles.

    Each profile draws its own contrast (uniform), envelope scale (log-uniform) and total extinction
    (log-uniform), so that the set reaches from nearly nothing to the largest extinction.

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
    max_extinction : (float, float), mag
        Range of A_V at the last edge.

    Returns
    -------
    ndarray, shape (number, distance), mag
        A_V from the Sun to the outer edge of each bin; non-decreasing.
    """
    field = gaussian_field(rng, number, len(edges) - 1, slope)
    sigma = rng.uniform(*contrast, size=(number, 1))
    scale = np.exp(rng.uniform(np.log(envelope[0]), np.log(envelope[1]), size=(number, 1)))
    total = np.exp(rng.uniform(np.log(max_extinction[0]), np.log(max_extinction[1]), size=(number, 1)))
    centre = 0.5 * (edges[1:] + edges[:-1])
    density = np.exp(sigma * field - centre / scale)
    cumulative = np.cumsum(density * np.diff(edges), axis=1)
    return cumulative * (total / cumulative[:, -1:])
