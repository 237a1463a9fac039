"""Bin the observed stars of every tile into colour-magnitude images beside their bare references.

Example:
  galcarto render_sky --settings "$(galcarto settings config/config.yaml sky tile distance dust survey cmd)" --seed 1 \\
      --stars stars.parquet --footprint footprint.nc --references 0000.nc 0001.nc --output cmds.nc
"""

import argparse
import json

import numpy as np
import pyarrow.parquet as pq
import xarray as xr

from galcarto import provenance
from galcarto.errors import UserError
from galcarto.model import forward_model
from galcarto.settings import read_sections


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of sky, tile, distance, dust, survey, cmd")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--stars", required=True, help="observed stars (Parquet)")
    parser.add_argument("--footprint", required=True, help="observed area of each tile (netCDF)")
    parser.add_argument("--references", required=True, nargs="+", help="references of the strips, in order (netCDF)")
    parser.add_argument("--output", required=True, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write counts, reference and detectable stars per tile (l-major)."""
    sky, tile, distance, dust, survey, cmd = read_sections(
        args.settings, "sky", "tile", "distance", "dust", "survey", "cmd"
    )
    model = forward_model(survey, cmd, dust, distance.edges())
    tiles = sky.grid(tile.size)
    references = xr.concat([xr.load_dataset(path) for path in args.references], dim="tile", combine_attrs="drop")
    if len(references["l"]) != tiles.area().size:
        raise UserError(
            f"--references: found {len(references['l'])} tiles; expected {tiles.area().size} from sky and tile"
        )
    counts = np.zeros((tiles.area().size, cmd.pixels, cmd.pixels), np.uint16)
    stars = np.zeros(len(counts), np.int64)
    # a row group at a time: the catalogue may be larger than the memory
    for group in pq.ParquetFile(args.stars).iter_batches(batch_size=1_000_000):
        frame = group.to_pandas()
        index = tiles.index(frame["l"].to_numpy(), frame["b"].to_numpy())
        for at, members in frame[index >= 0].groupby(index[index >= 0]):
            counts[at] += model.image({band: members[band].to_numpy() for band in model.bands}).astype(np.uint16)
            stars[at] += len(members)
    area = xr.load_dataset(args.footprint)["area"].to_numpy().ravel()
    magnitude, colour = (0.5 * (edges[1:] + edges[:-1]) for edges in model.axis_edges())
    dataset = references.assign(
        counts=(("tile", "magnitude", "colour"), counts, {"units": "1", "long_name": "observed stars per pixel"}),
        area=("tile", area, {"units": "degree2", "long_name": "observed solid angle"}),
        full_area=("tile", tiles.area().ravel(), {"units": "degree2", "long_name": "solid angle of the tile"}),
        stars=("tile", stars, {"units": "1", "long_name": "observed stars within the limits"}),
        magnitude=("magnitude", magnitude, {"units": "mag"}),
        colour=("colour", colour, {"units": "mag"}),
    )
    inputs = [args.stars, args.footprint, *args.references]
    dataset.attrs = provenance.attributes("render_sky", json.loads(args.settings), args.seed, inputs)
    dataset.attrs |= {"magnitude_band": model.magnitude_band, "colour_bands": "-".join(model.colour_bands)}
    compressed = {"zlib": True, "complevel": 1}
    dataset.to_netcdf(args.output, encoding={name: compressed for name in ("counts", "reference", "detectable")})
