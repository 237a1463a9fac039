"""Checks of the mock Galaxy against star counts and the literature."""
