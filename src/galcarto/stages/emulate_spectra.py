"""Train a network on emulated spectra, and compare its errors with the best possible ones.

Example:
  galcarto emulate_spectra --settings "$(galcarto settings config/spectra_goals.yaml emulate_spectra)" \\
      --seed 1 --emulation giants_50 --checkpoints checkpoints \\
      --comparison giants_50.nc --metrics giants_50.json
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.learning.settings import Training
from galcarto.spectra.emulated import gap, real_dwarf, tried
from galcarto.spectra.settings import Emulation, Network


class Settings(Section):
    network: Network
    training: Training
    emulations: dict[str, Emulation]
    gap: str | None


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "metrics", settings=Settings)
    parser.add_argument("--emulation", required=True, help="which of the emulations")
    parser.add_argument("--checkpoints", required=True, help="folder for checkpoints, emptied at the end")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Emulate, train, compare."""
    settings = read(args.settings, Settings)
    options = settings.emulations[args.emulation]
    network = settings.network.model_copy(update={"members": 1})
    made = tried(options, network, settings.training, Path(args.checkpoints), args.seed)
    metrics = {"labels": made.labels}
    comparison = xr.Dataset(
        {name: ("label", np.array([one[name] for one in made.labels.values()])) for name in ("rms", "bound", "ratio")},
        coords={"label": list(made.labels)},
        attrs=provenance.attributes("emulate_spectra", args, [options.emulator]),
    )
    if args.emulation == settings.gap:
        found, pictures = gap(made, *real_dwarf(options.emulator), options.snr)
        metrics["gap"] = found
        comparison = comparison.merge(pictures)
    comparison.to_netcdf(args.comparison)
    write_json(args.metrics, metrics)
    shutil.rmtree(args.checkpoints)
