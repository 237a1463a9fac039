"""Spectra of many stars on one grid of wavelengths, cleaned, with what was found wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from galcarto.core.errors import UserError

LARGEST = 1000.0  # of |flux| over the star's median: beyond it a pixel is a fault, not a star, however red
FEWEST = 0.5  # share of a spectrum's pixels that it needs
BRIGHTEST, FAINTEST = -5.0, 40.0  # mag: magnitudes beyond are sentinels, such as 99 or -9999
SAME = 0.01  # of a pixel: two wavelengths that differ by less are one


class SpectraError(UserError):
    """Spectra that cannot be used."""


@dataclass(frozen=True)
class Spectra:
    """Spectra on one grid.

    Parameters
    ----------
    wavelength : ndarray, shape (pixel,), nm
    flux, error : ndarray, shape (star, pixel)
        Over the star's median flux; both NaN where a pixel is masked or absent.
    stars : DataFrame
        One row a star: ``id``, ``median_flux`` (in the file's unit), and what else the file tells, such as magnitudes.
    faults : dict of str to int
        What was found wrong, and how often.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    stars: pd.DataFrame
    faults: dict[str, int] = field(default_factory=dict)

    @classmethod
    def clean(cls, wavelength: np.ndarray, flux: np.ndarray, error: np.ndarray, stars: pd.DataFrame) -> "Spectra":
        """Mask what cannot be flux, divide by the median, and count what was found.

        Negative fluxes are noise about little light, and stay.

        Raises
        ------
        SpectraError
            If there is no star, or the wavelengths do not increase.
        """
        if not len(flux):
            raise SpectraError("found no spectrum; expected at least one")
        if wavelength.ndim != 1 or len(wavelength) != flux.shape[1] or not (np.diff(wavelength) > 0).all():
            raise SpectraError(
                f"found {wavelength.size} wavelengths for {flux.shape[1]} pixels; expected one for each, increasing"
            )
        flux, error = np.array(flux, "f8"), np.array(error, "f8")
        no_flux, no_error = ~np.isfinite(flux), ~(np.isfinite(error) & (error > 0))
        bad = no_flux | no_error
        flux[bad] = np.nan
        seen = ~bad.all(axis=1)
        middle = np.full(len(flux), np.nan)
        middle[seen] = np.nanmedian(flux[seen], axis=1)
        dark = seen & ~(middle > 0)
        middle[dark] = np.nan
        flux, error = flux / middle[:, None], error / middle[:, None]
        wild = np.abs(flux) > LARGEST
        bad |= wild | ~np.isfinite(flux)
        repeated = stars["id"].duplicated().to_numpy()
        faults = {
            "spectra": len(flux),
            "pixels_without_flux": int(no_flux.sum()),
            "pixels_without_error": int((no_error & ~no_flux).sum()),
            "pixels_negative": int((flux < 0).sum()),
            "pixels_wild": int(wild.sum()),
            "spectra_without_light": int((dark | ~seen).sum()),
            "repeated_stars": int(repeated.sum()),
        }
        stars = stars.assign(median_flux=middle, repeated=repeated)
        flux, error = (np.where(bad, np.nan, values).astype("f4") for values in (flux, error))
        return cls(np.asarray(wavelength, "f8"), flux, error, stars, faults)

    def __len__(self) -> int:
        return len(self.flux)

    def snr(self) -> np.ndarray:
        """Median signal over noise of a pixel, shape (star,); NaN without pixels."""
        found = np.full(len(self), np.nan)
        seen = np.isfinite(self.flux).any(axis=1)
        found[seen] = np.nanmedian(self.flux[seen] / self.error[seen], axis=1)
        return found

    def on_grid(self, wavelength: np.ndarray) -> "Spectra":
        """The same on another grid, of which this one has pixels; those it lacks are masked.

        Raises
        ------
        SpectraError
            If fewer than half of the grid's pixels are here: nothing is interpolated.
        """
        step = np.gradient(wavelength)
        at = np.clip(np.searchsorted(self.wavelength, wavelength), 1, len(self.wavelength) - 1)
        at -= wavelength - self.wavelength[at - 1] < self.wavelength[at] - wavelength
        here = np.abs(self.wavelength[at] - wavelength) < SAME * step
        if here.mean() < FEWEST:
            raise SpectraError(
                f"found {len(self.wavelength)} pixels from {self.wavelength[0]:.2f} to {self.wavelength[-1]:.2f} nm, "
                f"of which {here.sum()} are among the network's; expected its {len(wavelength)}, from "
                f"{wavelength[0]:.2f} to {wavelength[-1]:.2f} nm: sample the spectra on these, or train on yours"
            )
        flux, error = (np.where(here, values[:, at], np.nan) for values in (self.flux, self.error))
        faults = self.faults | {"pixels_absent": int((~here).sum()) * len(self)}
        return replace(self, wavelength=wavelength, flux=flux, error=error, faults=faults)


def stacked(parts: Sequence[Spectra]) -> Spectra:
    """Spectra of several files together, on the grid of the longest.

    Raises
    ------
    SpectraError
        If a grid is another.
    """
    longest = max(parts, key=lambda part: len(part.wavelength)).wavelength
    same = [part if np.array_equal(part.wavelength, longest) else part.on_grid(longest) for part in parts]
    faults: dict[str, int] = {}
    for part in same:
        faults |= {name: faults.get(name, 0) + number for name, number in part.faults.items()}
    stars = pd.concat([part.stars for part in same], ignore_index=True)
    stars["repeated"] = stars["id"].duplicated().to_numpy()
    faults["repeated_stars"] = int(stars["repeated"].sum())
    flux, error = (np.concatenate([getattr(part, name) for part in same]) for name in ("flux", "error"))
    return Spectra(longest, flux, error, stars, faults)
