"""Measure a survey's errors and completeness from observed catalogues."""

from collections.abc import Callable

from galcarto.surveys.measure.gaia import measure_gaia
from galcarto.surveys.measure.results import Result
from galcarto.surveys.measure.twomass import measure_twomass

CATALOGUES = {"2mass": ("cloud", "field", "cone"), "gaia": ("plane", "deep", "colours")}
MEASURES: dict[str, Callable[..., Result]] = {"2mass": measure_twomass, "gaia": measure_gaia}
