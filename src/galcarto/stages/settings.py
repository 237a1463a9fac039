"""Print sections of a region's settings as the JSON that stages take.

Example:
  galcarto settings config/config.yaml dust survey
"""

import argparse

from galcarto.dustmap.settings import Settings, read_settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("config", help="YAML file of a region")
    parser.add_argument("section", nargs="*", default=None, help="sections to print (default: all)")


def run(args: argparse.Namespace) -> None:
    """Print one line of JSON."""
    print(read_settings(args.config).section_json(*(args.section or Settings.model_fields)))
