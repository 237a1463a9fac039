"""Collect the numbers of the absorbers task, beside its goals.

Example:
  galcarto collect_absorbers --scores results/absorbers/scores/ours/*/*.json --metrics metrics.json

A file of scores lies in TRAINING/SEED/MOCK.json, TRAINING being 'ours' or a trial; numbers are medians over seeds.
"""

import argparse
import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from galcarto.absorbers.catalogue import compare_known
from galcarto.absorbers.goals import goals
from galcarto.core.files import write_json
from galcarto.core.options import options
from galcarto.learning.scores import medians


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "metrics")
    parser.add_argument("--scores", required=True, nargs="+", help="scores of networks on mocks (JSON)")
    parser.add_argument("--finder", help="comparison with gp-dla-finder (JSON)")
    parser.add_argument("--real", help="absorbers found in real spectra (Parquet)")
    parser.add_argument("--catalogue", help="known absorbers: a table of plate, mjd, fiber, z_dla and log_nhi")


def run(args: argparse.Namespace) -> None:
    """Collect, compare with the goals, write."""
    each: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for path in map(Path, args.scores):
        each[path.parts[-3]][path.stem].append(json.loads(path.read_text()))
    found = {training: {mock: medians(rows) for mock, rows in own.items()} for training, own in each.items()}
    metrics: dict[str, Any] = found.pop("ours")
    metrics |= {"seeds": len(each["ours"]["hard"]), "trials": found}
    if args.finder:
        metrics["finder"] = json.loads(Path(args.finder).read_text())
    if args.real:
        absorbers = pd.read_parquet(args.real)
        sightlines = pd.read_parquet(str(args.real).replace(".parquet", "_sightlines.parquet"))
        metrics["real"] = compare_known(absorbers, sightlines, args.catalogue)
    metrics["goals"] = goals(metrics)
    logging.info("%d of %d goals are met", sum(goal["met"] for goal in metrics["goals"]), len(metrics["goals"]))
    write_json(args.metrics, metrics)
