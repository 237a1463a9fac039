"""Judge trained networks on test stars, beside boosted trees, a cubic polynomial and the exact posterior.

Example:
  galcarto evaluate_labels --settings "$(galcarto settings config/metallicity.yaml evaluate_labels)" \\
      --seed 1 --stars results/metallicity/stars.parquet \\
      --features u g r i z --networks results/metallicity/network/*.pt --evaluation evaluation.parquet \\
      --metrics labels.json
"""

import argparse
import logging
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from galcarto.core import provenance
from galcarto.core.files import PARQUET, Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dust.settings import Dust
from galcarto.galaxy.settings import GalaxySettings
from galcarto.labels.network import LabelTrained
from galcarto.labels.settings import Evaluation, Split
from galcarto.metallicity.evaluate import evaluate, exact
from galcarto.metallicity.settings import Mock


class Settings(Section):
    split: Split
    evaluation: Evaluation
    source: Literal["mock", "table"]
    galaxy: GalaxySettings
    dust: Dust
    mock: Mock


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "metrics", settings=Settings)
    parser.add_argument("--stars", required=True, help="stars with labels (Parquet)")
    parser.add_argument("--features", required=True, nargs="+", help="bands or colours")
    parser.add_argument("--networks", required=True, nargs="+", help="trained networks, named as their trainings")
    parser.add_argument("--evaluation", required=True, type=Output, help="Parquet file to write: test stars")


def run(args: argparse.Namespace) -> None:
    """Write scores, and the test stars with what the first network says of them."""
    settings = read(args.settings, Settings)
    networks = {Path(path).stem: LabelTrained.load(path) for path in args.networks}
    stars = pd.read_parquet(args.stars)
    metrics, tables = evaluate(networks, stars, args.features, settings.split, settings.evaluation, args.seed)
    if settings.source == "mock" and settings.evaluation.exact:
        metrics["exact"], tables = exact(
            tables, settings.galaxy, settings.dust, settings.mock, settings.evaluation, args.seed
        )
    for label, block in metrics["labels"].items():
        logging.info("%s: %s", label, block["all"])
    attributes = provenance.attributes("evaluate_labels", args, [args.stars, *args.networks])
    found = pa.Table.from_pandas(tables[0], preserve_index=False)
    found = found.replace_schema_metadata({k: str(v) for k, v in attributes.items()} | (found.schema.metadata or {}))
    pq.write_table(found, args.evaluation, **PARQUET)
    write_json(args.metrics, {"labels": metrics})
