"""Fetch a published three-dimensional dust map with the package dustmaps, or record why that failed.

Example:
  galcarto fetch_map --name marshall06 --output results/orion/maps/marshall06.json
"""

import argparse
import logging
import textwrap
from pathlib import Path

from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.dustmap.compare import published


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "offline")
    parser.add_argument("--name", required=True, choices=published.SOURCES, help="the map")
    parser.add_argument(
        "--output", required=True, type=Output, help="JSON file to write beside the map: its file, or a reason"
    )


def run(args: argparse.Namespace) -> None:
    """Fetch the map and write its file or the reason of the failure."""
    try:
        path, sha256 = published.fetch(args.name, Path(args.output).parent, args.offline)
        note = {"file": str(path), "sha256": sha256}
    except Exception as error:  # dustmaps raises errors of any kind
        note = {"reason": f"fetching it ended in {type(error).__name__}: {textwrap.shorten(str(error), 300)}"}
        logging.warning("%s: %s; the rest goes on; to try again: --forcerun fetch_map", args.name, note["reason"])
    write_json(args.output, note)
