"""Print the JSON schema of a config file.

Example:
  galcarto schema > config/schema.json
"""

import argparse
import json

from galcarto.dustmap.settings import schema


def configure(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(args: argparse.Namespace) -> None:
    """Print the schema."""
    print(json.dumps(schema(), indent=2))
