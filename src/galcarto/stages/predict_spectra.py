"""Predict the labels of all spectra of the table of config/spectra.yaml; of your own spectra: predict-labels.

Example:
  galcarto predict_spectra --settings "$(galcarto settings config/spectra.yaml predict_spectra)" \\
      --network results/spectra/network/0.pt --output labels.parquet
"""

import argparse

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.spectra.predict import write_labels
from galcarto.spectra.settings import Table
from galcarto.spectra.table import table_path


class Settings(Section):
    table: Table


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "network", settings=Settings)
    parser.add_argument("--output", required=True, type=Output, help="label file to write (Parquet)")


def run(args: argparse.Namespace) -> None:
    """Predict and write."""
    path = str(table_path(read(args.settings, Settings).table))
    attributes = provenance.attributes("predict_spectra", args, [args.network, path])
    write_labels(args.network, [path], args.output, attributes, None)
