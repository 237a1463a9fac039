"""Print sections of a region's settings as the JSON that stages take.

Example:
  galcarto settings config/config.yaml train_network
  galcarto settings config/config.yaml dust surveys
"""

import argparse
from pathlib import Path

from galcarto.core.settings import stage_sections
from galcarto.dustmap.settings import read_settings


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="YAML file of a region")
    parser.add_argument("section", nargs="*", help="sections, or a stage for those it takes (default: all sections)")


def run(args: argparse.Namespace) -> None:
    """Print one line of JSON."""
    settings = read_settings(args.config)
    names: list[str] = []
    for name in args.section or type(settings).model_fields:
        stage = name.replace("-", "_")
        names += stage_sections(stage) if Path(__file__).with_name(f"{stage}.py").is_file() else [name]
    print(settings.section_json(*names))
