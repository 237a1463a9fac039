"""Measure a survey's errors and completeness from an observed catalogue."""
