"""How well diagrams can tell extinction at best: Fisher information with the nuisances' widths as priors.

A diagram's pixels are Poisson counts whose expectations change with the dust and with the nuisances. To first order in
both the posterior is a normal distribution, whose covariance is the inverse of the counts' Fisher matrix and the
prior's (Tegmark, Taylor & Heavens 1997, ApJ 480, 22). No unbiased estimate is narrower, so it says what another survey
can add.
"""

from collections.abc import Sequence

import numpy as np

FEWEST = 0.02  # expected counts of a pixel that is used: emptier ones have no derivative to speak of


def extinction_sd(
    expected: np.ndarray, derivatives: np.ndarray, prior: np.ndarray, steps: int, channels: Sequence[int]
) -> np.ndarray:
    """Standard deviation of the sums of the first parameters.

    Parameters
    ----------
    expected : ndarray, shape (channel, magnitude, colour)
        Counts.
    derivatives : ndarray, shape (parameter, channel, magnitude, colour)
        Of the counts.
    prior : ndarray, shape (parameter,)
        Standard deviation of each parameter.
    steps : int
        The first so many parameters are steps of A_V (mag), from the Sun outwards.
    channels : sequence of int
        Diagrams that are seen.

    Returns
    -------
    ndarray, shape (steps,), mag
        Of A_V behind each step.
    """
    fisher = np.diag(1.0 / prior**2)
    for channel in channels:
        used = expected[channel] > FEWEST
        slopes = derivatives[:, channel, used]
        fisher = fisher + (slopes / expected[channel, used]) @ slopes.T
    covariance = np.linalg.inv(fisher)[:steps, :steps]
    sums = np.tril(np.ones((steps, steps)))
    return np.sqrt(np.diag(sums @ covariance @ sums.T))
