"""Measure in the control field how real stars differ from the mock's.

Example:
  galcarto measure_control --settings "$(galcarto settings config/orion.yaml \\
      control surveys pixels dust galaxy galaxies distance)" --output control.json --comparison control.nc
"""

import argparse
import json
import logging
from dataclasses import replace
from functools import partial

import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.dustmap import control_field
from galcarto.dustmap.instrument import MARGIN, Instrument, star_model
from galcarto.dustmap.settings import read_sections


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--settings", required=True, help="JSON of control, surveys, pixels, dust, galaxy, galaxies, distance"
    )
    parser.add_argument("--output", required=True, type=Output, help="JSON file to write: corrections and their errors")
    parser.add_argument(
        "--comparison", required=True, type=Output, help="netCDF file to write: observed and expected diagrams"
    )


def run(args: argparse.Namespace) -> None:
    """Write the corrections on which training centres its nuisances, and the diagrams."""
    control, surveys, pixels, dust, galaxy, galaxies, distance = read_sections(
        args.settings, "control", "surveys", "pixels", "dust", "galaxy", "galaxies", "distance"
    )
    instrument = Instrument(surveys, pixels, dust, distance)
    fits, parts = {}, []
    for survey, view in zip(surveys, instrument.views, strict=True):
        if all(file.survey != survey.name for file in control.files):
            continue
        stars, area = control_field.observed(control, survey)
        plain = replace(view, parallax_range=None)
        fitted = control_field.fit(
            plain.images({name: stars[name].to_numpy() for name in survey.limits})[0],
            area,
            (float(stars["l"].mean()), float(stars["b"].mean())),
            partial(star_model, galaxy, surveys),
            plain,
            instrument.edges,
            extinction=control.extinction,
            slope=galaxies.slope,
            colour=galaxies.colour,
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
    inputs = [file.path for file in control.files]
    dataset.attrs |= provenance.attributes("measure_control", json.loads(args.settings), None, inputs)
    dataset.to_netcdf(args.comparison)
    with open(args.output, "w") as handle:
        json.dump(control_field.corrections(fits, control.extinction_sd), handle, indent=2)
        handle.write("\n")
