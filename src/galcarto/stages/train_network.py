"""Train the network on the rendered examples, or resume from the last checkpoint.

Example:
  galcarto train_network --settings "$(galcarto settings config/config.yaml train_network)" --seed 1 \\
      --train results/demo/cmds/train/*.nc --valid results/demo/cmds/valid/*.nc \\
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

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dustmap.settings import Distance, Network, ProfileSettings, Training

MARGIN = 5  # minutes


class Settings(Section):
    network: Network
    training: Training
    distance: Distance
    profiles: ProfileSettings


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", settings=Settings)
    parser.add_argument("--train", required=True, nargs="+", help="training examples (netCDF)")
    parser.add_argument("--valid", required=True, nargs="+", help="validation examples (netCDF)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read examples, for each device")
    parser.add_argument(
        "--minutes",
        type=int,
        default=0,
        help=f"time of the job: under Slurm the training stops {MARGIN} minutes before its end, with a checkpoint",
    )
    parser.add_argument("--checkpoints", required=True, help="folder for checkpoints, emptied at the end")
    parser.add_argument("--network", required=True, type=Output, help="file to write: weights, shape, calibration")
    parser.add_argument("--history", required=True, type=Output, help="CSV file to write: training history")


def run(args: argparse.Namespace) -> None:
    """Train, calibrate, write."""
    # torch takes seconds, and the options do not need it
    from galcarto.dustmap.train import learn

    network, training, distance, profiles = dict(read(args.settings, Settings)).values()
    attributes = provenance.attributes("train_network", args, [*args.train, *args.valid])
    # a checkpoint is gone on with only by the same settings, data and code
    identity = hashlib.sha256(
        json.dumps([attributes, provenance.code_digest("train_network")], sort_keys=True).encode()
    ).hexdigest()[:16]
    trained, history = learn(
        args.train,
        args.valid,
        Path(args.checkpoints) / identity,
        network,
        training,
        edges=distance.edges(),
        support=profiles.support(distance.step),
        seed=args.seed,
        workers=args.workers,
        # a signal before the end reaches all of a job on some clusters only
        seconds=60.0 * (args.minutes - MARGIN) if args.minutes and "SLURM_JOB_ID" in os.environ else math.inf,
    )
    trained.save(args.network, attributes)
    pd.DataFrame(history).to_csv(args.history, index=False)
    shutil.rmtree(args.checkpoints)
