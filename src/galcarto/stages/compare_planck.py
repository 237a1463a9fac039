"""Compare the extinction of the cube, as far as stars reach or to a distance, with a HEALPix map of dust.

Example:
  galcarto compare_planck --settings "$(galcarto settings config/config.yaml compare_planck)" --seed 1 \\
      --name synthetic --cube results/demo/cube.nc --map results/demo/sky/planck.fits \\
      --comparison planck_synthetic.nc --metrics planck_synthetic.json
"""

import argparse
import logging

import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.core.sky import Tiles
from galcarto.dustmap.compare import planck
from galcarto.dustmap.compare.differences import differences
from galcarto.dustmap.settings import Compare, Dust
from galcarto.maps.grid import edges_of
from galcarto.maps.reader import open_cube


class Settings(Section):
    compare: Compare
    dust: Dust


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "cube", "metrics", settings=Settings)
    parser.add_argument("--name", required=True, help="name of the map in compare.planck")
    parser.add_argument("--map", required=True, help="HEALPix map (FITS)")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: both maps on the tiles")


def run(args: argparse.Namespace) -> None:
    """Write both maps, a straight-line fit between them and the scores of their difference."""
    settings = read(args.settings, Settings)
    chosen = next(entry for entry in settings.compare.planck if entry.name == args.name)
    sphere = planck.read(args.map, chosen)
    with open_cube(args.cube) as cube:
        reach = cube["distance_max"].to_numpy(), edges_of(cube, "distance"), settings.compare.distance
        ours, sd = (planck.total(cube[name].to_numpy(), *reach) for name in ("extinction", "extinction_sd"))
        coordinates = {name: cube[name].load() for name in ("l", "b")}
        tiles = Tiles(edges_of(cube, "l"), edges_of(cube, "b"))
    theirs = planck.to_extinction(planck.tile_means(sphere, tiles, chosen.frame), chosen.quantity, settings.dust.r_v)
    used, metrics = planck.against(ours, theirs, chosen.ceiling, chosen.line_below)
    if metrics["n"] < 3:
        logging.warning("%s: found %d tiles that both maps cover; a line needs 3", args.name, metrics["n"])
    # the error of the map is unknown
    scores = differences(ours[used], theirs[used], sd[used] ** 2)
    metrics |= {"bias_mag": scores["bias"], "difference_scatter_mag": scores["scatter"], "chi2": scores["chi2"]}
    left_out = metrics.pop("left_out")
    if left_out:
        logging.info("%s: left out %d tiles with A_V >= %g mag", args.name, left_out, chosen.ceiling)
    far = "distance_max" if settings.compare.distance is None else f"{settings.compare.distance:g} kpc"
    dataset = xr.Dataset(
        {
            "extinction": (("l", "b"), ours, {"units": "mag", "long_name": f"A_V to {far}"}),
            "extinction_sd": (("l", "b"), sd, {"units": "mag", "long_name": f"standard deviation of A_V to {far}"}),
            "planck": (("l", "b"), theirs, {"units": "mag", "long_name": f"A_V from {args.name}, whole line of sight"}),
            "difference": (("l", "b"), ours - theirs, {"units": "mag", "long_name": "extinction - planck"}),
            "used": (("l", "b"), used),
        },
        coords=coordinates,
        attrs={"name": args.name, **({"reach": f"to {far}"} if settings.compare.distance else {}), **metrics},
    )
    dataset.attrs |= provenance.attributes("compare_planck", args, [args.cube, args.map])
    dataset.to_netcdf(args.comparison)
    write_json(args.metrics, {"planck": {args.name: metrics | {"left_out": left_out}}})
