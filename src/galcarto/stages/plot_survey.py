"""Draw a survey's errors and completeness.

Example:
  galcarto plot_survey --survey 2mass --measured results/surveys/2mass.nc \\
      --errors results/surveys/figures/2mass_errors.png \\
      --completeness results/surveys/figures/2mass_completeness.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import style, surveys


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--survey", required=True, choices=sorted(surveys.FIGURES))
    parser.add_argument("--measured", required=True, help="output of measure_survey (netCDF)")
    parser.add_argument("--errors", required=True, nargs="+", type=Output, help="PNG and PDF files to write")
    parser.add_argument("--completeness", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figures."""
    drawn = surveys.FIGURES[args.survey]
    with xr.open_dataset(args.measured) as measured:
        style.save(drawn["errors"](measured), *args.errors)
        style.save(drawn["completeness"](measured), *args.completeness)
