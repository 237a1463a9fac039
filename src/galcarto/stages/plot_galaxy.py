"""Draw the validation of the mock Galaxy.

Example:
  galcarto plot_galaxy --validation results/galaxy/validation.nc --output results/galaxy/figures/isochrones.png
"""

import argparse
from itertools import groupby
from pathlib import Path

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import galaxy, style


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--validation", required=True, help="output of measure_galaxy (netCDF)")
    parser.add_argument(
        "--output",
        required=True,
        nargs="+",
        type=Output,
        help=f"PNG and PDF files to write, of the names {', '.join(galaxy.FIGURES)}",
    )


def run(args: argparse.Namespace) -> None:
    """Write the figures."""
    with xr.open_dataset(args.validation) as validation:
        for name, paths in groupby(args.output, lambda path: Path(path.final).stem):
            style.save(galaxy.FIGURES[name](validation), *paths)
