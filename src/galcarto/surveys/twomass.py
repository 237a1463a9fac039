"""2MASS, the Two Micron All Sky Survey (Skrutskie et al. 2006, AJ 131, 1163)."""

from galcarto.surveys.survey import load

TWOMASS = load("2mass")
