"""Try ridge and boosted trees on the spectra that the network learns from.

Example:
  galcarto compare_spectra --settings "$(galcarto settings config/spectra.yaml compare_spectra)" \\
      --seed 1 --stars 5000 --metrics trees.json

--stars 0 takes all training stars.
"""

import argparse

from galcarto.core.files import write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.spectra.baselines import compare
from galcarto.spectra.settings import Table
from galcarto.spectra.table import read_table


class Settings(Section):
    table: Table


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "metrics", settings=Settings)
    parser.add_argument("--stars", type=int, required=True, help="training stars; 0: all")


def run(args: argparse.Namespace) -> None:
    """Train, predict, score."""
    table = read(args.settings, Settings).table
    write_json(args.metrics, compare(read_table(table, args.seed), table, args.stars, args.seed))
