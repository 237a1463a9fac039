"""Measure how well each survey and all of them together can tell extinction at best.

Example:
  galcarto measure_information --settings "$(galcarto settings config/cone.yaml surveys pixels dust distance realism \\
      galaxies)" --seed 1 --stars l123.400_b+22.900.parquet --cube cube.nc --metrics information.json
"""

import argparse
import json

import numpy as np

from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.seeds import generator
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.limit import information
from galcarto.dustmap.settings import read_sections
from galcarto.maps.grid import edges_of
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of surveys, pixels, dust, distance, realism, galaxies")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--stars", required=True, help="bare stars of a sightline (Parquet)")
    parser.add_argument("--control", help="what the control field says of the mock (JSON)")
    parser.add_argument("--cube", required=True, help="the published cube: its mean profile and area are taken")
    parser.add_argument("--metrics", required=True, type=Output, help="JSON file to write")


def run(args: argparse.Namespace) -> None:
    """Write standard deviations of A_V by survey, with all nuisances and with some of them known exactly."""
    surveys, pixels, dust, distance, realism, galaxies = read_sections(
        args.settings, "surveys", "pixels", "dust", "distance", "realism", "galaxies"
    )
    corrections = Corrections.read(args.control)
    instrument = Instrument(
        surveys, pixels, dust, distance, realism=realism, galaxies=galaxies, corrections=corrections
    )
    stars = instrument.read_stars(args.stars, generator(args.seed, "measure_information"))
    with open_cube(args.cube) as cube:
        if not np.array_equal(edges_of(cube, "distance"), instrument.edges):
            raise UserError(
                f"{args.cube}: found distances other than those of the settings; expected the cube of the region"
            )
        profile = np.nanmean(cube["extinction"].to_numpy().reshape(-1, len(instrument.edges) - 1), axis=0)
        area = float(np.median(cube["area"].to_numpy()[cube["area"].to_numpy() > 0]))
    result = information.measure(instrument, stars, profile, area, args.seed)
    with open(args.metrics, "w") as handle:
        json.dump({"surveys": {"information": result}}, handle, indent=2)
