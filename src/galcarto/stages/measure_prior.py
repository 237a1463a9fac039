"""Measure what the prior over profiles says, with and without each of its parts, beside published statistics.

Example:
  galcarto measure_prior --settings "$(galcarto settings config/orion.yaml profiles distance sky)" --seed 1 \\
      --comparison prior.nc --metrics prior.json
"""

import argparse
import json

import numpy as np

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.core.seeds import generator
from galcarto.dustmap.compare import prior
from galcarto.dustmap.settings import read_sections


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of the sections profiles, distance, sky")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--comparison", required=True, type=Output, help="netCDF file to write: quantiles, examples, histograms"
    )
    parser.add_argument("--metrics", required=True, type=Output, help="JSON file to write")


def run(args: argparse.Namespace) -> None:
    """Write statistics of the prior and published ones."""
    profiles, distance, sky = read_sections(args.settings, "profiles", "distance", "sky")
    rng = generator(args.seed, "measure_prior")
    dataset, metrics = prior.statistics(rng, distance.edges(), profiles.model_dump(), float(np.mean(sky.b)))
    dataset.attrs |= provenance.attributes("measure_prior", json.loads(args.settings), args.seed, [])
    dataset.to_netcdf(args.comparison)
    with open(args.metrics, "w") as handle:
        json.dump({"prior": metrics}, handle, indent=2)
