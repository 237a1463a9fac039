"""Infer the posterior of every tile of a strip.

Example:
  galcarto infer_sightlines --settings "$(galcarto settings config/config.yaml infer_sightlines)" --seed 1 \\
      --network results/demo/network/network.pt --sky results/demo/sky/cmds.nc --strip 0000 --output 0000.nc
"""

import argparse

import xarray as xr

from galcarto.core import provenance
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dustmap.settings import Inference, Sky, Tile


class Settings(Section):
    sky: Sky
    tile: Tile
    inference: Inference


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "network", "strip", "gpus", "output", settings=Settings)
    parser.add_argument("--sky", required=True, help="images of the tiles (netCDF)")


def run(args: argparse.Namespace) -> None:
    """Write samples of cumulative extinction per tile, and how far detectable stars reach."""
    # torch takes seconds, and the options do not need it
    from galcarto.dustmap.infer import infer
    from galcarto.dustmap.network import ProfileNetwork

    sky, tile, inference = dict(read(args.settings, Settings)).values()
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
        args,
        [args.network],
        {f"{provenance.short_name(args.sky)}, strip {args.strip}": images},
    )
    dataset.to_netcdf(args.output, encoding={"extinction_samples": {"zlib": True, "complevel": 1}})
