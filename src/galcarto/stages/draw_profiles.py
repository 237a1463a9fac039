"""Draw the random extinction profiles of one split.

Example:
  galcarto draw_profiles --settings "$(galcarto settings config/config.yaml draw_profiles)" \\
      --seed 1 --split valid --number 1000 --output valid.nc
"""

import argparse

import netCDF4

from galcarto.core import provenance
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import Section, read
from galcarto.dust import profiles as prior
from galcarto.dustmap.settings import Distance, ProfileSettings

BLOCK = 8192  # profiles drawn and written at once


class Settings(Section):
    profiles: ProfileSettings
    distance: Distance


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "output", settings=Settings)
    parser.add_argument("--split", required=True, choices=["train", "valid", "test"])
    parser.add_argument("--number", type=int, required=True, help="profiles to draw")


def run(args: argparse.Namespace) -> None:
    """Write extinction(profile, distance) in blocks."""
    settings = read(args.settings, Settings)
    edges = settings.distance.edges()
    rng = generator(args.seed, "draw_profiles", args.split)
    with netCDF4.Dataset(args.output, "w") as file:
        file.setncatts(provenance.attributes("draw_profiles", args, []))
        file.createDimension("profile", args.number)
        file.createDimension("distance", len(edges) - 1)
        file.createDimension("bounds", 2)
        centre = file.createVariable("distance", "f8", ("distance",))
        centre.units, centre.bounds, centre[:] = ("kiloparsec", "distance_bounds", 0.5 * (edges[1:] + edges[:-1]))
        bounds = file.createVariable("distance_bounds", "f8", ("distance", "bounds"))
        bounds[:, 0], bounds[:, 1] = edges[:-1], edges[1:]
        chunks = (min(BLOCK, args.number), len(edges) - 1)
        extinction = file.createVariable(
            "extinction", "f4", ("profile", "distance"), compression="zlib", complevel=1, chunksizes=chunks
        )
        extinction.units = "mag"
        extinction.long_name = "cumulative A_V from the Sun to the outer edge of the distance bin"
        for start in range(0, args.number, BLOCK):
            stop = min(start + BLOCK, args.number)
            extinction[start:stop] = prior.draw(rng, stop - start, edges, **settings.profiles.model_dump())
