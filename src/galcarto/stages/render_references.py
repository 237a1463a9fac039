"""Integrate the bare reference diagram of every tile of a strip, in its own direction.

Example:
  galcarto render_references --settings "$(galcarto settings config/config.yaml \\
      sky tile distance galaxy dust surveys pixels)" --strip 0000 --output 0000.nc
"""

import argparse
import json

import numpy as np
import xarray as xr
from tqdm import tqdm

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.dustmap.diagrams.integration import EXTINCTION_GRID
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import read_sections


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of sky, tile, distance, galaxy, dust, surveys, pixels")
    parser.add_argument("--strip", required=True, help="number of the strip of longitude columns, e.g. 0000")
    parser.add_argument("--control", help="what the control field says of the mock (JSON)")
    parser.add_argument("--output", required=True, type=Output, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write reference(tile, channel, magnitude, colour) and detectable(tile, survey, distance, grid), per deg2."""
    sky, tile, distance, galaxy, dust, surveys, pixels = read_sections(
        args.settings, "sky", "tile", "distance", "galaxy", "dust", "surveys", "pixels"
    )
    instrument = Instrument(surveys, pixels, dust, distance, galaxy, corrections=Corrections.read(args.control))
    tiles = sky.strip(tile.size, args.strip)
    l, b = (v.ravel() for v in np.meshgrid(tiles.l, tiles.b, indexing="ij"))
    reference = np.empty((len(l), len(instrument.forward_model.channels), pixels, pixels), np.float32)
    detectable = np.empty((len(l), len(surveys), len(instrument.edges) - 1, len(EXTINCTION_GRID)), np.float32)
    for i in tqdm(range(len(l)), desc="references", unit="tile", mininterval=5):
        reference[i], detectable[i] = instrument.references(l[i], b[i])
    dataset = xr.Dataset(
        {
            "reference": (("tile", "channel", "magnitude", "colour"), reference, {"units": "degree-2"}),
            "detectable": (("tile", "survey", "distance", "grid"), detectable, {"units": "degree-2"}),
            "l": ("tile", l, {"units": "degree"}),
            "b": ("tile", b, {"units": "degree"}),
        },
        attrs=provenance.attributes(
            "render_references", json.loads(args.settings), None, [args.control] if args.control else []
        ),
    )
    compressed = {"zlib": True, "complevel": 1}
    dataset.to_netcdf(args.output, encoding={"reference": compressed, "detectable": compressed})
