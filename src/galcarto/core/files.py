"""The stages' files: written whole or not at all, and named when they are what a stage failed by."""

import errno
import glob
import json
import os
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from galcarto.core.errors import UserError

# how Parquet files are written; its readers ask for the checksums: zstd alone lets damage pass as other numbers
PARQUET: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
PROBE = 1 << 20  # bytes that must fit beside a file for the disk not to be full
SLAB = 1 << 22  # values of a netCDF variable that are checked at once


class Output(str):
    """Path of a file, or of a folder, to write: a passing name that no other process uses, until `whole` renames it.

    A job may outlive the run that started it and write at the same time as its successor.

    Attributes
    ----------
    final : str
        The file's own path.
    """

    __slots__ = ("final",)
    final: str

    def __new__(cls, path: str) -> "Output":
        """From the file's own path, as an option's ``type`` is called."""
        output = super().__new__(cls, f"{path}.{secrets.token_hex(4)}.part")
        output.final = path
        return output


@contextmanager
def whole(outputs: Sequence[Output], inputs: Sequence[str] = ()) -> Iterator[None]:
    """Give the outputs their names once the block has ended well; remove what is there of them if it fails.

    Why a library could not read or write is seldom in its error ("NetCDF: HDF error"), so that is found out here:
    nothing is checked unless the block has failed.

    Parameters
    ----------
    outputs : sequence of Output
    inputs : sequence of str
        Files that the block reads, or folders of them.

    Raises
    ------
    UserError
        In place of any other error where an output cannot be written or an input is damaged.
    """
    for output in outputs:
        for left in glob.glob(f"{glob.escape(output.final)}.*.part"):  # by a run that was killed
            if os.path.isdir(left):
                shutil.rmtree(left)
            else:
                Path(left).unlink(missing_ok=True)
    try:
        yield
        for output in outputs:
            if os.path.isdir(output) and os.path.isdir(output.final):  # no folder takes the place of a full one
                shutil.rmtree(output.final)
            os.replace(output, output.final)
    except Exception as error:
        # a full disk must be looked at before what filled it is removed
        fault = None if isinstance(error, UserError) else _unwritable(outputs, error) or _damaged(inputs)
        for output in outputs:
            with suppress(OSError):
                if os.path.isdir(output):
                    shutil.rmtree(output)
                else:
                    os.truncate(output, 0)  # HDF5 keeps a file open that it could not close, and the log needs room
                    os.unlink(output)
        if fault is None:
            raise
        raise UserError(fault) from error


def _unwritable(outputs: Sequence[Output], error: Exception) -> str | None:
    """What keeps a file from being written beside the outputs."""
    full = error.errno if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    for output in outputs:
        folder = Path(output).parent
        # a library may have removed what filled the disk: then only its error knows
        reason = full or _refusal(folder)
        if reason is not None:
            free = f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB free in {folder})" if folder.is_dir() else ""
            return f"{output.final}: cannot be written: {os.strerror(reason)}{free}; mend that and run again"
    return None


def _refusal(folder: Path) -> int | None:
    """Number of the error that a new file in a folder ends in."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE))
    except OSError as error:
        return error.errno
    return None


def _damaged(inputs: Sequence[str]) -> str | None:
    """The first of the inputs that cannot be read to its end, and why."""
    for name in inputs:
        for path in sorted(Path(name).rglob("*")) if os.path.isdir(name) else [Path(name)]:
            if path.suffix in CHECKS and path.is_file():
                try:
                    CHECKS[path.suffix](path)
                except Exception as error:
                    return f"{path}: is damaged ({error}); delete it and run again: the workflow makes it anew"
    return None


def check_zip(path: str | Path) -> None:
    """Read a file of torch's to its end; torch itself does not look at the checksums.

    Raises
    ------
    zipfile.BadZipFile
        If it is not whole.
    """
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    if bad is not None:
        raise zipfile.BadZipFile(f"wrong checksum of {bad}")


def _check_netcdf(path: Path) -> None:
    import netCDF4  # here and below: for a failed stage only

    with netCDF4.Dataset(path) as file:
        for variable in file.variables.values():
            rows = max(1, SLAB * len(variable) // max(variable.size, 1)) if variable.ndim else 1
            for start in range(0, len(variable) if variable.ndim else 1, rows):
                variable[start : start + rows] if variable.ndim else variable[...]


def _check_parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    for _ in pq.ParquetFile(path, page_checksum_verification=True).iter_batches():
        pass


CHECKS: dict[str, Callable[[Path], object]] = {
    ".nc": _check_netcdf,
    ".parquet": _check_parquet,
    ".pt": check_zip,
    ".ckpt": check_zip,
    ".json": lambda path: json.loads(path.read_text()),
}
