"""Render the colour-magnitude images of one split and sightline, each with nuisances of its own.

Example:
  galcarto render_cmds --settings "$(galcarto settings config/config.yaml \\
      galaxy surveys pixels dust distance tile realism galaxies)" \\
      --seed 1 --split valid --stars stars.parquet --profiles valid.nc --first 0 --number 1000 --output cmds.nc
"""

import argparse
import json
from pathlib import Path

import netCDF4
import numpy as np
from tqdm import tqdm

from galcarto import provenance
from galcarto.cmd.files import BLOCK, references, write_examples
from galcarto.cmd.integration import Integrator
from galcarto.model import corrections, draw_nuisances, forward_model, read_stars, star_model
from galcarto.seeds import generator
from galcarto.settings import read_sections
from galcarto.sky import sightline_position

CHUNK = 4 * BLOCK  # examples rendered at once
TOGETHER = 0.5  # share of the examples of several surveys that all of them see; the others lack one or more


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--settings",
        required=True,
        help="JSON of the sections galaxy, surveys, pixels, dust, distance, tile, realism, galaxies",
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--split", required=True, choices=["train", "valid", "test"])
    parser.add_argument("--stars", required=True, help="bare stars of the sightline (Parquet)")
    parser.add_argument("--profiles", required=True, help="profiles of the split (netCDF)")
    parser.add_argument("--control", help="what the control field says of the mock (JSON)")
    parser.add_argument("--first", type=int, required=True, help="first profile to use")
    parser.add_argument("--number", type=int, required=True, help="profiles to use")
    parser.add_argument("--output", required=True, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write counts and profiles of the examples, the bare reference and the table of detectable stars."""
    galaxy, surveys, pixels, dust, distance, tile, realism, galaxies = read_sections(
        args.settings, "galaxy", "surveys", "pixels", "dust", "distance", "tile", "realism", "galaxies"
    )
    found = corrections(args.control)
    model = forward_model(surveys, pixels, dust, distance.edges(), found)
    name = Path(args.stars).stem
    rng = generator(args.seed, "render_cmds", args.split, name)
    # Validation takes the other half of the list: it stops and calibrates the training on stars that were not learnt
    # by heart.
    halves = generator(args.seed, "render_cmds", name), args.split == "valid"
    stars = read_stars(args.stars, model, surveys, galaxies, found, rng, halves)
    mock = star_model(galaxy, surveys, found.get("metallicity", 0.0))
    integrators = [Integrator(mock, view.diagram(), model.edges) for view in model.views]
    l, b = sightline_position(name)
    reference, detectable = references(model, integrators, l, b)
    full = tile.size**2 * np.cos(np.radians(b))
    owners = np.array(model.surveys)

    def blocks():
        with netCDF4.Dataset(args.profiles) as file:
            for start in tqdm(range(0, args.number, CHUNK), desc="rendering", unit="chunk", mininterval=5):
                first, last = args.first + start, args.first + min(start + CHUNK, args.number)
                extinction = np.asarray(file["extinction"][first:last])
                # tiles at the footprint's edge see part of the area: the network learns that too
                area = full * rng.uniform(tile.min_area_fraction, 1.0, len(extinction))
                nuisances = draw_nuisances(rng, len(extinction), stars.populations, model, dust, realism, found)
                counts = model.render(stars, extinction, area, rng, nuisances)
                present = _present(rng, len(extinction), len(model.views))
                yield counts * present[:, owners, None, None], extinction, area, present

    inputs = [args.stars, args.profiles, *([args.control] if args.control else [])]
    attributes = provenance.attributes("render_cmds", json.loads(args.settings), args.seed, inputs)
    write_examples(args.output, blocks(), reference, detectable, model, attributes)


def _present(rng: np.random.Generator, number: int, surveys: int) -> np.ndarray:
    """Which surveys see a tile, shape (number, survey): all of them, or any but not all; never none."""
    subset = rng.integers(1, 2**surveys - 1, size=number) if surveys > 1 else np.ones(number, np.int64)
    subset = np.where(rng.random(number) < TOGETHER, 2**surveys - 1, subset)
    return (subset[:, None] >> np.arange(surveys) & 1).astype(np.uint16)
