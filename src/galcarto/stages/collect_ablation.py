"""Collect the scores of the ablation's variants in one table.

Example:
  galcarto collect_ablation --scores results/orion/ablation/full.json results/orion/ablation/spread.json \\
      --csv results/orion/ablation.csv --markdown results/orion/ablation.md
"""

import argparse
import json
from pathlib import Path

from galcarto.core.files import Output
from galcarto.dustmap.compare import ablation


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scores", required=True, nargs="+", help="scores of the variants, the full one first (JSON)")
    parser.add_argument("--csv", required=True, type=Output, help="CSV file to write")
    parser.add_argument("--markdown", required=True, type=Output, help="the same table for a page (Markdown)")


def run(args: argparse.Namespace) -> None:
    """Write the table as CSV and Markdown."""
    table = ablation.table([json.loads(Path(path).read_text()) for path in args.scores])
    table.to_csv(args.csv, index=False, float_format="%.6g")
    Path(args.markdown).write_text(ablation.markdown(table))
