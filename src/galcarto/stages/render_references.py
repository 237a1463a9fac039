"""Integrate the dust-free reference diagram in the direction of every tile.

Example:
  galcarto render_references --settings "$(galcarto settings config/config.yaml render_references)" \\
      --output references.nc
"""

import argparse

import netCDF4
import numpy as np
from tqdm import tqdm

from galcarto.core import provenance
from galcarto.core.netcdf import Table, create_variables
from galcarto.core.options import options
from galcarto.core.settings import read
from galcarto.dustmap.diagrams.integration import EXTINCTION_GRID
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import DiagramSettings, GalaxySettings, Sky, Tile

TOGETHER = 512  # tiles integrated at once: the diagram of each population is computed anew for each block
TABLES: Table = {
    "reference": (("tile", "channel", "magnitude", "colour"), "f4", {"units": "degree-2"}),
    "detectable": (("tile", "survey", "distance", "grid"), "f4", {"units": "degree-2"}),
    "l": (("tile",), "f8", {"units": "degree"}),
    "b": (("tile",), "f8", {"units": "degree"}),
}


class Settings(DiagramSettings):
    sky: Sky
    tile: Tile
    galaxy: GalaxySettings


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "control", "output", settings=Settings)


def run(args: argparse.Namespace) -> None:
    """Write reference(tile, channel, magnitude, colour) and detectable(tile, survey, distance, grid), per deg2."""
    settings = read(args.settings, Settings)
    instrument = Instrument.of(settings, Corrections.read(args.control))
    model, number = instrument.forward_model, len(instrument.edges) - 1
    tiles = settings.sky.grid(settings.tile.size)
    l, b = (v.ravel() for v in np.meshgrid(tiles.l, tiles.b, indexing="ij"))
    with netCDF4.Dataset(args.output, "w") as file:
        file.setncatts(provenance.attributes("render_references", args, [args.control]))
        sizes = {"tile": len(l), "survey": len(model.views), "distance": number, "grid": len(EXTINCTION_GRID)}
        sizes |= {"channel": len(model.channels), "magnitude": settings.pixels, "colour": settings.pixels}
        create_variables(file, TABLES, sizes, chunks={"tile": 1}, compression="zlib", complevel=1)
        file["l"][:], file["b"][:] = l, b
        for start in tqdm(range(0, len(l), TOGETHER), desc="references", unit="block", mininterval=5):
            part = slice(start, start + TOGETHER)
            file["reference"][part], file["detectable"][part] = instrument.many_references(l[part], b[part])
