"""Collect the numbers of a task on labels, with its goals, and write its report.

Example:
  galcarto report_labels --title metallicity --parts results/metallicity/metrics/*.json \\
      --labels results/metallicity/labels.parquet --figures results/metallicity/figures/*.png \\
      --captions rules/label_captions/*.rst --metrics metrics.json --output report.html
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.metallicity.goals import goals
from galcarto.pages.label_report import Table, render


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "metrics")
    parser.add_argument("--title", required=True, help="name of the task")
    parser.add_argument("--parts", required=True, nargs="+", help="numbers of the stages (JSON)")
    parser.add_argument("--labels", required=True, help="label file, for its provenance (Parquet)")
    parser.add_argument("--figures", required=True, nargs="+", help="figures, in the report's order (PNG)")
    parser.add_argument("--captions", required=True, nargs="+", help="captions of the figures (reStructuredText)")
    parser.add_argument("--output", required=True, type=Output, help="HTML file to write")


def tables(labels: Mapping[str, Any]) -> Iterator[Table]:
    """Methods side by side, and what a missing band costs.

    Parameters
    ----------
    labels : mapping
        Of `metallicity.evaluate.evaluate`.
    """
    if networks := labels["networks"]:
        cuts = list(networks["ours"])
        yield Table(
            "[Fe/H] by method: rms on the first seed's test stars (median over the seeds of the method; core), dex",
            ["Method", *cuts],
            [
                [
                    name.replace("_", " "),
                    *(
                        f"{block[cut]['by_seed'][0]:.3f} ({block[cut]['rms']:.3f}; {block[cut]['core']:.3f})"
                        for cut in cuts
                    ),
                ]
                for name, block in networks.items()
            ],
        )
    head = {"rms": "[Fe/H], dex", "alone": "network of its own, dex", "ratio": "ratio"}
    band_head = {"rms": "the band, mag", "trees": "trees, mag", "ratio": "ratio"}
    yield Table(
        "One missing band: rms of [Fe/H] without it, and of the predicted band",
        ["Missing", *head.values(), *band_head.values()],
        [
            [name, *(cell(block, key) for key in head), *(cell(labels["bands"][name], key) for key in band_head)]
            for name, block in labels["missing"].items()
        ],
    )


def cell(block: Mapping[str, float], key: str) -> str:
    """A number of a table, or nothing where it is not there."""
    return f"{block[key]:.3f}" if key in block else ""


def run(args: argparse.Namespace) -> None:
    """Write metrics and report."""
    metrics: dict[str, Any] = {}
    for path in args.parts:
        metrics |= json.loads(Path(path).read_text())
    metrics["goals"] = goals(metrics)
    write_json(args.metrics, metrics)
    found = pq.read_schema(args.labels).metadata or {}
    attributes = {name.decode(): value.decode() for name, value in found.items()}
    html = render(args.title, attributes, metrics, args.figures, args.captions, list(tables(metrics["labels"])))
    Path(args.output).write_text(html, encoding="utf-8")
