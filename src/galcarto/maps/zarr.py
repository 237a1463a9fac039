"""The cube as a Zarr store, written a few columns of tiles at a time."""

import warnings
from pathlib import Path

import xarray as xr
import zarr
from zarr.errors import ZarrUserWarning

MEMORY = 1 << 26  # bytes in memory at once, but at least one column of tiles


def write(path: str | Path, cube: xr.Dataset) -> None:
    """Write a cube as a Zarr store (format 3), with a chunk per sightline's samples and a file per column of tiles.

    Parameters
    ----------
    path : path
        Folder to create.
    cube : Dataset
        From `open_cube`, on a grid of l and b.
    """
    sizes = cube.sizes
    encoding = {}
    for name, variable in cube.variables.items():
        # of netCDF's encoding only the fill value applies to Zarr
        encoding[name] = {"_FillValue": variable.encoding.get("_FillValue")}
        # a variable without distances is one chunk
        chunk = {**sizes, "l": 1} if {"l", "distance"} <= set(variable.dims) else sizes
        encoding[name]["chunks"] = tuple(chunk[d] for d in variable.dims)
        if "l" in variable.dims and "sample" in variable.dims:
            encoding[name]["shards"] = encoding[name]["chunks"]
            encoding[name]["chunks"] = tuple(1 if d == "b" else chunk[d] for d in variable.dims)
    step = max(1, int(MEMORY * sizes["l"] // cube.nbytes))
    for first in range(0, sizes["l"], step):
        columns = cube.isel(l=slice(first, first + step)).drop_encoding()
        if first == 0:
            columns.to_zarr(path, mode="w", encoding=encoding, zarr_format=3, consolidated=False)
        else:
            columns.to_zarr(path, append_dim="l", consolidated=False)
    with warnings.catch_warnings():
        # not yet in the standard, but needed over HTTP, as a server cannot list a folder
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        zarr.consolidate_metadata(str(path), zarr_format=3)
