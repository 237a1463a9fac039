"""Bare stars along a sightline: knows no dust and no survey."""
