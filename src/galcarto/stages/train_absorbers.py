"""Train a network that finds absorbers, or resume from the last checkpoint.

Example:
  galcarto train_absorbers --settings "$(galcarto settings config/absorbers.yaml train_absorbers)" \\
      --seed 1 --train results/absorbers/sightlines/train_0/*.nc --valid results/absorbers/sightlines/valid_0/*.nc \\
      --checkpoints checkpoints --network network.pt --history history.csv
"""

import argparse
import hashlib
import json
import math
import os
import shutil
from pathlib import Path

import pandas as pd

from galcarto.absorbers.settings import Network
from galcarto.absorbers.train import learn
from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.learning.settings import Training

MARGIN = 5  # minutes


class Settings(Section):
    network: Network
    training: Training


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", settings=Settings)
    parser.add_argument("--train", required=True, nargs="+", help="sightlines to learn from (netCDF)")
    parser.add_argument("--valid", required=True, nargs="+", help="sightlines that stop and calibrate the training")
    parser.add_argument("--minutes", type=int, default=0, help="time of the job, for which a training on Slurm stops")
    parser.add_argument("--checkpoints", required=True, help="folder for checkpoints, emptied at the end")
    parser.add_argument("--network", required=True, type=Output, help="file to write: weights, shape, calibration")
    parser.add_argument("--history", required=True, type=Output, help="CSV file to write: training history")


def run(args: argparse.Namespace) -> None:
    """Train, calibrate, write."""
    settings = read(args.settings, Settings)
    attributes = provenance.attributes("train_absorbers", args, [*args.train, *args.valid])
    # a checkpoint is gone on with only by the same settings, data and code
    identity = hashlib.sha256(
        json.dumps([attributes, provenance.code_digest("train_absorbers")], sort_keys=True).encode()
    ).hexdigest()[:16]
    trained, history = learn(
        args.train,
        args.valid,
        Path(args.checkpoints) / identity,
        settings.network,
        settings.training,
        args.seed,
        60.0 * (args.minutes - MARGIN) if args.minutes and "SLURM_JOB_ID" in os.environ else math.inf,
    )
    trained.save(args.network, attributes)
    pd.DataFrame(history).to_csv(args.history, index=False)
    shutil.rmtree(args.checkpoints)
