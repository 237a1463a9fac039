"""Render the colour-magnitude images of one split and sightline.

Example:
  galcarto render_cmds --settings "$(galcarto settings config/config.yaml \\
      galaxy survey cmd dust distance tile)" \\
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
from galcarto.cmd.files import BLOCK, write_examples
from galcarto.cmd.integration import Integrator
from galcarto.model import forward_model, star_model
from galcarto.seeds import generator
from galcarto.settings import read_sections

CHUNK = 4 * BLOCK  # examples rendered at once


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--settings", required=True, help="JSON of the sections galaxy, survey, cmd, dust, distance, tile"
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--split", required=True, choices=["train", "valid", "test"])
    parser.add_argument("--stars", required=True, help="bare stars of the sightline (Parquet)")
    parser.add_argument("--profiles", required=True, help="profiles of the split (netCDF)")
    parser.add_argument("--first", type=int, required=True, help="first profile to use")
    parser.add_argument("--number", type=int, required=True, help="profiles to use")
    parser.add_argument("--output", required=True, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write counts and profiles of the examples, the bare reference and the table of detectable stars."""
    galaxy, survey, cmd, dust, distance, tile = read_sections(
        args.settings, "galaxy", "survey", "cmd", "dust", "distance", "tile"
    )
    model = forward_model(survey, cmd, dust, distance.edges())
    table = pq.read_table(args.stars)
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    rng = generator(args.seed, "render_cmds", args.split, Path(args.stars).stem)
    distance_all, area_all = table["distance"].to_numpy(), float(metadata["area_deg2"])
    columns = {band: table[band].to_numpy() for band in model.bands}
    # Validation takes the other half of the list: it stops and calibrates the training on stars that were not learnt
    # by heart.
    half = generator(args.seed, "render_cmds", Path(args.stars).stem).random(len(distance_all)) < 0.5
    half = ~half if args.split == "valid" else half
    stars = model.pack(distance_all[half], {band: values[half] for band, values in columns.items()}, area_all / 2)
    integrator = Integrator(star_model(galaxy, survey), model.diagram(), model.edges)
    direction = float(metadata["l_deg"]), float(metadata["b_deg"])
    reference = integrator.image(*direction).astype(np.float32)
    detectable = integrator.detectable(*direction).astype(np.float32)
    full = tile.size**2 * np.cos(np.radians(float(metadata["b_deg"])))

    def blocks():
        with netCDF4.Dataset(args.profiles) as file:
            for start in tqdm(range(0, args.number, CHUNK), desc="rendering", unit="chunk", mininterval=5):
                first, last = args.first + start, args.first + min(start + CHUNK, args.number)
                extinction = np.asarray(file["extinction"][first:last])
                # tiles at the footprint's edge see part of the area: the network learns that too
                area = full * rng.uniform(tile.min_area_fraction, 1.0, len(extinction))
                yield model.render(stars, extinction, area, rng), extinction, area

    attributes = provenance.attributes("render_cmds", json.loads(args.settings), args.seed, [args.stars, args.profiles])
    write_examples(args.output, blocks(), reference, detectable, model, attributes)
