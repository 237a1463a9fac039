"""Stellar parameters and abundances from spectra."""
