"""The cube as FITS: images with celestial axes, a HEALPix map and a table of sightlines."""

from pathlib import Path
from typing import Any

import astropy.units as u
import healpy as hp
import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.table import Column, Table

from galcarto.core.errors import UserError
from galcarto.maps.cube import VARIABLES
from galcarto.maps.grid import edges_of, tiles_of

MOST_BINS = 998  # columns of a FITS table beside the pixels
PROFILES = [name for name, (dimensions, *_) in VARIABLES.items() if dimensions == ("l", "b", "distance")]
PLAIN = [name for name, (dimensions, *_) in VARIABLES.items() if dimensions == ("l", "b")]
CARDS = {
    "TITLE": "title",
    "CUBEID": "id",
    "AUTHOR": "creator_name",
    "INSTITUT": "institution",
    "LICENSE": "license",
    "REFERENC": "references",
    "BAND": "band",
    "BANDS": "bands",
    "EXTLAW": "extinction_law",
    "R_V": "r_v",
    "SURVEY": "survey",
    "SURVLIM": "survey_limits",
    "GCVERS": "galcarto_version",
    "GCCOMMIT": "galcarto_commit",
    "GCSEED": "galcarto_seed",
    "GCCONFIG": "galcarto_config",
    "GCCONSHA": "galcarto_config_sha256",
    "GCINPUTS": "galcarto_inputs_sha256",
}
OUTER = "extinction and its sd are from the Sun to the outer edge of a bin: axis 3 is there; density is of the bin"


def write_image(path: str | Path, cube: xr.Dataset) -> None:
    """Write the variables of a cube as images in a plate carree projection, GLON-CAR and GLAT-CAR.

    Longitudes decrease along axis 1, as maps of the sky are drawn. Axis 3 is the distance in kpc at which a value
    holds: the outer edge of a bin for the extinction, its middle for the density. Samples are left out.

    Parameters
    ----------
    path : path
    cube : Dataset
        From `open_cube`, on a grid of l and b.

    Raises
    ------
    UserError
        If the tiles are of different sizes.
    """
    edges = edges_of(cube, "distance")
    images: list[fits.PrimaryHDU | fits.ImageHDU] = []
    for name in PROFILES:
        values = cube[name].transpose("distance", "b", "l").to_numpy()[..., ::-1]
        along = edges[1:] if name.startswith("extinction") and "density" not in name else edges[1:] - np.diff(edges) / 2
        images.append(_image(values, _celestial(cube) + _depth(along), cube[name], name))
    for name in PLAIN:
        images.append(_image(cube[name].transpose("b", "l").to_numpy()[:, ::-1], _celestial(cube), cube[name], name))
    first = fits.PrimaryHDU(images[0].data, images[0].header)
    first.header.extend(_about(cube))
    first.header["COMMENT"] = OUTER
    fits.HDUList([first, *images[1:], _bins(cube)]).writeto(path)


def write_pixels(path: str | Path, cube: xr.Dataset) -> None:
    """Write the HEALPix form as partial maps: a table for each variable, a column for each bin.

    A column is named after the outer edge of its bin.

    Parameters
    ----------
    path : path
    cube : Dataset
        From `open_cube`, in HEALPix pixels.

    Raises
    ------
    UserError
        If there are more bins than a table may have columns.
    """
    edges = edges_of(cube, "distance")
    if len(edges) - 1 > MOST_BINS:
        raise UserError(
            f"distance: found {len(edges) - 1} bins; expected at most {MOST_BINS}, one for each column of a FITS "
            "table: leave fits out of publish.forms"
        )
    level, scheme = int(cube["crs"].attrs["refinement_level"]), str(cube["crs"].attrs["indexing_scheme"])
    pixel = _column("PIXEL", cube["healpix_index"], cube["healpix_index"].to_numpy())
    cards = {
        "PIXTYPE": "HEALPIX",
        "ORDERING": scheme.upper(),
        "COORDSYS": ("G", "galactic"),
        "NSIDE": 2**level,
        "INDXSCHM": "EXPLICIT",
        "OBJECT": "PARTIAL",
        "OBS_NPIX": cube.sizes["cell"],
        "BAD_DATA": hp.UNSEEN,
    }
    tables = []
    for name in PROFILES:
        values = cube[name].transpose("distance", "cell").to_numpy()
        named = zip(edges[1:], values, strict=True)
        tables.append(
            _table(name, [pixel, *(_column(f"{name}_{far:g}kpc", cube[name], one) for far, one in named)], cards)
        )
    plain = [_column(name, cube[name], cube[name].to_numpy()) for name in PLAIN]
    tables.append(_table("sightlines", [pixel, *plain], cards))
    fits.HDUList([fits.PrimaryHDU(header=_about(cube)), *tables, _bins(cube)]).writeto(path)


def write_sightlines(path: str | Path, cube: xr.Dataset) -> None:
    """Write a table with one row for each tile, l-major, and profiles in cells of one value for each bin.

    Parameters
    ----------
    path : path
    cube : Dataset
        From `open_cube`, on a grid of l and b.
    """
    tiles = tiles_of(cube)
    l, b = np.meshgrid(tiles.l % 360.0, tiles.b, indexing="ij")
    columns = [_column("l", cube["l"], l.ravel()), _column("b", cube["b"], b.ravel())]
    for name in PLAIN + PROFILES:
        values = cube[name].transpose("l", "b", ...).to_numpy()
        columns.append(_column(name, cube[name], values.reshape(-1, *values.shape[2:])))
    table = _table("sightlines", columns, {})
    fits.HDUList([fits.PrimaryHDU(header=_about(cube)), table, _bins(cube)]).writeto(path)


