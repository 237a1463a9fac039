"""The Canada-France Imaging Survey: u, here u_cfis (Ibata et al. 2017, ApJ 848, 128)."""

from galcarto.surveys.survey import load

CFIS = load("cfis")
