"""Read a published cube, from a disk or a server."""

import os
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import xarray as xr

from galcarto.core.errors import UserError
from galcarto.core.files import made_here
from galcarto.maps import query as query
from galcarto.maps.grid import SAMPLES_GROUP

EXPECTED = {"extinction", "extinction_density", "distance_max", "quality"}
RENAMED = {"strangeness": "out_of_distribution"}  # old names of variables


def open_cube(path: str | Path) -> xr.Dataset:
    """Open a cube of extinction lazily.

    Parameters
    ----------
    path : path or str
        A ``cube.nc``, a ``cube_healpix.nc`` or a folder ``cube.zarr`` by Galcarto: a path, or a ``file:``, ``http:``
        or ``https:`` address. A server must support range requests, as nearly all do.

    Returns
    -------
    Dataset
        ``extinction(l, b, distance)``: cumulative A_V in mag from the Sun to the outer edge of each
        distance bin; ``extinction_density`` in mag kpc-1; ``*_sd``; ``*_samples(sample, l, b, distance)``;
        ``distance_min`` and ``distance_max`` in kpc; ``quality`` flags. Coordinates ``l``, ``b`` in degree (galactic)
        and ``distance`` in kiloparsec (bin centres); their bounds are coordinates too, so that `xarray.concat`,
        ``where`` and the like leave them as they are. In the HEALPix form ``cell`` stands for ``l, b``, and
        ``l(cell)``, ``b(cell)`` are the pixels' centres.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not a cube of Galcarto, or the server does not deliver it.

    Examples
    --------
    >>> cube = open_cube("results/demo/cube.nc")  # doctest: +SKIP
    >>> cube.extinction.sel(l=284.1, b=0.2, distance=2.0, method="nearest")  # doctest: +SKIP
    >>> cube.dust.query(SkyCoord("10h30m -57d30m", distance=2 * u.kpc))  # doctest: +SKIP
    """
    place = str(path)
    remote = place.startswith(("http:", "https:"))
    if place.startswith("file:"):
        place = url2pathname(urlsplit(place).path)
    elif not remote:  # a path, in which # and ? are ordinary; Path.expanduser fails for a file named ~a
        place = os.path.expanduser(place)
    if not remote and not Path(place).exists():
        raise FileNotFoundError(f"{path}: not found; expected a cube.nc: 'snakemake --cores all' makes one")
    store = (urlsplit(place).path if remote else place).rstrip("/").endswith(".zarr")
    try:
        cube = _open_zarr(place) if store else _open_netcdf(place, remote)
    except (OSError, ValueError) as error:
        if remote:
            hint = "try the address in a browser; the server must support range requests"
        elif made_here(place):
            hint = "delete it and run again"
        else:
            hint = "expected a cube.nc, cube_healpix.nc or cube.zarr of Galcarto"
        raise UserError(f"{path}: cannot be read as a cube of extinction ({error}); {hint}") from None
    missing = EXPECTED - set(cube.variables)
    if missing:
        cube.close()
        raise UserError(f"{path}: found no {', '.join(sorted(missing))}; expected a cube of extinction by Galcarto")
    # as data variables they would get new dimensions or types where a cube is joined or masked
    apart = [name for name in cube.data_vars if name == "crs" or str(name).endswith("_bounds")]
    found = cube.rename({name: RENAMED[name] for name in RENAMED if name in cube}).set_coords(apart)
    found.set_close(cube.close)
    return found


def _open_netcdf(place: str, remote: bool) -> xr.Dataset:
    """A netCDF file with its samples, which are in a group except in old files."""
    place += "#mode=bytes" if remote else ""
    cube = xr.open_dataset(place, engine="netcdf4")
    try:
        samples = xr.open_dataset(place, engine="netcdf4", group=SAMPLES_GROUP)
    except OSError as error:
        if "group not found" not in str(error):
            raise
        return cube
    merged = cube.assign(samples.variables)
    merged.set_close(partial(_close, cube, samples))
    return merged


def _close(*datasets: xr.Dataset) -> None:
    for dataset in datasets:
        dataset.close()


def _open_zarr(place: str) -> xr.Dataset:
    cube = xr.open_zarr(place, chunks=None)
    for variable in cube.variables.values():
        if "flag_masks" in variable.attrs:  # JSON does not keep the type
            variable.attrs["flag_masks"] = np.array(variable.attrs["flag_masks"], variable.dtype)
    return cube
