"""Train an ensemble on a changed table, or another network, and judge it on the unchanged test stars.

Example:
  galcarto try_spectra --settings "$(galcarto settings config/spectra_goals.yaml try_spectra)" \\
      --seed 1 --trial starnet --checkpoints checkpoints --metrics starnet.json
"""

import argparse
import shutil
from pathlib import Path

from galcarto.core.files import write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.learning.settings import Training
from galcarto.spectra.scores import judge
from galcarto.spectra.settings import Network, Table, Trial
from galcarto.spectra.table import TRAIN, changed, read_table
from galcarto.spectra.train import for_fewer, learn


class Settings(Section):
    table: Table
    network: Network
    training: Training
    trials: dict[str, Trial]


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "metrics", settings=Settings)
    parser.add_argument("--trial", required=True, help="which of the trials")
    parser.add_argument("--checkpoints", required=True, help="folder for checkpoints, emptied at the end")


def run(args: argparse.Namespace) -> None:
    """Train and judge."""
    table, network, training, trials = dict(read(args.settings, Settings)).values()
    trial = trials[args.trial]
    options = Network.model_validate(network.model_dump() | trial.network)
    names = list(table.labels)
    data = read_table(table, args.seed)
    part = changed(data, trial, names, args.seed)
    if trial.stars is not None:
        training = for_fewer(training, trial.stars, len(data.part(TRAIN).labels))
    trained, _ = learn(
        part,
        table.magnitudes,
        table.units(),
        Path(args.checkpoints),
        options,
        training,
        args.seed,
        masks=table.masks(data.spectra.wavelength),
    )
    found, _ = judge(trained, data, table, args.seed)
    weights = sum(one.numel() for one in trained.estimator.parameters()) // options.members
    write_json(args.metrics, found | {"weights": weights, "members": options.members})
    shutil.rmtree(args.checkpoints)
