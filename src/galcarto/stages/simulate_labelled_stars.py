"""Draw mock stars of known metallicity, temperature and gravity, and observe them.

Example:
  galcarto simulate_labelled_stars --settings "$(galcarto settings config/metallicity.yaml simulate_labelled_stars)" \\
      --seed 1 \\
      --output results/metallicity/stars.parquet
"""

import argparse
import logging

import pyarrow as pa
import pyarrow.parquet as pq

from galcarto.core import provenance
from galcarto.core.files import PARQUET
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dust.settings import Dust
from galcarto.galaxy.settings import GalaxySettings
from galcarto.metallicity.settings import Mock
from galcarto.metallicity.simulate import simulate


class Settings(Section):
    galaxy: GalaxySettings
    dust: Dust
    mock: Mock


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "output", settings=Settings)


def run(args: argparse.Namespace) -> None:
    """Write the stars."""
    galaxy, dust, mock = dict(read(args.settings, Settings)).values()
    stars = simulate(galaxy, dust, mock, args.seed)
    attributes = provenance.attributes("simulate_labelled_stars", args, [])
    table = pa.Table.from_pandas(stars, preserve_index=False)
    table = table.replace_schema_metadata({k: str(v) for k, v in attributes.items()} | (table.schema.metadata or {}))
    pq.write_table(table, args.output, **PARQUET)
    giants = 100.0 * float(stars["giant"].mean())
    logging.info("%d stars seen in %d fields, %.1f %% giants", len(stars), len(mock.fields), giants)
