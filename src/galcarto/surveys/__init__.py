"""Surveys: bands, errors, limits and catalogues, without dust."""

from galcarto.surveys.gaia import GAIA
from galcarto.surveys.survey import Survey
from galcarto.surveys.twomass import TWOMASS

SURVEYS: dict[str, Survey] = {"2mass": TWOMASS, "gaia": GAIA}
