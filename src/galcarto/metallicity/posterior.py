"""The exact posterior of a mock star's labels: what the best network could know.

The mock Galaxy is drawn again, far more often. Each of these bare stars says how likely it would have been to be seen
with the magnitudes of the star in question, at any distance: the distance modulus is integrated analytically, as the
errors hardly change with it, and so is taken out of the sampling.
"""

from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
import pandas as pd
from scipy.special import ndtr

from galcarto.core.jit import CACHE
from galcarto.dust.settings import Dust
from galcarto.galaxy.settings import GalaxySettings
from galcarto.galaxy.synthesis import MODULUS_RANGE, MODULUS_STEP, StarModel
from galcarto.metallicity.settings import Mock
from galcarto.metallicity.simulate import LABELS, Bare, bare_stars, star_model

WINDOW = 6.0  # standard deviations of a colour within which bare stars count
FARTHEST = 60.0  # chi-square beyond which they do not
STEP = 0.01  # mag: of the tables of errors and detection
MAGNITUDES = np.arange(0.0, 35.0, STEP)  # mag


@dataclass(frozen=True)
class Pool:
    """Bare stars with their magnitudes at any distance, sorted by a colour."""

    magnitudes: np.ndarray  # shape (star, band), mag: absolute, plus the star's extinction
    colour: np.ndarray  # shape (star,), mag: of the first and the last required band; ascending
    labels: np.ndarray  # shape (star, 3): Teff (K), [Fe/H] and log g (dex)
    row: np.ndarray  # int, shape (star,): row of `density`
    # shape (field, component and metallicity; distance modulus): stars at each modulus, per unit of what was drawn
    density: np.ndarray
    drawn: np.ndarray  # shape (star,): that of `density` summed over the distances at which the star could be drawn


def pool(galaxy: GalaxySettings, dust: Dust, mock: Mock, number: int, seed: int) -> Pool:
    """Draw `number` bare stars of the mock."""
    larger = mock.model_copy(update={"stars": number})
    model = star_model(galaxy, larger)
    bare = bare_stars(model, dust, larger, seed, "exact_posterior")
    row, density, drawn = _densities(model, larger, bare)
    modulus = 5.0 * np.log10(bare.stars["distance"].to_numpy(float)) + 10.0
    absolute = bare.true - modulus[:, None]
    colour = absolute[:, _colour(mock)] @ [1.0, -1.0]
    order = np.argsort(colour, kind="stable")
    labels = bare.stars[list(LABELS)].to_numpy(float)
    return Pool(absolute[order], colour[order], labels[order], row[order], density, drawn[order])


def _colour(mock: Mock) -> list[int]:
    """Columns of the first and the last required band."""
    names = list(mock.limits)
    return [names.index(mock.required[0]), names.index(mock.required[-1])]


