"""Print the JSON schema of a region's config file, or write the tables of a config file's keys into a page.

Example:
  galcarto schema > config/schema.json
  galcarto schema --tables config/README.md
  galcarto schema --task spectra --tables docs/spectra.md
"""

import argparse
import json
from pathlib import Path

from galcarto.absorbers import settings as absorbers
from galcarto.core.reference import fill
from galcarto.core.settings import Config, Section
from galcarto.dust.settings import Dust
from galcarto.dustmap import settings as region
from galcarto.galaxy.settings import GalaxySettings
from galcarto.learning.settings import Training, TrainingJob
from galcarto.metallicity import settings as metallicity
from galcarto.spectra import settings as spectra

TASKS: dict[str, type[Config]] = {
    "region": region.Settings,
    "metallicity": metallicity.Settings,
    "spectra": spectra.Settings,
    "absorbers": absorbers.Settings,
}
# a task has them from a region's settings
SHARED: frozenset[type[Section]] = frozenset({Dust, GalaxySettings, Training, TrainingJob})


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tables", metavar="PAGE", help="Markdown page in which to make the tables of keys again")
    parser.add_argument("--task", choices=TASKS, default="region", help="whose keys (default: a region's)")


def tables(page: str, task: str) -> str:
    """A page with the tables of a task's keys made again."""
    return fill(page, TASKS[task], frozenset() if task == "region" else SHARED)


def run(args: argparse.Namespace) -> None:
    """Print the schema, or rewrite the page."""
    if args.tables:
        page = Path(args.tables)
        page.write_text(tables(page.read_text(encoding="utf-8"), args.task), encoding="utf-8")
    else:
        print(json.dumps(region.schema(), indent=2))
