"""The report of a task on labels of stars: one HTML file, offline."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from galcarto.pages import fill
from galcarto.pages.report import captions_of, figure_of, flat, rounded


class Table(NamedTuple):
    """A table of texts: what stands above it, names of the columns, rows that begin with their name."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def render(
    title: str,
    attributes: Mapping[str, str],
    metrics: Mapping[str, Any],
    figures: Sequence[str],
    captions: Sequence[str],
    tables: Sequence[Table] = (),
) -> str:
    """Render the report.

    Parameters
    ----------
    title : str
    attributes : mapping
        Of the label file: its provenance.
    metrics : mapping
        Every number of the report, nested; ``goals`` are rows of ``what``, ``goal`` and ``found``.
    figures : sequence of str
        PNG files, in the report's order.
    captions : sequence of str
        reStructuredText files.
    tables : sequence of Table
        Beside the goals.
    """
    described = captions_of(captions)
    return fill(
        "label_report.html.j2",
        title=title,
        figures=[figure_of(Path(path), described) for path in figures],
        goals=[{**row, "found": rounded(row["found"])} for row in metrics.get("goals", [])],
        tables=tables,
        metrics=[(name, rounded(value)) for name, value in flat(metrics)],
        provenance={name: attributes[f"galcarto_{name}"] for name in ("version", "commit")},
        software=json.loads(attributes["galcarto_software"]),
        inputs=json.loads(attributes["galcarto_inputs_sha256"]),
    )
