"""Render the colour-magnitude images of sightlines, of one split or several, each with its own nuisances.

Example:
  galcarto render_cmds --settings "$(galcarto settings config/config.yaml render_cmds)" --seed 1 --split valid \\
      --stars results/demo/stars/l285.000_b+00.400.parquet --profiles results/demo/profiles/valid.nc \\
      --first 0 --number 100 --output cmds.nc
"""

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from tqdm import tqdm

from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.settings import read
from galcarto.core.sky import sightline_position
from galcarto.dustmap import examples
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import CHUNK, InstrumentSettings, Tile


class Settings(InstrumentSettings):
    tile: Tile


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "control", settings=Settings)
    several: dict[str, Any] = {"required": True, "nargs": "+"}
    splits = ["train", "valid", "test"]
    parser.add_argument("--split", choices=splits, help="split of each output", **several)
    parser.add_argument("--stars", help="bare stars of the sightline of each output (Parquet)", **several)
    parser.add_argument("--profiles", help="profiles of the split of each output (netCDF)", **several)
    parser.add_argument("--first", type=int, help="first profile to use for each output", **several)
    parser.add_argument("--number", type=int, help="profiles to use for each output", **several)
    parser.add_argument("--output", type=Output, help="netCDF files to write", **several)
    parser.add_argument(
        "--references", help="file of render_references --sightlines; without it they are integrated here"
    )


def run(args: argparse.Namespace) -> None:
    """Write counts and profiles of the examples, the dust-free reference and the table of detectable stars."""
    settings = read(args.settings, Settings)
    instrument = Instrument.of(settings, Corrections.read(args.control))

    @cache
    def bare(stars: str) -> tuple[np.ndarray, np.ndarray]:
        name = Path(stars).stem
        if args.references is None:
            return instrument.references(*sightline_position(name))
        with netCDF4.Dataset(args.references) as file:
            known = file["sightline"][:].tolist() if "sightline" in file.variables else []
            if name not in known:
                found = ", ".join(known) or "no sightline"
                raise UserError(f"{args.references}: found {found}; expected {name}, as render_references --sightlines")
            at = known.index(name)
            return np.asarray(file["sightline_reference"][at]), np.asarray(file["sightline_detectable"][at])

    files = zip(args.split, args.stars, args.profiles, args.first, args.number, args.output, strict=True)
    for split, stars, path, first, number, output in files:
        attributes = provenance.attributes("render_cmds", args, [stars, path, args.control, args.references])
        profiles = _profiles(path, first, first + number)
        common: dict[str, Any] = {"split": split, "seed": args.seed, "first": first, "references": bare(stars)}
        examples.render(output, stars, profiles, instrument, settings.tile, attributes, **common)


def _profiles(path: str, first: int, end: int) -> Iterator[np.ndarray]:
    """Profiles in chunks."""
    with netCDF4.Dataset(path) as file:
        for start in tqdm(range(first, end, CHUNK), desc="rendering", unit="chunk", mininterval=5):
            yield np.asarray(file["extinction"][start : min(start + CHUNK, end)])
