"""Observe the synthetic sky: mock stars behind known dust, its truth, and a Planck-like map.

Example:
  galcarto observe_synthetic --settings "$(galcarto settings config/config.yaml observe_synthetic)" \\
      --seed 1 --stars stars.parquet --footprint footprint.nc --truth truth.nc --planck planck.fits
"""

import argparse
import json
import logging

import healpy as hp
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr
from tqdm import tqdm

from galcarto.core import provenance
from galcarto.core.files import PARQUET, Output
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import Section, read
from galcarto.core.sky import Tiles
from galcarto.dust.synthetic import SyntheticDust, through_beam
from galcarto.dustmap.instrument import star_extinction, star_model
from galcarto.dustmap.settings import Distance, Dust, GalaxySettings, Sky, SurveySettings, SyntheticSky, Tile
from galcarto.galaxy import field
from galcarto.galaxy.synthesis import BANDS, EmptySightlineError
from galcarto.maps.grid import distance_coordinate, tile_coordinates
from galcarto.surveys import SURVEYS

EDGE = 20.0  # kpc; the synthetic disc has no dust to speak of beyond
BORDER = 2.0  # pixels around the window in the Planck-like map


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
    """Write the observed stars, the area, the truth and the reference map."""
    sky, synthetic, tile, distance, galaxy, law, surveys = dict(read(args.settings, Settings)).values()
    tiles = sky.grid(tile.size)
    rng = generator(args.seed, "observe_synthetic", "dust")
    dust = SyntheticDust.draw(
        rng,
        (sky.l, sky.b),
        **synthetic.model_dump(
            include={
                "local_density",
                "scale_length",
                "scale_height",
                "arm_contrast",
                "turbulence",
                "turbulence_slope",
                "outer_scale",
                "inner_scale",
                "clouds",
            }
        ),
    )
    edges = distance.edges()
    full = np.append(edges, np.arange(edges[-1] + 0.25, max(EDGE, edges[-1]) + 0.25, 0.25))
    pixels = Tiles.cover(sky.l, sky.b, tile.size / synthetic.pixels_per_tile)
    extinction = np.zeros((*pixels.shape, len(full) - 1), np.float32)
    for i in tqdm(range(pixels.shape[0]), desc="dust", unit="column", mininterval=5):
        extinction[i] = dust.extinction(np.full(pixels.shape[1], pixels.l[i]), pixels.b, full)
    per_tile = synthetic.pixels_per_tile
    truth = extinction[..., : len(edges) - 1].astype(float)
    truth = truth.reshape(tiles.shape[0], per_tile, tiles.shape[1], per_tile, -1).mean(axis=(1, 3))

    model = star_model(galaxy, surveys)
    attributes = provenance.attributes("observe_sky", json.loads(args.settings), args.seed, [])
    writer, number = None, 0
    for cell in tqdm(field.cells(sky.l, sky.b), desc="stars", unit="cell", mininterval=5):
        noise = generator(args.seed, "observe_synthetic", str(cell))
        for stars in field.stars(model, cell, args.seed):
            behind = _behind(stars, pixels, extinction, full)
            observed = pd.concat([_observe(stars, behind, survey, law, noise) for survey in surveys])
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
        truth,
        {
            "units": "mag",
            "long_name": "true cumulative A_V to the outer edge of the distance bin, mean over the tile",
            "ucd": "phys.absorption.gal",
        },
    )
    dataset.to_netcdf(args.truth, encoding={"extinction": {"zlib": True}})
    _write_planck(args.planck, dust, sky, synthetic, law.r_v, args.seed)


def _behind(stars, pixels, extinction, edges) -> np.ndarray:
    """A_V in front of each star, linear between the edges, as in the truth; NaN outside the window."""
    i = np.floor((stars["l"].to_numpy() - pixels.l_edges[0]) % 360.0 / np.diff(pixels.l_edges[:2])[0]).astype(int)
    j = np.floor((stars["b"].to_numpy() - pixels.b_edges[0]) / np.diff(pixels.b_edges[:2])[0]).astype(int)
    inside = (i < pixels.shape[0]) & (j >= 0) & (j < pixels.shape[1])
    i, j = i[inside], j[inside]
    distance = np.minimum(stars["distance"].to_numpy()[inside], edges[-1])
    far = np.clip(np.searchsorted(edges, distance), 1, len(edges) - 1)
    before = np.where(far > 1, extinction[i, j, far - 2], 0.0)
    part = (distance - edges[far - 1]) / (edges[far] - edges[far - 1])
    result = np.full(len(stars), np.nan)
    result[inside] = before + part * (extinction[i, j, far - 1] - before)
    return result


def _observe(stars, behind, survey, law, rng) -> pd.DataFrame:
    """The stars that one survey measures in the window."""
    stars, behind = stars[np.isfinite(behind)], behind[np.isfinite(behind)]
    instrument = SURVEYS[survey.name]
    bare = {name: stars[name].to_numpy() for name in stars if name in BANDS}
    dimmed = star_extinction(survey, law, bare, behind)
    true = {band: bare[band] + dimmed[band] for band in survey.limits}
    measured, errors, seen = instrument.observe(true, survey.limits, survey.bright, rng)
    frame = pd.DataFrame({"l": stars["l"].to_numpy(), "b": stars["b"].to_numpy(), "survey": survey.name})
    for band in survey.limits:
        frame[band] = measured[band].astype("f4")
        frame[f"{band}_error"] = errors[band].astype("f4")
    if survey.parallax is not None:
        assert instrument.parallax is not None
        error = instrument.parallax.error(true[survey.magnitude.bands[0]])
        noise = error * rng.standard_normal(len(frame))
        frame["parallax"] = (1.0 / stars["distance"].to_numpy() + noise).astype("f4")
        frame["parallax_error"] = error.astype("f4")
    return frame[seen]


def _write_planck(path, dust: SyntheticDust, sky, synthetic, r_v: float, seed: int) -> None:
    """The whole line of sight as E(B-V), through a beam and with noise; a partial-sky HEALPix file."""
    nside = synthetic.planck_nside
    l, b = hp.pix2ang(nside, np.arange(hp.nside2npix(nside)), lonlat=True)
    border = BORDER * np.degrees(hp.nside2resol(nside))
    along = border / np.cos(np.radians(max(map(abs, sky.b))))
    turn = (l - sky.l[0] + along) % 360.0
    near = (turn < sky.l[1] - sky.l[0] + 2 * along) & (b > sky.b[0] - border) & (b < sky.b[1] + border)
    pixels = np.flatnonzero(near)
    total = dust.extinction(l[pixels], b[pixels], np.array([0.0, EDGE]))[:, 0]
    rng = generator(seed, "observe_synthetic", "planck")
    seen = through_beam(nside, pixels, total, synthetic.planck_beam)
    seen += synthetic.planck_noise * rng.standard_normal(len(pixels))
    sphere = np.full(hp.nside2npix(nside), hp.UNSEEN)
    sphere[pixels] = seen / r_v
    hp.write_map(
        path,
        sphere,
        nest=False,
        coord="G",
        partial=True,
        column_names=["EBV"],
        column_units=["mag"],
        dtype=np.float32,
        overwrite=True,
    )
