"""Observe the synthetic sky: mock stars behind known dust, its truth, and a Planck-like map.

Example:
  galcarto observe_synthetic --settings "$(galcarto settings config/config.yaml \\
      sky synthetic tile distance galaxy dust survey)" \\
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

from galcarto import provenance
from galcarto.dust.synthetic import SyntheticDust, through_beam
from galcarto.galaxy.synthesis import EmptySightlineError
from galcarto.maps.grid import distance_coordinate, tile_coordinates
from galcarto.model import band_coefficients, star_model
from galcarto.seeds import generator
from galcarto.settings import read_sections
from galcarto.surveys import SURVEYS

EDGE = 20.0  # kpc; the synthetic disc has no dust to speak of beyond
BORDER = 2.0  # pixels around the window in the Planck-like map


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--settings", required=True, help="JSON of sky, synthetic, tile, distance, galaxy, dust, survey"
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--stars", required=True, help="Parquet file to write: observed stars")
    parser.add_argument("--footprint", required=True, help="netCDF file to write: area of each tile")
    parser.add_argument("--truth", required=True, help="netCDF file to write: the true extinction")
    parser.add_argument("--planck", required=True, help="FITS file to write: HEALPix map of E(B-V)")


def run(args: argparse.Namespace) -> None:
    """Write the observed stars, the area, the truth and the reference map."""
    sky, synthetic, tile, distance, galaxy, law, survey = read_sections(
        args.settings, "sky", "synthetic", "tile", "distance", "galaxy", "dust", "survey"
    )
    tiles, instrument = sky.grid(tile.size), SURVEYS[survey.name]
    coefficients = band_coefficients(survey, law)
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
    per_side = synthetic.pixels_per_tile
    offsets = ((np.arange(per_side) + 0.5) / per_side - 0.5) * tile.size
    model = star_model(galaxy, survey)
    attributes = provenance.attributes("observe_sky", json.loads(args.settings), args.seed, [])
    truth = np.zeros((*tiles.shape, len(edges) - 1))
    writer, number = None, 0
    for i, j in tqdm(list(np.ndindex(tiles.shape)), desc="tiles", unit="tile", mininterval=5):
        l, b = tiles.l[i], tiles.b[j]
        pixel_l, pixel_b = (v.ravel() for v in np.meshgrid(l + offsets, b + offsets, indexing="ij"))
        extinction = dust.extinction(pixel_l, pixel_b, full)
        truth[i, j] = extinction.mean(axis=0)[: len(edges) - 1]
        rng = generator(args.seed, "observe_synthetic", f"{l:.4f}", f"{b:.4f}")
        try:
            stars = model.draw(l, b, tiles.area()[i, j], rng)
        except EmptySightlineError:
            continue  # a small tile may hold no star; that is an observation too
        observed = _observe(
            stars, pixel_l, pixel_b, tile.size / per_side, extinction, full, coefficients, instrument, survey, rng
        )
        table = pa.Table.from_pandas(observed, preserve_index=False)
        writer = writer or pq.ParquetWriter(args.stars, table.schema, compression="zstd")
        writer.write_table(table)
        number += len(observed)
    if writer is None:
        raise EmptySightlineError(f"found no star in {truth[..., 0].size} tiles; expected some within survey.limits")
    writer.close()
    logging.info("%d observed stars in %d tiles", number, truth[..., 0].size)

    footprint = xr.Dataset(coords=tile_coordinates(tiles), attrs=attributes)
    footprint["area"] = ("l", "b"), tiles.area(), {"units": "degree2", "long_name": "observed solid angle"}
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


def _observe(stars, pixel_l, pixel_b, size, extinction, edges, coefficients, instrument, survey, rng) -> pd.DataFrame:
    """Stars spread over the tile's dust pixels, dimmed, measured and cut."""
    at = rng.integers(len(pixel_l), size=len(stars))
    behind = np.empty(len(stars))
    for pixel, profile in enumerate(extinction):
        members = at == pixel
        behind[members] = np.interp(stars["distance"][members], edges, np.append(0.0, profile))
    true = {band: stars[band].to_numpy() + coefficients[band] * behind for band in survey.limits}
    measured, errors, seen = instrument.observe(true, survey.limits, survey.bright, rng)
    position = rng.uniform(-0.5, 0.5, (2, len(stars))) * size
    frame = pd.DataFrame({"l": (pixel_l[at] + position[0]) % 360.0, "b": pixel_b[at] + position[1]})
    for band in survey.limits:
        frame[band] = measured[band].astype("f4")
        frame[f"{band}_error"] = errors[band].astype("f4")
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
