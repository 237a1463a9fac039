"""Write the explorer of a region: one HTML page, readable offline, to look into the map with mouse or keyboard.

Example:
  galcarto explorer --cube results/demo/cube.nc --faceon results/demo/faceon.nc --sky results/demo/sky/cmds.nc \\
      --fits results/demo/sightlines/????_fit.nc --truth results/demo/sky/truth.nc --output results/demo/explorer.html
"""

import argparse
import base64
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import xarray as xr
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from galcarto.errors import UserError
from galcarto.files import Output
from galcarto.maps.explorer import PERCENTILES, contents
from galcarto.maps.reader import open_cube
from galcarto.provenance import file_sha256, short_name


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--cube", required=True, help="the cube (netCDF)")
    parser.add_argument("--faceon", required=True, help="the face-on view (netCDF)")
    parser.add_argument("--sky", required=True, help="observed diagrams of the tiles (netCDF)")
    parser.add_argument(
        "--fits", required=True, nargs="+", help="checks of the strips with predicted diagrams, in order (netCDF)"
    )
    parser.add_argument("--truth", help="true extinction of a synthetic sky (netCDF)")
    parser.add_argument("--output", required=True, type=Output, help="HTML file to write")


def _policy(script: str) -> str:
    """A script as the page's content security policy names it: none but the page's own two may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _predictions(paths: Sequence[str]) -> Iterator[xr.DataArray]:
    """Predicted diagrams of the strips, one strip in memory at a time."""
    for path in paths:
        with xr.open_dataset(path) as fit:
            if "predicted" not in fit:
                raise UserError(f"{path}: found no predicted diagrams, which older versions did not keep; make it anew")
            yield fit["predicted"].load()


def run(args: argparse.Namespace) -> None:
    """Write the page."""
    truth = xr.load_dataset(args.truth) if args.truth else None
    with open_cube(args.cube) as cube, xr.open_dataset(args.faceon) as view, xr.open_dataset(args.sky) as sky:
        about, texts = contents(cube, view, sky, _predictions(args.fits), truth)
        attributes = cube.attrs
        step = 1000.0 * float(cube.distance_bounds[0, 1] - cube.distance_bounds[0, 0])
        facts = {"observed": int(cube.extinction.isel(distance=0).notnull().sum()), "step": step}
        latitudes = [float(value) for value in view.attrs["b_range_degree"]]
    folder = Path(__file__).parent
    style, script = ((folder / f"explorer.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    library = get_plotlyjs()
    environment = Environment(
        loader=PackageLoader("galcarto", "stages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html = environment.get_template("explorer.html.j2").render(
        title=attributes["title"],
        about=about,
        texts=texts,
        facts=facts,
        latitudes=latitudes,
        percentiles=PERCENTILES,
        attributes={key: value for key, value in attributes.items() if not key.startswith("galcarto_")},
        provenance={key: attributes[f"galcarto_{key}"] for key in ("version", "commit", "seed", "config_sha256")},
        inputs={short_name(path): file_sha256(path) for path in (args.cube, args.faceon, args.sky, *args.fits)},
        style=style,
        script=script,
        library=base64.b64encode(zlib.compress(library.encode(), 9)).decode("ascii"),
        policy=f"{_policy(script)} {_policy(library)}",
    )
    Path(args.output).write_text(html, encoding="utf-8")
