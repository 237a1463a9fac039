"""Sample the posterior of one tile's or example's diagram from its likelihood, without the network.

Example:
  galcarto solve_sightline --settings "$(galcarto settings config/config.yaml solve_sightline)" --seed 1 \\
      --diagrams results/demo/sky/cmds.nc --number 3 --output tile.nc
"""

import argparse

import netCDF4
import numpy as np
import xarray as xr

from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.options import options
from galcarto.core.settings import read
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import InstrumentSettings, ProfileSettings


class Settings(InstrumentSettings):
    profiles: ProfileSettings


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "control", "output", settings=Settings)
    parser.add_argument("--diagrams", required=True, help="diagrams of tiles or of examples (netCDF)")
    parser.add_argument("--number", type=int, required=True, help="which of them, from 0")
    parser.add_argument("--l", type=float, help="galactic longitude of an example, deg; a tile has its own")
    parser.add_argument("--b", type=float, help="galactic latitude of an example, deg")
    parser.add_argument("--particles", type=int, default=512, help="posterior samples")


def run(args: argparse.Namespace) -> None:
    """Write samples, mean and standard deviation of the cumulative extinction, and diagnostics of the solver."""
    # torch takes seconds, and the options do not need it
    import torch

    from galcarto.dustmap.limit.solver import Likelihood, Prior, solve
    from galcarto.dustmap.limit.tables import tabulate

    settings = read(args.settings, Settings)
    torch.set_num_threads(1)
    with netCDF4.Dataset(args.diagrams) as file:
        number = len(file["counts"])
        if not 0 <= args.number < number:
            raise UserError(
                f"--number: found {args.number}; expected 0 to {number - 1}, as {args.diagrams} holds {number} diagrams"
            )
        counts = np.asarray(file["counts"][args.number, 0])
        # a tile has an area for each survey
        area = float(np.ravel(file["area"][args.number])[0])
        own = [float(file[name][args.number]) if name in file.variables else None for name in ("l", "b")]
    l, b = (given if given is not None else value for given, value in zip((args.l, args.b), own, strict=True))
    if l is None or b is None:
        raise UserError(f"--l, --b: missing; expected both, as {args.diagrams} holds examples, not tiles")
    first = settings.model_copy(update={"surveys": settings.surveys[:1]})
    instrument = Instrument.of(first, Corrections.read(args.control))
    slices, mix, widths = tabulate(instrument, l, b)
    edges = instrument.edges
    prior = Prior(edges, settings.profiles.model_dump(), len(mix.tilt))
    solution = solve(Likelihood(slices, prior, counts, area, widths, mix), args.particles, args.seed)
    inputs = [args.diagrams, args.control]
    attributes = provenance.attributes("solve_sightline", args, inputs)
    attributes |= {
        "l_deg": l,
        "b_deg": b,
        "area_deg2": area,
        "log_evidence": solution.log_evidence,
        "effective_particles": solution.effective,
        "distinct_ancestors": solution.distinct,
        "temperatures": solution.steps,
        **{f"acceptance_{name}": value for name, value in solution.acceptance.items()},
    }
    xr.Dataset(
        {
            "extinction_samples": (("sample", "distance"), solution.samples, {"units": "mag"}),
            "extinction": ("distance", solution.mean, {"units": "mag"}),
            "extinction_sd": ("distance", solution.sd, {"units": "mag"}),
            "clouds": ("sample", solution.clouds, {"units": "1", "long_name": "clouds of the sample"}),
        },
        coords={"distance": ("distance", 0.5 * (edges[1:] + edges[:-1]), {"units": "kiloparsec"})},
        attrs=attributes,
    ).to_netcdf(args.output)
