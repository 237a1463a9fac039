"""Dust: the extinction law, random profiles, a synthetic sky. Knows no stars."""
