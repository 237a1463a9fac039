"""Make the star list of the sky from an archive, page by page.

Example:
  galcarto observe_archive --settings "$(galcarto settings config/region.yaml sky tile surveys)" --seed 1 \\
      --pages archive --stars stars.parquet --footprint footprint.nc
"""

import argparse
import logging
from pathlib import Path

from galcarto.core.download import Client
from galcarto.core.files import Output
from galcarto.dustmap.settings import read_sections
from galcarto.stages import observe_files
from galcarto.surveys import archives


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--settings", required=True, help="JSON of the sections sky, tile, surveys")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--pages", required=True, help="folder that keeps what was fetched")
    parser.add_argument("--offline", action="store_true", help="ask no server: use the pages that are there")
    parser.add_argument("--stars", required=True, type=Output, help="Parquet file to write")
    parser.add_argument(
        "--footprint", required=True, type=Output, help="netCDF file to write: observed area of each tile"
    )


def run(args: argparse.Namespace) -> None:
    """Fetch the pages that are missing; write the cleaned star list and the observed area."""
    sky, tile, surveys = read_sections(args.settings, "sky", "tile", "surveys")
    boxes = archives.strips(sky.l, sky.b)
    # Both surveys cover the whole sky (2MASS 99.998 % of it) and every box was counted, so a cell without stars is not
    # unobserved but dark, as behind a thick cloud.
    area = sky.grid(tile.size).area()
    parts, inputs = [], []  # type: ignore[var-annotated]
    for survey in surveys:
        entry = next(entry for entry in sky.archives if entry.survey == survey.name)
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
