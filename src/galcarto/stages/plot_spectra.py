"""Draw a figure of the spectra task.

Example:
  galcarto plot_spectra --figure calibration --files results/spectra/curves.nc --output calibration.png calibration.pdf
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
from galcarto.figures import spectra, style

FIGURES: dict[str, Callable[..., Figure]] = {
    "predictions": spectra.predictions,
    "calibration": spectra.calibration,
    "errors": spectra.errors,
    "jacobian": spectra.jacobian,
    "hidden": spectra.hidden,
    "abundances": spectra.abundances,
    "learning": spectra.learning,
    "bounds": spectra.bounds,
    "gap": spectra.gap,
    "search": spectra.search,
}
OPEN: dict[str, Callable[[str], Any]] = {
    ".parquet": pd.read_parquet,
    ".nc": xr.load_dataset,
    ".csv": pd.read_csv,
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
