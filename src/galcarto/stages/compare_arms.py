"""Compare the dust on spiral arms, and at tracers of them, with the dust elsewhere.

Example:
  galcarto compare_arms --settings "$(galcarto settings config/config.yaml compare_arms)" --seed 1 \\
      --cube results/demo/cube.nc --comparison arms.nc --metrics arms.json
"""

import argparse
from typing import Any

import numpy as np
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.seeds import generator
from galcarto.core.settings import Section, read
from galcarto.core.sky import Tiles
from galcarto.dustmap.compare import tracers
from galcarto.dustmap.settings import Tracers
from galcarto.maps.grid import edges_of
from galcarto.maps.reader import open_cube


class Settings(Section):
    tracers: Tracers


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "cube", "metrics", settings=Settings)
    parser.add_argument("--truth", help="true extinction on the same grid (netCDF)")
    parser.add_argument("--tracers", help="masers and HII regions (netCDF)")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: curves and nulls")


def run(args: argparse.Namespace) -> None:
    """Write the density ratios and their null distributions."""
    asked = read(args.settings, Settings).tracers
    spirals = tracers.MODELS[asked.arms]
    with open_cube(args.cube) as opened:
        cube = opened.transpose("l", "b", "distance", ...)
        tiles, edges = Tiles(edges_of(cube, "l"), edges_of(cube, "b")), edges_of(cube, "distance")
        near, far = (cube[f"distance_{end}"].to_numpy() for end in ("min", "max"))
        densities = {"map": cube["extinction_density"].to_numpy()}
    if args.truth:
        with xr.open_dataset(args.truth) as truth:
            true = truth["extinction"].transpose("l", "b", "distance").to_numpy()
            densities["truth"] = np.diff(true, axis=2, prepend=0.0) / np.diff(edges)
    cells = tracers.Cells.of(tiles, edges, near, far, asked.height)
    metrics: dict[str, Any] = {"model": spirals.source}
    values: dict[str, Any] = {}
    relative = {name: tracers.over_disc(density, cells, spirals.centre) for name, density in densities.items()}
    for name, one in relative.items():
        # the same moved arms for the map and the truth
        found, curves = tracers.on_arms(one, cells, spirals, asked.arm_width, generator(args.seed, "compare_arms"))
        metrics |= found if name == "map" else {name: found}
        values |= {
            f"density_{name}": ("across", curves["density"]),
            f"density_{name}_error": ("across", curves["density_error"]),
            f"moved_{name}": ("moved", curves["moved"]),
            f"ratio_{name}": ((), found["on_over_between"]),
            f"p_value_{name}": ((), found["p_value"]),
        }
    if args.tracers:
        with xr.open_dataset(args.tracers) as young:
            for kind, block in (("maser", "masers"), ("HII region", "hii")):
                of_kind = young.isel(tracer=np.flatnonzero(young["kind"] == kind))
                l, b, distance = (of_kind[name].to_numpy() for name in ("l", "b", "distance"))
                rng = generator(args.seed, "compare_arms", block)
                metrics[block], moved = tracers.at_tracers(relative["map"], tiles, edges, (l, b, distance), rng)
                values |= {
                    f"moved_{block}": ("moved", moved),
                    f"ratio_{block}": ((), metrics[block]["density_ratio"]),
                    f"ratio_{block}_error": ((), metrics[block]["density_ratio_error"]),
                    f"n_{block}": ((), metrics[block]["n"]),
                }
    dataset = xr.Dataset(
        {name: (dimension, one, {"units": "1"}) for name, (dimension, one) in values.items()},
        coords={
            "across": (
                "across",
                0.5 * (tracers.ACROSS[1:] + tracers.ACROSS[:-1]),
                {"units": "kiloparsec", "long_name": "distance to the nearest arm's ridge"},
            )
        },
        attrs={"arms": spirals.source, "arm_width_kpc": asked.arm_width, "height_kpc": asked.height},
    )
    inputs = [path for path in (args.cube, args.truth, args.tracers) if path]
    dataset.attrs |= provenance.attributes("compare_arms", args, inputs)
    dataset.to_netcdf(args.comparison)
    write_json(args.metrics, {"arms": metrics})
