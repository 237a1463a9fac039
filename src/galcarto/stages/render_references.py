"""Integrate the dust-free reference diagram in the direction of every tile of a strip.

Example:
  galcarto render_references --settings "$(galcarto settings config/config.yaml render_references)" \\
      --strip 0000 --output 0000.nc
"""

import argparse

import numpy as np
import xarray as xr
from tqdm import tqdm

from galcarto.core import provenance
from galcarto.core.options import options
from galcarto.core.settings import read
from galcarto.dustmap.diagrams.integration import EXTINCTION_GRID
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import DiagramSettings, GalaxySettings, Sky, Tile


class Settings(DiagramSettings):
    sky: Sky
    tile: Tile
    galaxy: GalaxySettings


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "control", "strip", "output", settings=Settings)


def run(args: argparse.Namespace) -> None:
    """Write reference(tile, channel, magnitude, colour) and detectable(tile, survey, distance, grid), per deg2."""
    settings = read(args.settings, Settings)
    instrument = Instrument.of(settings, Corrections.read(args.control))
    tiles = settings.sky.strip(settings.tile.size, args.strip)
    l, b = (v.ravel() for v in np.meshgrid(tiles.l, tiles.b, indexing="ij"))
    reference = np.empty((len(l), len(instrument.forward_model.channels), settings.pixels, settings.pixels), np.float32)
    detectable = np.empty((len(l), len(settings.surveys), len(instrument.edges) - 1, len(EXTINCTION_GRID)), np.float32)
    for i in tqdm(range(len(l)), desc="references", unit="tile", mininterval=5):
        reference[i], detectable[i] = instrument.references(l[i], b[i])
    dataset = xr.Dataset(
        {
            "reference": (("tile", "channel", "magnitude", "colour"), reference, {"units": "degree-2"}),
            "detectable": (("tile", "survey", "distance", "grid"), detectable, {"units": "degree-2"}),
            "l": ("tile", l, {"units": "degree"}),
            "b": ("tile", b, {"units": "degree"}),
        },
        attrs=provenance.attributes("render_references", args, [args.control]),
    )
    compressed = {"zlib": True, "complevel": 1}
    dataset.to_netcdf(args.output, encoding={"reference": compressed, "detectable": compressed})
