"""Check the fit of each tile: posterior predictive p-value of its diagram, and the mean predicted diagram.

Example:
  galcarto check_sightlines --settings "$(galcarto settings config/config.yaml check_sightlines)" --seed 1 \\
      --strip 0000 --posterior results/demo/sightlines/0000.nc --sky results/demo/sky/cmds.nc \\
      --stars results/demo/stars/l285.000_b+00.400.parquet --examples results/demo/cmds/valid/l285.000_b+00.400.nc \\
      --output fit.nc
"""

import argparse
from pathlib import Path

import numpy as np
import xarray as xr
from tqdm import tqdm

from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import read
from galcarto.core.sky import sightline_position
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import InstrumentSettings, Sky, Tile
from galcarto.learning.trust import goodness_of_fit

REPLICATES = 128
# the mean of the replicates has an error of a few per cent: two digits suffice
PREDICTED = {"zlib": True, "complevel": 4, "significant_digits": 2, "quantize_mode": "BitRound"}


class Settings(InstrumentSettings):
    sky: Sky
    tile: Tile


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "control", "strip", "output", settings=Settings)
    parser.add_argument("--posterior", required=True, help="posteriors of the strip (netCDF)")
    parser.add_argument("--sky", required=True, help="images of the tiles (netCDF)")
    parser.add_argument("--stars", required=True, nargs="+", help="bare stars of the sightlines (Parquet)")
    parser.add_argument(
        "--examples", required=True, nargs="+", help="images of each of them, for its reference (netCDF)"
    )


def run(args: argparse.Namespace) -> None:
    """Write p-values, chi2 and mean predictions of the tiles, from replicates of the nearest sightline's stars."""
    settings = read(args.settings, Settings)
    instrument = Instrument.of(settings, Corrections.read(args.control))
    model = instrument.forward_model
    with xr.open_dataset(args.posterior) as posterior, xr.open_dataset(args.sky) as file:
        strip = posterior[["extinction_samples", "l", "b", "area", "seen"]].load()
        first = int(args.strip) * settings.sky.strip_columns * settings.sky.grid(settings.tile.size).shape[1]
        observed = file[["counts", "reference"]].isel(tile=slice(first, first + len(strip["l"]))).load()
    names = [Path(path).stem for path in args.stars]
    if names != (found := [Path(path).stem for path in args.examples]):
        raise UserError(f"--examples: found {', '.join(found)}; expected the sightlines of --stars: {', '.join(names)}")
    references = []
    for path in args.examples:
        with xr.open_dataset(path) as examples:
            references.append(examples["reference"].load())
    places = np.array([sightline_position(name) for name in names])
    away = np.hypot(
        (strip["l"].to_numpy()[:, None] - places[:, 0] + 180) % 360 - 180, strip["b"].to_numpy()[:, None] - places[:, 1]
    )
    nearest = away.argmin(axis=1)
    usable = np.isfinite(strip["extinction_samples"].to_numpy()[:, 0, 0])
    p_value, chi2 = (np.full(len(usable), np.nan, np.float32) for _ in range(2))
    predicted = np.full(observed["counts"].shape, np.nan, np.float32)
    owner = np.array(model.surveys)
    progress = tqdm(total=int(usable.sum()), desc="checking", unit="tile", mininterval=5)
    for sightline in np.unique(nearest[usable]):
        rng = generator(args.seed, "check_sightlines", names[sightline])
        stars = instrument.read_stars(args.stars[sightline], rng)
        for at in np.flatnonzero(usable & (nearest == sightline)):
            l, b = float(strip["l"][at]), float(strip["b"][at])
            rng = generator(args.seed, "check_sightlines", f"{l:.4f} {b:.4f}")
            samples = strip["extinction_samples"][at].to_numpy()
            picked = samples[rng.integers(0, len(samples), REPLICATES)]
            nuisances = instrument.draw_nuisances(rng, REPLICATES, stars.populations)
            seen = strip["seen"][at].to_numpy().astype(bool)[owner]
            # the stars of the sightline, in the number of the tile's own reference
            first_seen = int(np.argmax(seen))
            ratio = float(observed["reference"][at, first_seen].sum()) / float(references[sightline][first_seen].sum())
            area = np.full(REPLICATES, ratio * float(strip["area"][at].max()))
            replicates = model.render(stars, picked, area, rng, nuisances)
            p_value[at], chi2[at] = goodness_of_fit(observed["counts"][at].to_numpy()[seen], replicates[:, seen])
            predicted[at, seen] = replicates[:, seen].mean(axis=0)
            progress.update()
    inputs = [args.posterior, *args.stars, args.control]
    parts = {
        f"{provenance.short_name(args.sky)}, strip {args.strip}": observed,
        "references of the examples": xr.concat(references, "sightline").to_dataset(),
    }
    dataset = xr.Dataset(
        {
            "fit_p_value": ("tile", p_value),
            "fit_chi2": ("tile", chi2),
            "predicted": (
                observed["counts"].dims,
                predicted,
                {"units": "1", "long_name": "stars per pixel, mean of the posterior's predictions"},
            ),
        },
        attrs=provenance.attributes("check_sightlines", args, inputs, parts),
    )
    dataset.to_netcdf(args.output, encoding={"predicted": PREDICTED})
