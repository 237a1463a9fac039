"""Read a user's table of stars with known labels, clean it and split it.

Example:
  galcarto read_labelled_stars --settings "$(galcarto settings config/segue.yaml read_labelled_stars)" \\
      --seed 1 --output stars.parquet
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
from galcarto.labels.settings import LABELS, Deredden, Split, StarTable
from galcarto.labels.table import Reader, keys_of, split_of


class Settings(Section):
    stars: StarTable
    deredden: Deredden
    split: Split


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "output", settings=Settings)


def run(args: argparse.Namespace) -> None:
    """Write the stars in the table's order."""
    stars, deredden, split = dict(read(args.settings, Settings)).values()
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
    frame["split"] = split_of(keys_of(frame, names), split, args.seed)
    attributes = provenance.attributes("read_labelled_stars", args, [stars.path])
    table = pa.Table.from_pandas(frame.drop(columns="key"), preserve_index=False)
    table = table.replace_schema_metadata({k: str(v) for k, v in attributes.items()} | (table.schema.metadata or {}))
    pq.write_table(table, args.output, **PARQUET)
