"""Train an ensemble from spectra to labels, or resume from the last checkpoint.

Example:
  galcarto train_spectra --settings "$(galcarto settings config/spectra.yaml train_spectra)" \\
      --seed 1 --checkpoints checkpoints --network network.pt \\
      --history history.csv
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
from galcarto.learning.settings import Training
from galcarto.spectra.settings import Network, Table
from galcarto.spectra.table import read_table, table_path
from galcarto.spectra.train import learn

MARGIN = 5  # minutes


class Settings(Section):
    table: Table
    network: Network
    training: Training


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", settings=Settings)
    parser.add_argument("--minutes", type=int, default=0, help="time of the job, for which a training on Slurm stops")
    parser.add_argument("--checkpoints", required=True, help="folder for checkpoints, emptied at the end")
    parser.add_argument("--network", required=True, type=Output, help="file to write: weights, shape, calibration")
    parser.add_argument("--history", required=True, type=Output, help="CSV file to write: training history")


def run(args: argparse.Namespace) -> None:
    """Train, calibrate, write."""
    table, network, training = dict(read(args.settings, Settings)).values()
    data = read_table(table, args.seed)
    attributes = provenance.attributes("train_spectra", args, [table_path(table)])
    attributes["galcarto_faults"] = json.dumps(dict(data.faults))
    # a checkpoint is gone on with only by the same settings, data and code
    identity = hashlib.sha256(
        json.dumps([attributes, provenance.code_digest("train_spectra")], sort_keys=True).encode()
    ).hexdigest()[:16]
    trained, history = learn(
        data,
        table.magnitudes,
        table.units(),
        Path(args.checkpoints) / identity,
        network,
        training,
        args.seed,
        masks=table.masks(data.spectra.wavelength),
        seconds=60.0 * (args.minutes - MARGIN) if args.minutes and "SLURM_JOB_ID" in os.environ else math.inf,
    )
    trained.save(args.network, attributes)
    pd.DataFrame(history).to_csv(args.history, index=False)
    shutil.rmtree(args.checkpoints)
