"""Compare the extinction of stars from spectra with a cube of dust at their places.

Example:
  galcarto compare_extinction --labels results/spectra/labels.parquet --distances distances.csv \\
      --cube results/demo/cube.nc --metrics extinction.json

DISTANCES is a table of the columns id (Gaia's source_id) and distance (kpc), such as a label file of the sister task.
"""

import argparse
import logging

import numpy as np

from galcarto.core.files import write_json
from galcarto.core.options import options
from galcarto.core.tables import floats, read_table
from galcarto.labels.file import open_labels
from galcarto.maps.reader import open_cube
from galcarto.spectra.compare import compare


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "cube", "metrics")
    parser.add_argument("--labels", required=True, help="label file of spectra (Parquet)")
    parser.add_argument("--distances", required=True, help="table of id and distance, kpc")
    parser.add_argument("--seed", type=int, default=0, help="of the stars that are fitted, where there are many")


def run(args: argparse.Namespace) -> None:
    """Compare and write."""
    labels = open_labels(args.labels)
    table = read_table(args.distances, ["distance"], "--distances", texts=["id"])
    known = dict(zip((str(one) for one in table["id"]), floats(table["distance"]), strict=True))
    distance = np.array([known.get(str(one), np.nan) for one in labels["id"]])
    with open_cube(args.cube) as cube:
        found = compare(labels, distance, cube, args.seed)
    logging.info("%(stars)d stars: slope %(slope).3f, offset %(offset).3f mag, scatter %(scatter).3f mag", found)
    write_json(args.metrics, found)
