"""Draw the dust of the Galactic plane seen face-on.

Example:
  galcarto plot_faceon --faceon results/demo/faceon.nc --output results/demo/figures/faceon.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.dustmap.compare.tracers import MODELS
from galcarto.figures import faceon, style


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faceon", required=True, help="the face-on view (netCDF)")
    parser.add_argument("--arms", default="reid2019", choices=MODELS, help="model of the arms (reid2019)")
    parser.add_argument("--tracers", help="masers and HII regions to draw (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.faceon) as view:
        tracers = xr.load_dataset(args.tracers) if args.tracers else None
        style.save(faceon.faceon(view, MODELS[args.arms], tracers), *args.output)
