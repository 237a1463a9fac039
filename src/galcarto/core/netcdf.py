"""Variables of a netCDF file from a table of dimensions, types and attributes, and their compression."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import netCDF4
import numpy as np

from galcarto.core.errors import UserError

Table: TypeAlias = Mapping[str, tuple[tuple[str, ...], Any, Mapping[str, Any]]]  # name: dimensions, type, attributes
BLOCK = 256  # examples per stored chunk, and per read of the training
# Zstandard reads twice as fast as zlib for 10 % more bytes; Blosc is faster still, but fails on incompressible data.
# It has no checksum, hence fletcher32: damage would pass unnoticed.
COMPRESSION: dict[str, Any] = {"compression": "zstd", "complevel": 1, "shuffle": False, "fletcher32": True}


def create_variables(
    file: netCDF4.Dataset,
    table: Table,
    sizes: Mapping[str, int | None],
    *,
    chunks: Mapping[str, int] | None = None,
    missing: bool = False,
    **storage: Any,
) -> dict[str, netCDF4.Variable]:
    """Create empty variables, and those of their dimensions that do not exist yet.

    Parameters
    ----------
    file : netCDF4.Dataset
        File or group, open for writing.
    table : mapping of str to (dimensions, type, attributes)
    sizes : mapping of str to int or None
        Size of each dimension; None for an unlimited one.
    chunks : mapping of str to int, optional
        Largest chunk along a dimension; other dimensions are not divided. Without it the library chooses.
    missing : bool
        Use NaN as the fill value of floating-point variables; otherwise variables have none.
    **storage
        Compression, as for `netCDF4.Dataset.createVariable`.
    """
    created = {}
    for name, (dimensions, kind, attributes) in table.items():
        for dimension in dimensions:
            if dimension not in file.dimensions and (file.parent is None or dimension not in file.parent.dimensions):
                file.createDimension(dimension, sizes[dimension])
        lengths = None
        if chunks is not None:
            lengths = [min(filter(None, (chunks.get(dimension), sizes[dimension]))) for dimension in dimensions]
        fill = None if kind is str else np.nan if missing and np.dtype(kind).kind == "f" else False
        created[name] = file.createVariable(name, kind, dimensions, chunksizes=lengths, fill_value=fill, **storage)
        created[name].setncatts(dict(attributes))
    return created


def require_filter(file: netCDF4.Dataset) -> None:
    """Raise a `UserError` if HDF5 does not find the Zstandard filter, which the netCDF4 wheels bring."""
    if not file.has_zstd_filter():
        raise UserError(
            f"HDF5_PLUGIN_PATH: found {os.environ.get('HDF5_PLUGIN_PATH')!r}, where HDF5 sees no Zstandard filter; "
            f"expected that of the netCDF4 wheel: unset HDF5_PLUGIN_PATH, or add "
            f"{Path(netCDF4.__file__).parent / 'plugins'} to it"
        )
