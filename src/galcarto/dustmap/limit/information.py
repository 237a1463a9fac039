"""Best possible precision of the extinction: Fisher information of the diagrams, with priors on the nuisances.

Pixels are Poisson counts whose expectations depend on the dust and on the nuisances. To first order in both, the
posterior is normal, and its covariance is the inverse of the sum of the Fisher matrices of counts and prior (Tegmark,
Taylor & Heavens 1997, ApJ 480, 22). It says what another survey may add. It does not bound the posterior under a prior
of another shape, such as that dust only adds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from galcarto.core.seeds import generator
from galcarto.dustmap.diagrams import nuisances
from galcarto.dustmap.diagrams.forward import Stars
from galcarto.dustmap.diagrams.nuisances import Nuisances, Populations
from galcarto.dustmap.instrument import Instrument

CHANGE = 0.1  # mag: step in A_V of the derivatives
AMOUNT = 0.5  # standard deviations: step in a nuisance of the derivatives
FEWEST = 0.02  # expected counts of a pixel; emptier ones have too noisy derivatives
STEPS = np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0])  # kpc: outer ends of the steps of A_V, within the profile
STEP_SD = 0.3  # mag: prior of A_V in each step, wide compared with the precision of the surveys
STARS = 500_000  # in a diagram, and
REPEATS = 16  # diagrams for each expectation, so that the derivatives have little noise
TINY = 1e-6  # standard deviations: prior of a nuisance that is known exactly
ZERO_POINTS = ("colour", "slope", "magnitude")


def measure(instrument: Instrument, stars: Stars, profile: np.ndarray, area: float, seed: int) -> dict[str, Any]:
    """Precision of A_V by survey, with all nuisances and with some of them known exactly.

    Parameters
    ----------
    instrument : Instrument
    stars : Stars
        Of a sightline.
    profile : ndarray, shape (distance,), mag
        Cumulative A_V.
    area : float, deg2
        Of a tile.
    seed : int

    Returns
    -------
    dict
        Distances, expected stars by survey, and standard deviations of A_V by distance and survey.
    """
    model, edges = instrument.forward_model, instrument.edges
    ends = np.append(0.0, STEPS[edges[-1] >= STEPS])
    # dust fills each step evenly; dust beyond the last step is left out
    shape = np.clip((edges[1:] - ends[:-1, None]) / np.diff(ends)[:, None], 0.0, 1.0)
    depth = np.diff(np.interp(ends, edges, np.append(0.0, profile)))
    full = STARS / len(stars.packed) * stars.area
    perturbations = perturbed(instrument, stars.populations)

    def image(depth: np.ndarray, one: Nuisances) -> np.ndarray:
        """Expected counts of a tile, always from the same random numbers, so that differences are smooth."""
        rng = generator(seed, "measure_information", "render")
        repeated = Nuisances(*(np.repeat(values, REPEATS, axis=0) for values in vars(one).values()))
        profiles = np.repeat((depth @ shape)[None], REPEATS, axis=0)
        counts = model.render(stars, profiles, np.full(REPEATS, full), rng, repeated)
        return counts.mean(axis=0) * (area / full)

    expected, derivatives = slopes(image, depth, perturbations, AMOUNT)
    names = [f"dust {step}" for step in range(len(depth))] + [name for name in perturbations if name != "middle"]
    prior = np.append(np.full(len(depth), STEP_SD), np.ones(len(perturbations) - 1))
    owner, surveys = np.array(model.surveys), [view.survey.name for view in model.views]
    channels = {name: np.flatnonzero(owner == at).tolist() for at, name in enumerate(surveys)}
    channels["both"] = list(range(len(owner)))

    def precision(*known: str) -> dict[str, Any]:
        """Standard deviations with nuisances known exactly: those with one of these words in their names."""
        exact = np.array([any(word in name for word in known) for name in names])
        used = np.where(exact, TINY, prior)
        sd = {name: extinction_sd(expected, derivatives, used, len(depth), at) for name, at in channels.items()}
        better = np.minimum.reduce([sd[name] for name in surveys])
        return {
            "sd_mag_by_distance": {name: values.tolist() for name, values in sd.items()},
            "sd_ratio_by_distance": (sd["both"] / better).tolist(),
        }

    return {
        "distances_kpc": ends[1:].tolist(),
        "stars": {name: float(expected[channels[name][0]].sum()) for name in surveys},
        **precision(),
        "zero_points_known": precision(*ZERO_POINTS),
        f"{surveys[0]}_zero_points_known": precision(*(f"{surveys[0]} {word}" for word in ZERO_POINTS)),
        "stars_known": precision("number", "mix"),
    }


def extinction_sd(
    expected: np.ndarray, derivatives: np.ndarray, prior: np.ndarray, steps: int, channels: Sequence[int]
) -> np.ndarray:
    """Standard deviation of the cumulative sums of the first parameters.

    Parameters
    ----------
    expected : ndarray, shape (channel, magnitude, colour)
        Counts.
    derivatives : ndarray, shape (parameter, channel, magnitude, colour)
        Of the counts.
    prior : ndarray, shape (parameter,)
        Standard deviation of each parameter.
    steps : int
        Number of parameters that are steps of A_V (mag), from the Sun outwards; they come first.
    channels : sequence of int
        Diagrams that are observed.

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
    """Expected counts, shape (channel, magnitude, colour), and their derivatives, shape (step + nuisance, ...).

    Derivatives are per mag of the steps, then per standard deviation of the nuisances.

    Parameters
    ----------
    image : callable
        Expected counts of steps of A_V (mag) and nuisances.
    depth : ndarray, shape (step,), mag
    nuisances : mapping
        From `perturbed`, by `amount` standard deviations.
    amount : float
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


def perturbed(
    instrument: Instrument, populations: Populations, amount: float = AMOUNT
) -> dict[str, tuple[Nuisances, Nuisances]]:
    """Nuisances of one image with one of them at a time moved down and up by `amount` standard deviations, by name.

    ``middle`` is unperturbed. As in `Instrument.draw_nuisances`, except that the covering fraction stays in the middle
    of its range. Nuisances without width are left out. `populations` are those of the star list.
    """
    model, realism, p = instrument.forward_model, instrument.realism, populations
    star = p.component >= 0
    covering = (float(np.mean(realism.covering)),) * 2
    low, high = realism.spread

    def differential_extinction(sigma: float) -> np.ndarray:
        return nuisances.differential_extinction(np.random.default_rng(0), 1, (sigma, sigma), covering)

    middle = replace(
        Nuisances.none(1, len(p.number), len(model.bands)),
        differential_extinction=differential_extinction((low + high) / 2),
    )
    found = {"middle": (middle, middle)}

    def add(name: str, both: Callable[[float], Nuisances], width: float) -> None:
        if width:
            found[name] = both(-amount * width), both(amount * width)

    def shifted(bands: int | list[int], column: int, value: float) -> Nuisances:
        offsets = middle.offsets.copy()
        offsets[0, bands, column] += value
        return replace(middle, offsets=offsets)

    def weighted(logarithm: np.ndarray) -> Nuisances:
        return replace(middle, weights=np.exp(logarithm)[None])

    for survey, view in enumerate(model.views):
        name, blue = view.survey.name, model.blue_band(survey)
        zero, slope = instrument.zero_point_sd(survey)
        add(f"{name} colour", partial(shifted, blue, 0), zero)
        add(f"{name} slope", partial(shifted, blue, 1), slope)
        add(f"{name} magnitude", partial(shifted, model.photometry(survey), 0), realism.magnitude)
    add("number", lambda value: weighted(value * star), realism.normalisation)
    add("galaxies", lambda value: weighted(value * ~star), realism.galaxies if not star.all() else 0.0)
    tilts = nuisances.tilts(
        p, components=realism.components, metallicity=realism.metallicity, binaries=realism.binaries
    )
    for number, tilt in enumerate(tilts):
        add(f"mix {number}", partial(lambda tilt, value: weighted(value * tilt), tilt), float(tilt.any()))
    r_v = instrument.dust.r_v
    add("r_v", lambda value: replace(middle, scales=instrument.extinction_scales(np.array([r_v + value]))), realism.r_v)
    add(
        "spread",
        lambda value: replace(middle, differential_extinction=differential_extinction((low + high) / 2 + value)),
        (high - low) / np.sqrt(12.0),  # standard deviation of a uniform distribution
    )
    return found
