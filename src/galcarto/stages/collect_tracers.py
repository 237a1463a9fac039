"""Collect masers and HII regions that trace spiral arms, leaving out missing tables.

Example:
  galcarto collect_tracers --settings "$(galcarto settings config/orion.yaml collect_tracers)" \\
      --folder results/orion/tracers --output results/orion/tracers.nc
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from galcarto.core import provenance
from galcarto.core.download import Client, DownloadError, fetch
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.core.tables import TableError
from galcarto.dustmap.settings import Tracers
from galcarto.surveys.tracers import read_hii, read_masers


class Settings(Section):
    tracers: Tracers


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "offline", "output", settings=Settings)
    parser.add_argument("--folder", required=True, help="folder that keeps what is fetched")


def _hii(source: str, folder: str, offline: bool) -> tuple[pd.DataFrame, Path]:
    """HII regions from a file, or from an address, whose response is stored."""
    if "://" not in source:
        return read_hii(source), Path(source)
    path = Path(folder) / "hii.vot"
    fetch(source, path, Client(interval=0.0, timeout=60.0, retries=2), offline=offline)
    try:
        return read_hii(path), path
    except TableError:
        for kept in (path, path.with_name(f"{path.name}.sha256")):  # do not keep an error message
            kept.unlink(missing_ok=True)
        raise


def run(args: argparse.Namespace) -> None:
    """Write the tracers, with attributes that state what was read or left out."""
    asked = read(args.settings, Settings).tracers
    there = [path for path in asked.masers if Path(path).is_file()]
    said = {"masers": f"{len(there)} tables read"}
    if len(there) < len(asked.masers):
        absent = ", ".join(path for path in asked.masers if path not in there)
        said["masers"] += f"; not found, left out: {absent}"
        logging.warning("masers: %s", said["masers"])
    inputs, parts = list(there), [read_masers(there).assign(kind="maser")]
    if asked.hii is not None:
        try:
            regions, path = _hii(asked.hii, args.folder, args.offline)
            parts.append(regions.assign(kind="HII region"))
            inputs.append(str(path))
            said["hii"] = f"{len(regions)} regions read"
        except (DownloadError, TableError, OSError) as error:
            # the text of the error varies from run to run, so it goes to the log only
            said["hii"] = f"left out: {asked.hii} could not be fetched or read"
            logging.warning("HII regions are left out: %s", error)
    found = pd.concat(parts, ignore_index=True)
    units = {"l": "degree", "b": "degree", "distance": "kiloparsec", "distance_error": "kiloparsec"}
    dataset = xr.Dataset(
        {name: ("tracer", found[name].to_numpy(float), {"units": unit}) for name, unit in units.items()}
        | {"kind": ("tracer", np.array(found["kind"], dtype=object))},
        attrs=said | provenance.attributes("collect_tracers", args, inputs),
    )
    dataset.to_netcdf(args.output)
