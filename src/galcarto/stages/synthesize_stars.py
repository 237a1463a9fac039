"""Draw the bare stars of one sightline, or of several.

Example:
  galcarto synthesize_stars --settings "$(galcarto settings config/config.yaml synthesize_stars)" \\
      --seed 1 --l 284 --b 0.5 --output stars.parquet
"""

import argparse
import logging
from typing import Any

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
    several: dict[str, Any] = {"required": True, "nargs": "+"}
    parser.add_argument("--l", type=float, help="galactic longitude of each sightline, deg", **several)
    parser.add_argument("--b", type=float, help="galactic latitude of each sightline, deg", **several)
    parser.add_argument("--output", type=Output, help="Parquet files to write, one for each sightline", **several)


def run(args: argparse.Namespace) -> None:
    """Write the star lists, with their areas in deg2 in the metadata."""
    galaxy, surveys = dict(read(args.settings, Settings)).values()
    model = star_model(galaxy, surveys, Corrections.read(args.control).metallicity)
    attributes = provenance.attributes("synthesize_stars", args, [args.control])
    for l, b, output in zip(args.l, args.b, args.output, strict=True):
        # one half for training or test images, the other for validation
        area = 2 * galaxy.stars / max(model.density(l, b), 1e-6)
        stars = model.draw(l, b, area, generator(args.seed, "synthesize_stars", sightline_name(l, b)))
        table = pa.Table.from_pandas(stars, preserve_index=False)
        own = attributes | {"area_deg2": area, "l_deg": l, "b_deg": b}
        table = table.replace_schema_metadata({k: str(v) for k, v in own.items()} | (table.schema.metadata or {}))
        pq.write_table(table, output, **PARQUET)
        logging.info("%d stars in %.3g deg2 at l = %g, b = %g deg", len(stars), area, l, b)
