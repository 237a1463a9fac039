"""The models that the settings describe."""

import numpy as np

from galcarto import settings
from galcarto.cmd.forward import ForwardModel
from galcarto.dust.law import coefficients
from galcarto.galaxy.components import load
from galcarto.galaxy.synthesis import StarModel
from galcarto.surveys import SURVEYS
from galcarto.surveys.survey import Survey

# Errors bring stars over a limit from this far below it, mag.
MARGIN = 0.75


def instrument(survey: settings.Survey) -> Survey:
    """The survey.

    Raises
    ------
    SettingsError
        If a band of survey.limits is not one of the survey's.
    """
    found = SURVEYS[survey.name]
    unknown = [band for band in survey.limits if band not in found.bands]
    if unknown:
        raise settings.SettingsError(
            f"survey.limits: found {', '.join(unknown)}; expected bands of {found.title}: {', '.join(found.bands)}"
        )
    return found


def star_model(galaxy: settings.Galaxy, survey: settings.Survey) -> StarModel:
    """The mock Galaxy down to what the survey may see."""
    bands = instrument(survey).bands
    limits = {band: survey.limits[band] + MARGIN for band in bands if band in survey.limits}
    return StarModel(load(galaxy.model), [limits], bands=tuple(bands), binaries=galaxy.binaries)


def band_coefficients(survey: settings.Survey, dust: settings.Dust) -> dict[str, float]:
    """A_band / A_V of every band of the survey."""
    bands = instrument(survey).bands
    return coefficients(dust.law, dust.r_v, {name: band.wavelength for name, band in bands.items()})


def forward_model(survey: settings.Survey, cmd: settings.Cmd, dust: settings.Dust, edges: np.ndarray) -> ForwardModel:
    """How the survey sees stars behind dust."""
    return ForwardModel(
        survey=instrument(survey),
        limits=survey.limits,
        bright=survey.bright,
        coefficients=band_coefficients(survey, dust),
        magnitude_band=cmd.magnitude.bands[0],
        colour_bands=(cmd.colour.bands[0], cmd.colour.bands[1]),
        magnitude_range=cmd.magnitude.range,
        colour_range=cmd.colour.range,
        pixels=cmd.pixels,
        edges=edges,
    )
