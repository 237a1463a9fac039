"""Compare the colour excess of labelled stars against distance with a cube's extinction.

Example:
  galcarto compare_labels --settings "$(galcarto settings config/metallicity.yaml compare_labels)" \\
      --stars results/metallicity/stars.parquet \\
      --cube results/orion/cube.nc --comparison labels_cube.nc --metrics labels_cube.json

The stars must lie in the cube's window. With comparison.labels: predicted the labels come from --labels.
"""

import argparse
import logging

import pandas as pd

import galcarto
from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dust.settings import Dust
from galcarto.labels.file import open_labels
from galcarto.metallicity import excess
from galcarto.metallicity.settings import LabelComparison


class Settings(Section):
    dust: Dust
    comparison: LabelComparison


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "cube", "metrics", settings=Settings)
    parser.add_argument("--stars", required=True, help="stars with bands, positions and known labels (Parquet)")
    parser.add_argument("--labels", help="label file of the same stars in the same order (Parquet)")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: A_V against distance")


def run(args: argparse.Namespace) -> None:
    """Write the stars' mean A_V against distance, and how far it is from the cube's."""
    dust, settings = dict(read(args.settings, Settings)).values()
    stars = pd.read_parquet(args.stars).reset_index(drop=True)
    if settings.labels == "predicted":
        if args.labels is None:
            raise UserError("--labels: found none; expected the label file, as comparison.labels is 'predicted'")
        labels = open_labels(args.labels)
        if len(labels) != len(stars):
            raise UserError(
                f"--labels: found {len(labels)} stars; expected the {len(stars)} of --stars, in their order"
            )
        for name in excess.LABELS:
            stars[name], stars[f"{name}_error"] = labels[name].to_numpy(), labels[f"{name}_sd"].to_numpy()
    found = stars[["l", "b"]].join(excess.star_extinctions(stars, settings, dust))
    with galcarto.open_cube(args.cube) as cube:
        dataset = excess.profiles(found, cube, settings)
    dataset.attrs |= provenance.attributes("compare_labels", args, [args.stars, args.labels, args.cube])
    dataset.to_netcdf(args.comparison)
    result = excess.scores(dataset)
    write_json(args.metrics, {"labels_cube": result})
    logging.log(logging.INFO if result["bins"] else logging.WARNING, "%s", result["verdict"])
