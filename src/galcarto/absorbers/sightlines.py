"""Sightlines: spectra of quasars on one grid, and the file of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from galcarto.absorbers.lines import LIGHT, LYMAN_ALPHA
from galcarto.core.netcdf import COMPRESSION, create_variables

LATTICE = 1e-4  # lg of the wavelength between pixels, those of the SDSS spectrographs
PIXELS = 1792
REST = 29530  # first pixel at redshift 0: lg(897.4 / Angstrom) over LATTICE; the last is at 1355.5 Angstrom
FOREST = (1041.0, 1205.0)  # Angstrom at rest, where the S/N is measured
SCALE = (1270.0, 1350.0)  # Angstrom at rest, where the flux is scaled
NEAR = 3000.0  # km/s from the quasar within which an absorber may be its own
BLUE = 920.0  # Angstrom at rest below which nothing is looked for
MOST = 12  # absorbers of a sightline that the file has
ALPHA = np.log10(LYMAN_ALPHA.wavelength) / LATTICE
FEWEST = 50  # pixels with data, in which the S/N or the scale are measured


def first_pixel(redshift: np.ndarray) -> np.ndarray:
    """Place on the lattice of the first pixel of quasars' sightlines."""
    return np.round(np.log10(1 + np.asarray(redshift)) / LATTICE).astype(int) + REST


