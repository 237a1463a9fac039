"""Draw the control field's diagrams: observed, mock before the fit, and fitted.

Example:
  galcarto plot_control --comparison results/orion/comparisons/control.nc --output results/orion/figures/control.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.dustmap.control_field import summary
from galcarto.figures import control, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--comparison", required=True, help="diagrams of the control field (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.comparison) as fitted:
        summaries = {name: summary(fitted.sel(survey=name)) for name in fitted["survey"].values}
        style.save(control.fits(fitted, summaries), *args.output)
