"""Surveys: bands, errors, limits and catalogues, without dust."""

from galcarto.surveys.cfis import CFIS
from galcarto.surveys.gaia import GAIA
from galcarto.surveys.ps1 import PS1
from galcarto.surveys.sdss import SDSS
from galcarto.surveys.survey import Survey
from galcarto.surveys.twomass import TWOMASS

SURVEYS: dict[str, Survey] = {"2mass": TWOMASS, "gaia": GAIA, "sdss": SDSS, "cfis": CFIS, "ps1": PS1}
