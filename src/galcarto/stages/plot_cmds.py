"""Draw colour-magnitude diagrams: without dust, behind dust, and observed.

Example:
  galcarto plot_cmds --examples results/demo/cmds/test/l284.000_b-00.800.nc --sky results/demo/sky/diagrams.nc \\
      --output results/demo/figures/diagrams.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import diagrams, style


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--examples", required=True, help="mock diagrams of one sightline (netCDF)")
    parser.add_argument("--sky", required=True, help="observed diagrams (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    with xr.open_dataset(args.examples) as examples, xr.open_dataset(args.sky) as sky:
        style.save(diagrams.gallery(examples, sky), *args.output)
