"""Bin the observed stars of every tile into colour-magnitude images, beside the dust-free references.

Example:
  galcarto render_sky --settings "$(galcarto settings config/config.yaml render_sky)" --seed 1 \\
      --stars results/demo/sky/stars.parquet --footprint results/demo/sky/footprint.nc \\
      --references results/demo/references.nc --output cmds.nc
"""

import argparse
import tempfile
from pathlib import Path

import netCDF4
import numpy as np
import pyarrow.parquet as pq
import xarray as xr

from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.netcdf import Table, create_variables
from galcarto.core.options import options
from galcarto.core.settings import read
from galcarto.core.sky import Tiles
from galcarto.dustmap.diagrams.files import axis_centres
from galcarto.dustmap.diagrams.forward import ForwardModel
from galcarto.dustmap.instrument import Instrument
from galcarto.dustmap.settings import DiagramSettings, Sky, Tile

IMAGES = ("channel", "magnitude", "colour")
TOGETHER = 64  # tiles copied at once
# name: dimensions, type, attributes
LARGE: Table = {
    "counts": (("tile", *IMAGES), "u2", {"units": "1", "long_name": "observed stars per pixel"}),
    "reference": (("tile", *IMAGES), "f4", {"units": "degree-2", "long_name": "bare stars per pixel"}),
    "detectable": (
        ("tile", "survey", "distance", "grid"),
        "f4",
        {"units": "degree-2", "long_name": "detectable stars behind A_V"},
    ),
}
SMALL: Table = {
    "l": (("tile",), "f8", {"units": "degree"}),
    "b": (("tile",), "f8", {"units": "degree"}),
    "area": (("tile", "survey"), "f8", {"units": "degree2", "long_name": "observed solid angle"}),
    "full_area": (("tile",), "f8", {"units": "degree2", "long_name": "solid angle of the tile"}),
    "stars": (("tile", "survey"), "i8", {"units": "1", "long_name": "observed stars within the limits"}),
    "owner": (("channel",), "i8", {"long_name": "number of the channel's survey"}),
    "magnitude_axis": (("channel", "magnitude"), "f8", {"long_name": "row centre: mag, or mas of parallax"}),
    "colour_axis": (("channel", "colour"), "f8", {"units": "mag", "long_name": "colour of the pixel centre"}),
    "survey": (("survey",), str, {}),
}


class Settings(DiagramSettings):
    sky: Sky
    tile: Tile


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "output", settings=Settings)
    parser.add_argument("--stars", required=True, help="observed stars (Parquet)")
    parser.add_argument("--footprint", required=True, help="observed area of each tile (netCDF)")
    parser.add_argument("--references", required=True, help="references of the tiles (netCDF)")


def run(args: argparse.Namespace) -> None:
    """Write counts, reference and detectable stars of each tile (l-major), in blocks that fit into memory."""
    settings = read(args.settings, Settings)
    model = Instrument.of(settings).forward_model
    tiles = settings.sky.grid(settings.tile.size)
    number = tiles.area().size
    names = [view.survey.name for view in model.views]
    with xr.open_dataset(args.footprint) as footprint:
        area = footprint["area"].sel(survey=names).to_numpy().reshape(len(names), -1).T
    inputs = [args.stars, args.footprint, args.references]
    attributes = provenance.attributes("render_sky", args, inputs)
    with tempfile.TemporaryFile(dir=Path(args.output).parent) as scratch, netCDF4.Dataset(args.output, "w") as file:
        # on disk: the images of a whole plane may exceed the memory
        counts = np.memmap(
            scratch, np.uint16, "w+", shape=(number, len(model.channels), settings.pixels, settings.pixels)
        )
        stars = _count(args.stars, tiles, model, counts)
        file.setncatts(attributes | {"channels": " ".join(model.channels)})
        with netCDF4.Dataset(args.references) as references:
            if (found := len(references.dimensions["tile"])) != number:
                raise UserError(f"--references: found {found} tiles; expected {number}, as given by sky and tile")
            sizes = {name: len(model.channels) if name == "channel" else settings.pixels for name in IMAGES}
            sizes |= {name: len(references.dimensions[name]) for name in ("survey", "distance", "grid")}
            sizes["tile"] = number
            create_variables(file, LARGE, sizes, chunks={"tile": 1}, compression="zlib", complevel=1)
            create_variables(file, SMALL, sizes)
            for start in range(0, number, TOGETHER):
                part = slice(start, start + TOGETHER)
                file["counts"][part] = counts[part]
                for name in ("reference", "detectable", "l", "b"):
                    file[name][part] = np.asarray(references[name][part])
        whole = {"area": area, "full_area": tiles.area().ravel(), "stars": stars, "owner": np.array(model.surveys)}
        for name, values in {**whole, **axis_centres(model), "survey": np.array(names, object)}.items():
            file[name][:] = values


def _count(path: str, tiles: Tiles, model: ForwardModel, counts: np.ndarray) -> np.ndarray:
    """Add the stars to the images `counts`; return the stars of each survey in each tile, shape (tile, survey)."""
    stars = np.zeros((len(counts), len(model.views)), np.int64)
    # in batches and without read-ahead, which would stay allocated: the catalogue may exceed the memory
    catalogue = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
    for group in catalogue.iter_batches(batch_size=1_000_000):
        frame = group.to_pandas()
        index = tiles.index(frame["l"].to_numpy(), frame["b"].to_numpy())
        for number, view in enumerate(model.views):
            own = (index >= 0) & (frame["survey"] == view.survey.name).to_numpy()
            seen = {str(name): values.to_numpy() for name, values in frame[own].items()}
            view.add(seen, index[own], counts, model.surveys.index(number))
            stars[:, number] += np.bincount(index[own], minlength=len(stars))
    return stars
