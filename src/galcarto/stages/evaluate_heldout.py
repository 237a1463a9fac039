"""Score the network on sightlines and profiles that it has never seen.

Example:
  galcarto evaluate_heldout --settings "$(galcarto settings config/config.yaml inference)" --seed 1 \\
      --network network.pt --examples test/*.nc --comparison heldout.nc --metrics heldout.json
"""

import argparse
import json

import netCDF4
import numpy as np
import torch

from galcarto import provenance
from galcarto.cmd.forward import stars_beyond
from galcarto.compare.scores import score
from galcarto.inference.data import surveys
from galcarto.inference.trained import Trained
from galcarto.inference.trust import log_density_spread
from galcarto.maps.cube import reach
from galcarto.settings import read_sections

ENOUGH = 500  # examples at a distance for a coverage to be quoted


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of the section inference")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--network", required=True, help="trained network")
    parser.add_argument("--examples", required=True, nargs="+", help="test examples (netCDF)")
    parser.add_argument("--comparison", required=True, help="netCDF file to write: scores by distance")
    parser.add_argument("--metrics", required=True, help="JSON file to write: overall scores")


def run(args: argparse.Namespace) -> None:
    """Write scores over the distances where stars remain behind the inferred profile."""
    (inference,) = read_sections(args.settings, "inference")
    trained = Trained.load(args.network)
    generator = torch.Generator().manual_seed(args.seed)
    samples, truths, valid = [], [], []
    for path in args.examples:
        with netCDF4.Dataset(path) as file:
            area = np.asarray(file["area"][:])
            truth = np.asarray(file["extinction"][:])
            reference = np.asarray(file["reference"][:]) * area[:, None, None, None]
            present = np.asarray(file["present"][:])
            posterior, _ = trained.posterior(np.asarray(file["counts"][:]), reference, present[:, surveys(file)])
            detectable = np.asarray(file["detectable"][:])
        samples.append(trained.calibration.sample(posterior, inference.samples, generator).numpy())
        # scored is what a map would show: a choice by the truth would favour little dust
        mean = samples[-1].mean(axis=1)
        beyond = sum(present[:, i, None] * stars_beyond(detectable[i], mean) for i in range(len(detectable)))
        beyond = beyond * area[:, None]
        truths.append(truth)
        narrowing = log_density_spread(samples[-1].astype(float), trained.support[0]) / trained.prior_spread
        _, far = reach(beyond, narrowing, trained.edges, inference.min_stars)
        valid.append(trained.edges[1:] <= far[:, None])
    drawn, truth, seen = np.concatenate(samples), np.concatenate(truths), np.concatenate(valid)
    edges = trained.edges
    dataset = score(drawn, truth, seen, 0.5 * (edges[1:] + edges[:-1]))
    density = score(
        np.diff(drawn, axis=2, prepend=0.0), np.diff(truth, axis=1, prepend=0.0), seen, dataset["distance"].to_numpy()
    )
    metrics = dict(dataset.attrs)
    share = dataset["valid_share"].to_numpy() * len(truth)
    for level in (0.68, 0.95):
        by_distance = dataset["coverage"].sel(level=level).to_numpy()
        name = f"coverage_{100 * level:.0f}"
        known = [round(value, 4) if np.isfinite(value) else None for value in by_distance.tolist()]
        metrics[f"{name}_by_distance"] = known
        # a small test set may have no distance with enough examples
        quoted = np.abs(by_distance - level)[share > ENOUGH]
        metrics[f"{name}_worst"] = float(quoted.max()) if len(quoted) else None
    metrics["pit_worst"] = float(np.abs(dataset["pit_density"] - 1.0).max())
    metrics |= {f"density_{name}": density.attrs[name] for name in ("coverage_68", "coverage_95")}
    inputs = [args.network, *args.examples]
    dataset.attrs |= provenance.attributes("evaluate_heldout", json.loads(args.settings), args.seed, inputs)
    dataset.to_netcdf(args.comparison)
    with open(args.metrics, "w") as handle:
        json.dump({"heldout": metrics}, handle, indent=2)
