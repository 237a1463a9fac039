"""Collect the numbers of all comparisons in one file.

Example:
  galcarto collect_metrics --settings "$(galcarto settings config/config.yaml collect_metrics)" \\
      --cube results/demo/cube.nc --history results/demo/network/history.csv \\
      --parts results/demo/comparisons/*.json --output metrics.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dustmap.compare.structure import at_distance
from galcarto.dustmap.settings import Compare
from galcarto.maps.cube import NOT_OBSERVED, POOR_FIT, STARS_RUN_OUT, UNLIKE_TRAINING
from galcarto.maps.grid import edges_of
from galcarto.maps.reader import open_cube

NEAR = 1.0  # kpc: A_V is quoted to this distance where compare.distance is not set


class Settings(Section):
    compare: Compare


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "cube", "control", settings=Settings)
    parser.add_argument("--history", required=True, help="training history (CSV)")
    parser.add_argument("--parts", required=True, nargs="+", help="metrics of the comparisons (JSON)")
    parser.add_argument("--output", required=True, type=Output, help="JSON file to write")


def run(args: argparse.Namespace) -> None:
    """Write the merged numbers."""
    metrics: dict[str, Any] = {}
    with open_cube(args.cube) as cube:
        settings = read(args.settings, Settings)
        edges = edges_of(cube, "distance")
        distance = min(settings.compare.distance or NEAR, float(edges[-1]))
        near = at_distance(cube["extinction"].to_numpy(), edges, distance)
        quality = cube["quality"].to_numpy()
        observed = (quality & NOT_OBSERVED) == 0
        metrics["cube"] = {
            "tiles": int(observed.size),
            "tiles_mapped": int(observed.sum()),
            "stars": int(cube["stars"].sum()),
            "area_deg2": float(cube["area"].sum()),
            "median_extinction_mag": float(np.nanmedian(cube["extinction"][..., -1])),
            "median_distance_max_kpc": float(np.nanmedian(cube["distance_max"])),
            f"median_extinction_{distance:g}kpc_mag": float(np.nanmedian(near)),
            f"max_extinction_{distance:g}kpc_mag": float(np.nanmax(near)),
        }
        shares = {"poor_fit": POOR_FIT, "unlike_training": UNLIKE_TRAINING, "stars_run_out": STARS_RUN_OUT}
        metrics["trust"] = {
            f"{name}_share": float(((quality & bit) > 0)[observed].mean()) for name, bit in shares.items()
        }
        for name in ("fit_p_value", "fit_chi2", "out_of_distribution", "distance_min"):
            values = cube[name].to_numpy()
            known = np.isfinite(values)
            metrics["trust"][f"median_{name}"] = float(np.median(values[known])) if known.any() else None
    history = pd.read_csv(args.history)
    metrics["training"] = {
        "examples_seen": int(history["examples"].iloc[-1]),
        "best_valid_loss": float(history["valid_loss"].min()),
    }
    if args.control:
        metrics["control"] = json.loads(Path(args.control).read_text())
    for path in args.parts:
        for block, values in json.loads(Path(path).read_text()).items():
            metrics.setdefault(block, {}).update(values)
    write_json(args.output, metrics)
