"""Readers of spectra by the kind of a file."""

import warnings
from collections.abc import Sequence

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from galcarto.spectra.sdss import read_sdss
from galcarto.spectra.spectra import Spectra, SpectraError, stacked
from galcarto.spectra.xp import read_xp


def read_spectra(paths: Sequence[str]) -> Spectra:
    """Read spectra of one or more files: sampled XP spectra, or APOGEE's and BOSS', one star a file.

    Raises
    ------
    SpectraError
        If a file cannot be read, or its wavelengths are not those of the others.
    """
    if not paths:
        raise SpectraError("found no file of spectra; expected at least one")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # a cut file warns first, and then fails
        return stacked([read_sdss(path) if _is_sdss(path) else read_xp(path) for path in paths])


def _is_sdss(path: str) -> bool:
    """Whether a FITS file has the shape of an SDSS spectrum; other files, also damaged ones, are read as XP spectra."""
    if not str(path).lower().endswith((".fits", ".fit", ".fits.gz", ".fit.gz")):
        return False
    try:
        with fits.open(path, memmap=False) as file:
            table = len(file) > 1 and isinstance(file[1], fits.BinTableHDU)
            names = {name.lower() for name in file[1].columns.names} if table else set()
            return "loglam" in names if table else True
    except (OSError, TypeError, IndexError):
        return True
