"""Tables from files of any common format, as people and archives write them."""

import csv
import gzip
import re
import warnings
from collections.abc import Collection, Iterator
from io import BytesIO, StringIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.exceptions import VOWarning
from astropy.io.votable.tree import VOTableFile
from astropy.table import Table
from astropy.table.meta import YamlParseError, get_header_from_yaml
from astropy.utils.exceptions import AstropyWarning

from galcarto.core.errors import UserError, first_line

FORMATS = {  # of astropy, by suffix
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".tsv": "ascii.csv",
    ".dat": "ascii.csv",
    ".tbl": "ascii.ipac",
    ".vot": "votable",
    ".xml": "votable",
    ".parquet": "parquet",
}
DELIMITERS = (",", ";", "\t", "|", " ")  # of columns in text
HEAD = 2000  # lines in which the names of the columns are looked for
HEAD_BYTES = 1 << 18  # of a large file
LARGE = 1 << 26  # bytes of text above which it is read in parts
MISSING = ("", "null", "nan", "none", "na", "n/a", "<na>", "--", "---", "-", "...", "\\n", "masked")  # in lower case
WEB_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)?<(!doctype )?html", re.IGNORECASE | re.DOTALL)


class TableError(UserError):
    """A table that cannot be used."""


def read_table(
    path: str | Path,
    columns: Collection[str],
    hint: str,
    format: str | None = None,
    texts: Collection[str] = (),
    everything: bool = False,
) -> Table:
    """Read the first table of a file that has some columns.

    Parameters
    ----------
    path : path
    columns : collection of str
        Columns of numbers that the table must have. It may lack others of the file's.
    hint : str
        What to do or to set if the file does not fit, for messages.
    format : str, optional
        Of `astropy.table.Table.read`; by default the suffix before ``.gz`` decides.
    texts : collection of str
        Columns of text that the table must have.
    everything : bool
        Keep the columns that are not asked for, also of a text file.

    Raises
    ------
    TableError
        If the file does not exist, cannot be read, lacks a column, or a column does not hold one number in each row.
    """
    path, wanted = Path(path), [*columns, *texts]
    if not path.is_file():
        raise TableError(f"{path}: not found; expected a table with {', '.join(wanted)} ({hint})")
    suffix = (path.with_suffix("").suffix if path.suffix.lower() == ".gz" else path.suffix).lower()
    format = format or FORMATS.get(suffix)
    if format is None:
        raise TableError(f"{path}: found suffix {suffix!r}; expected one of {', '.join(FORMATS)} ({hint})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # units that astropy does not know, VOTables of loose form
            warnings.simplefilter("ignore", VOWarning)
            table = _read(path, format, wanted, texts, everything)
    except TableError as error:
        raise TableError(f"{path}: {error} ({hint})") from None
    except Exception as error:  # each reader raises errors of its own
        reason = shorten(str(error), 200) or type(error).__name__
        raise TableError(
            f"{path}: found no readable table ({reason}); expected format {format}; if the file is cut, get it again "
            f"({hint})"
        ) from error
    missing = [name for name in wanted if name not in table.colnames]
    if missing:
        found = ", ".join(table.colnames)
        raise TableError(f"{path}: found the columns {found}; expected also {', '.join(missing)} ({hint})")
    for name in columns:
        try:
            floats(table[name])
        except (TypeError, ValueError) as error:
            reason = shorten(str(error), 200)
            raise TableError(f"{path}: column {name}: {reason}; expected one number in each row ({hint})") from None
    return table


def column_names(path: str | Path, hint: str) -> list[str]:
    """Names of the columns of a file's first table.

    Raises
    ------
    TableError
        As of `read_table`.
    """
    kind, path = _stream_kind(path), Path(path)
    if kind == "parquet":
        return list(_parquet(path, hint).schema_arrow.names)
    if kind == "fits":
        with fits.open(path, memmap=False) as file:
            hdu = next((one for one in file if isinstance(one, fits.BinTableHDU)), None)
            if hdu is not None:
                return list(hdu.columns.names)
    if kind == "text":
        with open(path, "rb") as handle:
            head = re.split(r"\r\n|\r|\n", _decoded(handle.read(HEAD_BYTES)))
        line = next((line for line in head if line.strip() and not line.startswith("#")), "")
        return max((_cells(line, delimiter) for delimiter in DELIMITERS), key=len)
    return list(read_table(path, [], hint, everything=True).colnames)


def read_parts(path: str | Path, columns: Collection[str], hint: str, rows: int = 500_000) -> Iterator[Table]:
    """Read some columns of a file part by part, in bounded memory where the format allows: Parquet, FITS, plain text.

    Parameters
    ----------
    path, columns, hint
        As of `read_table`.
    rows : int
        In a part.

    Raises
    ------
    TableError
        As of `read_table`.
    """
    kind, path, wanted = _stream_kind(path), Path(path), list(dict.fromkeys(columns))
    missing = [name for name in wanted if name not in column_names(path, hint)] if kind else []
    if kind == "parquet" and not missing:
        for batch in _parquet(path, hint).iter_batches(batch_size=rows, columns=wanted):
            yield Table.from_pandas(batch.to_pandas())
    elif kind == "fits" and not missing and (plain := _plain_fits(path)) is not None:
        # not mapped into memory: the pages of a mapped file count as the process's own
        start, number, dtype, units = plain
        with open(path, "rb") as handle:
            handle.seek(start)
            for done in range(0, number, rows):
                part = np.fromfile(handle, dtype, min(rows, number - done))
                table = Table({name: part[name].astype(part[name].dtype.newbyteorder("=")) for name in wanted})
                for name in wanted:
                    table[name].unit = units.get(name)
                yield table
    elif kind == "text" and not missing and path.stat().st_size > LARGE:
        yield from _text_parts(path, wanted, rows)
    else:
        table = read_table(path, wanted, hint)
        for start in range(0, len(table), rows):
            yield table[wanted][start : start + rows]


def _stream_kind(path: str | Path) -> str | None:
    """Which of the formats that `read_parts` streams a file has."""
    kinds = {"parquet": "parquet", "fits": "fits", "ascii.csv": "text", "ascii.ecsv": "text"}
    path = Path(path)
    if path.suffix.lower() == ".gz" or not path.is_file():
        return None
    with open(path, "rb") as handle:
        head = handle.read(4096)
    return None if head[:2] == b"\x1f\x8b" or WEB_PAGE.match(head) else kinds.get(FORMATS.get(path.suffix.lower(), ""))


def _parquet(path: Path, hint: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except Exception as error:
        raise TableError(f"{path}: found no Parquet file ({first_line(str(error))}); get it again ({hint})") from error


def _plain_fits(path: Path) -> tuple[int, int, np.dtype, dict[str, str]] | None:
    """Where the rows of a file's first table begin, their number, type, units; None unless they hold plain values."""
    with fits.open(path, memmap=False) as file:
        hdu = next((one for one in file if isinstance(one, fits.BinTableHDU)), None)
        if hdu is None or isinstance(hdu, fits.CompImageHDU):
            return None
        scaled = [column for column in hdu.columns if column.bscale or column.bzero or column.null is not None]
        if scaled or hdu.header["PCOUNT"] or any(column.format[0] in "PQ" for column in hdu.columns):
            return None
        dtype = hdu.columns.dtype.newbyteorder(">")
        if dtype.itemsize != hdu.header["NAXIS1"]:
            return None
        units = {column.name: column.unit for column in hdu.columns if column.unit}
        return int(hdu.fileinfo()["datLoc"]), int(hdu.header["NAXIS2"]), dtype, units


def _text_parts(path: Path, wanted: list[str], rows: int) -> Iterator[Table]:
    """Parts of a large table in text."""
    with open(path, "rb") as handle:
        lines = re.split(r"\r\n|\r|\n", _decoded(handle.read(HEAD_BYTES)))
    start, delimiter, names = _header(lines, wanted) or (0, ",", wanted)
    dashes = [i for i, line in enumerate(lines[start + 1 : start + 4]) if re.fullmatch(r"[-\s;,|]*--[-\s;,|]*", line)]
    with open(path, encoding="utf-8-sig", errors="replace") as text:
        parts = pd.read_csv(
            text,
            sep=r"\s+" if delimiter == " " else delimiter,
            names=names,
            usecols=wanted,
            index_col=False,
            skiprows=start + 1 + (dashes[0] + 1 if dashes else 0),
            comment="#",
            na_values=list(MISSING),
            skipinitialspace=True,
            chunksize=rows,
            low_memory=False,
        )
        units = _ecsv_units(lines[:start])
        for part in parts:
            table = Table.from_pandas(part)
            for name in table.colnames:
                table[name].unit = units.get(name)
            yield table


def floats(column: Any) -> np.ndarray:
    """A column as floats, NaN where it is masked or a word for nothing, such as ``null``.

    Raises
    ------
    ValueError
        If the column does not hold one number in each row.
    """
    values = np.ma.asarray(column)
    if values.ndim > 1:
        if values[:1].size > 1:
            raise ValueError(f"found {' x '.join(map(str, values.shape[1:]))} values in each row")
        values = values.ravel()
    if values.dtype.kind in "OSU":
        texts = pd.Series(np.ma.getdata(values)).map(lambda one: one.decode() if isinstance(one, bytes) else one)
        nothing = texts.isna() | texts.astype(str).str.strip().str.lower().isin(MISSING) | np.ma.getmaskarray(values)
        numbers = np.asarray(pd.to_numeric(texts.where(~nothing, np.nan), errors="coerce"), float)
        wrong = np.flatnonzero(np.isnan(numbers) & ~nothing)
        if len(wrong):
            raise ValueError(f"found {texts[wrong[0]]!r} in row {wrong[0] + 1}")
        return numbers
    if values.dtype.kind not in "iuf":
        raise ValueError(f"found {values.dtype}")
    return np.ma.filled(values.astype(float), np.nan)


def _read(path: Path, format: str, wanted: Collection[str], texts: Collection[str], everything: bool) -> Table:
    """Read a file in a format; the table may lack columns."""
    with open(path, "rb") as handle:
        packed = handle.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else open(path, "rb") as handle:
        head = handle.read(4096)
        if WEB_PAGE.match(head):
            words = first_line((head + handle.read()).decode(errors="replace"))
            raise TableError(f"found a web page that says '{words}'; expected a table; get the file again")
        if format == "parquet":  # astropy's own reader warns of every column of strings
            return Table.from_pandas(pd.read_parquet(path, page_checksum_verification=True))
        if format == "fits":
            return _read_fits(path, wanted)
        body = head + handle.read()
    if format == "votable" or body.lstrip()[:5] == b"<?xml":
        return _read_votable(body, wanted)
    text = _decoded(body)
    if format in ("ascii.csv", "ascii.ecsv"):
        return _read_text(text, wanted, texts, everything)
    return Table.read(text.splitlines(), format=format, **({"guess": False} if format == "ascii.basic" else {}))


def _read_fits(path: Path, wanted: Collection[str]) -> Table:
    """First table that has the columns, else the first table."""
    with open(path, "rb") as handle, fits.open(handle) as file:  # astropy leaves a cut file open that it opens itself
        tables = [i for i, hdu in enumerate(file) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        if not tables:
            raise TableError(f"found {len(file)} HDUs and no table; expected one")
        fitting = (i for i in tables if set(wanted) <= set(file[i].columns.names))
        hdu = next(fitting, tables[0])
        if file[hdu].verify_datasum() == 0:
            raise TableError("found data that do not fit the file's DATASUM; expected a whole file; get it again")
        return Table.read(file, format="fits", hdu=hdu, memmap=False)


def parse_votable(body: bytes) -> VOTableFile:
    """Parse a VOTable; few keep to the letter of the standard."""
    return parse(BytesIO(body), verify="ignore")


def query_status(votable: VOTableFile) -> tuple[str | None, bool]:
    """Error that a service states in a VOTable, and whether it says that it left out rows."""
    # TAP sends the status before the table, and again after it if rows were left out
    found = [info for part in (votable, *votable.resources) for info in part.infos if info.name == "QUERY_STATUS"]
    found += [info for table in votable.iter_tables() for info in table.infos if info.name == "QUERY_STATUS"]
    errors = [first_line(info.content or "") for info in found if (info.value or "").upper() == "ERROR"]
    return next(iter(errors), None), any((info.value or "").upper() == "OVERFLOW" for info in found)


def _read_votable(body: bytes, wanted: Collection[str]) -> Table:
    """First table that has the columns, by name or by ID, else the first table."""
    votable = parse_votable(body)
    error, overflow = query_status(votable)
    if error is not None:
        raise TableError(f"found the error '{error}'; expected a table; get the file again")
    if overflow:
        raise TableError("found the overflow flag: rows are left out; expected all; get the file again with more rows")
    tables = list(votable.iter_tables())
    if not tables:
        raise TableError("found a VOTable without a table; expected one; get the file again")

    def known(table: Any) -> set[str]:
        return {name for one in table.fields for name in (one.name, one.ID)}

    chosen = next((table for table in tables if set(wanted) <= known(table)), tables[0])
    result = chosen.to_table(use_names_over_ids=True)
    for field, name in zip(chosen.fields, list(result.colnames), strict=True):
        if field.ID in wanted and field.ID not in result.colnames:
            result[field.ID] = result[name]
    return result


def _decoded(body: bytes) -> str:
    """Text in UTF-8 or UTF-16, with a byte order mark or without, or in Latin-1."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def _cells(line: str, delimiter: str) -> list[str]:
    """Cells of a line of text."""
    return [
        cell.strip() for cell in next(csv.reader([line.strip(" ")], delimiter=delimiter, skipinitialspace=True), [])
    ]


def _read_text(text: str, wanted: Collection[str], texts: Collection[str], everything: bool) -> Table:
    """Columns of a table in text.

    Comments begin with ``#``, also the names of the columns may. VizieR's units and dashes below the names are heard.
    Of an ECSV file the units are.
    """
    lines = re.split(r"\r\n|\r|\n", text)
    found = _header(lines, wanted)
    if found is None:  # the names of the first line, for a message
        head = sorted(lines[:HEAD], key=lambda line: line.startswith("#"))  # comments last
        line = next((bare for line in head if (bare := line.lstrip("# \t"))), "")
        names = max((_cells(line, one) for one in DELIMITERS), key=lambda cells: len(cells))
        return Table(names=list(dict.fromkeys(names)))
    start, delimiter, names = found
    rest = [line for line in lines[start + 1 :] if line.strip() and not line.startswith("#")]
    units = _ecsv_units(lines[:start])
    dashes = next((i for i, line in enumerate(rest[:3]) if re.fullmatch(r"[-\s;,|]*--[-\s;,|]*", line)), None)
    if dashes is not None:
        if dashes:
            units |= dict(zip(names, _cells(rest[0], delimiter), strict=False))
        rest = rest[dashes + 1 :]
    for line in rest:
        if line.count(delimiter) >= len(names) < len(_cells(line.rstrip(delimiter), delimiter)):
            raise TableError(
                f"found a row of more than {len(names)} cells ({shorten(line, 80)}); expected one for each name"
            )
    comma = delimiter == ";" and bool(rest) and re.search(r"\d,\d", rest[0]) is not None
    frame = pd.read_csv(
        StringIO("\n".join(rest)),
        sep=r"\s+" if delimiter == " " else delimiter,
        names=names,
        usecols=None if everything else list(dict.fromkeys(wanted)),
        index_col=False,
        dtype=dict.fromkeys(texts, str),
        na_values=list(MISSING),
        skipinitialspace=True,
        decimal="," if comma else ".",
        low_memory=False,
    )
    table = Table.from_pandas(frame)
    for name in table.colnames:
        if units.get(name):
            table[name].unit = units[name]
    return table


def _header(lines: list[str], wanted: Collection[str]) -> tuple[int, str, list[str]] | None:
    """Number of the line that has the wanted names, the delimiter, and all names; None if no line has them."""
    # the names may be in a comment
    head = [(i, line) for i, line in enumerate(lines[:HEAD]) if not line.startswith("#")]
    head += [(i, line.lstrip("# \t")) for i, line in enumerate(lines[:HEAD]) if line.startswith("#")]
    splits = ((i, delimiter, _cells(line, delimiter)) for i, line in head for delimiter in DELIMITERS)
    return next((one for one in splits if set(wanted) <= set(one[2])), None)


def _ecsv_units(lines: list[str]) -> dict[str, str]:
    """Units in the header of an ECSV file; none in other comments."""
    if not lines or "%ECSV" not in lines[0]:
        return {}
    try:
        header = get_header_from_yaml([line.removeprefix("#").removeprefix(" ") for line in lines[1:]])
    except YamlParseError:
        return {}
    return {str(one["name"]): str(one["unit"]) for one in header.get("datatype", []) if one.get("unit")}
