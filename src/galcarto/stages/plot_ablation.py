"""Draw the scores of the ablation's variants.

Example:
  galcarto plot_ablation --table results/orion/ablation.csv --output results/orion/figures/ablation.png
"""

import argparse

import pandas as pd

from galcarto.core.files import Output
from galcarto.figures import ablation, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--table", required=True, help="scores of the variants (CSV)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    style.save(ablation.against_full(pd.read_csv(args.table)), *args.output)
