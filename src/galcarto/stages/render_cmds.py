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
import pyarrow.parquet as pq
from tqdm import tqdm

from galcarto import provenance
from galcarto.cmd.files import BLOCK, references, write_examples
from galcarto.cmd.integration import Integrator
from galcarto.cmd.nuisances import Populations
from galcarto.model import MARGIN, corrections, draw_nuisances, forward_model, star_model, with_galaxies
from galcarto.seeds import generator
from galcarto.settings import read_sections

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
    table = pq.read_table(args.stars)
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    rng = generator(args.seed, "render_cmds", args.split, Path(args.stars).stem)
    frame, area_all = table.to_pandas(), float(metadata["area_deg2"])
    # Validation takes the other half of the list: it stops and calibrates the training on stars that were not learnt
    # by heart.
    half = generator(args.seed, "render_cmds", Path(args.stars).stem).random(len(frame)) < 0.5
    frame = frame[~half if args.split == "valid" else half]
    populations = Populations.sort(
        frame["component"].cat.codes.to_numpy(), frame["metallicity"].to_numpy(), frame["mass_ratio"].to_numpy() > 0
    )
    mock = star_model(galaxy, surveys, found.get("metallicity", 0.0))
    bare = {name: frame[name].to_numpy() for name in ("distance", *mock.bands)}
    if "Ks" in mock.bands:
        faintest = max(survey.limits.get("Ks", 0.0) for survey in surveys) + MARGIN
        bare, populations = with_galaxies(bare, populations, area_all / 2, galaxies, faintest, rng, found)
    stars = model.pack(bare["distance"], bare, area_all / 2, populations)
    integrators = [Integrator(mock, view.diagram(), model.edges) for view in model.views]
    reference, detectable = references(model, integrators, float(metadata["l_deg"]), float(metadata["b_deg"]))
    full = tile.size**2 * np.cos(np.radians(float(metadata["b_deg"])))
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
