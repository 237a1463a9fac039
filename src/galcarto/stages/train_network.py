"""Train the network on the rendered examples, or go on from its last checkpoint.

Example:
  galcarto train_network --settings "$(galcarto settings config/config.yaml \\
      network training distance pixels profiles)" --seed 1 \\
      --train train/*.nc --valid valid/*.nc --checkpoints checkpoints --network network.pt --history history.csv
"""

import argparse
import hashlib
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import torch

from galcarto import provenance
from galcarto.inference.calibration import Calibration, calibrate
from galcarto.inference.data import Examples
from galcarto.inference.networks import Estimator, planes
from galcarto.inference.trained import Trained
from galcarto.inference.training import fit
from galcarto.inference.trust import Familiarity, log_density_spread
from galcarto.seeds import generator
from galcarto.settings import read_sections

# Floor of the posterior's increments: a density, mag/kpc, far below what any sightline can tell.
FLOOR_DENSITY = 0.02
CALIBRATION = 4000  # validation examples that calibrate the posterior


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of network, training, distance, pixels, profiles")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--train", required=True, nargs="+", help="training examples (netCDF)")
    parser.add_argument("--valid", required=True, nargs="+", help="validation examples (netCDF)")
    parser.add_argument("--checkpoints", required=True, help="folder for checkpoints, emptied at the end")
    parser.add_argument("--network", required=True, help="file to write: weights, shape, calibration")
    parser.add_argument("--history", required=True, help="CSV file to write: training history")


def run(args: argparse.Namespace) -> None:
    """Train, calibrate, write."""
    network, training, distance, pixels, profiles = read_sections(
        args.settings, "network", "training", "distance", "pixels", "profiles"
    )
    edges = distance.edges()
    support = FLOOR_DENSITY * distance.step, profiles.max_extinction
    attributes = provenance.attributes(
        "train_network", json.loads(args.settings), args.seed, [*args.train, *args.valid]
    )
    # a checkpoint is gone on with only by the same settings, data and code
    identity = hashlib.sha256(
        json.dumps([attributes, provenance.code_digest("train_network")], sort_keys=True).encode()
    ).hexdigest()[:16]
    with netCDF4.Dataset(args.train[0]) as file:
        channels = file.channels.split(" ")
    shape = {
        "name": network.name,
        "channels": planes(len(channels)),
        "pixels": pixels,
        "bins": len(edges) - 1,
        "dropout": network.dropout,
    }
    train = Examples(args.train, training.batch, training.buffer, args.seed, training.rounds)
    valid = Examples(args.valid, training.batch)
    module, history = fit(
        partial(Estimator, **shape),
        train,
        valid,
        Path(args.checkpoints) / identity,
        support=support,
        seed=args.seed,
        epochs=training.epochs,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        patience=training.patience,
        precision=training.precision,
        accelerator=training.accelerator,
    )
    *images, truth = _some(valid, CALIBRATION, generator(args.seed, "train_network", "calibration"))
    spread = log_density_spread(truth.numpy().astype(float), support[0])
    trained = Trained(module, shape, edges, support, Calibration.none(len(edges) - 1), None, spread)
    posterior, features = trained.posterior(*(tensor.numpy() for tensor in images))
    calibration = calibrate(posterior, truth, args.seed)
    familiarity = Familiarity.learn(features)
    replace(trained, calibration=calibration, familiarity=familiarity).save(args.network, attributes)
    pd.DataFrame(history).to_csv(args.history, index=False)
    shutil.rmtree(args.checkpoints)


def _some(examples: Examples, number: int, rng: np.random.Generator) -> list[torch.Tensor]:
    """About `number` of the examples, picked while they stream by."""
    share = number / (len(examples) * examples.batch)
    picked = []
    for batch in examples:
        keep = torch.from_numpy(rng.random(len(batch[0])) < share)
        picked.append([tensor[keep] for tensor in batch])
    return [torch.cat(parts) for parts in zip(*picked, strict=True)]
