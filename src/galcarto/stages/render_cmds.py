"""Render the colour-magnitude images of one split and sightline, or a shard of them, each with nuisances of its own.

Example:
  galcarto render_cmds --settings "$(galcarto settings config/config.yaml \\
      galaxy surveys pixels dust distance tile realism galaxies)" \\
      --seed 1 --split valid --stars stars.parquet --profiles valid.nc --first 0 --number 1000 --output cmds.nc
"""

import argparse
import json

import netCDF4
import numpy as np
from tqdm import tqdm

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.dustmap import examples
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import CHUNK, read_sections


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--settings",
        required=True,
        help=f"JSON of the sections {', '.join(examples.SECTIONS)}",
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--split", required=True, choices=["train", "valid", "test"])
    parser.add_argument("--stars", required=True, help="bare stars of the sightline (Parquet)")
    parser.add_argument("--profiles", required=True, help="profiles of the split (netCDF)")
    parser.add_argument("--control", help="what the control field says of the mock (JSON)")
    parser.add_argument("--first", type=int, required=True, help="first profile to use")
    parser.add_argument("--number", type=int, required=True, help="profiles to use")
    parser.add_argument("--output", required=True, type=Output, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write counts and profiles of the examples, the dust-free reference and the table of detectable stars."""
    sections = dict(zip(examples.SECTIONS, read_sections(args.settings, *examples.SECTIONS), strict=True))
    tile = sections.pop("tile")

    def profiles():
        with netCDF4.Dataset(args.profiles) as file:
            end = args.first + args.number
            chunks = range(args.first, end, CHUNK)
            for start in tqdm(chunks, desc="rendering", unit="chunk", mininterval=5):
                yield np.asarray(file["extinction"][start : min(start + CHUNK, end)])

    inputs = [args.stars, args.profiles, *([args.control] if args.control else [])]
    attributes = provenance.attributes("render_cmds", json.loads(args.settings), args.seed, inputs)
    examples.render(
        args.output,
        args.stars,
        profiles(),
        Instrument(**sections, corrections=Corrections.read(args.control)),
        tile,
        attributes,
        split=args.split,
        seed=args.seed,
        first=args.first,
    )
