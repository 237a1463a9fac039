"""Make the star list of the sky from an archive, page by page.

Example:
  galcarto observe_archive --settings "$(galcarto settings config/my_orion.yaml observe_archive)" --seed 1 \\
      --pages archive --stars stars.parquet --footprint footprint.nc
"""

import argparse
import logging
from pathlib import Path

from galcarto.core.download import Client
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dustmap.settings import Sky, SurveySettings, Tile
from galcarto.stages import observe_files
from galcarto.surveys import archives


class Settings(Section):
    sky: Sky
    tile: Tile
    surveys: list[SurveySettings]


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "offline", settings=Settings)
    parser.add_argument("--pages", required=True, help="folder for the fetched pages")
    parser.add_argument("--stars", required=True, type=Output, help="Parquet file to write")
    parser.add_argument(
        "--footprint", required=True, type=Output, help="netCDF file to write: observed area of each tile"
    )


def run(args: argparse.Namespace) -> None:
    """Fetch the pages that are missing; write the cleaned star list and the observed area."""
    settings = read(args.settings, Settings)
    boxes = archives.strips(settings.sky.l, settings.sky.b)
    # Both surveys cover the whole sky (2MASS 99.998 % of it) and every box was counted, so a cell without stars is not
    # unobserved but dark, as behind a thick cloud.
    area = settings.sky.grid(settings.tile.size).area()
    parts, inputs = [], []  # type: ignore[var-annotated]
    for survey in settings.surveys:
        entry = next(entry for entry in settings.sky.archives if entry.survey == survey.name)
        archive = archives.ARCHIVES[entry.archive]
        if archive.survey != survey.name:
            raise archives.ArchiveError(
                f"sky.archives: found {entry.archive}, which holds {archive.survey}; expected one of {survey.name}"
            )
        client = Client(entry.interval, entry.timeout, entry.retries, seed=args.seed)
        folder = Path(args.pages) / entry.archive
        pages = archives.Pages(archive, list(survey.limits), folder, client, entry.url, entry.page)
        if not args.offline:
            pages.fetch(boxes)
        try:
            stars, files = pages.read(boxes)
        except archives.MissingPagesError as error:
            raise archives.ArchiveError(
                f"{error}; expected all of them, as sky.offline is set; where there is a network, set sky.offline: "
                f"false and run: snakemake --cores 1 {args.stars.final}"
            ) from None
        logging.info("%s: %d stars on %d pages", entry.archive, len(stars), len(files))
        parts.append((stars, area, {}))
        inputs += files
    observe_files.write(args, parts, inputs)
