"""Predict labels of the stars of a catalogue, of any size, or of spectra, with a trained network.

Example:
  galcarto predict-labels --network results/metallicity/network/network.pt --catalogue my.fits --output labels.parquet
  galcarto predict-labels --network results/metallicity/network/network.pt --catalogue sdss.csv \\
      --columns u=psfMag_u u_error=psfMagErr_u g=psfMag_g g_error=psfMagErr_g longitude=ra latitude=dec id=objID \\
      --frame icrs --output labels.parquet

  galcarto predict-labels --network results/spectra/network/0.pt --spectra my_xp.csv --output labels.parquet

Without --columns the catalogue's names are those of the network's bands, NAME_error, l and b. A band that the catalogue
lacks, or a star, is predicted. The output has one row for each row of the catalogue, in its order:
'galcarto.open_labels' reads it.
"""

import argparse
import logging
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd

from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.tables import column_names
from galcarto.core.units import FRAMES
from galcarto.labels.dereddening import apply
from galcarto.labels.file import write
from galcarto.labels.network import LabelTrained
from galcarto.labels.posterior import describe
from galcarto.labels.settings import EXTINCTION, PLACES, Deredden, StarTable
from galcarto.labels.table import (
    NO_ULTRAVIOLET,
    REFUSED,
    REPEATED,
    ULTRAVIOLET,
    UNLIKE_TRAINING,
    Reader,
    arrays,
    check_system,
)
from galcarto.metallicity.distances import BANDS, IsochroneDistances, distances
from galcarto.spectra.predict import write_labels

ROWS = 200_000  # stars in a part
MANY = 0.2  # share of stars unlike the training stars of which the log warns


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "network")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--spectra", nargs="+", help="XP spectra (CSV, ECSV, FITS, VOTable, netCDF), or SDSS' files")
    source.add_argument("--catalogue", help="FITS, CSV, ECSV, VOTable, IPAC or Parquet")
    parser.add_argument("--columns", nargs="+", default=[], metavar="OURS=THEIRS", help="names of its columns")
    parser.add_argument("--frame", choices=FRAMES, default="galactic", help="of the positions; default galactic")
    parser.add_argument("--passes", type=int, help="of spectra: predictions with dropout; default: as in training")
    parser.add_argument("--corrected", action="store_true", help="the stars are corrected for dust already")
    parser.add_argument("--output", required=True, type=Output, help="label file to write (Parquet)")


def table_of(args: argparse.Namespace, features: list[str]) -> StarTable:
    """Which columns of the catalogue are which."""
    wrong = [pair for pair in args.columns if pair.count("=") != 1]
    if wrong:
        raise UserError(f"--columns: found {', '.join(wrong)}; expected OURS=THEIRS, such as u=psfMag_u")
    there = column_names(args.catalogue, "--catalogue")
    given = dict(pair.split("=") for pair in args.columns)
    known = [*features, *(f"{name}_error" for name in features), *PLACES]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise UserError(f"--columns: found {', '.join(unknown)}; expected some of {', '.join(known)}")
    columns = {name: name for name in known if name in there and name != "distance"}
    if {"l", "b"} <= set(there) and args.frame == "galactic":
        columns |= {"longitude": "l", "latitude": "b"}
    columns |= given
    if not set(features) & set(columns):
        raise UserError(
            f"{args.catalogue}: found the columns {', '.join(there)}; expected at least one of {', '.join(features)}; "
            "name them with --columns"
        )
    return StarTable(path=args.catalogue, columns=columns, frame=args.frame)


def run(args: argparse.Namespace) -> None:
    """Read, predict and write part by part; spectra at once."""
    if args.spectra:
        attributes = provenance.attributes("predict_labels", args, [args.network, *args.spectra])
        write_labels(args.network, args.spectra, args.output, attributes, args.passes)
        return
    trained = LabelTrained.load(args.network)
    estimator = trained.estimator
    dust = Deredden(**estimator.dust)
    features = [name for name in estimator.features if name != EXTINCTION or args.corrected]
    reader = Reader(table_of(args, features), features)
    grid = IsochroneDistances.build(BANDS)
    start, unlike, number = time.perf_counter(), 0, 0

    def parts() -> Iterator[pd.DataFrame]:
        nonlocal unlike, number
        for frame in reader.parts(ROWS):
            frame = frame if args.corrected else apply(frame, dust)
            values, errors, *_ = arrays(frame, estimator.features, [])
            if number == 0:
                check_system(estimator.deviations(values), estimator.features, args.catalogue)
            found = describe(trained, values, errors)
            quality = found["quality"].to_numpy() | np.where(frame["refused"], REFUSED, 0)
            quality |= np.where(frame["repeated"], REPEATED, 0)
            if ultraviolet := [at for at, name in enumerate(estimator.features) if set(name.split("-")) & ULTRAVIOLET]:
                lacks = ~np.isfinite(values[:, ultraviolet]).any(axis=1)
                quality |= np.where(lacks, NO_ULTRAVIOLET, 0)
            found["quality"] = quality.astype(np.uint8)
            found = found.join(distances(found, frame, grid))
            # nothing is known of a star without a single band: the prior is no measurement
            bare = ~np.isfinite(values).any(axis=1)
            found.loc[bare, [name for name in found if name != "quality"]] = np.nan
            unlike, number = unlike + int(((quality & UNLIKE_TRAINING) > 0).sum()), number + len(found)
            found.insert(0, "b", frame["b"].to_numpy("f4"))
            found.insert(0, "l", frame["l"].to_numpy("f4"))
            if "id" in frame:
                found.insert(0, "id", frame["id"].to_numpy())
            yield found

    attributes = provenance.attributes("predict_labels", args, [args.network, args.catalogue])
    write(args.output, parts(), attributes)
    seconds = time.perf_counter() - start
    logging.info("%d stars in %.1f s: %.2f million a minute", number, seconds, 60e-6 * number / seconds)
    if unlike > MANY * number:
        logging.warning(
            "%.0f %% of the stars are unlike the training stars (quality %d): check bands, their system, and dust",
            100.0 * unlike / number,
            UNLIKE_TRAINING,
        )
