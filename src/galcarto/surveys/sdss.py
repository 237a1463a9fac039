"""The Sloan Digital Sky Survey: u, g, r, i and z (York et al. 2000, AJ 120, 1579)."""

from galcarto.surveys.survey import load

SDSS = load("sdss")
