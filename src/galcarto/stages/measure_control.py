"""Measure the differences between real and mock stars in the control field.

Example:
  galcarto measure_control --settings "$(galcarto settings config/orion.yaml measure_control)" \\
      --output control.json --comparison control.nc
"""

import argparse
import json
import logging
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.core.sky import Tiles
from galcarto.dustmap import control_field as fitting
from galcarto.dustmap.instrument import MARGIN, star_model, view
from galcarto.dustmap.settings import BackgroundGalaxies, Control, Distance, Dust, GalaxySettings, SurveySettings
from galcarto.surveys import catalogue


class Settings(Section):
    control: Control
    surveys: list[SurveySettings]
    pixels: int
    dust: Dust
    galaxy: GalaxySettings
    galaxies: BackgroundGalaxies
    distance: Distance


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, settings=Settings)
    parser.add_argument("--output", required=True, type=Output, help="JSON file to write: corrections and their errors")
    parser.add_argument(
        "--comparison", required=True, type=Output, help="netCDF file to write: observed and expected diagrams"
    )


def run(args: argparse.Namespace) -> None:
    """Write the corrections, around which training draws its nuisances."""
    settings = read(args.settings, Settings)
    tiles = Tiles(np.array(settings.control.l), np.array(settings.control.b))
    result: dict[str, Any] = {}
    parts = []
    for survey in settings.surveys:
        files = [file for file in settings.control.files if file.survey == survey.name]
        if not files:
            continue
        everything, cell, dropped = catalogue.gather(files, list(survey.limits))
        stars, _ = catalogue.usable(everything, dropped, survey.limits, survey.bright, tiles)
        placed = everything[np.isfinite(everything["l"])]
        window = Tiles.cover(_rounded(settings.control.l, cell), _rounded(settings.control.b, cell), cell)
        share = catalogue.observed_fraction(placed["l"].to_numpy(), placed["b"].to_numpy(), window, cell)
        area = float((share * window.area()).sum())
        plain = replace(view(survey, settings.pixels, settings.dust, {}), parallax_range=None)
        fitted = fitting.fit(
            plain.images({name: stars[name].to_numpy() for name in survey.limits})[0],
            area,
            (float(stars["l"].mean()), float(stars["b"].mean())),
            partial(star_model, settings.galaxy, settings.surveys),
            plain,
            settings.distance.edges(),
            extinction=settings.control.extinction,
            slope=settings.galaxies.slope,
            colour=settings.galaxies.colour,
            margin=MARGIN,
        )
        value, sd = fitted["value"].to_numpy(), fitted["sd"].to_numpy()
        # the zero point includes the uncertainty of the field's assumed extinction
        first, second = (plain.coefficients[band] for band in plain.colour_bands)
        zero = float(np.hypot(sd[1], settings.control.extinction_sd * (first - second)))
        result[survey.name] = {"colour": value[1:3].tolist(), "colour_sd": [zero, float(sd[2])]}
        result.setdefault("normalisation", float(value[0]))
        result.setdefault("normalisation_sd", float(sd[0]))
        if "Ks" in survey.limits:
            result["galaxies"] = {"density": float(value[3])}
            result["galaxies_sd"] = float(sd[3])
        result.setdefault("metallicity", float(value[4]))
        result.setdefault("metallicity_sd", float(sd[4]))
        names = ("chi2", "chi2_before", "pixels", "stars", "area_deg2")
        result[survey.name] |= {name: fitted.attrs[name] for name in names}
        logging.info("%s: %s +- %s, chi2 per pixel %.2f", survey.name, value, sd, fitted.attrs["chi2"])
        rows, columns = (0.5 * (e[1:] + e[:-1]) for e in plain.axis_edges())
        part = fitted.drop_attrs().assign(fitted.attrs)
        part["magnitude_axis"], part["colour_axis"] = ("magnitude", rows), ("colour", columns)
        part["bands"] = f"{'-'.join(plain.colour_bands)},{plain.magnitude_band}"
        parts.append(part.expand_dims(survey=[survey.name]))
    dataset = xr.concat(parts, dim="survey")
    inputs = [file.path for file in settings.control.files]
    dataset.attrs |= provenance.attributes("measure_control", json.loads(args.settings), None, inputs)
    dataset.to_netcdf(args.comparison)
    with open(args.output, "w") as handle:
        json.dump(result, handle, indent=2)
        handle.write("\n")


def _rounded(ends: tuple[float, float], cell: float) -> tuple[float, float]:
    """Extend one side of the window to whole cells."""
    low, high = ends
    return low, low + float(np.ceil((high - low) / cell - 1e-9)) * cell
