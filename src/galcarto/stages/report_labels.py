"""Collect the numbers of a task on labels, with its goals, and write its report.

Example:
  galcarto report_labels --title metallicity --parts results/metallicity/metrics/*.json \\
      --labels results/metallicity/labels.parquet --figures results/metallicity/figures/*.png \\
      --captions rules/label_captions/*.rst --metrics metrics.json --output report.html
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.metallicity.goals import goals
from galcarto.pages.label_report import render


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "metrics")
    parser.add_argument("--title", required=True, help="name of the task")
    parser.add_argument("--parts", required=True, nargs="+", help="numbers of the stages (JSON)")
    parser.add_argument("--labels", required=True, help="label file, for its provenance (Parquet)")
    parser.add_argument("--figures", required=True, nargs="+", help="figures, in the report's order (PNG)")
    parser.add_argument("--captions", required=True, nargs="+", help="captions of the figures (reStructuredText)")
    parser.add_argument("--output", required=True, type=Output, help="HTML file to write")


def run(args: argparse.Namespace) -> None:
    """Write metrics and report."""
    metrics: dict[str, Any] = {}
    for path in args.parts:
        metrics |= json.loads(Path(path).read_text())
    metrics["goals"] = goals(metrics)
    write_json(args.metrics, metrics)
    found = pq.read_schema(args.labels).metadata or {}
    attributes = {name.decode(): value.decode() for name, value in found.items()}
    Path(args.output).write_text(render(args.title, attributes, metrics, args.figures, args.captions), encoding="utf-8")
