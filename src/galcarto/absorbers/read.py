"""Quasar spectra of SDSS, BOSS and eBOSS, and tables of wavelength, flux and error, on the grid of the sightlines."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.io import fits
from tqdm import tqdm

from galcarto.absorbers.sightlines import (
    LATTICE,
    MOST,
    PIXELS,
    Sightlines,
    first_pixel,
    joined,
    open_sightlines,
    scaled,
)
from galcarto.core.errors import UserError
from galcarto.core.tables import column_names, floats, read_table
from galcarto.spectra.sdss import boss

SUFFIXES = (".fits", ".fits.gz", ".fit", ".csv", ".ecsv", ".npz")  # of spectra in a folder
NAMES = {  # of columns, in lower case
    "wavelength": ("wavelength", "lambda", "wave", "lam"),
    "loglam": ("loglam", "log_wavelength"),
    "flux": ("flux", "flam", "f_lambda"),
    "error": ("error", "flux_error", "sigma", "err", "e_flux"),
    "ivar": ("ivar", "inverse_variance"),
}
HINT = "expected a spec-PLATE-MJD-FIBER file, or a table of wavelength, flux and error"
NANOMETRES = 1500.0  # a spectrum that ends below this cannot be in Angstrom
NEIGHBOURS = 50  # pixels whose scatter stands for an error that is not known
# redshifts of quasars: below there is no Lyman alpha in the data, above no mock, and no optical light
LOWEST, HIGHEST, FARTHEST = 1.9, 5.0, 7.0
PART = 2000  # spectra that are in memory at once
NOT_SEARCHED, ERRORS_ESTIMATED, REDSHIFT_DOUBTFUL, UNLIKE_TRAINING, HIGH_REDSHIFT = 1, 2, 4, 8, 16
QUALITY = {
    NOT_SEARCHED: "not_searched",
    ERRORS_ESTIMATED: "errors_estimated",
    REDSHIFT_DOUBTFUL: "redshift_doubtful",
    UNLIKE_TRAINING: "unlike_training",
    HIGH_REDSHIFT: "redshift_above_training",
}


class SightlineError(UserError):
    """A spectrum that cannot be searched."""


@dataclass(frozen=True)
class Spectrum:
    """A spectrum as its file has it."""

    wavelength: np.ndarray  # (pixel,), Angstrom, in vacuum
    flux: np.ndarray  # (pixel,), any unit; NaN where there is none
    error: np.ndarray  # (pixel,), the same unit; NaN where there is no data
    redshift: float  # NaN if the file has none
    name: str
    kind: str = ""  # what the pipeline says it is
    doubtful: bool = False  # the pipeline's warning of the redshift
    position: tuple[float, float] = (np.nan, np.nan)  # deg, ICRS


def files_of(paths: Sequence[str]) -> list[Path]:
    """The spectra among files and folders.

    Raises
    ------
    UserError
        If a path is not there, or a folder holds no spectrum.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.name.endswith(SUFFIXES) and one.name != "index.csv")
            if not inside:
                raise UserError(f"{path}: found no spectrum; expected files ending with {', '.join(SUFFIXES)}")
            twins = {_twin(one) for one in inside}
            found += [one for one in inside if one not in twins]
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path}: not found; expected a spectrum or a folder of spectra")
    return found


def read_spectrum(path: Path, unit: str = "") -> Spectrum:
    """Read one spectrum.

    Parameters
    ----------
    path : Path
        A spec-PLATE-MJD-FIBER file, a FITS image with the flux and then the error, or a table.
    unit : str
        Of the wavelengths, where the file states none.

    Raises
    ------
    SightlineError
        If it cannot be read, or is not clear.
    """
    try:
        if path.name.endswith(".npz"):
            with np.load(path, allow_pickle=False) as content:
                columns = {name: np.asarray(content[name], float) for name in content.files}
            return _of_columns(columns, {}, path, unit, list(columns))
        if path.name.endswith((".fits", ".fits.gz", ".fit")):
            with fits.open(path, memmap=False) as file:
                if len(file) > 1 and isinstance(file[1], fits.BinTableHDU):
                    if "loglam" in map(str.lower, file[1].columns.names):
                        return _sdss(file, path)
                elif file[0].data is not None:
                    return _image(file, path)
        known = {"z", *(name for names in NAMES.values() for name in names)}
        there = column_names(path, HINT)
        table = read_table(path, chosen, HINT) if (chosen := [one for one in there if one.lower() in known]) else {}
        columns = {name: floats(table[name]) for name in chosen}
        units = {name: str(table[name].unit) for name in columns if table[name].unit is not None}
        return _of_columns(columns, units, path, unit, there)
    except SightlineError:
        raise
    except Exception as error:  # astropy raises many kinds of errors on a damaged file
        raise SightlineError(f"{path}: cannot be read ({error}); if the file is cut, get it again") from error


