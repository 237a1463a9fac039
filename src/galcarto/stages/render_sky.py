"""Bin the observed stars of every tile into colour-magnitude images beside their bare references.

Example:
  galcarto render_sky --settings "$(galcarto settings config/config.yaml sky tile distance dust surveys pixels)" \\
      --seed 1 --stars stars.parquet --footprint footprint.nc --references 0000.nc 0001.nc --output cmds.nc
"""

import argparse
import json

import numpy as np
import pyarrow.parquet as pq
import xarray as xr

from galcarto import provenance
from galcarto.cmd.files import axis_centres
from galcarto.errors import UserError
from galcarto.files import Output
from galcarto.model import forward_model
from galcarto.settings import read_sections


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of sky, tile, distance, dust, surveys, pixels")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--stars", required=True, help="observed stars (Parquet)")
    parser.add_argument("--footprint", required=True, help="observed area of each tile (netCDF)")
    parser.add_argument("--references", required=True, nargs="+", help="references of the strips, in order (netCDF)")
    parser.add_argument("--output", required=True, type=Output, help="netCDF file to write")


def run(args: argparse.Namespace) -> None:
    """Write counts, reference and detectable stars per tile (l-major)."""
    sky, tile, distance, dust, surveys, pixels = read_sections(
        args.settings, "sky", "tile", "distance", "dust", "surveys", "pixels"
    )
    model = forward_model(surveys, pixels, dust, distance.edges())
    owner = np.array(model.surveys)
    tiles = sky.grid(tile.size)
    references = xr.concat([xr.load_dataset(path) for path in args.references], dim="tile", combine_attrs="drop")
    if len(references["l"]) != tiles.area().size:
        raise UserError(
            f"--references: found {len(references['l'])} tiles; expected {tiles.area().size} from sky and tile"
        )
    counts = np.zeros((tiles.area().size, len(owner), pixels, pixels), np.uint16)
    stars = np.zeros((len(counts), len(model.views)), np.int64)
    # a row group at a time: the catalogue may be larger than the memory
    catalogue = pq.ParquetFile(args.stars, page_checksum_verification=True)
    for group in catalogue.iter_batches(batch_size=1_000_000):
        frame = group.to_pandas()
        index = tiles.index(frame["l"].to_numpy(), frame["b"].to_numpy())
        for number, view in enumerate(model.views):
            own = (index >= 0) & (frame["survey"] == view.survey.name).to_numpy()
            for at, members in frame[own].groupby(index[own]):
                counts[at, owner == number] += view.images(
                    {str(name): values.to_numpy() for name, values in members.items()}
                ).astype(np.uint16)
                stars[at, number] += len(members)
    names = [view.survey.name for view in model.views]
    with xr.open_dataset(args.footprint) as footprint:
        area = footprint["area"].sel(survey=names).to_numpy().reshape(len(names), -1).T
    dataset = references.assign(
        counts=(
            ("tile", "channel", "magnitude", "colour"),
            counts,
            {"units": "1", "long_name": "observed stars per pixel"},
        ),
        area=(("tile", "survey"), area, {"units": "degree2", "long_name": "observed solid angle"}),
        full_area=("tile", tiles.area().ravel(), {"units": "degree2", "long_name": "solid angle of the tile"}),
        stars=(("tile", "survey"), stars, {"units": "1", "long_name": "observed stars within the limits"}),
        owner=("channel", owner, {"long_name": "number of the channel's survey"}),
        survey=("survey", names),
    )
    dataset = dataset.assign(
        {name: (("channel", name.removesuffix("_axis")), values) for name, values in axis_centres(model).items()}
    )
    inputs = [args.stars, args.footprint, *args.references]
    dataset.attrs = provenance.attributes("render_sky", json.loads(args.settings), args.seed, inputs)
    dataset.attrs["channels"] = " ".join(model.channels)
    compressed = {"zlib": True, "complevel": 1}
    dataset.to_netcdf(args.output, encoding={name: compressed for name in ("counts", "reference", "detectable")})
