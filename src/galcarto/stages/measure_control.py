"""Measure the differences between real and mock stars in the control field.

Example:
  galcarto measure_control --settings "$(galcarto settings config/orion.yaml measure_control)" \\
      --output results/orion/control.json --comparison results/orion/comparisons/control.nc
"""

import argparse
import logging
from dataclasses import replace
from functools import partial

import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output, write_json
from galcarto.core.options import options
from galcarto.core.settings import read
from galcarto.dustmap import control_field
from galcarto.dustmap.instrument import MARGIN, Instrument, star_model
from galcarto.dustmap.settings import BackgroundGalaxies, Control, DiagramSettings, GalaxySettings


class Settings(DiagramSettings):
    control: Control
    galaxy: GalaxySettings
    galaxies: BackgroundGalaxies


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, settings=Settings)
    parser.add_argument("--output", required=True, type=Output, help="JSON file to write: corrections and their errors")
    parser.add_argument(
        "--comparison", required=True, type=Output, help="netCDF file to write: observed and expected diagrams"
    )


def run(args: argparse.Namespace) -> None:
    """Write the corrections on which training centres its nuisances, and the diagrams."""
    settings = read(args.settings, Settings)
    instrument = Instrument(settings.surveys, settings.pixels, settings.dust, settings.distance)
    fits, parts = {}, []
    for survey, view in zip(settings.surveys, instrument.views, strict=True):
        if all(file.survey != survey.name for file in settings.control.files):
            continue
        stars, area = control_field.observed(settings.control, survey)
        plain = replace(view, parallax_range=None)
        fitted = control_field.fit(
            plain.images({name: stars[name].to_numpy() for name in survey.limits})[0],
            area,
            (float(stars["l"].mean()), float(stars["b"].mean())),
            partial(star_model, settings.galaxy, settings.surveys),
            plain,
            instrument.edges,
            extinction=settings.control.extinction,
            slope=settings.galaxies.slope,
            colour=settings.galaxies.colour,
            margin=MARGIN,
        )
        fits[survey.name] = fitted, plain
        value, sd = fitted["value"].to_numpy(), fitted["sd"].to_numpy()
        logging.info("%s: %s +- %s, chi2 per pixel %.2f", survey.name, value, sd, fitted.attrs["chi2"])
        rows, columns = (0.5 * (e[1:] + e[:-1]) for e in plain.axis_edges())
        part = fitted.drop_attrs().assign(fitted.attrs)
        part["magnitude_axis"], part["colour_axis"] = ("magnitude", rows), ("colour", columns)
        part["bands"] = f"{'-'.join(plain.colour_bands)},{plain.magnitude_band}"
        parts.append(part.expand_dims(survey=[survey.name]))
    dataset = xr.concat(parts, dim="survey")
    inputs = [file.path for file in settings.control.files]
    dataset.attrs |= provenance.attributes("measure_control", args, inputs)
    dataset.to_netcdf(args.comparison)
    write_json(args.output, control_field.corrections(fits, settings.control.extinction_sd))
