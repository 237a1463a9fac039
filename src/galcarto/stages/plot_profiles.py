"""Draw extinction against distance for sightlines spread over the map.

Example:
  galcarto plot_profiles --cube results/demo/cube.nc --truth results/demo/sky/truth.nc \\
      --output results/demo/figures/profiles.png
"""

import argparse

import xarray as xr

from galcarto.core.files import Output
from galcarto.figures import profiles, style
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--cube", required=True, help="the cube (netCDF)")
    parser.add_argument("--truth", help="true extinction of a synthetic sky (netCDF)")
    parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")


def run(args: argparse.Namespace) -> None:
    """Write the figure."""
    truth = xr.load_dataset(args.truth) if args.truth else None
    with open_cube(args.cube) as cube:
        style.save(profiles.sightlines(cube, truth), *args.output)
