"""Metallicities of stars from their colours, and a map of them."""
