"""Integrate the dust-free reference diagram in the direction of every tile, and of sightlines if they are named.

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
from galcarto.core.sky import sightline_position
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
NAMED: Table = {
    "sightline": (("sightline",), str, {}),
    "sightline_reference": (("sightline", "channel", "magnitude", "colour"), "f4", {"units": "degree-2"}),
    "sightline_detectable": (("sightline", "survey", "distance", "grid"), "f4", {"units": "degree-2"}),
}


class Settings(DiagramSettings):
    sky: Sky
    tile: Tile
    galaxy: GalaxySettings


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "control", "output", settings=Settings)
    parser.add_argument("--sightlines", nargs="+", default=[], help="names of sightlines, for render_cmds --references")


def run(args: argparse.Namespace) -> None:
    """Write reference(tile, channel, magnitude, colour) and detectable(tile, survey, distance, grid), per deg2.

    Those of sightlines are ``sightline_reference`` and ``sightline_detectable``.
    """
    settings = read(args.settings, Settings)
    instrument = Instrument.of(settings, Corrections.read(args.control))
    model, number = instrument.forward_model, len(instrument.edges) - 1
    tiles = settings.sky.grid(settings.tile.size)
    l, b = (v.ravel() for v in np.meshgrid(tiles.l, tiles.b, indexing="ij"))
    named = [sightline_position(name) for name in args.sightlines]
    with netCDF4.Dataset(args.output, "w") as file:
        file.setncatts(provenance.attributes("render_references", args, [args.control]))
        sizes = {"tile": len(l), "survey": len(model.views), "distance": number, "grid": len(EXTINCTION_GRID)}
        sizes |= {"channel": len(model.channels), "magnitude": settings.pixels, "colour": settings.pixels}
        create_variables(file, TABLES, sizes, chunks={"tile": 1}, compression="zlib", complevel=1)
        file["l"][:], file["b"][:] = l, b
        if named:
            create_variables(file, NAMED, sizes | {"sightline": len(named)})
            file["sightline"][:] = np.array(args.sightlines, object)
            l, b = (np.append(tiles_at, at) for tiles_at, at in zip((l, b), np.transpose(named), strict=True))
        for start in tqdm(range(0, len(l), TOGETHER), desc="references", unit="block", mininterval=5):
            part = slice(start, start + TOGETHER)
            for name, values in zip(
                ("reference", "detectable"), instrument.many_references(l[part], b[part]), strict=True
            ):
                own = max(min(sizes["tile"] - start, TOGETHER), 0)  # tiles of the block; sightlines follow
                file[name][start : start + own] = values[:own]
                if len(values) > own:
                    first = start + own - sizes["tile"]
                    file[f"sightline_{name}"][first : first + len(values) - own] = values[own:]
