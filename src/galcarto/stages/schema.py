"""Print the JSON schema of a config file, or write the tables of its keys into a page.

Example:
  galcarto schema > config/schema.json
  galcarto schema --tables config/README.md
"""

import argparse
import json
from pathlib import Path

from galcarto.dustmap.reference import fill
from galcarto.dustmap.settings import schema


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tables", metavar="PAGE", help="Markdown page in which to make the tables of keys again")


def run(args: argparse.Namespace) -> None:
    """Print the schema, or rewrite the page."""
    if args.tables:
        page = Path(args.tables)
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(json.dumps(schema(), indent=2))
