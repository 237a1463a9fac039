"""Judge a network on mock sightlines that it never saw: completeness, purity, errors, f(N, X) and l(X).

Example:
  galcarto evaluate_absorbers --network results/absorbers/network/ours/0.pt \\
      --sightlines results/absorbers/sightlines/hard/*.nc --found found.parquet --drawn drawn.nc --metrics hard.json
"""

import argparse

from galcarto.absorbers.catalogue import write_table
from galcarto.absorbers.drawn import choose, drawn
from galcarto.absorbers.evaluate import MEANINGS, evaluate
from galcarto.absorbers.find import AbsorberTrained
from galcarto.absorbers.sightlines import open_sightlines
from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "network", "metrics")
    parser.add_argument("--sightlines", required=True, nargs="+", help="mock sightlines (netCDF)")
    parser.add_argument("--found", required=True, type=Output, help="absorbers found and true ones, to write (Parquet)")
    parser.add_argument("--drawn", required=True, type=Output, help="some sightlines for a figure, to write (netCDF)")


def run(args: argparse.Namespace) -> None:
    """Search, compare with the truth, write."""
    trained, sightlines = AbsorberTrained.load(args.network), open_sightlines(args.sightlines)
    metrics, table = evaluate(trained, sightlines)
    attributes = provenance.attributes("evaluate_absorbers", args, [args.network, *args.sightlines])
    write_table(args.found, table, MEANINGS, attributes)
    found = table[(table["kind"] == "found") & (table["probability"] >= metrics["threshold"])]
    chosen = choose(table[table["kind"] == "true"], found)
    shown = found[found["sightline"].isin(chosen)]
    shown = shown.assign(sightline=[list(chosen).index(one) for one in shown["sightline"]])
    names = [f"sightline {number}" for number in chosen]
    drawn(trained, sightlines[chosen], shown, names).assign_attrs(attributes).to_netcdf(args.drawn)
    write_json(args.metrics, metrics)
