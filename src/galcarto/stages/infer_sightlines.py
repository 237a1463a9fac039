"""Infer the posterior of every tile of a strip.

Example:
  galcarto infer_sightlines --settings "$(galcarto settings config/config.yaml sky tile inference)" --seed 1 \\
      --network network.pt --sky cmds.nc --strip 0000 --output 0000.nc
"""

import argparse
import json

import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.dustmap.infer import infer
from galcarto.dustmap.network import ProfileNetwork
from galcarto.dustmap.settings import read_sections


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of the sections sky, tile, inference")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--network", required=True, help="trained network")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that the job was given; default 0")
    parser.add_argument("--sky", required=True, help="images of the tiles (netCDF)")
    parser.add_argument("--strip", required=True, help="number of the strip of longitude columns, e.g. 0000")
    parser.add_argument("--output", required=True, type=Output, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write samples of cumulative extinction per tile, and how far detectable stars reach."""
    sky, tile, inference = read_sections(args.settings, "sky", "tile", "inference")
    trained = ProfileNetwork.load(args.network).on_gpu(args.gpus)
    tiles = sky.strip(tile.size, args.strip)
    first = int(args.strip) * sky.strip_columns * tiles.shape[1]
    with xr.open_dataset(args.sky) as file:
        images = file.isel(tile=slice(first, first + tiles.area().size)).load()
    dataset = infer(
        trained,
        images,
        min_area_fraction=tile.min_area_fraction,
        samples=inference.samples,
        seed=args.seed,
    ).assign({name: images[name] for name in ("l", "b", "stars", "area", "full_area")})
    dataset.attrs = provenance.attributes(
        "infer_sightlines",
        json.loads(args.settings),
        args.seed,
        [args.network],
        {f"{provenance.short_name(args.sky)}, strip {args.strip}": images},
    )
    dataset.to_netcdf(args.output, encoding={"extinction_samples": {"zlib": True, "complevel": 1}})