def _sdss(file: fits.HDUList, path: Path) -> Spectrum:
    """Of a spec file of SDSS, BOSS or eBOSS."""
    columns = [name.lower() for name in file[1].columns.names]
    if "ivar" not in columns:
        # the reader wants errors: without them the scatter stands in
        data = file[1].data
        names = dict(zip(columns, file[1].columns.names, strict=True))
        wavelength = 10 ** np.round(np.asarray(data[names["loglam"]], float), 4)
        flux, name = np.asarray(data[names["flux"]], float), path.name
        error = np.full(len(flux), np.nan)
    else:
        wavelength, flux, error, name = boss(file)
        wavelength = 10 * wavelength
        if not np.isfinite(error).any():
            raise SightlineError(f"{path}: found an inverse variance of zero in every pixel; expected data")
    row: Any = file[2].data[0] if len(file) > 2 and isinstance(file[2], fits.BinTableHDU) else None
    there = [] if row is None else file[2].columns.names
    z = float(row["Z"]) if "Z" in there else np.nan
    kind = str(row["CLASS"]).strip() if "CLASS" in there else ""
    place = (float(row["PLUG_RA"]), float(row["PLUG_DEC"])) if {"PLUG_RA", "PLUG_DEC"} <= set(there) else (np.nan,) * 2
    doubtful = bool(row["ZWARNING"]) if "ZWARNING" in there else False
    return Spectrum(wavelength, flux, error, z, name or _stem(path), kind, doubtful, place)


def _image(file: fits.HDUList, path: Path) -> Spectrum:
    """Of an image of one row with wavelengths in its header, and the error in the next part, or in the file's twin."""
    header, flux = file[0].header, np.ravel(file[0].data).astype(float)
    step = header.get("CD1_1", header.get("CDELT1"))
    if "CRVAL1" not in header or step is None:
        raise SightlineError(f"{path}: found no CRVAL1 and CD1_1 in the header; expected the wavelengths")
    error = np.full(len(flux), np.nan)
    if len(file) > 1 and np.size(file[1].data) == len(flux):
        error = np.ravel(file[1].data).astype(float)
    elif (twin := _twin(path)).is_file():
        error = np.ravel(fits.getdata(twin)).astype(float)
    axis = header["CRVAL1"] + step * (np.arange(len(flux)) + 1 - header.get("CRPIX1", 1))
    # lg of the wavelength, as spectrographs with an even resolution write it
    wavelength = 10**axis if axis[-1] < 10 else axis
    return Spectrum(wavelength, flux, np.where(error > 0, error, np.nan), float(header.get("Z", np.nan)), _stem(path))


def _twin(path: Path) -> Path:
    """File of the errors beside one of the flux, NAMEE.fits beside NAMEF.fits, as echelle spectra have it."""
    stem = _stem(path)
    return path.with_name(path.name.replace(stem, f"{stem[:-1]}E")) if stem.endswith("F") else Path()


def _of_columns(
    columns: Mapping[str, np.ndarray], units: Mapping[str, str], path: Path, unit: str, there: Sequence[str]
) -> Spectrum:
    lower = {name.lower(): name for name in columns}
    named = {ours: next((lower[name] for name in names if name in lower), None) for ours, names in NAMES.items()}
    if named["flux"] is None or (named["wavelength"] is None and named["loglam"] is None):
        raise SightlineError(f"{path}: found the columns {', '.join(there)}; {HINT}")
    flux = columns[named["flux"]]
    if named["wavelength"] is None:
        wavelength = 10 ** columns[str(named["loglam"])]
    else:
        given = units.get(named["wavelength"]) or unit
        wavelength = columns[named["wavelength"]]
        if not given and len(wavelength) and np.nanmax(wavelength) < NANOMETRES:
            raise SightlineError(
                f"{path}: found wavelengths up to {np.nanmax(wavelength):g} without a unit; expected Angstrom: state "
                "the unit in the file, or with --unit nm"
            )
        wavelength = (wavelength * u.Unit(given or "Angstrom")).to_value(u.AA)
    error = np.full(len(flux), np.nan)
    if named["error"] is not None:
        error = columns[named["error"]]
    elif named["ivar"] is not None:
        inverse = columns[named["ivar"]]
        error = np.where(inverse > 0, np.maximum(inverse, 1e-300) ** -0.5, np.nan)
    z = columns[lower["z"]] if "z" in lower else np.array([np.nan])
    return Spectrum(wavelength, flux, np.where(error > 0, error, np.nan), float(np.ravel(z)[0]), _stem(path))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[0]


