"""Draw a figure of the absorbers task.

Example:
  galcarto plot_absorbers --figure thresholds --files results/absorbers/metrics.json --output thresholds.png
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from galcarto.core.files import Output
from galcarto.figures import absorbers, style

FIGURES: dict[str, Callable[..., Figure]] = {
    "sightlines": absorbers.sightlines,
    "real": absorbers.real,
    "completeness": absorbers.completeness,
    "columns": absorbers.columns,
    "calibration": absorbers.calibration,
    "thresholds": absorbers.thresholds,
    "numbers": absorbers.numbers,
    "ablation": absorbers.ablation,
}
OPEN: dict[str, Callable[[str], Any]] = {
    ".parquet": pd.read_parquet,
    ".nc": xr.load_dataset,
    ".json": lambda path: json.loads(Path(path).read_text()),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--figure", required=True, choices=FIGURES)
    parser.add_argument(
        "--files", required=True, nargs="+", help="what it shows, in the order of the figure's parameters"
    )
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Open the files and draw."""
    style.save(FIGURES[args.figure](*(OPEN[Path(path).suffix](path) for path in args.files)), *args.output)