def _about(cube: xr.Dataset) -> fits.Header:
    """What the cube is, and how it was made."""
    header = fits.Header()
    for card, name in CARDS.items():
        if name in cube.attrs:
            value = cube.attrs[name]
            value = value.item() if isinstance(value, np.generic) else value
            # FITS headers are ASCII, without line breaks
            header[card] = (
                value.encode("ascii", "replace").decode().replace("\n", " ") if isinstance(value, str) else value
            )
    return header


def _celestial(cube: xr.Dataset) -> list[tuple[str, Any]]:
    """Cards of axes 1 and 2. The reference point of GLON-CAR is on the equator, so that the grid stays straight."""
    tiles = tiles_of(cube)
    steps = []
    for name, edges in (("l", tiles.l_edges), ("b", tiles.b_edges)):
        widths = np.diff(edges)
        if not np.allclose(widths, widths.mean(), rtol=1e-6, atol=0):
            raise UserError(f"{name}: found tiles of {widths.min():g} to {widths.max():g} deg; expected equal ones")
        steps.append(float(widths.mean()))
    return [
        *(("CTYPE1", "GLON-CAR"), ("CUNIT1", "deg"), ("CDELT1", -steps[0])),
        *(("CRPIX1", (tiles.shape[0] + 1) / 2), ("CRVAL1", float(tiles.l_edges[[0, -1]].mean() % 360.0))),
        *(("CTYPE2", "GLAT-CAR"), ("CUNIT2", "deg"), ("CDELT2", steps[1])),
        *(("CRPIX2", float(0.5 - tiles.b_edges[0] / steps[1])), ("CRVAL2", 0.0)),
    ]


def _depth(along: np.ndarray) -> list[tuple[str, Any]]:
    """Cards of axis 3; for uneven distances it counts bins, whose edges are in the table DISTANCE_BINS."""
    step = float(np.mean(np.diff(along))) if len(along) > 1 else 1.0
    if not np.allclose(along, along[0] + step * np.arange(len(along)), rtol=0, atol=1e-6 * step):
        return [("CTYPE3", "BIN"), ("CDELT3", 1.0), ("CRPIX3", 1.0), ("CRVAL3", 1.0)]
    start = [("CRPIX3", 1.0), ("CRVAL3", float(along[0]))]
    return [("CTYPE3", "DIST"), ("CUNIT3", "kpc"), ("CDELT3", step), *start]


def _image(values: np.ndarray, cards: list[tuple[str, Any]], variable: xr.DataArray, name: str) -> fits.ImageHDU:
    hdu = fits.ImageHDU(np.ascontiguousarray(values), name=name.upper())
    hdu.header.extend(cards)
    if unit := _unit(variable):
        hdu.header["BUNIT"] = unit
    hdu.header["UCD"] = variable.attrs.get("ucd", "")
    hdu.header["COMMENT"] = variable.attrs.get("long_name", name)
    for mask, meaning in _flags(variable):
        hdu.header["COMMENT"] = f"{mask}: {meaning}"
    return hdu


def _column(name: str, variable: xr.DataArray, values: np.ndarray) -> Column:
    """A column with the unit and the description of a variable."""
    told = variable.attrs.get("long_name", "") + "".join(f"; {mask}: {text}" for mask, text in _flags(variable))
    return Column(values, name, unit=_unit(variable), description=told, meta={"ucd": variable.attrs.get("ucd")})


def _flags(variable: xr.DataArray) -> list[tuple[int, str]]:
    masks = np.atleast_1d(variable.attrs.get("flag_masks", [])).tolist()
    return list(zip(masks, variable.attrs.get("flag_meanings", "").split(), strict=False))


def _unit(variable: xr.DataArray) -> str | None:
    """The unit in the spelling of FITS; None without one."""
    return u.Unit(variable.attrs.get("units", "")).to_string("fits") or None


def _table(name: str, columns: list[Column], cards: dict[str, Any]) -> fits.BinTableHDU:
    """A binary table with units (TUNITn), UCDs (TUCDn) and descriptions (TCOMMn), as TOPCAT reads them."""
    hdu = fits.table_to_hdu(Table(columns, copy=False))
    hdu.name = name.upper()
    for i, column in enumerate(columns, start=1):
        for card, text in (("TUCD", column.meta["ucd"]), ("TCOMM", column.description)):
            if text:
                hdu.header[f"{card}{i}"] = text
    hdu.header.update(cards)
    return hdu


def _bins(cube: xr.Dataset) -> fits.BinTableHDU:
    """The inner and outer edges of the bins."""
    edges = edges_of(cube, "distance")
    told = {"unit": "kpc", "meta": {"ucd": "pos.distance"}}
    near, far = Column(edges[:-1], "near", **told), Column(edges[1:], "far", **told)
    return _table("distance_bins", [near, far], {})