def on_lattice(spectrum: Spectrum, redshift: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """Flux and error on the pixels of a sightline, and whether the errors had to be estimated.

    A finer grid is averaged, a coarser one interpolated. The error is 0 where there is no data.
    """
    fine = np.isfinite(spectrum.flux) & np.isfinite(spectrum.wavelength) & (spectrum.wavelength > 0)
    estimated = not np.isfinite(spectrum.error).any()
    error = _scatter(np.where(fine, spectrum.flux, 0.0)) if estimated else spectrum.error
    fine &= np.isfinite(error)
    order = np.argsort(spectrum.wavelength[fine], kind="stable")
    place = np.log10(spectrum.wavelength[fine][order]) / LATTICE - float(first_pixel(np.array(redshift)))
    flux, error = spectrum.flux[fine][order], error[fine][order]
    out = np.zeros((2, PIXELS))
    if len(place) < 2:
        return out[0], out[1], estimated
    if np.median(np.diff(place)) > 1.01:
        pixel = np.arange(PIXELS)
        inside = (pixel >= place[0]) & (pixel <= place[-1])
        after = np.searchsorted(place, pixel).clip(1, len(place) - 1)
        inside &= place[after] - place[after - 1] < 3 * np.median(np.diff(place))  # not across holes
        out[0], out[1] = np.interp(pixel, place, flux), np.interp(pixel, place, error)
        return np.where(inside, out[0], 0.0), np.where(inside, out[1], 0.0), estimated
    at = np.rint(place).astype(int)
    inside = (at >= 0) & (at < PIXELS)
    number = np.bincount(at[inside], minlength=PIXELS)
    total = np.bincount(at[inside], flux[inside], PIXELS), np.bincount(at[inside], error[inside] ** 2, PIXELS)
    there = number > 0
    out[0][there], out[1][there] = total[0][there] / number[there], np.sqrt(total[1][there]) / number[there]
    return out[0], out[1], estimated


def _scatter(flux: np.ndarray) -> np.ndarray:
    """Error of each pixel from the differences of neighbours around it."""
    steps = np.abs(np.diff(flux, prepend=flux[:1])) / np.sqrt(2)
    return 1.4826 * pd.Series(steps).rolling(2 * NEIGHBOURS + 1, center=True, min_periods=10).median().to_numpy()


def redshift_table(path: str) -> dict[str, float]:
    """Redshifts of a catalogue, by name: those of its column ``name``, or PLATE-MJD-FIBER.

    Raises
    ------
    UserError
        If it has neither, or no redshifts.
    """
    table = read_table(path, [], "--redshifts", everything=True).to_pandas()
    table.columns = [str(name).lower() for name in table.columns]
    if "z" not in table:
        raise UserError(
            f"{path}: found the columns {', '.join(table.columns)}; expected z and name, or plate, mjd, fiber"
        )
    if "name" in table:
        names = table["name"].astype(str).str.strip()
    elif {"plate", "mjd", "fiber"} <= set(table):
        names = table[["plate", "mjd", "fiber"]].astype(int).astype(str).agg("-".join, axis=1)
    else:
        raise UserError(f"{path}: found the columns {', '.join(table.columns)}; expected name, or plate, mjd, fiber")
    return dict(zip(names, table["z"].astype(float), strict=True))


def read_sightlines(
    paths: Sequence[str], redshifts: Mapping[str, float], unit: str = ""
) -> tuple[Sightlines, pd.DataFrame]:
    """All of `read_parts` at once."""
    parts, tables = zip(*read_parts(paths, redshifts, unit), strict=True)
    return joined(parts), pd.concat(tables, ignore_index=True)


def read_parts(
    paths: Sequence[str], redshifts: Mapping[str, float], unit: str = ""
) -> Iterator[tuple[Sightlines, pd.DataFrame]]:
    """Read spectra and put them on the grid, `PART` at a time; what cannot be searched is told, and the others are.

    Parameters
    ----------
    paths : sequence of str
        Files and folders; or files of mock sightlines.
    redshifts : mapping of str to float
        By name of the spectrum; they take the place of the file's.
    unit : str
        See `read_spectrum`.

    Yields
    ------
    sightlines : Sightlines
    table : DataFrame
        One row for each: name, file, z_qso, ra and dec (deg), quality.

    Raises
    ------
    UserError
        If not one file can be read.
    """
    if all(path.endswith(".nc") for path in paths):
        number = 0
        for path in paths:
            mock = open_sightlines([path])
            names = [f"mock-{number + own}" for own in range(len(mock))]
            number += len(mock)
            table = pd.DataFrame({"name": names, "file": path, "z_qso": mock.redshift, "ra": np.nan, "dec": np.nan})
            yield mock, table.assign(quality=0)
        return
    faults: list[str] = []
    files, some = files_of(paths), False
    for start in tqdm(range(0, len(files), PART), unit="part", mininterval=5, delay=10):
        rows, fluxes, errors = [], [], []
        for file in files[start : start + PART]:
            try:
                spectrum = read_spectrum(file, unit)
            except SightlineError as fault:
                faults.append(str(fault))
                logging.warning("%s", fault)
                continue
            z, quality, flux, error = _prepared(spectrum, redshifts, file)
            fluxes.append(flux)
            errors.append(error)
            rows.append((spectrum.name, str(file), z, *spectrum.position, quality))
        if rows:
            some = True
            table = pd.DataFrame(rows, columns=["name", "file", "z_qso", "ra", "dec", "quality"])
            yield _sightlines(np.array(fluxes), np.array(errors), table), table
    if not some:
        raise UserError("found no spectrum that can be read:\n" + "\n".join(faults))


def _prepared(
    spectrum: Spectrum, redshifts: Mapping[str, float], file: Path
) -> tuple[float, int, np.ndarray, np.ndarray]:
    """Redshift, quality, flux and error of a spectrum on the grid; no data where it cannot be searched."""
    z = redshifts.get(spectrum.name, redshifts.get(_stem(file), spectrum.redshift))
    quality, reason = REDSHIFT_DOUBTFUL * spectrum.doubtful | HIGH_REDSHIFT * bool(z > HIGHEST), ""
    if not np.isfinite(z):
        reason = "found no redshift; expected one in the file, or name it with --redshifts"
    elif spectrum.kind and spectrum.kind != "QSO" and spectrum.name not in redshifts:
        reason = f"found a {spectrum.kind}, as the pipeline says; expected a QSO: if it is one, give --redshifts"
    elif not z >= LOWEST:
        reason = f"found a redshift of {z:.4f}; expected {LOWEST} or more, where Lyman alpha is in the optical"
    elif z > FARTHEST:
        reason = f"found a redshift of {z:.4f}; expected {FARTHEST:g} at most"
    if reason:
        logging.warning("%s: %s", file, reason)
        return z, quality | NOT_SEARCHED, np.zeros(PIXELS), np.zeros(PIXELS)
    flux, error, estimated = on_lattice(spectrum, z)
    return z, quality | ERRORS_ESTIMATED * estimated, flux, error


def _sightlines(flux: np.ndarray, error: np.ndarray, table: pd.DataFrame) -> Sightlines:
    """Scaled sightlines; those without light are marked in the table."""
    unsearched = (table["quality"] & NOT_SEARCHED) > 0
    redshift = np.where(unsearched, LOWEST, table["z_qso"])
    flux, error, bright = scaled(flux, error, redshift)
    for number in np.flatnonzero(~bright & ~unsearched):
        logging.warning("%s: found no light above the noise red of Lyman alpha; not searched", table["file"][number])
    error[~bright] = 0.0
    table["quality"] |= np.where(bright, 0, NOT_SEARCHED)
    return Sightlines(flux, error, redshift, *np.full((2, len(table), MOST), np.nan))
