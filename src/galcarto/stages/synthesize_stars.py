"""Draw the bare stars of one sightline.

Example:
  galcarto synthesize_stars --settings "$(galcarto settings config/config.yaml synthesize_stars)" \\
      --seed 1 --l 284 --b 0.5 --output stars.parquet
"""

import argparse
import logging

import pyarrow as pa
import pyarrow.parquet as pq

from galcarto.core import provenance
from galcarto.core.files import PARQUET, Output
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import Section, read
from galcarto.core.sky import sightline_name
from galcarto.dustmap.instrument import Corrections, star_model
from galcarto.dustmap.settings import GalaxySettings, SurveySettings


class Settings(Section):
    galaxy: GalaxySettings
    surveys: list[SurveySettings]


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "control", settings=Settings)
    parser.add_argument("--l", type=float, required=True, help="galactic longitude, deg")
    parser.add_argument("--b", type=float, required=True, help="galactic latitude, deg")
    parser.add_argument("--output", required=True, type=Output, help="Parquet file to write")


def run(args: argparse.Namespace) -> None:
    """Write the star list, with its area in deg2 in the metadata."""
    galaxy, surveys = dict(read(args.settings, Settings)).values()
    model = star_model(galaxy, surveys, Corrections.read(args.control).metallicity)
    # one half for training or test images, the other for validation
    area = 2 * galaxy.stars / max(model.density(args.l, args.b), 1e-6)
    rng = generator(args.seed, "synthesize_stars", sightline_name(args.l, args.b))
    stars = model.draw(args.l, args.b, area, rng)
    attributes = provenance.attributes("synthesize_stars", args, [args.control])
    attributes |= {"area_deg2": area, "l_deg": args.l, "b_deg": args.b}
    table = pa.Table.from_pandas(stars, preserve_index=False)
    table = table.replace_schema_metadata({k: str(v) for k, v in attributes.items()} | (table.schema.metadata or {}))
    pq.write_table(table, args.output, **PARQUET)
    logging.info("%d stars in %.3g deg2 at l = %g, b = %g deg", len(stars), area, args.l, args.b)
