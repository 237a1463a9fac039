"""Score the network on held-out sightlines and profiles.

Example:
  galcarto evaluate_heldout --settings "$(galcarto settings config/config.yaml evaluate_heldout)" --seed 1 \\
      --network results/demo/network/network.pt --examples results/demo/cmds/test/*.nc \\
      --comparison heldout.nc --metrics heldout.json
"""

import argparse

import netCDF4
import numpy as np

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dustmap.settings import Inference


class Settings(Section):
    inference: Inference


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "network", "gpus", "metrics", settings=Settings)
    parser.add_argument("--examples", required=True, nargs="+", help="test examples (netCDF)")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: scores by distance")


def run(args: argparse.Namespace) -> None:
    """Write scores over the distances where stars remain behind the inferred profile."""
    # torch takes seconds, and the options do not need it
    import torch

    from galcarto.dustmap.batches import owners
    from galcarto.dustmap.compare import heldout
    from galcarto.dustmap.network import ProfileNetwork

    inference = read(args.settings, Settings).inference
    trained = ProfileNetwork.load(args.network).on_gpu(args.gpus)
    generator = torch.Generator().manual_seed(args.seed)
    answers, truths = [], []
    for path in args.examples:
        with netCDF4.Dataset(path) as file:
            found = heldout.sample(
                trained,
                np.asarray(file["counts"][:]),
                np.asarray(file["reference"][:]),
                np.asarray(file["detectable"][:]),
                np.asarray(file["area"][:]),
                np.asarray(file["present"][:]),
                owners(file),
                samples=inference.samples,
                min_stars=inference.min_stars,
                generator=generator,
            )
            truths.append(np.asarray(file["extinction"][:]))
        answers.append(found)
    drawn, ends = (np.concatenate(part) for part in zip(*answers, strict=True))
    dataset, metrics = heldout.evaluate(drawn, np.concatenate(truths), ends, trained.edges)
    inputs = [args.network, *args.examples]
    dataset.attrs |= provenance.attributes("evaluate_heldout", args, inputs)
    dataset.to_netcdf(args.comparison)
    write_json(args.metrics, {"heldout": metrics})
