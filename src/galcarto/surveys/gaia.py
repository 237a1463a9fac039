"""Gaia's photometry and parallaxes of its third data release (Gaia Collaboration 2021, A&A 649, A1)."""

from galcarto.surveys.survey import load

GAIA = load("gaia")
