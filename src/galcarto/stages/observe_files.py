"""Make the star list of the sky from catalogue files.

Example:
  galcarto observe_files --settings "$(galcarto settings config/orion.yaml observe_files)" --seed 1 \\
      --stars stars.parquet --footprint footprint.nc
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import PARQUET, Output, variable
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.core.tables import TableError
from galcarto.dustmap.settings import Sky, SurveySettings, Tile
from galcarto.maps.grid import tile_coordinates
from galcarto.surveys import catalogue


class Settings(Section):
    sky: Sky
    tile: Tile
    surveys: list[SurveySettings]


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", settings=Settings)
    parser.add_argument("--stars", required=True, type=Output, help="Parquet file to write")
    parser.add_argument(
        "--footprint", required=True, type=Output, help="netCDF file to write: observed area of each tile"
    )


def run(args: argparse.Namespace) -> None:
    """Write the cleaned star list and the observed area of every survey."""
    settings = read(args.settings, Settings)
    tiles = settings.sky.grid(settings.tile.size)
    parts = []
    for survey in settings.surveys:
        files = [file for file in settings.sky.files if file.survey == survey.name]
        if not files:
            raise TableError(f"sky.files: found none of {survey.name}; expected one for each of surveys")
        everything, cell, dropped = catalogue.gather(files, list(survey.limits))
        placed = everything[np.isfinite(everything["l"])]
        fraction = catalogue.observed_fraction(placed["l"].to_numpy(), placed["b"].to_numpy(), tiles, cell)
        parts.append((everything, fraction * tiles.area(), dropped))
    write(args, parts, [file.path for file in settings.sky.files])


def write(
    args: argparse.Namespace,
    parts: Sequence[tuple[pd.DataFrame, np.ndarray, Mapping[str, int]]],
    inputs: Sequence[str | Path],
) -> None:
    """Clean star lists and write them with the observed area of each tile.

    Parameters
    ----------
    args : Namespace
        Options of the stage: settings, seed, stars, footprint.
    parts : sequence of (DataFrame, ndarray of shape (l, b), mapping)
        For each survey: stars as from `catalogue.read`, observed area in deg2, and numbers of rows already dropped.
    inputs : list of path
        Files of the stars.
    """
    settings = read(args.settings, Settings)
    tiles = settings.sky.grid(settings.tile.size)
    lists, log = [], {}
    for survey, (everything, area, dropped) in zip(settings.surveys, parts, strict=True):
        stars, log[survey.name] = catalogue.usable(everything, dropped, survey.limits, survey.bright, tiles)
        lists.append(stars.assign(survey=survey.name))
        observed, total = area.sum(), tiles.area().sum()
        logging.info("%s: %.2f of %.2f deg2 in the window are observed", survey.name, observed, total)
    pd.concat(lists, ignore_index=True).to_parquet(args.stars, **PARQUET)
    dataset = xr.Dataset(coords=tile_coordinates(tiles) | {"survey": [survey.name for survey in settings.surveys]})
    areas = np.stack([area for _, area, _ in parts])
    dataset["area"] = variable(("survey", "l", "b"), areas, "degree2", "observed solid angle")
    dataset.attrs = provenance.attributes("observe_sky", args, list(inputs))
    dataset.attrs["rows"] = json.dumps(log)
    dataset.to_netcdf(args.footprint)
