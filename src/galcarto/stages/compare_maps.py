"""Compare the cube with a published map of dust in three dimensions, bin by bin of distance.

Example:
  galcarto compare_maps --name bayestar19 --cube results/orion/cube.nc --map bayestar2019.h5 \\
      --comparison results/orion/comparisons/map_bayestar19.nc --metrics results/orion/comparisons/map_bayestar19.json
"""

import argparse
import json
import logging
from pathlib import Path

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.dustmap.compare import agreement, published
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "cube", "metrics")
    parser.add_argument("--name", required=True, choices=published.SOURCES, help="the map")
    parser.add_argument("--map", required=True, help="the map's file, or the result of fetching it (JSON)")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: both maps, scores")


def run(args: argparse.Namespace) -> None:
    """Write both maps and the scores of their difference, or the reason why there are none."""
    file, reason = args.map, None
    if Path(file).suffix == ".json":
        fetched = json.loads(Path(file).read_text())
        file, reason = fetched.get("file"), fetched.get("reason")
        if file and not Path(file).is_file():
            reason = f"{file} was fetched and is there no more; run again with --forcerun fetch_map"
    if reason:
        comparison = agreement.unavailable(args.name, reason)
    else:
        with open_cube(args.cube) as cube:
            source = published.read(args.name, file, cube.attrs["extinction_law"], float(cube.attrs["r_v"]))
            comparison = agreement.compare(cube, args.name, source)
    if comparison.attrs["status"] != "compared":
        logging.warning("%s: %s", args.name, comparison.attrs["status"])
    comparison.attrs |= provenance.attributes("compare_maps", args, [args.cube, args.map])
    comparison.to_netcdf(args.comparison)
    write_json(args.metrics, {"maps": {args.name: agreement.metrics(comparison)}})
