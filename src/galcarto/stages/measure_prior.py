"""Measure statistics of the prior over profiles, with and without each of its parts, beside published ones.

Example:
  galcarto measure_prior --settings "$(galcarto settings config/config.yaml measure_prior)" --seed 1 \\
      --comparison prior.nc --metrics prior.json
"""

import argparse

import numpy as np

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import Section, read
from galcarto.dustmap.compare import prior
from galcarto.dustmap.settings import Distance, ProfileSettings, Sky


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
    """Write statistics of the prior and published ones."""
    profiles, distance, sky = dict(read(args.settings, Settings)).values()
    rng = generator(args.seed, "measure_prior")
    dataset, metrics = prior.statistics(rng, distance.edges(), profiles.model_dump(), float(np.mean(sky.b)))
    dataset.attrs |= provenance.attributes("measure_prior", args, [])
    dataset.to_netcdf(args.comparison)
    write_json(args.metrics, {"prior": metrics})
