"""Collect the numbers of the spectra task, beside its goals.

Example:
  galcarto collect_spectra --network results/spectra_goals/network.json \\
      --trials results/spectra_goals/trials/*/*.json \\
      --baselines results/spectra_goals/baselines/*/*.json \\
      --emulations results/spectra_goals/emulations/*.json --metrics metrics.json

A trial's and a baseline's name is that of its folder, with a file for each seed; numbers are medians over seeds.
"""

import argparse
import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galcarto.core.files import write_json
from galcarto.core.options import options
from galcarto.learning.scores import medians
from galcarto.spectra.goals import goals


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "metrics")
    parser.add_argument("--network", required=True, help="scores of the network (JSON)")
    for name in ("trials", "baselines", "emulations"):
        parser.add_argument(f"--{name}", nargs="+", default=[], help=f"scores of {name} (JSON)")


def by_folder(paths: Sequence[str]) -> dict[str, Any]:
    """Medians over the files of each folder."""
    names = dict.fromkeys(Path(path).parent.name for path in paths)
    return {name: medians([_read(path) for path in paths if Path(path).parent.name == name]) for name in names}


def _read(path: str) -> dict[str, Any]:
    return json.loads(Path(path).read_text())


def run(args: argparse.Namespace) -> None:
    """Collect, compare with the goals, write."""
    metrics = _read(args.network)
    metrics |= {"trials": by_folder(args.trials), "baselines": by_folder(args.baselines)}
    for name, number in Counter(Path(path).parent.name for path in args.trials).items():
        metrics["trials"][name]["trainings"] = number
    metrics["emulations"] = {Path(path).stem: _read(path) for path in args.emulations}
    metrics["goals"] = goals(metrics)
    logging.info("%d of %d goals are met", sum(goal["met"] for goal in metrics["goals"]), len(metrics["goals"]))
    write_json(args.metrics, metrics)
