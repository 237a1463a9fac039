"""Write the report of the absorbers task: one HTML file.

Example:
  galcarto report_absorbers --metrics results/absorbers/metrics.json --absorbers results/absorbers/absorbers.parquet \\
      --figures results/absorbers/figures/*.png --captions rules/absorber_captions/*.rst \\
      --output results/absorbers/report.html
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from galcarto.core.files import Output
from galcarto.pages.label_report import Table, render

COLUMNS = {  # of the table of mocks
    "absorbers": "absorbers",
    "completeness": "completeness",
    "purity": "purity",
    "purity_strict": "purity, strict",
    "velocity_robust": "velocity (km/s)",
    "log_nhi_sd": "lg N, sd",
    "log_nhi_bias": "lg N, bias",
    "coverage_68": "in 68 %",
    "coverage_95": "in 95 %",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metrics", required=True, help="every number of the report (JSON)")
    parser.add_argument(
        "--absorbers", required=True, help="absorbers found, whose attributes are the provenance (Parquet)"
    )
    parser.add_argument("--figures", required=True, nargs="+", help="figures, in the report's order (PNG)")
    parser.add_argument("--captions", required=True, nargs="+", help="captions of the figures (reStructuredText)")
    parser.add_argument("--output", required=True, type=Output, help="HTML file to write")


def tables(metrics: Mapping[str, Any]) -> Iterator[Table]:
    """Mocks and networks side by side, the Bayesian finder, and what real spectra hold."""
    rows = [
        [name.replace("_", " "), *(_text(one["damped"][key]) for key in COLUMNS)]
        for name, one in metrics.items()
        if isinstance(one, Mapping) and "damped" in one
    ]
    rows += [
        [f"{trial}: {mock}", *(_text(one["damped"][key]) for key in COLUMNS)]
        for trial, own in metrics["trials"].items()
        for mock, one in own.items()
    ]
    text = "Damped absorbers (lg N of 20.3 and more) on sightlines of a S/N above 3"
    yield Table(text, ["Mock", *COLUMNS.values()], rows)
    if finder := metrics.get("finder"):
        keys = ("completeness", "purity", "detections", "seconds")
        rows = [[name, *(_text(finder[name][key]) for key in keys)] for name in ("ours", "finder")]
        yield Table(f"Beside gp-dla-finder on {finder['sightlines']} hard sightlines", ["Method", *keys], rows)
    if real := metrics.get("real"):
        rows = [
            [
                row["name"],
                f"{row['z']:.4f}",
                f"{row['log_nhi']:.2f} ± {row['log_nhi_sd']:.2f}",
                f"{row['probability']:.2f}",
            ]
            for row in real["absorbers"]
        ]
        text = f"Absorbers in {real['searched']:.0f} of {real['spectra']:.0f} real spectra"
        yield Table(text, ["Spectrum", "z", "lg N", "probability"], rows)


def _text(value: float | None) -> str:
    """A number; a dash where it is not defined."""
    return "–" if value is None else f"{value:.3g}"


def run(args: argparse.Namespace) -> None:
    """Write the report."""
    metrics = json.loads(Path(args.metrics).read_text())
    metadata = pq.read_schema(args.absorbers).metadata or {}
    attributes = {name.decode(): value.decode() for name, value in metadata.items()}
    shown = list(tables(metrics))
    html = render("Absorbers in quasar spectra", attributes, metrics, args.figures, args.captions, shown)
    Path(args.output).write_text(html, encoding="utf-8")
