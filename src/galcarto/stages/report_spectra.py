"""Write the report of the spectra task: one HTML file.

Example:
  galcarto report_spectra --metrics results/spectra/metrics.json --labels results/spectra/labels.parquet \\
      --figures results/spectra/figures/*.png --captions rules/spectra_captions/*.rst \\
      --output results/spectra/report.html
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from galcarto.core.files import Output
from galcarto.labels.file import open_labels
from galcarto.pages.label_report import Table, render

SIDE_BY_SIDE = ("single", "starnet", "astronn", "censored", "convolutional")  # trials of other networks
COLUMNS = {  # of the table of labels
    "rms": "rms",
    "robust": "robust (1.48 MAD)",
    "median_sd": "stated, median",
    "median_sd_model": "of the model",
    "median_sd_pixels": "of the pixels' errors",
    "coverage_68": "in the 68 % interval",
    "coverage_95": "in the 95 % interval",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metrics", required=True, help="every number of the report (JSON)")
    parser.add_argument("--labels", required=True, help="label file, whose attributes are the provenance")
    parser.add_argument("--figures", required=True, nargs="+", help="figures, in the report's order (PNG)")
    parser.add_argument("--captions", required=True, nargs="+", help="captions of the figures (reStructuredText)")
    parser.add_argument("--output", required=True, type=Output, help="HTML file to write")


def tables(metrics: Mapping[str, Any], units: Mapping[str, str]) -> Iterator[Table]:
    """Labels, methods side by side, and faults of the input."""
    network = metrics["network"]
    labels = network["labels"]
    text = f"Test stars: {network['stars']:.0f}; training stars: {network['training_stars']:.0f}"
    rows = [[f"{name}, {units[name]}", *(f"{one[key]:.3g}" for key in COLUMNS)] for name, one in labels.items()]
    yield Table(text, ["Label", *COLUMNS.values()], rows)
    tried = {"ours": labels} | {
        f"{name}, trained {one['trainings']:.0f}x": one["labels"]
        for name, one in metrics["trials"].items()
        if name in SIDE_BY_SIDE
    }
    tried |= metrics["baselines"].get("0", {})
    rows = [
        [name, *(f"{one[label]['rms']:.3g} ({one[label]['robust']:.3g})" for label in labels)]
        for name, one in tried.items()
    ]
    yield Table("Methods side by side: rms (robust)", ["Method", *labels], rows)
    faults = [[name.replace("_", " "), f"{number:.0f}"] for name, number in network["faults"].items()]
    yield Table("What was wrong with the table", ["Fault", "Number"], faults)


def run(args: argparse.Namespace) -> None:
    """Write the report."""
    metrics = json.loads(Path(args.metrics).read_text())
    attributes = {str(name): value for name, value in open_labels(args.labels).attrs.items()}
    shown = list(tables(metrics, attributes["units"]))
    html = render("Stellar labels from spectra", attributes, metrics, args.figures, args.captions, shown)
    Path(args.output).write_text(html, encoding="utf-8")
