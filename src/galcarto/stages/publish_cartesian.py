"""Resample the density to cubic voxels that keep the extinction of each sightline.

Example:
  galcarto publish_cartesian --settings "$(galcarto settings config/config.yaml publish_cartesian)" --seed 1 \\
      --cube results/demo/cube.nc --output cartesian.nc
"""

import argparse

from galcarto.core import provenance
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.maps import cartesian
from galcarto.maps.reader import open_cube
from galcarto.maps.settings import Publish


class Settings(Section):
    publish: Publish


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "cube", "output", settings=Settings)


def run(args: argparse.Namespace) -> None:
    """Write extinction_density(z, y, x)."""
    settings = read(args.settings, Settings)
    with open_cube(args.cube) as cube:
        dataset = cartesian.resample(cube, settings.publish.step)
    dataset.attrs |= provenance.attributes("publish_cartesian", args, [args.cube])
    dataset.to_netcdf(args.output, encoding=cartesian.encoding(dataset))
