"""Make mock sightlines to quasars, with absorbers of known redshifts and column densities.

Example:
  galcarto simulate_sightlines --settings "$(galcarto settings config/absorbers.yaml simulate_sightlines)" \\
      --seed 1 --stream test --number 1000 --output sightlines.nc

Sightlines of the same seed and stream are the same.
"""

import argparse

from galcarto.absorbers.mock import Continuum, draw, model_path
from galcarto.absorbers.read import read_sightlines
from galcarto.absorbers.settings import Continuum as ContinuumSettings
from galcarto.absorbers.settings import Mock
from galcarto.absorbers.sightlines import Sightlines, write
from galcarto.core import provenance
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import Section, read


class Settings(Section):
    continuum: ContinuumSettings
    mock: Mock


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "output", settings=Settings)
    parser.add_argument("--number", required=True, type=int, help="of sightlines")
    parser.add_argument("--stream", required=True, help="name of the random stream, e.g. train_0000")
    parser.add_argument("--enriched", action="store_true", help="more absorbers than in nature, for training")


def run(args: argparse.Namespace) -> None:
    """Draw and write."""
    settings = read(args.settings, Settings)
    rng = generator(args.seed, "simulate_sightlines", args.stream)
    inputs = []
    if settings.mock.spectra:
        own, _ = read_sightlines([settings.mock.spectra], {})
        light: Continuum | Sightlines = own[own.searched().any(axis=1)]
    else:
        light = Continuum.read(settings.continuum.path)
        inputs.append(model_path(settings.continuum.path))
    sightlines = draw(rng, args.number, settings.mock, light, args.enriched)
    attributes = provenance.attributes("simulate_sightlines", args, inputs)
    write(args.output, sightlines, attributes)
