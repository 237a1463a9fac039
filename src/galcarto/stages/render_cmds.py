"""Render the colour-magnitude images of one split and sightline, or a shard of them, each with its own nuisances.

Example:
  galcarto render_cmds --settings "$(galcarto settings config/config.yaml render_cmds)" --seed 1 --split valid \\
      --stars results/demo/stars/l281.500_b-01.300.parquet --profiles results/demo/profiles/valid.nc \\
      --first 0 --number 100 --output cmds.nc
"""

import argparse

import netCDF4
import numpy as np
from tqdm import tqdm

from galcarto.core import provenance
from galcarto.core.options import options
from galcarto.core.settings import read
from galcarto.dustmap import examples
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import CHUNK, InstrumentSettings, Tile


class Settings(InstrumentSettings):
    tile: Tile


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "control", "output", settings=Settings)
    parser.add_argument("--split", required=True, choices=["train", "valid", "test"])
    parser.add_argument("--stars", required=True, help="bare stars of the sightline (Parquet)")
    parser.add_argument("--profiles", required=True, help="profiles of the split (netCDF)")
    parser.add_argument("--first", type=int, required=True, help="first profile to use")
    parser.add_argument("--number", type=int, required=True, help="profiles to use")


def run(args: argparse.Namespace) -> None:
    """Write counts and profiles of the examples, the dust-free reference and the table of detectable stars."""
    settings = read(args.settings, Settings)

    def profiles():
        with netCDF4.Dataset(args.profiles) as file:
            end = args.first + args.number
            chunks = range(args.first, end, CHUNK)
            for start in tqdm(chunks, desc="rendering", unit="chunk", mininterval=5):
                yield np.asarray(file["extinction"][start : min(start + CHUNK, end)])

    inputs = [args.stars, args.profiles, args.control]
    attributes = provenance.attributes("render_cmds", args, inputs)
    examples.render(
        args.output,
        args.stars,
        profiles(),
        Instrument.of(settings, Corrections.read(args.control)),
        settings.tile,
        attributes,
        split=args.split,
        seed=args.seed,
        first=args.first,
    )
