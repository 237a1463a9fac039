"""Compare the extinction from each survey alone and from all together, in the same tiles and by one network.

Example:
  galcarto compare_surveys --settings "$(galcarto settings config/cone.yaml compare_surveys)" --seed 1 \\
      --network results/cone/network/network.pt --sky results/cone/sky/cmds.nc \\
      --comparison results/cone/comparisons/surveys.nc --metrics results/cone/comparisons/surveys.json
"""

import argparse

import numpy as np
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dustmap.compare.structure import at_distance
from galcarto.dustmap.settings import Inference, SurveySettings, Tile

DISTANCES = np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0])  # kpc, as far as the profile goes


class Settings(Section):
    tile: Tile
    inference: Inference
    surveys: list[SurveySettings]


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "network", "metrics", settings=Settings)
    parser.add_argument("--sky", required=True, help="images of the tiles (netCDF)")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: extinction by survey")


def run(args: argparse.Namespace) -> None:
    """Write means and standard deviations of A_V by survey, and how well the surveys agree."""
    # torch takes seconds, and the options do not need it
    import torch

    from galcarto.dustmap.network import ProfileNetwork

    settings = read(args.settings, Settings)
    trained = ProfileNetwork.load(args.network)
    with xr.open_dataset(args.sky) as file:
        images = file.load()
    area, owner = images["area"].to_numpy(), images["owner"].to_numpy()
    seen = area >= settings.tile.min_area_fraction * images["full_area"].to_numpy()[:, None]
    chosen = seen.all(axis=1) & (images["stars"].to_numpy() > 0).all(axis=1)
    distances = DISTANCES[trained.edges[-1] >= DISTANCES]
    names = [survey.name for survey in settings.surveys]
    kinds = {name: np.array([name == other for other in names]) for name in names} | {"both": np.ones(len(names), bool)}
    counts, reference = (images[name].to_numpy()[chosen] for name in ("counts", "reference"))
    reference = reference * area[chosen][:, owner, None, None]
    values = []
    for there in kinds.values():
        present = np.tile(there[owner], (len(counts), 1))
        posterior, _ = trained.posterior(counts, reference, present)
        generator = torch.Generator().manual_seed(args.seed)
        samples = trained.sample(posterior, settings.inference.samples, generator).numpy()
        at = np.stack([at_distance(samples, trained.edges, d) for d in distances], axis=-1)
        values.append((at.mean(axis=1), at.std(axis=1)))
    mean, sd = (np.stack([value[i] for value in values]) for i in range(2))  # (kind, tile, distance)
    metrics = {"tiles": int(chosen.sum()), "distances_kpc": distances.tolist()}
    for kind, one_mean, one_sd in zip(kinds, mean, sd, strict=True):
        metrics[kind] = {
            "median_sd_mag": float(np.median(one_sd)),
            "median_sd_mag_by_distance": np.median(one_sd, axis=0).tolist(),
            "median_extinction_mag_by_distance": np.median(one_mean, axis=0).tolist(),
        }
    alone = np.median(sd[:-1], axis=(1, 2))
    metrics["sd_ratio"] = float(np.median(sd[-1]) / alone.min())
    ratio = np.median(sd[-1] / sd[:-1].min(axis=0), axis=0)
    difference = (mean[0] - mean[1]) ** 2 / (sd[0] ** 2 + sd[1] ** 2)
    metrics["chi2"] = float(difference.mean())
    metrics["chi2_by_distance"] = difference.mean(axis=0).tolist()
    dims = ("survey", "tile", "distance")
    dataset = xr.Dataset(
        {
            "extinction": (dims, mean, {"units": "mag", "long_name": "posterior mean of A_V to the distance"}),
            "extinction_sd": (dims, sd, {"units": "mag", "long_name": "posterior standard deviation"}),
            "sd_ratio": ("distance", ratio, {"units": "1", "long_name": "median of both over the better one alone"}),
            "l": ("tile", images["l"].to_numpy()[chosen], {"units": "degree"}),
            "b": ("tile", images["b"].to_numpy()[chosen], {"units": "degree"}),
        },
        coords={"survey": list(kinds), "distance": ("distance", distances, {"units": "kiloparsec"})},
        attrs=provenance.attributes("compare_surveys", args, [args.network, args.sky]),
    )
    dataset.to_netcdf(args.comparison)
    write_json(args.metrics, {"surveys": metrics})
