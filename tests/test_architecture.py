"""Data flows one way: which rooms of the package may import which."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import galcarto

PACKAGE = Path(galcarto.__file__).parent
GROUND = {"core", "learning", "galaxy", "dust", "surveys", "maps"}
# a room, and the rooms it may import besides core and its own
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "learning": set(),
    "galaxy": set(),
    "dust": set(),
    "surveys": set(),
    "surveys/measure": {"galaxy", "dust", "surveys"},
    "maps": {"dust"},
    "dustmap": GROUND,
    "labels": GROUND,
    "metallicity": GROUND | {"labels"},
    "spectra": GROUND | {"labels"},
    "absorbers": {"learning", "spectra"},
    "figures": {"galaxy"},
    "pages": {"maps", "surveys"},
    "stages": GROUND
    | {"surveys/measure", "labels", "metallicity", "spectra", "absorbers", "dustmap", "figures", "pages"},
}


def room(path: Path) -> str | None:
    """The room of a module; none for the package's own files."""
    folders = path.relative_to(PACKAGE).parts[:-1]
    return next(("/".join(folders[:n]) for n in (2, 1) if "/".join(folders[:n]) in ALLOWED), None) if folders else None


def imported(path: Path) -> Iterator[Path]:
    """Modules of the package that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("galcarto."):
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                target = PACKAGE.joinpath(*name.split(".")[1:])
                yield from (part for part in (target.with_suffix(".py"), target / "__init__.py") if part.is_file())


def test_rooms_import_only_what_lies_below_them() -> None:
    seen = set()
    for path in PACKAGE.rglob("*.py"):
        own = room(path)
        if own is None:
            continue
        seen.add(own)
        for target in imported(path):
            other = room(target)
            assert other in {None, "core", own} | ALLOWED[own], f"{path}: imports {target}"
    assert seen == set(ALLOWED)


def test_folders_import_each_other_in_no_circle() -> None:
    graph: dict[Path, set[Path]] = {}
    for path in PACKAGE.rglob("*.py"):
        if path.parent != PACKAGE:
            targets = {target.parent for target in imported(path)} - {path.parent, PACKAGE}
            graph[path.parent] = graph.get(path.parent, set()) | targets
    TopologicalSorter(graph).prepare()  # raises CycleError
