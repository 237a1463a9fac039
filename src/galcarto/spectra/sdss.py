"""Spectra of the SDSS spectrographs: APOGEE's apStar and aspcapStar files, BOSS' and SEGUE's spec files.

Their wavelengths are in vacuum and evenly spaced in the logarithm: log10(Angstrom) in steps of 6e-6 (APOGEE) and 1e-4
(BOSS), on a lattice that all files share.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits

from galcarto.spectra.spectra import Spectra, SpectraError

# bits of APOGEE's mask that tell of a bad pixel: BADPIX, CRPIX, SATPIX, UNFIXABLE, BADDARK, BADFLAT, BADERR, NOSKY and
# SIG_SKYLINE (Holtzman et al. 2015, arXiv:1501.04110, table 8)
APOGEE_BAD = 0b1000011111111
BOSS_BAD = 1 << 23 | 1 << 24  # BRIGHTSKY, NODATA (Bolton et al. 2012, arXiv:1207.7326)
HINT = "expected an apStar, aspcapStar or spec-PLATE-MJD-FIBER file"


def read_sdss(path: str | Path) -> Spectra:
    """Read the spectrum of one star: the combined one of an apStar file, the normalised one of an aspcapStar file.

    Raises
    ------
    SpectraError
        If the file is none of these, or is cut.
    """
    path = Path(path)
    if not path.is_file():
        raise SpectraError(f"{path}: not found; {HINT}")
    try:
        with fits.open(path, memmap=False) as file:
            if len(file) > 1 and isinstance(file[1], fits.BinTableHDU):
                read: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray, str]] = boss
            elif len(file) > 3 and "CRVAL1" in file[1].header:
                read = _apogee
            else:
                raise SpectraError(f"found {len(file)} parts, no spectrum among them; {HINT}")
            wavelength, flux, error, name = read(file)
    except SpectraError as fault:
        raise SpectraError(f"{path}: {fault}") from None
    except Exception as fault:  # astropy raises many kinds of errors on a damaged file
        raise SpectraError(f"{path}: cannot be read ({fault}); {HINT}; if the file is cut, get it again") from fault
    stars = pd.DataFrame({"id": [name or path.stem]})
    return Spectra.clean(wavelength, flux[None], error[None], stars)


def _apogee(file: fits.HDUList) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Of apStar (flux, error, mask) and aspcapStar (flux, error, best fit)."""
    header, first = file[1].header, file[0].header
    flux, error = (np.atleast_2d(file[part].data)[0].astype(float) for part in (1, 2))
    third = np.atleast_2d(file[3].data)[0]
    # no error is known where APOGEE has no data: aspcapStar says so by a flux of zero, apStar by its mask
    bad = third & APOGEE_BAD != 0 if third.dtype.kind in "iu" else flux == 0
    wavelength = 0.1 * 10 ** (header["CRVAL1"] + header["CDELT1"] * np.arange(len(flux)))
    return wavelength, np.where(bad, np.nan, flux), error, str(first.get("OBJID") or first.get("APOGEE_ID") or "")


def boss(file: fits.HDUList) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Of a spec file: the coadded spectrum, 1e-17 erg s-1 cm-2 Angstrom-1."""
    data, first = file[1].data, file[0].header
    names = {name.lower(): name for name in data.names}
    if missing := [name for name in ("flux", "loglam", "ivar") if name not in names]:
        raise SpectraError(f"found the columns {', '.join(data.names)}, not {', '.join(missing)}; {HINT}")
    flux, loglam, inverse = (np.asarray(data[names[name]], float) for name in ("flux", "loglam", "ivar"))
    bad = np.asarray(data[names["and_mask"]]) & BOSS_BAD != 0 if "and_mask" in names else np.zeros(len(flux), bool)
    error = np.full(len(flux), np.nan)
    known = (inverse > 0) & ~bad
    error[known] = inverse[known] ** -0.5
    keys = [first.get(key) for key in ("PLATEID", "MJD", "FIBERID")]
    # rounded to the lattice, from which a float32 is off by up to 2e-7
    wavelength = 0.1 * 10 ** np.round(loglam, 4)
    return wavelength, flux, error, "" if None in keys else "-".join(map(str, keys))
