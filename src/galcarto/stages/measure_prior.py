"""Measure statistics of the prior over profiles, with and without each of its parts, beside published ones.

Example:
  galcarto measure_prior --settings "$(galcarto settings config/orion.yaml measure_prior)" --seed 1 \\
      --comparison prior.nc --metrics prior.json
"""

import argparse
import json

import numpy as np
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import Section, read
from galcarto.dustmap.compare import prior
from galcarto.dustmap.settings import Distance, ProfileSettings, Sky
from galcarto.maps.grid import distance_coordinate

PROFILES = 20_000  # of each variant
SHOWN = 6  # profiles kept as examples


class Settings(Section):
    profiles: ProfileSettings
    distance: Distance
    sky: Sky


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "metrics", settings=Settings)
    parser.add_argument(
        "--comparison", required=True, type=Output, help="netCDF file to write: quantiles, examples, histograms"
    )


def run(args: argparse.Namespace) -> None:
    """Write statistics of the prior and what is published."""
    profiles, distance, sky = dict(read(args.settings, Settings)).values()
    edges = distance.edges()
    latitude = float(np.mean(sky.b))
    drawn = prior.draw(generator(args.seed, "measure_prior"), PROFILES, edges, profiles.model_dump())
    full = drawn["full"]
    at = [d for d in prior.DISTANCES if d <= edges[-1]]
    values = np.stack([prior.at_distance(full, edges, d) for d in at], axis=1)
    dims = ("variant", "quantile", "distance")
    density = {name: np.diff(profile, axis=1, prepend=0.0) / np.diff(edges) for name, profile in drawn.items()}
    expected = prior.expected(latitude)
    dataset = xr.Dataset(
        {
            "extinction": (
                dims,
                np.stack([np.quantile(profile, prior.QUANTILES, axis=0) for profile in drawn.values()]),
                {"units": "mag"},
            ),
            "density": (
                dims,
                np.stack([np.quantile(values, prior.QUANTILES, axis=0) for values in density.values()]),
                {"units": "mag kpc-1"},
            ),
            "examples": (("example", "distance"), full[:SHOWN], {"units": "mag"}),
            "extinction_at": (("profile", "at"), values, {"units": "mag"}),
        }
        | {name: ("bound", value) for name, value in expected.items()},
        coords={
            "variant": list(drawn),
            "quantile": list(prior.QUANTILES),
            "at": ("at", at, {"units": "kiloparsec"}),
            "bound": ["value", "low", "high"],
            **distance_coordinate(edges),
        },
        attrs={
            "clouds_mean": profiles.clouds.mean,
            "slope": profiles.slope,
            "bubble_kpc": list(profiles.bubble),
            "envelope_kpc": list(profiles.envelope),
            "latitude": latitude,
        },
    )
    metrics = {name: prior.measure(profile, edges) for name, profile in drawn.items()}
    shown = ("steepest_100pc_median_mag", "steepest_100pc_share", "ln_density_sd_along")
    dataset.attrs |= {name.replace("_100pc", "").replace("_median", ""): metrics["full"][name] for name in shown}
    dataset.attrs |= provenance.attributes("measure_prior", json.loads(args.settings), args.seed, [])
    dataset.to_netcdf(args.comparison)
    settings = {
        "clouds_mean_number": profiles.clouds.mean,
        "clouds_median_depth_mag": float(np.sqrt(np.prod(profiles.clouds.extinction))),
        "clouds_median_width_kpc": float(np.sqrt(np.prod(profiles.clouds.width))),
        "bubble_wall_kpc": list(profiles.bubble),
        "envelope_kpc": list(profiles.envelope),
        "spectral_index": profiles.slope,
    }
    published = {name: dict(zip(("value", "low", "high"), value, strict=True)) for name, value in expected.items()}
    with open(args.metrics, "w") as handle:
        json.dump({"prior": metrics | {"settings": settings, "published": published}}, handle, indent=2)
