"""Train a network from bands, colours or spectra to labels, or resume from the last checkpoint.

Example:
  galcarto train_labels --settings "$(galcarto settings config/metallicity.yaml train_labels)" \\
      --seed 1 --stars results/metallicity/stars.parquet \\
      --features u g r i z --checkpoints checkpoints --network network.pt --history history.csv
  galcarto train-labels --spectra --settings "$(galcarto settings config/spectra.yaml train_spectra)" \\
      --seed 1 --checkpoints checkpoints --network network.pt --history history.csv

With --spectra the settings name the table of spectra, and the network is an ensemble.
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
from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.labels.settings import LABELS, Deredden, LabelNetwork, Split
from galcarto.labels.table import arrays, splits
from galcarto.labels.train import labels_of, learn
from galcarto.learning.settings import Training
from galcarto.stages import train_spectra

MARGIN = 5  # minutes


class Settings(Section):
    network: LabelNetwork
    training: Training
    deredden: Deredden
    split: Split


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", settings=Settings)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--stars", help="stars with labels (Parquet)")
    source.add_argument("--spectra", action="store_true", help="train on the settings' table of spectra")
    parser.add_argument("--features", nargs="+", default=[], help="of stars: bands or colours")
    parser.add_argument("--number", type=int, default=0, help="which of the seeds; each has a split of its own")
    parser.add_argument("--without", default="", help="band or colour that is left out")
    parser.add_argument("--minutes", type=int, default=0, help="time of the job, for which a training on Slurm stops")
    parser.add_argument("--checkpoints", required=True, help="folder for checkpoints, emptied at the end")
    parser.add_argument("--network", required=True, type=Output, help="file to write: weights, shape, calibration")
    parser.add_argument("--history", required=True, type=Output, help="CSV file to write: training history")


def run(args: argparse.Namespace) -> None:
    """Train, calibrate, write."""
    if args.spectra:
        train_spectra.run(args)
        return
    if not args.features:
        raise UserError("--features: found none; expected the bands or colours of --stars, such as u g r i z")
    network, training, deredden, split = dict(read(args.settings, Settings)).values()
    frame = pd.read_parquet(args.stars)
    names = [name for name in args.features if name != args.without]
    member = splits(frame, args.features, split, args.seed, args.number)
    labels = labels_of(frame.loc[member == 0, list(LABELS)].to_numpy())
    attributes = provenance.attributes("train_labels", args, [args.stars])
    identity = hashlib.sha256(
        json.dumps([attributes, args.number, names, provenance.code_digest("train_labels")], sort_keys=True).encode()
    ).hexdigest()[:16]
    trained, history = learn(
        arrays(frame[member == 0], names, labels),
        arrays(frame[member == 1], names, labels),
        names,
        labels,
        Path(args.checkpoints) / identity,
        network,
        training,
        args.seed + args.number,
        dust=deredden,
        seconds=60.0 * (args.minutes - MARGIN) if args.minutes and "SLURM_JOB_ID" in os.environ else math.inf,
    )
    trained.save(args.network, attributes)
    pd.DataFrame(history).to_csv(args.history, index=False)
    shutil.rmtree(args.checkpoints)
