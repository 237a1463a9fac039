"""Print sections of a region's settings, or of a sister task's, as the JSON that stages take.

Example:
  galcarto settings config/config.yaml train_network
  galcarto settings config/config.yaml dust surveys
  galcarto settings config/metallicity.yaml train_labels
  galcarto settings config/absorbers.yaml train_absorbers
"""

import argparse
from pathlib import Path

from galcarto.absorbers import settings as absorbers
from galcarto.core.settings import Config, load, load_yaml, stage_sections
from galcarto.dustmap.settings import read_settings
from galcarto.metallicity import settings as metallicity
from galcarto.spectra import settings as spectra


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="YAML file of a region or a sister task")
    parser.add_argument("section", nargs="*", help="sections, or a stage for those it takes (default: all sections)")


def run(args: argparse.Namespace) -> None:
    """Print one line of JSON."""
    given = load_yaml(args.config) or {}
    settings: Config
    if "region" in given:  # only a region's file has this key, and only those of spectra and absorbers the next
        settings = read_settings(args.config)
    elif "table" in given:
        settings = load(args.config, spectra.Settings)
    elif "examples" in given:
        settings = load(args.config, absorbers.Settings)
    else:
        settings = load(args.config, metallicity.Settings)
    names: list[str] = []
    for name in args.section or type(settings).model_fields:
        stage = name.replace("-", "_")
        names += stage_sections(stage) if Path(__file__).with_name(f"{stage}.py").is_file() else [name]
    print(settings.section_json(*names))
