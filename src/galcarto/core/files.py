"""Atomic writing of a stage's files, and diagnosis of files that cannot be written or read."""

import errno
import glob
import json
import math
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

# options for Parquet files; readers verify the checksums, as zstd alone may decompress damaged data to other numbers
PARQUET: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
PROBE = 1 << 20  # bytes; if they do not fit beside a file, the disk is full; searched for its maker at each end
SLAB = 1 << 22  # values of a netCDF variable that are read at once


def variable(dims: str | tuple[str, ...], values: Any, units: str, long_name: str) -> tuple[Any, ...]:
    """A variable of an xarray Dataset with its units and description."""
    return dims, values, {"units": units, "long_name": long_name}


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON; numbers that it does not have, NaN and infinity, become null."""
    Path(path).write_text(json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Output(str):
    """Temporary, unique path of a file or folder to write, which `whole` renames.

    The path is unique because a job may outlive the run that started it and write at the same time as its successor.
    """

    __slots__ = ("final",)
    final: str

    def __new__(cls, path: str) -> "Output":
        """From the final path, as argparse calls an option's ``type``."""
        output = super().__new__(cls, f"{path}.{secrets.token_hex(4)}.part")
        output.final = path
        return output


@contextmanager
def whole(outputs: Sequence[Output], inputs: Sequence[str] = ()) -> Iterator[None]:
    """Rename the outputs to their final paths if the block succeeds; remove them if it fails.

    Errors of libraries seldom state the cause ("NetCDF: HDF error"). After a failure, outputs and inputs are therefore
    checked here.

    Parameters
    ----------
    outputs : sequence of Output
    inputs : sequence of str
        Files, or folders of files, that the block reads.

    Raises
    ------
    UserError
        Instead of any other error if an output cannot be written or an input is damaged.
    """
    for output in outputs:
        for left in glob.glob(f"{glob.escape(output.final)}.*.part"):  # of a killed run
            if os.path.isdir(left):
                shutil.rmtree(left)
            else:
                Path(left).unlink(missing_ok=True)
    try:
        yield
        for output in outputs:
            if os.path.isdir(output) and os.path.isdir(output.final):  # os.replace keeps full folders
                shutil.rmtree(output.final)
            os.replace(output, output.final)
    except Exception as error:
        # check for a full disk before removing what filled it
        fault = None if isinstance(error, UserError) else _unwritable(outputs, error) or _damaged(inputs)
        for output in outputs:
            with suppress(OSError):
                if os.path.isdir(output):
                    shutil.rmtree(output)
                else:
                    os.truncate(output, 0)  # HDF5 may keep the file open, and the log needs its space
                    os.unlink(output)
        if fault is None:
            raise
        raise UserError(fault) from error


def _unwritable(outputs: Sequence[Output], error: Exception) -> str | None:
    """Why the outputs cannot be written, or None."""
    full = error.errno if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    for output in outputs:
        folder = Path(output).parent
        # if the library has removed what filled the disk, only its error shows it
        reason = full or _refusal(folder)
        if reason is not None:
            free = f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB free in {folder})" if folder.is_dir() else ""
            return f"{output.final}: cannot be written: {os.strerror(reason)}{free}; fix that and run again"
    return None


def _refusal(folder: Path) -> int | None:
    """Error number of writing a new file in a folder, or None."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE))
    except OSError as error:
        return error.errno
    return None


def _damaged(inputs: Sequence[str]) -> str | None:
    """Why the first unreadable input cannot be read, or None."""
    for name in inputs:
        for path in sorted(Path(name).rglob("*")) if os.path.isdir(name) else [Path(name)]:
            if path.suffix in CHECKS and path.is_file():
                try:
                    CHECKS[path.suffix](path)
                except Exception as error:
                    return f"{path}: is damaged ({error}); {remedy(path)}"
    return None


def remedy(path: str | Path) -> str:
    """What to do about a damaged input of a stage."""
    if made_here(path):
        return "delete it and run again: the workflow makes it again"
    return "get it again; if the workflow made it, delete it and run again"


def made_here(path: str | Path) -> bool:
    """Whether a file or Zarr store, perhaps damaged, names Galcarto near its begin or end: only such may be deleted."""
    path = Path(path, "zarr.json") if os.path.isdir(path) else Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        begin = file.read(PROBE)
        file.seek(-min(PROBE, path.stat().st_size), os.SEEK_END)
        return b"galcarto" in begin or b"galcarto" in file.read()


def check_zip(path: str | Path) -> None:
    """Verify the checksums of a file that torch wrote, which torch itself ignores.

    Raises
    ------
    zipfile.BadZipFile
        If the file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    if bad is not None:
        raise zipfile.BadZipFile(f"wrong checksum of {bad}")


def _check_netcdf(path: Path) -> None:
    import netCDF4  # imported late, here and below, as only failed stages need it

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
