"""Compare the network with the information limit and with colour excesses, on the same held-out diagrams.

Example:
  galcarto compare_limit --settings "$(galcarto settings config/orion.yaml compare_limit)" --seed 1 \\
      --network results/orion/network/network.pt --examples results/orion/cmds/test/l210.000_b-19.000.nc \\
      --stars results/orion/stars/l210.000_b-19.000.parquet --processes 2 \\
      --comparison results/orion/comparisons/limit.nc --metrics results/orion/comparisons/limit.json
"""

import argparse

import pyarrow.parquet as pq

from galcarto.core import provenance
from galcarto.core.errors import UserError
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import read
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import Compare, Inference, InstrumentSettings, ProfileSettings

MOCK = 60_000  # stars for the colour excesses


class Settings(InstrumentSettings):
    profiles: ProfileSettings
    inference: Inference
    compare: Compare


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "network", "control", "metrics", settings=Settings)
    parser.add_argument("--examples", required=True, help="test examples of one sightline (netCDF)")
    parser.add_argument("--stars", required=True, help="bare stars of that sightline (Parquet)")
    parser.add_argument("--processes", type=int, default=1, help="examples solved at once, each with one thread")
    parser.add_argument("--comparison", required=True, type=Output, help="netCDF file to write: errors by distance")


def run(args: argparse.Namespace) -> None:
    """Write errors and CPU times of the three methods, where enough stars remain behind the true profile."""
    # torch takes seconds, and the options do not need it
    import torch

    from galcarto.dustmap.limit.comparison import HeldOut, measure
    from galcarto.dustmap.network import ProfileNetwork

    settings = read(args.settings, Settings)
    limit = settings.compare.limit
    if limit is None:
        raise UserError("compare.limit: missing; expected this key, for example {examples: 24}")
    torch.set_num_threads(1)
    first = settings.model_copy(update={"surveys": settings.surveys[:1]})
    instrument = Instrument.of(first, Corrections.read(args.control))
    number = max(limit.examples, limit.excess)
    examples = HeldOut.read(args.examples, number, limit.examples, settings.inference.min_stars)
    table = pq.read_table(args.stars, page_checksum_verification=True)
    direction = float(table.schema.metadata[b"l_deg"]), float(table.schema.metadata[b"b_deg"])
    frame = table.to_pandas()
    frame = frame.iloc[:: max(len(frame) // MOCK, 1)]
    stars = {name: frame[name].to_numpy(float) for name in ("distance", "logg", *instrument.views[0].bands)}
    dataset, metrics = measure(
        ProfileNetwork.load(args.network),
        instrument,
        settings.profiles,
        examples,
        direction,
        stars,
        limit,
        samples=settings.inference.samples,
        processes=args.processes,
        seed=args.seed,
    )
    inputs = [args.network, args.examples, args.stars, args.control]
    dataset.attrs = provenance.attributes("compare_limit", args, inputs)
    dataset.to_netcdf(args.comparison)
    write_json(args.metrics, {"limit": metrics})
