"""Collect the numbers of all comparisons in one file.

Example:
  galcarto collect_metrics --cube cube.nc --history history.csv --parts heldout.json truth.json --output metrics.json
"""

import argparse
import json
from typing import Any

import numpy as np
import pandas as pd

from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--cube", required=True, help="cube (netCDF)")
    parser.add_argument("--history", required=True, help="training history (CSV)")
    parser.add_argument("--parts", required=True, nargs="+", help="metrics of the comparisons (JSON)")
    parser.add_argument("--output", required=True, help="JSON file to write")


def run(args: argparse.Namespace) -> None:
    """Write the merged numbers."""
    metrics: dict[str, Any] = {}
    with open_cube(args.cube) as cube:
        observed = (cube["quality"] & 1) == 0
        metrics["cube"] = {
            "tiles": int(observed.size),
            "tiles_mapped": int(observed.sum()),
            "stars": int(cube["stars"].sum()),
            "area_deg2": float(cube["area"].sum()),
            "median_extinction_mag": float(np.nanmedian(cube["extinction"][..., -1])),
            "median_distance_max_kpc": float(np.nanmedian(cube["distance_max"])),
        }
    history = pd.read_csv(args.history)
    metrics["training"] = {
        "examples_seen": int(history["examples"].iloc[-1]),
        "best_valid_loss": float(history["valid_loss"].min()),
    }
    for path in args.parts:
        with open(path) as handle:
            for block, values in json.load(handle).items():
                metrics.setdefault(block, {}).update(values)
    with open(args.output, "w") as handle:
        json.dump(metrics, handle, indent=2)
        handle.write("\n")
