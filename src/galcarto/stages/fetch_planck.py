"""Fetch a HEALPix map of dust once and check it.

Example:
  galcarto fetch_planck --url https://example.org/map.fits --output results/orion/planck/tau353.fits
"""

import argparse

from galcarto.core.download import Client, fetch


def configure(parser: argparse.ArgumentParser) -> None:
    """Options; no settings, so that the download of gigabytes depends on no other code."""
    parser.add_argument("--url", required=True)
    parser.add_argument("--sha256", help="digest of the file; by default that of the first download")
    parser.add_argument("--offline", action="store_true", help="ask no server")
    parser.add_argument("--output", required=True, help="file to write")


def run(args: argparse.Namespace) -> None:
    """Fetch the map unless it exists."""
    fetch(args.url, args.output, Client(), args.sha256, args.offline)
