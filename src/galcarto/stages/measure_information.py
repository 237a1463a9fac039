"""Compute the information limit: the smallest error of the extinction from each survey and from all together.

Example:
  galcarto measure_information --settings "$(galcarto settings config/cone.yaml measure_information)" --seed 1 \\
      --stars l123.400_b+22.900.parquet --cube cube.nc --metrics information.json
"""

import argparse
import json
from typing import Any

import numpy as np

from galcarto.core.errors import UserError
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import Section, read
from galcarto.dustmap.diagrams.nuisances import Nuisances
from galcarto.dustmap.instrument import corrections, forward_model, perturbed, read_stars
from galcarto.dustmap.limit.information import extinction_sd, slopes
from galcarto.dustmap.settings import BackgroundGalaxies, Distance, Dust, Realism, SurveySettings
from galcarto.maps.grid import edges_of
from galcarto.maps.reader import open_cube

STEPS = np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0])  # kpc, as far as the profile goes
STEP_SD = 0.3  # mag of A_V in each step, wide beside what the surveys tell
STARS = 500_000  # in a diagram, and so many diagrams: the noise of a derivative is then small
REPEATS = 16
TINY = 1e-6  # of a standard deviation: known exactly
AMOUNT = 0.5  # standard deviations of a nuisance that its derivative is taken over


class Settings(Section):
    surveys: list[SurveySettings]
    pixels: int
    dust: Dust
    distance: Distance
    realism: Realism
    galaxies: BackgroundGalaxies


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "control", "metrics", settings=Settings)
    parser.add_argument("--stars", required=True, help="bare stars of a sightline (Parquet)")
    parser.add_argument("--cube", required=True, help="the published cube: its mean profile and area are taken")


def run(args: argparse.Namespace) -> None:
    """Write standard deviations of A_V by survey, with nuisances as they are and without one kind at a time."""
    surveys, pixels, dust, distance, realism, galaxies = dict(read(args.settings, Settings)).values()
    edges, found = distance.edges(), corrections(args.control)
    model = forward_model(surveys, pixels, dust, edges, found)
    rng = generator(args.seed, "measure_information")
    stars = read_stars(args.stars, model, surveys, galaxies, found, rng)
    with open_cube(args.cube) as cube:
        if not np.array_equal(edges_of(cube, "distance"), edges):
            raise UserError(
                f"{args.cube}: found other distances than those of the settings; expected the region's cube"
            )
        mean = np.nanmean(cube["extinction"].to_numpy().reshape(-1, len(edges) - 1), axis=0)
        area = float(np.median(cube["area"].to_numpy()[cube["area"].to_numpy() > 0]))
    ends = np.append(0.0, STEPS[edges[-1] >= STEPS])
    # dust fills each step evenly, and all that is farther lies behind the last one
    shape = np.clip((edges[1:] - ends[:-1, None]) / np.diff(ends)[:, None], 0.0, 1.0)
    depth = np.diff(np.interp(ends, edges, np.append(0.0, mean)))

    full = STARS / len(stars.packed) * stars.area
    nuisances = perturbed(stars.populations, model, dust, realism, found, AMOUNT)

    def image(depth: np.ndarray, one: Nuisances) -> np.ndarray:
        """Expected counts of a tile; every call has the same random numbers, so that differences are smooth."""
        rng = generator(args.seed, "measure_information", "render")
        repeated = Nuisances(*(np.repeat(values, REPEATS, axis=0) for values in vars(one).values()))
        profile = np.repeat((depth @ shape)[None], REPEATS, axis=0)
        counts = model.render(stars, profile, np.full(REPEATS, full), rng, repeated)
        return counts.mean(axis=0) * (area / full)

    expected, derivatives = slopes(image, depth, nuisances, AMOUNT)
    names = [f"dust {step}" for step in range(len(depth))] + [name for name in nuisances if name != "middle"]
    prior = np.append(np.full(len(depth), STEP_SD), np.ones(len(nuisances) - 1))

    owner = np.array(model.surveys)
    kinds = {survey.name: np.flatnonzero(owner == at).tolist() for at, survey in enumerate(surveys)}
    kinds["both"] = list(range(len(owner)))

    def sds(known: tuple[str, ...]) -> dict[str, Any]:
        """With nuisances known exactly: those with one of these words in their names."""
        exact = np.array([any(word in name for word in known) for name in names])
        used = np.where(exact, TINY, prior)
        sd = {kind: extinction_sd(expected, derivatives, used, len(depth), at) for kind, at in kinds.items()}
        better = np.minimum.reduce([sd[survey.name] for survey in surveys])
        return {
            "sd_mag_by_distance": {kind: values.tolist() for kind, values in sd.items()},
            "sd_ratio_by_distance": (sd["both"] / better).tolist(),
        }

    zero_points = ("colour", "slope", "magnitude")
    result = {
        "distances_kpc": ends[1:].tolist(),
        "stars": {survey.name: float(expected[kinds[survey.name][0]].sum()) for survey in surveys},
        **sds(()),
        "zero_points_known": sds(zero_points),
        f"{surveys[0].name}_zero_points_known": sds(tuple(f"{surveys[0].name} {word}" for word in zero_points)),
        "stars_known": sds(("number", "mix")),
    }
    with open(args.metrics, "w") as handle:
        json.dump({"surveys": {"information": result}}, handle, indent=2)
