"""Infer the posterior of every tile of a strip.

Example:
  galcarto infer_sightlines --settings "$(galcarto settings config/config.yaml sky tile inference)" --seed 1 \\
      --network network.pt --sky cmds.nc --strip 0000 --output 0000.nc
"""

import argparse
import json

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from galcarto import provenance
from galcarto.cmd.forward import stars_beyond
from galcarto.inference.trained import Trained
from galcarto.inference.trust import log_density_spread
from galcarto.seeds import generator
from galcarto.settings import read_sections


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of the sections sky, tile, inference")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--network", required=True, help="trained network")
    parser.add_argument("--sky", required=True, help="images of the tiles (netCDF)")
    parser.add_argument("--strip", required=True, help="number of the strip of longitude columns, e.g. 0000")
    parser.add_argument("--output", required=True, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write samples of cumulative extinction per tile, and how far detectable stars reach."""
    sky, tile, inference = read_sections(args.settings, "sky", "tile", "inference")
    trained = Trained.load(args.network)
    tiles = sky.strip(tile.size, args.strip)
    first = int(args.strip) * sky.strip_columns * tiles.shape[1]
    with xr.open_dataset(args.sky) as file:
        images = file.isel(tile=slice(first, first + tiles.area().size)).load()
    bins = len(trained.edges) - 1
    area = images["area"].to_numpy()  # (tile, survey)
    full = images["full_area"].to_numpy()
    seen = (area >= tile.min_area_fraction * full[:, None]) & (images["stars"].to_numpy() > 0)
    usable = seen.any(axis=1)
    owner = images["owner"].to_numpy()
    samples = np.full((len(area), inference.samples, bins), np.nan, np.float32)
    beyond = np.zeros((len(area), bins), np.float32)
    strangeness = np.full(len(area), np.nan, np.float32)
    if usable.any():
        chosen = images.isel(tile=usable)
        reference = chosen["reference"].to_numpy() * area[usable][:, owner, None, None]
        posterior, features = trained.posterior(chosen["counts"].to_numpy(), reference, seen[usable][:, owner])
        assert trained.familiarity is not None
        strangeness[usable] = trained.familiarity.strangeness(features).numpy()
        for i, at in enumerate(tqdm(np.flatnonzero(usable), desc="sampling", unit="tile", mininterval=5)):
            # each tile has its own stream: a map does not depend on how it is cut into strips
            name = f"{float(images['l'][at]):.4f} {float(images['b'][at]):.4f}"
            seed = int(generator(args.seed, "infer_sightlines", name).integers(2**63))
            drawn = trained.calibration.sample(
                posterior[i : i + 1], inference.samples, torch.Generator().manual_seed(seed)
            )
            samples[at] = drawn[0].numpy()
            mean = samples[at].mean(axis=0)
            for survey in np.flatnonzero(seen[at]):
                beyond[at] += stars_beyond(images["detectable"][at, survey].to_numpy(), mean) * area[at, survey]
    dataset = xr.Dataset(
        {
            "extinction_samples": (("tile", "sample", "distance"), samples, {"units": "mag"}),
            "stars_beyond": (("tile", "distance"), beyond, {"units": "1"}),
            "strangeness": ("tile", strangeness, {"units": "1"}),
            "narrowing": (
                ("tile", "distance"),
                (log_density_spread(samples.astype(float), trained.support[0]) / trained.prior_spread).astype("f4"),
                {"units": "1", "long_name": "spread of the log-density over that of the prior"},
            ),
            "l": images["l"],
            "b": images["b"],
            "stars": images["stars"],
            "area": images["area"],
            "seen": (("tile", "survey"), seen.astype(np.uint8)),
            "full_area": images["full_area"],
        },
        attrs=provenance.attributes("infer_sightlines", json.loads(args.settings), args.seed, [args.network, args.sky]),
    )
    dataset.to_netcdf(args.output, encoding={"extinction_samples": {"zlib": True, "complevel": 1}})
