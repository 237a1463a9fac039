"""Write the explorer of a region: one HTML page that shows the map interactively, without a network.

Example:
  galcarto explorer --cube results/demo/cube.nc --faceon results/demo/faceon.nc --sky results/demo/sky/cmds.nc \\
      --fits results/demo/sightlines/????_fit.nc --truth results/demo/sky/truth.nc --output results/demo/explorer.html
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import xarray as xr

from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.provenance import file_sha256, short_name
from galcarto.maps.reader import open_cube
from galcarto.pages import explorer


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cube", required=True, help="the cube (netCDF)")
    parser.add_argument("--faceon", required=True, help="the face-on view (netCDF)")
    parser.add_argument("--sky", required=True, help="observed diagrams of the tiles (netCDF)")
    parser.add_argument(
        "--fits", required=True, nargs="+", help="checks of the strips with predicted diagrams, in order (netCDF)"
    )
    parser.add_argument("--truth", help="true extinction of a synthetic sky (netCDF)")
    parser.add_argument("--output", required=True, type=Output, help="HTML file to write")


def _predictions(paths: Sequence[str]) -> Iterator[xr.DataArray]:
    """Yield the predicted diagrams of the strips, one strip in memory at a time."""
    for path in paths:
        with xr.open_dataset(path) as fit:
            if "predicted" not in fit:
                raise UserError(f"{path}: found no predicted diagrams; expected them: run check_sightlines again")
            yield fit["predicted"].load()


def run(args: argparse.Namespace) -> None:
    """Write the page."""
    truth = xr.load_dataset(args.truth) if args.truth else None
    inputs = {short_name(path): file_sha256(path) for path in (args.cube, args.faceon, args.sky, *args.fits)}
    with open_cube(args.cube) as cube, xr.open_dataset(args.faceon) as view, xr.open_dataset(args.sky) as sky:
        html = explorer.render(cube, view, sky, _predictions(args.fits), truth, inputs)
    Path(args.output).write_text(html, encoding="utf-8")
