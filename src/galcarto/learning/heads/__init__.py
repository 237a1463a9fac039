"""Heads: distributions whose parameters a network gives."""
