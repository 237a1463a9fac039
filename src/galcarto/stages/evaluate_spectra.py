"""Judge ensembles on the test stars of their own splits.

Example:
  galcarto evaluate_spectra --settings "$(galcarto settings config/spectra.yaml evaluate_spectra)" \\
      --seed 1 --networks results/spectra/network/*.pt \\
      --stars test.parquet --curves curves.nc --explanation explanation.nc --metrics labels.json

Network n was trained with seed + n.
"""

import argparse
import logging

from galcarto.core import provenance
from galcarto.core.files import PARQUET, Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.learning.scores import medians
from galcarto.spectra.curves import curves
from galcarto.spectra.explain import explain
from galcarto.spectra.predict import SpectraTrained
from galcarto.spectra.scores import judge
from galcarto.spectra.settings import Table
from galcarto.spectra.table import TEST, read_table, table_path


class Settings(Section):
    table: Table


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "metrics", settings=Settings)
    parser.add_argument("--networks", required=True, nargs="+", help="trained ensembles, of seed, seed + 1, ...")
    parser.add_argument("--stars", required=True, type=Output, help="Parquet file to write: test stars of the first")
    parser.add_argument(
        "--curves", required=True, type=Output, help="netCDF file to write: curves of these, for figures"
    )
    parser.add_argument("--explanation", required=True, type=Output, help="netCDF file to write: pixels and labels")


def run(args: argparse.Namespace) -> None:
    """Score, and write the test stars of the first network."""
    table = read(args.settings, Settings).table
    each = []
    for number, path in enumerate(args.networks):
        data = read_table(table, args.seed + number)
        trained = SpectraTrained.load(path)
        found, stars = judge(trained, data, table, args.seed)
        each.append(found)
        if number == 0:
            attributes = provenance.attributes("evaluate_spectra", args, [table_path(table), *args.networks])
            stars.to_parquet(args.stars, index=False, **PARQUET)
            curves(stars, list(table.labels)).assign_attrs(attributes).to_netcdf(args.curves)
            test = data.part(TEST, table.snr)
            explained = explain(trained, test.spectra, test.magnitudes)
            explained.assign_attrs(attributes).to_netcdf(args.explanation)
    middle = medians(each)
    for name, one in middle["labels"].items():
        logging.info("%s: rms %.4g, robust %.4g", name, one["rms"], one["robust"])
    write_json(args.metrics, {"network": middle | {"seeds": each, "faults": dict(data.faults)}})
