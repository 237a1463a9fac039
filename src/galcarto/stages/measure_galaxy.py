"""Compare the mock Galaxy with the Besançon model and the literature.

Example:
  galcarto measure_galaxy --settings "$(galcarto settings config/config.yaml measure_galaxy)" \\
      --metrics results/galaxy/metrics.json --output results/galaxy/validation.nc
"""

import argparse
import logging
from typing import Any

import numpy as np

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.galaxy.checks import BANDS, measure
from galcarto.galaxy.checks.star_counts import read_counts
from galcarto.galaxy.components import load
from galcarto.galaxy.integrals import ALL_STARS
from galcarto.galaxy.settings import GalaxySettings, Validation
from galcarto.galaxy.synthesis import StarModel


class Settings(Section):
    galaxy: GalaxySettings
    validation: Validation


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "metrics", settings=Settings)
    parser.add_argument("--counts", nargs="?", help="star counts of the Besançon model (optional)")
    parser.add_argument("--output", required=True, type=Output, help="netCDF file to write: data of the figures")


def run(args: argparse.Namespace) -> None:
    """Write the numbers and the data of the figures."""
    settings = read(args.settings, Settings)
    table = read_counts(args.counts) if args.counts else None
    if table is None:
        found = "null" if settings.validation.counts is None else f"no file {settings.validation.counts}"
        logging.warning(
            "validation.counts: found %s; expected the K counts of the Besançon model: "
            "the comparison with them is left out",
            found,
        )
    model, single = (
        StarModel(load(settings.galaxy.model), [ALL_STARS], BANDS, binaries)
        for binaries in (settings.galaxy.binaries, False)
    )
    metrics, dataset = measure(model, single, table)
    for name, ratio in metrics.get("counts", {}).get("median_ratio", {}).items():
        logging.info("K < %s mag: median of mock over Besançon counts %.3f", name, ratio)
    dataset.attrs |= provenance.attributes("measure_galaxy", args, [args.counts])
    dataset.to_netcdf(args.output)
    write_json(args.metrics, _rounded(metrics))


def _rounded(value: Any) -> Any:
    """Round to five digits, and below 1e-12 to 0."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, float | np.floating):
        number = float(value)
        return 0.0 if abs(number) <= 1e-12 else float(f"{number:.5g}")
    return value
