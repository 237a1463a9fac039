"""Read observed stars from catalogue files into the sky's star list.

Example:
  galcarto observe_files --settings "$(galcarto settings config/orion.yaml sky tile survey)" --seed 1 \\
      --stars stars.parquet --footprint footprint.nc
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from galcarto import provenance
from galcarto.maps.grid import tile_coordinates
from galcarto.settings import read_sections
from galcarto.surveys import catalogue


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of the sections sky, tile, survey")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--stars", required=True, help="Parquet file to write")
    parser.add_argument("--footprint", required=True, help="netCDF file to write: observed area of each tile")


def run(args: argparse.Namespace) -> None:
    """Write the cleaned star list and the observed area."""
    sky, tile, survey = read_sections(args.settings, "sky", "tile", "survey")
    tiles = sky.grid(tile.size)
    everything, cell, repeated = pd.DataFrame(), 0.0, 0
    for file in sky.files:
        part = catalogue.read(file.path, file.columns, list(survey.limits), file.frame)
        logging.info("%s: %d rows", file.path, len(part))
        if len(everything):
            again = catalogue.repeats(part, everything)
            logging.info("dropped %d of %d rows: in an earlier catalogue", again.sum(), len(part))
            part, repeated = part[~again], repeated + int(again.sum())
        everything = pd.concat([everything, part], ignore_index=True)
        cell = max(cell, file.footprint_cell)
    placed = everything[np.isfinite(everything["l"])]
    fraction = catalogue.observed_fraction(placed["l"].to_numpy(), placed["b"].to_numpy(), tiles, cell)
    write(args, everything, fraction * tiles.area(), {"in an earlier catalogue": repeated}, [f.path for f in sky.files])


def write(
    args: argparse.Namespace,
    everything: pd.DataFrame,
    area: np.ndarray,
    dropped: dict[str, int],
    inputs: Sequence[str | Path],
) -> None:
    """Write a star list, cleaned, and the observed area of each tile: what every source of real stars ends in.

    Parameters
    ----------
    args : Namespace
        Options of the stage: settings, seed, stars, footprint.
    everything : DataFrame
        From `catalogue.read`, or like it.
    area : ndarray, shape (l, b), deg2
    dropped : dict of int
        Rows dropped before, by reason.
    inputs : list of path
        Files that the stars come from.
    """
    sky, tile, survey = read_sections(args.settings, "sky", "tile", "survey")
    tiles = sky.grid(tile.size)
    stars, reasons = catalogue.clean(everything, tiles, survey.limits, survey.bright)
    before = sum(dropped.values())
    dropped = reasons | dropped
    if stars.empty:
        raise catalogue.CatalogueError(
            f"sky: found {len(everything)} rows from source {sky.source} and none that can be used ({dropped}); "
            "expected stars inside sky.l, sky.b and survey.limits"
        )
    logging.info("kept %d of %d rows", len(stars), len(everything))
    stars.to_parquet(args.stars, compression="zstd")
    logging.info("%.2f of %.2f deg2 in the window are observed", area.sum(), tiles.area().sum())
    dataset = xr.Dataset(coords=tile_coordinates(tiles))
    dataset["area"] = ("l", "b"), area, {"units": "degree2", "long_name": "observed solid angle"}
    dataset.attrs = provenance.attributes("observe_sky", json.loads(args.settings), args.seed, list(inputs))
    dataset.attrs["rows_read"] = len(everything) + before
    dataset.attrs["rows_kept"] = len(stars)
    dataset.attrs["rows_dropped"] = json.dumps(dropped)
    dataset.to_netcdf(args.footprint)
