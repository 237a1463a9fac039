"""Compare networks with the Bayesian finder gp-dla-finder on the same mock sightlines.

Example:
  galcarto compare_finder --network results/absorbers/network/ours/0.pt \\
      --sightlines results/absorbers/sightlines/hard/*.nc --number 20 --metrics finder.json

The package is none of ours: 'pip install --no-deps gp-dla-finder==0.1.0'. It needs seconds for each sightline.
"""

import argparse

from galcarto.absorbers.bayesian import compare
from galcarto.absorbers.find import AbsorberTrained
from galcarto.absorbers.sightlines import open_sightlines
from galcarto.core.files import write_json
from galcarto.core.options import options


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "network", "metrics")
    parser.add_argument("--sightlines", required=True, nargs="+", help="mock sightlines (netCDF)")
    parser.add_argument("--number", required=True, type=int, help="of sightlines, the first ones")


def run(args: argparse.Namespace) -> None:
    """Search with both, compare, write."""
    sightlines = open_sightlines(args.sightlines)[: args.number]
    write_json(args.metrics, compare(AbsorberTrained.load(args.network), sightlines))