def _densities(model: StarModel, mock: Mock, bare: Bare) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row of each star, stars of each row against distance modulus, and their sum where the star can be drawn."""
    sizes = [len(population.metallicity) for population in model.populations]
    starts = np.cumsum([0, *sizes])
    contents = [np.concatenate(model.content(field.l, field.b)) for field in mock.fields]
    density = np.concatenate(contents)
    component = bare.stars["component"].cat.codes.to_numpy()
    nodes = np.concatenate([population.metallicity for population in model.populations]).astype("f4")
    row = np.empty(len(component), int)
    for number, (start, stop) in enumerate(pairwise(starts)):
        own = component == number
        row[own] = start + np.searchsorted(nodes[start:stop], bare.stars["metallicity"].to_numpy()[own])
    row += bare.stars["field"].to_numpy() * starts[-1]
    # a star is drawn wherever it is brighter than the limits: up to a distance modulus, within whose bin the stars fill
    # the volume
    modulus = 5.0 * np.log10(bare.stars["distance"].to_numpy(float)) + 10.0
    absolute = bare.stars[list(model.bands)].to_numpy(float) - modulus[:, None]
    farthest = -model.faintness(absolute)
    last = np.clip((farthest - MODULUS_RANGE[0]) / MODULUS_STEP, 0.0, density.shape[1])
    whole = np.minimum(last.astype(int), density.shape[1] - 1)
    cubes = model.edges**3
    part = (np.minimum(10.0 ** (0.2 * farthest - 2.0), model.edges[-1]) ** 3 - cubes[whole]) / np.diff(cubes)[whole]
    below = np.concatenate([np.zeros((len(density), 1)), np.cumsum(density, axis=1)], axis=1)
    return row, density, below[row, whole] + part * density[row, whole]


def posterior(stars: pd.DataFrame, drawn: Pool, mock: Mock) -> pd.DataFrame:
    """Posterior means and standard deviations given the measured magnitudes and which of them are missing.

    Parameters
    ----------
    stars : DataFrame
        From `simulate`, with the same settings.
    drawn : Pool
        From `pool`.
    mock : Mock

    Returns
    -------
    DataFrame
        ``teff`` (K), ``feh``, ``logg`` (dex) and ``modulus``, the distance modulus (mag), each with ``NAME_sd``; NaN
        where no bare star is near. ``effective`` is the effective number of bare stars that contribute: the Monte Carlo
        error of a mean is about its standard deviation over the square root.
    """
    measured = stars[list(mock.limits)].to_numpy(float)
    precisions, seen, missed = _tables(mock)
    blue, red = _colour(mock)
    stated = stars[[f"{mock.required[0]}_error", f"{mock.required[-1]}_error"]].to_numpy(float)
    wide = WINDOW * np.hypot(*stated.T)
    colour = measured[:, blue] - measured[:, red]
    first = np.searchsorted(drawn.colour, colour - wide)
    last = np.searchsorted(drawn.colour, colour + wide)
    sums = np.zeros((len(stars), len(LABELS) + 2, 2))
    _weigh(
        measured,
        first,
        last,
        drawn.magnitudes,
        drawn.labels,
        drawn.row,
        np.log(np.maximum(drawn.density, 1e-300)),
        np.log(drawn.drawn),
        precisions,
        seen,
        missed,
        sums,
    )
    found: dict[str, np.ndarray] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for column, name in enumerate((*LABELS, "modulus")):
            found[name] = sums[:, column, 0] / sums[:, -1, 0]
            found[f"{name}_sd"] = np.sqrt(np.maximum(sums[:, column, 1] / sums[:, -1, 0] - found[name] ** 2, 0.0))
        found["effective"] = sums[:, -1, 0] ** 2 / sums[:, -1, 1]
    return pd.DataFrame(found, index=stars.index)


def _tables(mock: Mock) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Against true magnitude, shape (band, ...): inverse variance, mag-2; ln of what detection and normalisation add to
    the likelihood of a band that is there; and ln of the share missing.
    """
    precisions, seen, missed = [], [], []
    for name, band in mock.bands().items():
        error, there = band.error(MAGNITUDES), band.completeness(MAGNITUDES)
        inside = ndtr((mock.limits[name] - MAGNITUDES) / error) - ndtr((mock.bright - MAGNITUDES) / error)
        kept = 1.0 if name in mock.required else 1.0 - mock.hidden
        precisions.append(error**-2.0)
        seen.append(np.log(np.maximum(there, 1e-300) / error))
        missed.append(np.log(np.maximum(1.0 - kept * there * inside, 1e-300)))
    return np.array(precisions), np.array(seen), np.array(missed)


@numba.njit(cache=CACHE)
def _weigh(measured, first, last, magnitudes, labels, row, density, drawn, precisions, seen, missed, sums):
    """Sum up weights times labels, distance modulus, one, and their squares, over the bare stars near each star."""
    bands = measured.shape[1]
    there = np.empty(bands, np.bool_)
    start = np.empty(bands)
    for i in range(len(measured)):
        for b in range(bands):
            there[b] = not np.isnan(measured[i, b])
            if there[b]:
                start[b] = precisions[b, int(measured[i, b] / STEP)]
        for p in range(first[i], last[i]):
            precision = total = squares = 0.0
            for b in range(bands):
                if there[b]:
                    modulus = measured[i, b] - magnitudes[p, b]
                    precision += start[b]
                    total += start[b] * modulus
                    squares += start[b] * modulus**2
            mu = total / precision
            if squares - total * mu > FARTHEST:
                continue
            # again, with the errors of the true magnitudes
            precision = total = squares = weight = 0.0
            for b in range(bands):
                at = int((magnitudes[p, b] + mu) / STEP)
                if at < 0 or at >= precisions.shape[1]:
                    continue
                if there[b]:
                    modulus = measured[i, b] - magnitudes[p, b]
                    inverse = precisions[b, at]
                    precision += inverse
                    total += inverse * modulus
                    squares += inverse * modulus**2
                    weight += seen[b, at]
                else:
                    weight += missed[b, at]
            mu = total / precision
            place = int((mu - MODULUS_RANGE[0]) / MODULUS_STEP)
            if mu < MODULUS_RANGE[0] or place >= density.shape[1]:
                continue
            weight += density[row[p], place] - drawn[p] - 0.5 * (squares - total * mu) - 0.5 * np.log(precision)
            value = np.exp(weight)
            for k in range(labels.shape[1]):
                sums[i, k, 0] += value * labels[p, k]
                sums[i, k, 1] += value * labels[p, k] ** 2
            sums[i, -2, 0] += value * mu
            sums[i, -2, 1] += value * mu**2
            sums[i, -1, 0] += value
            sums[i, -1, 1] += value**2
