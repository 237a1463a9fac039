"""Explain a network on spectra: which pixels its labels come from.

Example:
  galcarto explain-labels --network results/spectra/network/0.pt --spectra my_xp.csv --output explanation.nc

The output has the derivative of each label by each pixel, for a metal-poor and a metal-rich star of the file, and the
change of each label when a stretch of pixels is hidden, over all its stars.
"""

import argparse

from galcarto.core import provenance
from galcarto.core.options import options
from galcarto.spectra.explain import explain
from galcarto.spectra.predict import SpectraTrained, readied


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "network", "output")
    parser.add_argument("--spectra", required=True, nargs="+", help="as of predict-labels")


def run(args: argparse.Namespace) -> None:
    """Explain and write."""
    trained = SpectraTrained.load(args.network)
    found = explain(trained, *readied(trained, args.spectra))
    attributes = provenance.attributes("explain_labels", args, [args.network, *args.spectra])
    found.assign_attrs(attributes).to_netcdf(args.output)
