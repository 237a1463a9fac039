"""The label file: one row for each star of the input, in its order."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from galcarto.core.errors import UserError
from galcarto.core.files import PARQUET, made_here, remedy
from galcarto.labels.settings import LABELS
from galcarto.labels.table import NO_ULTRAVIOLET, OUTSIDE_RANGE, REFUSED, REPEATED, UNLIKE_TRAINING

FLAGS = {
    NO_ULTRAVIOLET: "no_ultraviolet",
    UNLIKE_TRAINING: "unlike_training",
    OUTSIDE_RANGE: "label_outside_training_range",
    REFUSED: "input_refused",
    REPEATED: "repeated_star",
}
UNITS = {"l": "deg", "b": "deg", "distance": "kpc", "a_v": "mag", "giant": "1", "out_of_distribution": "1", "snr": "1"}


def unit(column: str, labels: Mapping[str, str] = LABELS) -> str:
    """Unit of a column of the label file, given those of its labels; empty for an identifier, 1 for flags."""
    if column in ("id", "quality"):
        return "" if column == "id" else "1"
    known = UNITS | dict(labels)
    longest = sorted(known, key=len, reverse=True)
    name = next((name for name in longest if column == name or column.startswith(f"{name}_")), None)
    return known.get(column) or (known[name] if name else "mag" if "_predicted" in column else "")


def write(
    path: str | Path,
    parts: Iterable[pd.DataFrame],
    attributes: Mapping[str, Any],
    labels: Mapping[str, str] = LABELS,
    flags: Mapping[int, str] = MappingProxyType({}),
) -> int:
    """Write parts of a label file one after another, in bounded memory.

    Parameters
    ----------
    path : path
    parts : iterable of DataFrame
        With the same columns.
    attributes : mapping
        Provenance and whatever else describes the file.
    labels : mapping of str to str, optional
        Labels and their units.
    flags : mapping of int to str, optional
        Bits of the quality whose meaning is another.

    Returns
    -------
    int
        Number of stars.
    """
    writer, number = None, 0
    try:
        for part in parts:
            table = pa.Table.from_pandas(part, preserve_index=False)
            if writer is None:
                fields = [
                    field.with_metadata({"unit": unit(field.name, labels)} if unit(field.name, labels) else {})
                    for field in table.schema
                ]
                bits = " ".join(f"{bit}: {name};" for bit, name in (FLAGS | dict(flags)).items()).rstrip(";")
                about = {"galcarto_format": "labels 1", "quality_flags": bits, **attributes}
                metadata = {
                    name: value if isinstance(value, str) else json.dumps(value) for name, value in about.items()
                }
                writer = pq.ParquetWriter(path, pa.schema(fields, metadata=metadata), **PARQUET)
            writer.write_table(table.cast(writer.schema))
            number += len(part)
    finally:
        if writer is not None:
            writer.close()
    return number


def open_labels(path: str | Path) -> pd.DataFrame:
    """Read a label file.

    Returns
    -------
    DataFrame
        One row for each star, in the order of the input. ``attrs["units"]`` has the unit of each column; the other
        attributes are the file's provenance. Columns are those of `galcarto.labels.posterior.describe`, ``l`` and ``b``
        (deg), distances (kpc) and ``quality``, whose bits ``attrs["quality_flags"]`` names.

    Raises
    ------
    UserError
        If it is no label file.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: not found; expected a label file, which galcarto predict-labels writes")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        found = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    except Exception as error:
        hint = remedy(path) if made_here(path) else "expected a label file of Galcarto"
        raise UserError(f"{path}: cannot be read ({error}); {hint}") from error
    if not found.get("galcarto_format", "").startswith("labels"):
        raise UserError(f"{path}: found a table of other columns; expected a label file of galcarto predict-labels")
    frame = table.to_pandas()
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in table.schema}
    frame.attrs = {name: value for name, value in found.items() if name != "pandas"} | {"units": units}
    return frame
