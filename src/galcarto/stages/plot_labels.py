"""Draw predicted labels against known ones, their calibration, and the error without each band.

Example:
  galcarto plot_labels --evaluation results/metallicity/evaluation.parquet \\
      --metrics results/metallicity/metrics/labels.json --output results/metallicity/figures/labels_truth.png
"""

import argparse
import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from galcarto.core.files import Output
from galcarto.figures import labels, style
from galcarto.labels.diagnostics import diagnostics, gravities
from galcarto.labels.settings import LABELS

FIGURES = ("labels_truth", "labels_residuals", "labels_calibration", "labels_missing", "labels_gravity")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--evaluation", required=True, help="test stars with predicted labels (Parquet)")
    parser.add_argument("--metrics", required=True, help="scores of evaluate_labels (JSON)")
    parser.add_argument(
        "--output",
        required=True,
        nargs="+",
        type=Output,
        help=f"PNG and PDF files to write, of the names {', '.join(FIGURES)}",
    )


def run(args: argparse.Namespace) -> None:
    """Write the figures."""
    table = pd.read_parquet(args.evaluation)
    found = {name: diagnostics(table, name) for name in LABELS if name != "giant" and f"predicted_{name}" in table}
    drawn: dict[str, Callable[[], Figure]] = {
        "labels_truth": lambda: labels.truth(*found.values()),
        "labels_residuals": lambda: labels.residuals(found["feh"]),
        "labels_calibration": lambda: labels.calibration(*found.values()),
        "labels_missing": lambda: labels.missing(json.loads(Path(args.metrics).read_text())),
        "labels_gravity": lambda: labels.gravity(gravities(table)),
    }
    for name, paths in groupby(args.output, lambda path: Path(path.final).stem):
        style.save(drawn[name](), *paths)