@dataclass(frozen=True)
class Sightlines:
    """Spectra of quasars, cut to the same wavelengths at rest."""

    flux: np.ndarray  # (sightline, pixel), over the median of the flux at `SCALE`
    error: np.ndarray  # (sightline, pixel), over the same; 0 where there is no data
    redshift: np.ndarray  # (sightline,) of the quasar, as catalogued
    absorber_z: np.ndarray  # (sightline, absorber), true; NaN where there is none
    absorber_log_n: np.ndarray  # (sightline, absorber), lg of the column density in cm-2

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, chosen: Any) -> "Sightlines":
        return Sightlines(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def first(self) -> np.ndarray:
        """Place on the lattice of each first pixel."""
        return first_pixel(self.redshift)

    def rest(self) -> np.ndarray:
        """Wavelengths at rest, shape (sightline, pixel), Angstrom."""
        place = self.first[:, None] + np.arange(PIXELS)
        return 10 ** (LATTICE * place) / (1 + self.redshift[:, None])

    def pixel_of(self, redshift: np.ndarray) -> np.ndarray:
        """Pixels of Lyman alpha at redshifts of shape (sightline, ...)."""
        first = self.first.reshape(-1, *[1] * (np.ndim(redshift) - 1))
        return np.log10(1 + redshift) / LATTICE + ALPHA - first

    def redshift_of(self, pixel: np.ndarray, sightline: np.ndarray) -> np.ndarray:
        """Redshifts of Lyman alpha at pixels of given sightlines."""
        return 10 ** (LATTICE * (pixel + self.first[sightline] - ALPHA)) - 1

    def snr(self) -> np.ndarray:
        """Median S/N of a pixel in the forest; 0 where less than `FEWEST` pixels have data."""
        rest = self.rest()
        there = (rest > FOREST[0]) & (rest < FOREST[1]) & (self.error > 0)
        ratio = np.divide(self.flux, self.error, out=np.full(self.flux.shape, np.nan), where=there)
        few = there.sum(axis=1) < FEWEST
        ratio[few] = 0.0
        return np.nanmedian(ratio, axis=1)

    def searched(self) -> np.ndarray:
        """Pixels with data at which an absorber may be centred, shape (sightline, pixel)."""
        rest = self.rest()
        return (self.error > 0) & (rest > BLUE) & (rest < LYMAN_ALPHA.wavelength * (1 + NEAR / LIGHT))

    def ends(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First and last searched pixel of each sightline, and whether there is any."""
        searched = self.searched()
        last = PIXELS - 1 - searched[:, ::-1].argmax(axis=1)
        return searched.argmax(axis=1), last, np.asarray(searched.any(axis=1))


def joined(parts: Sequence[Sightlines]) -> Sightlines:
    """Sightlines one after another."""
    each = zip(*([getattr(part, field.name) for field in fields(part)] for part in parts), strict=True)
    return Sightlines(*map(np.concatenate, each))


def scaled(flux: np.ndarray, error: np.ndarray, redshift: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flux and error over the median flux at `SCALE`, and whether there is such a flux.

    Where too few pixels there have data, the median of all that have is taken; where that is not above its error, the
    sightline cannot be searched.
    """
    place = first_pixel(redshift)[:, None] + np.arange(PIXELS)
    rest = 10 ** (LATTICE * place) / (1 + redshift[:, None])
    there = error > 0
    red = there & (rest > SCALE[0]) & (rest < SCALE[1])
    used = np.where((red.sum(axis=1) >= FEWEST)[:, None], red, there)
    number = used.sum(axis=1)
    values = np.where(used, flux, np.nan)
    values[number == 0] = 0.0
    middle = np.nanmedian(values, axis=1)
    noise = np.where(used, error, 0.0).sum(axis=1) / np.maximum(number, 1) ** 1.5  # mean error over root n
    fine = (middle > 3 * noise) & (number >= FEWEST)
    scale = np.where(fine, middle, 1.0)[:, None]
    return np.where(there, flux / scale, 0.0).astype("f4"), (error / scale).astype("f4"), fine


TABLE = {
    "flux": (
        ("sightline", "pixel"),
        "f4",
        {"long_name": "flux over its median at 1270 to 1350 Angstrom at rest", "units": "1"},
    ),
    "error": (("sightline", "pixel"), "f4", {"long_name": "standard error of the flux; 0 without data", "units": "1"}),
    "redshift": (("sightline",), "f8", {"long_name": "redshift of the quasar, as catalogued", "units": "1"}),
    "absorber_z": (("sightline", "absorber"), "f8", {"long_name": "redshift of an absorber", "units": "1"}),
    "absorber_log_n": (
        ("sightline", "absorber"),
        "f8",
        {"long_name": "lg of the column density of neutral hydrogen in cm-2", "units": "1"},
    ),
}


def write(path: str | Path, sightlines: Sightlines, attributes: dict[str, Any]) -> None:
    """Write a file of sightlines."""
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts(attributes | {"first_pixel_at_rest": REST, "lattice": LATTICE})
        sizes = {"sightline": len(sightlines), "pixel": PIXELS, "absorber": sightlines.absorber_z.shape[1]}
        created = create_variables(file, TABLE, sizes, chunks={"sightline": 256}, missing=True, **COMPRESSION)
        for name, variable in created.items():
            variable[:] = getattr(sightlines, name)


def open_sightlines(paths: Sequence[str]) -> Sightlines:
    """Read files of sightlines into memory."""
    parts = []
    for path in paths:
        with netCDF4.Dataset(path) as file:
            file.set_auto_mask(False)
            parts.append(Sightlines(*(file[name][:] for name in TABLE)))
    return joined(parts)


class Files:
    """Files of sightlines as a `galcarto.learning.data.Source`: flux, error, redshift, pixels of absorbers and lg N."""

    block = 256

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)
        self.sizes = []
        for path in paths:
            with netCDF4.Dataset(path) as file:
                self.sizes.append(len(file.dimensions["sightline"]))

    def read(self, file: int, start: int, number: int) -> list[np.ndarray]:
        """Arrays of some sightlines of a file."""
        with netCDF4.Dataset(self.paths[file]) as opened:
            opened.set_auto_mask(False)
            part = Sightlines(*(opened[name][start : start + number] for name in TABLE))
        return arrays(part)


def arrays(part: Sightlines) -> list[np.ndarray]:
    """What the estimator takes of sightlines: flux, error, redshift, searched pixels, absorbers' pixels and lg N."""
    pixel = part.pixel_of(part.absorber_z)
    small = [part.flux, part.error, part.redshift, pixel, part.absorber_log_n]
    return [array.astype("f4") for array in small] + [part.searched()]
