"""Compare the mean colour excess of the same stars with HEALPix maps of dust, and the maps with one another.

Example:
  galcarto compare_excess --settings "$(galcarto settings config/orion.yaml compare dust sky tile surveys control)" \\
      --stars stars.parquet --footprint footprint.nc --maps tau353.fits radiance.fits --comparison excess.nc \\
      --metrics excess.json
"""

import argparse
import json
from itertools import combinations

import numpy as np
import pyarrow.parquet as pq
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.core.sky import Tiles
from galcarto.dustmap.compare import excess, planck
from galcarto.dustmap.instrument import band_coefficients
from galcarto.dustmap.settings import read_sections
from galcarto.maps.grid import tile_coordinates
from galcarto.surveys import catalogue


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of compare, dust, sky, tile, surveys, control")
    parser.add_argument("--stars", required=True, help="observed stars (Parquet)")
    parser.add_argument("--footprint", required=True, help="observed area of each tile (netCDF)")
    parser.add_argument("--maps", required=True, nargs="+", help="HEALPix maps of compare.planck, in order (FITS)")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: A_V of the tiles")
    parser.add_argument("--metrics", required=True, type=Output, help="JSON file to write")


def run(args: argparse.Namespace) -> None:
    """Write A_V from the colour excess, and its straight lines against the maps."""
    compare, dust, sky, tile, surveys, control = read_sections(
        args.settings, "compare", "dust", "sky", "tile", "surveys", "control"
    )
    survey, tiles = surveys[0], sky.grid(tile.size)
    first, second = survey.colour.bands
    window = Tiles(np.array(control.l), np.array(control.b))
    own = [file for file in control.files if file.survey == survey.name]
    everything, _, dropped = catalogue.gather(own, list(survey.limits))
    field, _ = catalogue.usable(everything, dropped, survey.limits, survey.bright, window)
    intrinsic = float((field[first] - field[second]).mean())
    columns = ["l", "b", "survey", first, second]
    stars = pq.read_table(args.stars, columns=columns, page_checksum_verification=True).to_pandas()
    stars = stars[stars["survey"] == survey.name]
    index = tiles.index(stars["l"].to_numpy(), stars["b"].to_numpy())
    coefficients = band_coefficients(survey, dust)
    colour = (stars[first] - stars[second]).to_numpy()
    inside = index >= 0
    found = excess.extinction(
        colour[inside], index[inside], tiles.area().size, intrinsic, coefficients[first] - coefficients[second]
    ).reshape(tiles.shape)
    with xr.open_dataset(args.footprint) as footprint:
        area = footprint["area"].sel(survey=survey.name).to_numpy()
    found[area < tile.min_area_fraction * tiles.area()] = np.nan
    metrics, seen = {}, {}
    for entry, path in zip(compare.planck, args.maps, strict=True):
        sphere = planck.read(path, entry.ordering, entry.column, entry.hdu)
        theirs = planck.to_extinction(planck.tile_means(sphere, tiles, entry.frame), entry.quantity, dust.r_v)
        used = np.isfinite(found) & np.isfinite(theirs) & (theirs < entry.ceiling)
        seen[entry.name] = np.where(used, theirs, np.nan)
        line = planck.straight_line(found[used], theirs[used], entry.line_below)
        metrics[entry.name] = {name: value if np.isfinite(value) else None for name, value in line.items()}
    between = {}
    for (one, ours), (other, theirs) in combinations(seen.items(), 2):
        both = np.isfinite(ours) & np.isfinite(theirs)
        rank = planck.straight_line(ours[both], theirs[both])["spearman"]
        between[f"{one},{other}"] = rank if np.isfinite(rank) else None
    dataset = xr.Dataset(
        {"extinction": (("l", "b"), found, {"units": "mag", "long_name": "A_V of the mean colour excess"})},
        coords=tile_coordinates(tiles),
        attrs=provenance.attributes(
            "compare_excess", json.loads(args.settings), None, [args.stars, args.footprint, *args.maps]
        ),
    )
    dataset.to_netcdf(args.comparison)
    with open(args.metrics, "w") as handle:
        result = {"colour_excess": metrics | {"control_colour_mag": intrinsic}, "maps_spearman": between}
        json.dump(result, handle, indent=2)
