"""Train a small network with a variant's settings and score it on the region's test examples and observed sky.

Example:
  galcarto ablate --settings "$(galcarto settings config/config.yaml ablate)" --seed 1 --variant full --title nothing \\
      --stars results/demo/stars/*.parquet --test results/demo/cmds/test/*.nc --sky results/demo/sky/cmds.nc \\
      --maps results/demo/sky/planck.fits --output full.json
"""

import argparse

import xarray as xr

from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import read
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import (
    Ablation,
    Compare,
    Inference,
    InstrumentSettings,
    Network,
    ProfileSettings,
    Sky,
    Tile,
    Training,
)


class Settings(InstrumentSettings):
    tile: Tile
    sky: Sky
    profiles: ProfileSettings
    network: Network
    training: Training
    ablation: Ablation
    inference: Inference
    compare: Compare


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "control", settings=Settings)
    parser.add_argument("--variant", required=True, help="name of the variant, for the table")
    parser.add_argument("--title", required=True, help="what the variant leaves out, for the table")
    parser.add_argument("--stars", required=True, nargs="+", help="bare stars of the training sightlines (Parquet)")
    parser.add_argument("--test", required=True, nargs="+", help="test examples of the region (netCDF)")
    parser.add_argument("--sky", required=True, help="images of the tiles (netCDF)")
    parser.add_argument("--references", help="references of the tiles (netCDF), if not the sky's own")
    parser.add_argument("--maps", nargs="*", default=[], help="HEALPix maps, in the order of compare.planck (FITS)")
    parser.add_argument("--output", required=True, type=Output, help="JSON file to write")


def run(args: argparse.Namespace) -> None:
    """Train a variant and write its scores; examples and network are temporary."""
    # torch takes seconds, and the options do not need it
    from galcarto.dustmap.compare import variant

    region = read(args.settings, Settings)
    if len(args.maps) != len(region.compare.planck):
        raise UserError(
            f"--maps: found {len(args.maps)} maps; expected the {len(region.compare.planck)} of compare.planck"
        )
    images = _sky(args.sky, args.references)
    number = region.sky.grid(region.tile.size).area().size
    if len(images["l"]) != number:
        raise UserError(f"--sky: found {len(images['l'])} tiles; expected {number}, as given by sky and tile")
    instrument = Instrument.of(region, Corrections.read(args.control))
    trained, history = variant.train(region, instrument, args.stars, args.seed)
    inputs = [*args.stars, *args.test, args.sky, args.references, *args.maps, args.control]
    result = {
        "variant": args.variant,
        "title": args.title,
        "training": {
            "examples": history[-1]["examples"],
            "valid_loss": min(row["valid_loss"] for row in history),
        },
        "heldout": variant.score_held_out(region, instrument, trained, args.test, args.seed),
        **variant.score_sky(region, trained, images, args.maps, args.seed),
        "provenance": provenance.attributes("ablate", args, inputs),
    }
    write_json(args.output, result)


def _sky(path: str, references: str | None) -> xr.Dataset:
    """Read the observed tiles, with the references of the variant where it has its own."""
    images = xr.load_dataset(path)
    if references is None:
        return images
    other = xr.load_dataset(references)
    if other["reference"].shape != images["reference"].shape:
        raise UserError(
            f"--references: found diagrams of shape {other['reference'].shape}; expected those of the sky, "
            f"{images['reference'].shape}"
        )
    return images.assign(reference=other["reference"], detectable=other["detectable"])
