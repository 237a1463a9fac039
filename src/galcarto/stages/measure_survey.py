"""Measure a survey's errors and completeness from observed catalogues.

Example:
  galcarto measure_survey --survey 2mass --settings "$(galcarto settings config/config.yaml measure_survey)" \\
      --catalogues ../shared/data/twomass_orion/Orion_A_2mass.fits ../shared/data/twomass_orion/CF_2mass.fits \\
      ../shared/data/cone_l123_b22/2MASS_results.ecsv --table results/surveys/2mass.yaml \\
      --metrics results/surveys/2mass.json --output results/surveys/2mass.nc
"""

import argparse
import logging

import yaml

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.dustmap.settings import Dust, GalaxySettings
from galcarto.surveys.measure import CATALOGUES, MEASURES


class Settings(Section):
    galaxy: GalaxySettings
    dust: Dust


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "metrics", settings=Settings)
    parser.add_argument("--survey", required=True, choices=sorted(CATALOGUES))
    roles = "; ".join(f"{name}: {', '.join(parts)}" for name, parts in CATALOGUES.items())
    parser.add_argument("--catalogues", required=True, nargs=3, help=f"in this order, {roles}")
    parser.add_argument("--table", required=True, type=Output, help="YAML file to write: the survey")
    parser.add_argument("--output", required=True, type=Output, help="netCDF file to write: data of the figures")


def run(args: argparse.Namespace) -> None:
    """Write the table, the numbers and the data of the figures."""
    settings = read(args.settings, Settings)
    paths = dict(zip(CATALOGUES[args.survey], args.catalogues, strict=True))
    table, metrics, dataset = MEASURES[args.survey](
        paths, settings.galaxy.model, settings.galaxy.binaries, settings.dust.law, settings.dust.r_v
    )
    for band, values in table["bands"].items():
        found = values["completeness"]
        logging.info("%s: half of the stars at %.2f mag (%s)", band, found["half"], found["kind"])
    with open(args.table, "w") as handle:
        handle.write("# Made by the rule measure_survey from observed catalogues: not to be edited.\n")
        yaml.safe_dump(table, handle, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
    write_json(args.metrics, metrics)
    dataset.attrs |= provenance.attributes("measure_survey", args, args.catalogues)
    dataset.to_netcdf(args.output)
