"""Read a user's table of stars with known labels and clean it.

Example:
  galcarto read_labelled_stars --settings "$(galcarto settings config/segue.yaml read_labelled_stars)" \\
      --output stars.parquet
"""

import argparse
import logging

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.files import PARQUET
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.labels.dereddening import apply
from galcarto.labels.settings import LABELS, Deredden, StarTable
from galcarto.labels.table import Reader


class Settings(Section):
    stars: StarTable
    deredden: Deredden


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "output", settings=Settings)


def run(args: argparse.Namespace) -> None:
    """Write the stars in the table's order."""
    stars, deredden = dict(read(args.settings, Settings)).values()
    names = stars.features()
    parts = [apply(part, deredden) for part in Reader(stars, names).parts()]
    frame = pd.concat(parts, ignore_index=True)
    labelled = frame[list(LABELS)].notna()
    if not labelled.to_numpy().any():
        raise UserError(
            f"{stars.path}: found no label in {len(frame)} rows; expected at least one of {', '.join(LABELS)}: name "
            "its column in stars.columns"
        )
    for label, number in labelled.sum().items():
        logging.info("%s: known of %d of %d stars", label, number, len(frame))
    attributes = provenance.attributes("read_labelled_stars", args, [stars.path])
    table = pa.Table.from_pandas(frame.drop(columns="key"), preserve_index=False)
    table = table.replace_schema_metadata({k: str(v) for k, v in attributes.items()} | (table.schema.metadata or {}))
    pq.write_table(table, args.output, **PARQUET)
