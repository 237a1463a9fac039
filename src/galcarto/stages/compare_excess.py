"""Compare the mean colour excess of the same stars with HEALPix maps of dust, and the maps with one another.

Example:
  galcarto compare_excess --settings "$(galcarto settings config/orion.yaml compare_excess)" \\
      --stars results/orion/sky/stars.parquet --footprint results/orion/sky/footprint.nc \\
      --maps tau353.fits radiance.fits \\
      --comparison results/orion/comparisons/excess.nc --metrics results/orion/comparisons/excess.json
"""

import argparse
from itertools import combinations

import numpy as np
import pyarrow.parquet as pq
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.core.sky import Tiles
from galcarto.dustmap.compare import excess, planck
from galcarto.dustmap.instrument import band_coefficients
from galcarto.dustmap.settings import Compare, Control, Dust, Sky, SurveySettings, Tile
from galcarto.maps.grid import tile_coordinates
from galcarto.surveys import catalogue


class Settings(Section):
    compare: Compare
    dust: Dust
    sky: Sky
    tile: Tile
    surveys: list[SurveySettings]
    control: Control


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "metrics", settings=Settings)
    parser.add_argument("--stars", required=True, help="observed stars (Parquet)")
    parser.add_argument("--footprint", required=True, help="observed area of each tile (netCDF)")
    parser.add_argument("--maps", required=True, nargs="+", help="HEALPix maps of compare.planck, in order (FITS)")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: A_V of the tiles")


def run(args: argparse.Namespace) -> None:
    """Write A_V from the colour excess, and straight-line fits to the maps."""
    settings = read(args.settings, Settings)
    survey, tiles = settings.surveys[0], settings.sky.grid(settings.tile.size)
    first, second = survey.colour.bands
    window = Tiles(np.array(settings.control.l), np.array(settings.control.b))
    own = [file for file in settings.control.files if file.survey == survey.name]
    everything, _, dropped = catalogue.gather(own, list(survey.limits))
    field, _ = catalogue.usable(everything, dropped, survey.limits, survey.bright, window)
    intrinsic = float((field[first] - field[second]).mean())
    columns = ["l", "b", "survey", first, second]
    stars = pq.read_table(args.stars, columns=columns, page_checksum_verification=True).to_pandas()
    stars = stars[stars["survey"] == survey.name]
    index = tiles.index(stars["l"].to_numpy(), stars["b"].to_numpy())
    coefficients = band_coefficients(survey, settings.dust)
    colour = (stars[first] - stars[second]).to_numpy()
    inside = index >= 0
    found = excess.extinction(
        colour[inside], index[inside], tiles.area().size, intrinsic, coefficients[first] - coefficients[second]
    ).reshape(tiles.shape)
    with xr.open_dataset(args.footprint) as footprint:
        area = footprint["area"].sel(survey=survey.name).to_numpy()
    found[area < settings.tile.min_area_fraction * tiles.area()] = np.nan
    metrics, seen = {}, {}
    for entry, path in zip(settings.compare.planck, args.maps, strict=True):
        sphere = planck.read(path, entry)
        theirs = planck.to_extinction(planck.tile_means(sphere, tiles, entry.frame), entry.quantity, settings.dust.r_v)
        used = np.isfinite(found) & np.isfinite(theirs) & (theirs < entry.ceiling)
        seen[entry.name] = np.where(used, theirs, np.nan)
        metrics[entry.name] = planck.straight_line(found[used], theirs[used], entry.line_below)
    between = {}
    for (one, ours), (other, theirs) in combinations(seen.items(), 2):
        both = np.isfinite(ours) & np.isfinite(theirs)
        between[f"{one},{other}"] = planck.straight_line(ours[both], theirs[both])["spearman"]
    dataset = xr.Dataset(
        {"extinction": (("l", "b"), found, {"units": "mag", "long_name": "A_V of the mean colour excess"})},
        coords=tile_coordinates(tiles),
        attrs=provenance.attributes("compare_excess", args, [args.stars, args.footprint, *args.maps]),
    )
    dataset.to_netcdf(args.comparison)
    result = {"colour_excess": metrics | {"control_colour_mag": intrinsic}, "maps_spearman": between}
    write_json(args.metrics, result)
