"""The Pan-STARRS1 3pi survey: g, r, i and z, here gP1 to zP1 (Chambers et al. 2016, arXiv:1612.05560)."""

from galcarto.surveys.survey import load

PS1 = load("ps1")
