"""How well diagrams can tell extinction at best: Fisher information with the nuisances' widths as priors.

A diagram's pixels are Poisson counts whose expectations change with the dust and with the nuisances. To first order in
both the posterior is a normal distribution, whose covariance is the inverse of the counts' Fisher matrix and the
prior's (Tegmark, Taylor & Heavens 1997, ApJ 480, 22): about what another survey can add. It is no bound on posteriors
under a prior of another shape, such as one that knows that dust only adds.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from galcarto.dustmap.diagrams.nuisances import Nuisances

CHANGE = 0.1  # mag of A_V that a derivative is taken over
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


def slopes(
    image: Callable[[np.ndarray, Nuisances], np.ndarray],
    depth: np.ndarray,
    nuisances: Mapping[str, tuple[Nuisances, Nuisances]],
    amount: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Expected counts, and how they change with the steps of A_V and with each nuisance.

    Parameters
    ----------
    image : callable
        Expected counts, shape (channel, magnitude, colour), of steps of A_V (mag) and nuisances.
    depth : ndarray, shape (step,), mag
    nuisances : mapping
        Of `model.perturbed`, so many standard deviations down and up; ``middle`` among them.
    amount : float

    Returns
    -------
    expected : ndarray, shape (channel, magnitude, colour)
    derivatives : ndarray, shape (step + nuisance, channel, magnitude, colour)
        Per mag, then per standard deviation.
    """
    middle, _ = nuisances["middle"]
    found = []
    for change in CHANGE * np.eye(len(depth)):
        low = np.maximum(depth - change, 0.0)
        found.append((image(depth + change, middle) - image(low, middle)) / (depth + change - low).sum())
    for name, (down, up) in nuisances.items():
        if name != "middle":
            found.append((image(depth, up) - image(depth, down)) / (2 * amount))
    return image(depth, middle), np.stack(found)
