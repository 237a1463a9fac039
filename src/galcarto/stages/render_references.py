"""Integrate the bare reference diagram of every tile of a strip, in its own direction.

Example:
  galcarto render_references --settings "$(galcarto settings config/config.yaml \\
      sky tile distance galaxy dust survey cmd)" --strip 0000 --output 0000.nc
"""

import argparse
import json

import numpy as np
import xarray as xr
from tqdm import tqdm

from galcarto import provenance
from galcarto.cmd.forward import EXTINCTION_GRID
from galcarto.cmd.integration import Integrator
from galcarto.model import forward_model, star_model
from galcarto.settings import read_sections


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of sky, tile, distance, galaxy, dust, survey, cmd")
    parser.add_argument("--strip", required=True, help="number of the strip of longitude columns, e.g. 0000")
    parser.add_argument("--output", required=True, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write reference(tile, magnitude, colour) and detectable(tile, distance, grid), per deg2."""
    sky, tile, distance, galaxy, dust, survey, cmd = read_sections(
        args.settings, "sky", "tile", "distance", "galaxy", "dust", "survey", "cmd"
    )
    forward = forward_model(survey, cmd, dust, distance.edges())
    integrator = Integrator(star_model(galaxy, survey), forward.diagram(), forward.edges)
    tiles = sky.strip(tile.size, args.strip)
    l, b = (v.ravel() for v in np.meshgrid(tiles.l, tiles.b, indexing="ij"))
    reference = np.empty((len(l), cmd.pixels, cmd.pixels), np.float32)
    detectable = np.empty((len(l), len(forward.edges) - 1, len(EXTINCTION_GRID)), np.float32)
    for i in tqdm(range(len(l)), desc="references", unit="tile", mininterval=5):
        reference[i] = integrator.image(l[i], b[i])
        detectable[i] = integrator.detectable(l[i], b[i])
    dataset = xr.Dataset(
        {
            "reference": (("tile", "magnitude", "colour"), reference, {"units": "degree-2"}),
            "detectable": (("tile", "distance", "grid"), detectable, {"units": "degree-2"}),
            "l": ("tile", l, {"units": "degree"}),
            "b": ("tile", b, {"units": "degree"}),
        },
        attrs=provenance.attributes("render_references", json.loads(args.settings), None, []),
    )
    compressed = {"zlib": True, "complevel": 1}
    dataset.to_netcdf(args.output, encoding={"reference": compressed, "detectable": compressed})
