"""Draw the loss and the learning rate over the training.

Example:
  galcarto plot_training --history results/demo/network/history.csv --output results/demo/figures/training.png
"""

import argparse

import pandas as pd

from galcarto.core.files import Output
from galcarto.figures import style, training


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--history", required=True, help="training history (CSV)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    style.save(training.history(pd.read_csv(args.history)), *args.output)
