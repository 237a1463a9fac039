"""How many absorbers of which column density and redshift there are."""

from functools import cache

import numpy as np
from astropy.cosmology import FlatLambdaCDM
from scipy.integrate import cumulative_trapezoid
from scipy.interpolate import PchipInterpolator

# lg of f(N, X), in cm2, at lg of N in cm-2: Prochaska et al. 2014 (arXiv:1402.0548), at a redshift of about 2.5
LOG_N = np.array([12.0, 15.0, 17.0, 18.0, 20.0, 21.0, 21.5, 22.0])
LOG_F = np.array([-9.72, -14.41, -17.94, -19.39, -21.28, -22.82, -23.95, -25.5])
DAMPED = 20.3  # lg of the column density from which an absorber is called damped (Wolfe et al. 1986)
COSMOLOGY = FlatLambdaCDM(H0=70.0, Om0=0.3)  # that of the tables of Prochaska et al. 2014 and Noterdaeme et al. 2012

_column_density = PchipInterpolator(LOG_N, LOG_F)


def column_density_distribution(log_n: np.ndarray) -> np.ndarray:
    """Absorbers per column density and absorption distance, f(N, X) in cm2."""
    return 10 ** _column_density(log_n)


@cache
def _distances() -> tuple[np.ndarray, np.ndarray]:
    """Redshifts, and the absorption distances to them."""
    grid = np.linspace(0.0, 8.0, 4001)
    return grid, cumulative_trapezoid((1 + grid) ** 2 * COSMOLOGY.inv_efunc(grid), grid, initial=0)


def absorption_distance(redshift: np.ndarray) -> np.ndarray:
    """Absorption distance X from redshift 0 (Bahcall & Peebles 1969); dX/dz = (1 + z)^2 H0 / H(z)."""
    return np.interp(redshift, *_distances())


def redshift_at(distance: np.ndarray) -> np.ndarray:
    """Redshift at an absorption distance: the inverse of `absorption_distance`."""
    grid, reached = _distances()
    return np.interp(distance, reached, grid)


@cache
def _cumulative(least: float, most: float) -> tuple[np.ndarray, np.ndarray]:
    """lg N, and absorbers per unit of absorption distance up to it."""
    log_n = np.linspace(least, most, 2001)
    # dN = N ln 10 d(lg N)
    density = column_density_distribution(log_n) * 10**log_n * np.log(10)
    return log_n, cumulative_trapezoid(density, log_n, initial=0)


def expected_number(least: float, most: float = LOG_N[-1]) -> float:
    """Absorbers per unit of absorption distance with lg N between two values."""
    return float(_cumulative(least, most)[1][-1])


def draw_log_n(rng: np.random.Generator, number: int, least: float, most: float = LOG_N[-1]) -> np.ndarray:
    """Draw lg N from f(N) between two values."""
    log_n, total = _cumulative(least, most)
    return np.interp(rng.random(number) * total[-1], total, log_n)
