"""Synthesis of the stars along a sightline, without dust and without a survey."""
