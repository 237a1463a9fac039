"""Tables from files of any common format."""

from collections.abc import Collection
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import Table

from galcarto.core.errors import UserError

FORMATS = {  # of astropy, by suffix
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".dat": "ascii.csv",
    ".vot": "votable",
    ".parquet": "parquet",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "fits": {"hdu": 1},
    "ascii.basic": {"guess": False},
    "votable": {"use_names_over_ids": True, "verify": "ignore"},  # few VOTables keep to the letter of the standard
}


class TableError(UserError):
    """A table that cannot be used."""


def read_table(path: str | Path, columns: Collection[str], hint: str, format: str | None = None) -> Table:
    """Read the first table of a file.

    Parameters
    ----------
    path : path
    columns : collection of str
        Columns that the table must have.
    hint : str
        What to do or to set if the file does not fit, for messages.
    format : str, optional
        Of `astropy.table.Table.read`; by default the suffix before ``.gz`` decides.

    Raises
    ------
    TableError
        If the file does not exist, cannot be read or lacks a column.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: not found; expected a table with {', '.join(columns)} ({hint})")
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    format = format or FORMATS.get(suffix)
    if format is None:
        raise TableError(f"{path}: found suffix {suffix!r}; expected one of {', '.join(FORMATS)} ({hint})")
    try:
        if format == "parquet":  # astropy's own reader warns of every column of strings
            table = Table.from_pandas(pd.read_parquet(path))
        else:
            table = Table.read(path, format=format, **OPTIONS.get(format, {}))
    except Exception as error:  # each reader raises errors of its own
        reason = shorten(str(error), 200)
        raise TableError(f"{path}: found no readable table ({reason}); expected format {format} ({hint})") from error
    missing = [name for name in columns if name not in table.colnames]
    if missing:
        found = ", ".join(table.colnames)
        raise TableError(f"{path}: found the columns {found}; expected also {', '.join(missing)} ({hint})")
    return table


def floats(column: Any) -> np.ndarray:
    """A column as floats, NaN where it is masked."""
    return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)
