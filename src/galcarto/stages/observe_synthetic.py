"""Observe the synthetic sky: mock stars behind known dust, its truth, and a Planck-like map.

Example:
  galcarto observe_synthetic --settings "$(galcarto settings config/config.yaml observe_synthetic)" \\
      --seed 1 --stars stars.parquet --footprint footprint.nc --truth truth.nc --planck planck.fits
"""

import argparse
import logging

import healpy as hp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import PARQUET, Output
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dustmap.settings import Distance, Dust, GalaxySettings, Sky, SurveySettings, SyntheticSky, Tile
from galcarto.dustmap.synthetic_sky import DustGrid, observe
from galcarto.galaxy.synthesis import EmptySightlineError
from galcarto.maps.grid import distance_coordinate, tile_coordinates


class Settings(Section):
    sky: Sky
    synthetic: SyntheticSky
    tile: Tile
    distance: Distance
    galaxy: GalaxySettings
    dust: Dust
    surveys: list[SurveySettings]


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", settings=Settings)
    parser.add_argument("--stars", required=True, type=Output, help="Parquet file to write: observed stars")
    parser.add_argument("--footprint", required=True, type=Output, help="netCDF file to write: area of each tile")
    parser.add_argument("--truth", required=True, type=Output, help="netCDF file to write: the true extinction")
    parser.add_argument("--planck", required=True, type=Output, help="FITS file to write: HEALPix map of E(B-V)")


def run(args: argparse.Namespace) -> None:
    """Write the observed stars, the observed area, the true extinction and the reference map."""
    sky, synthetic, tile, distance, galaxy, law, surveys = dict(read(args.settings, Settings)).values()
    tiles, edges = sky.grid(tile.size), distance.edges()
    dust = DustGrid.draw(sky, synthetic, tile.size, edges, args.seed)
    attributes = provenance.attributes("observe_sky", args, [])
    writer, number = None, 0
    for observed in observe(dust, sky, galaxy, law, surveys, args.seed):
        if len(observed) > 0:
            table = pa.Table.from_pandas(observed, preserve_index=False)
            writer = writer or pq.ParquetWriter(args.stars, table.schema, **PARQUET)
            writer.write_table(table)
            number += len(observed)
    if writer is None:
        raise EmptySightlineError(
            f"found no star in {tiles.l.size} x {tiles.b.size} tiles; expected some within limits"
        )
    writer.close()
    logging.info("%d observed stars in %d x %d tiles", number, *tiles.shape)

    footprint = xr.Dataset(coords=tile_coordinates(tiles), attrs=attributes)
    footprint["survey"] = [survey.name for survey in surveys]
    area = np.broadcast_to(tiles.area(), (len(surveys), *tiles.shape))
    footprint["area"] = ("survey", "l", "b"), area, {"units": "degree2", "long_name": "observed solid angle"}
    footprint.to_netcdf(args.footprint)
    dataset = xr.Dataset(coords=tile_coordinates(tiles) | distance_coordinate(edges), attrs=attributes)
    dataset["extinction"] = (
        ("l", "b", "distance"),
        dust.truth(len(edges) - 1),
        {
            "units": "mag",
            "long_name": "true cumulative A_V to the outer edge of the distance bin, mean over the tile",
            "ucd": "phys.absorption.gal",
        },
    )
    dataset.to_netcdf(args.truth, encoding={"extinction": {"zlib": True}})
    sphere = dust.planck(sky, synthetic, law.r_v, args.seed)
    hp.write_map(
        args.planck,
        sphere,
        nest=False,
        coord="G",
        # healpy cannot write numbers of pixels below 128 alone, as they are at the north pole
        partial=bool(np.flatnonzero(sphere != hp.UNSEEN).max() > 127),
        column_names=["EBV"],
        column_units=["mag"],
        dtype=np.float32,
        overwrite=True,
    )
