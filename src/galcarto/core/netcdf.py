"""Create the variables of a netCDF file from a table of dimensions, types and attributes."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import netCDF4
import numpy as np

Table: TypeAlias = Mapping[str, tuple[tuple[str, ...], Any, Mapping[str, Any]]]  # name: dimensions, type, attributes


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
