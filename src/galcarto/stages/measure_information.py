"""Compute the information limit: the smallest error of the extinction from each survey and from all together.

Example:
  galcarto measure_information --settings "$(galcarto settings config/cone.yaml measure_information)" --seed 1 \\
      --stars results/cone/stars/l122.900_b+22.400.parquet --cube results/cone/cube.nc --metrics information.json
"""

import argparse

import numpy as np

from galcarto.core.errors import UserError
from galcarto.core.files import write_json
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import read
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.limit import information
from galcarto.dustmap.settings import BackgroundGalaxies, DiagramSettings, Realism
from galcarto.maps.grid import edges_of
from galcarto.maps.reader import open_cube


class Settings(DiagramSettings):
    realism: Realism
    galaxies: BackgroundGalaxies


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "control", "metrics", settings=Settings)
    parser.add_argument("--stars", required=True, help="bare stars of a sightline (Parquet)")
    parser.add_argument("--cube", required=True, help="the published cube: its mean profile and area are taken")


def run(args: argparse.Namespace) -> None:
    """Write standard deviations of A_V by survey, with all nuisances and with some of them known exactly."""
    settings = read(args.settings, Settings)
    instrument = Instrument.of(settings, Corrections.read(args.control))
    stars = instrument.read_stars(args.stars, generator(args.seed, "measure_information"))
    with open_cube(args.cube) as cube:
        if not np.array_equal(edges_of(cube, "distance"), instrument.edges):
            raise UserError(
                f"{args.cube}: found distances other than those of the settings; expected the cube of the region"
            )
        profile = np.nanmean(cube["extinction"].to_numpy().reshape(-1, len(instrument.edges) - 1), axis=0)
        area = float(np.median(cube["area"].to_numpy()[cube["area"].to_numpy() > 0]))
    result = information.measure(instrument, stars, profile, area, args.seed)
    write_json(args.metrics, {"surveys": {"information": result}})
