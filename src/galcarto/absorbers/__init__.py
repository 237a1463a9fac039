"""Damped Lyman-alpha absorbers in quasar spectra, a sister task."""
