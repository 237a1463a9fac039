"""The tables of keys in config/README.md, made from the models of the settings."""

import re
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from galcarto.core.errors import UserError
from galcarto.core.settings import Section
from galcarto.core.units import Degree, Frame, Kiloparsec, Magnitude, Milliarcsecond, Second
from galcarto.dustmap.settings import Settings

HEAD = "| Key | Unit | Default | Meaning |\n|---|---|---|---|\n"
TABLE = re.compile(r"(?<=<!--keys of )(\S+)(-->\n\n)(?:\|.*\n)*")
ROOT = "region"  # the table of the keys that are in no section
KINDS: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "`true` or `false`", Frame: "frame"}
KINDS |= {Kiloparsec: "length", Degree: "angle", Magnitude: "magnitude", Milliarcsecond: "parallax", Second: "time"}
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def fill(page: str) -> str:
    """A page in which each table after a comment ``<!--keys of SECTION-->`` is made again.

    Raises
    ------
    UserError
        Unless each section has one table.
    """
    tables: dict[str, str] = {}
    for table, row in _rows(Settings, ROOT, "", set()):
        tables[table] = tables.get(table, HEAD) + row
    found = [match[1] for match in TABLE.finditer(page)]
    if sorted(found) != sorted(tables):
        raise UserError(f"found tables for {', '.join(found)}; expected one for each of {', '.join(tables)}")
    return TABLE.sub(lambda match: match[1] + match[2] + tables[match[1]], page)


def _rows(model: type[Section], table: str, prefix: str, listed: set[Any]) -> Iterator[tuple[str, str]]:
    """Rows of a section's keys, each after the name of its table: a section's own, or that of the list it is in."""
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        hint, path = hints[name], prefix + name
        parts = (part for part in (hint, *get_args(hint)) if isinstance(part, type) and issubclass(part, Section))
        inner = next(parts, None)
        if inner and get_origin(hint) is not list:
            yield from _rows(inner, path, f"{path}.", listed)
            continue
        own = path if inner and model is Settings else table
        yield own, f"| `{path}` | {_kind(hint)}{_bounds(field)} | `{_default(field)}` | {field.description} |\n"
        if inner and inner not in listed:  # else the entries are described at another list
            listed.add(inner)
            yield from _rows(inner, own, f"{path}[].", listed)


def _kind(hint: Any) -> str:
    """What a value is, in words."""
    if hint in KINDS:
        return KINDS[hint]
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):  # or null
        return _kind(parts[0])
    if origin is Literal:
        *others, last = [f"`{part}`" for part in parts]
        return f"{', '.join(others)} or {last}"
    if origin is tuple:
        return f"[{', '.join(map(_kind, parts))}]"
    return {list: "list", dict: "mapping"}[origin]


def _bounds(field: FieldInfo) -> str:
    found = [
        f" {sign} {getattr(one, key):g}" for one in field.metadata for key, sign in BOUNDS.items() if hasattr(one, key)
    ]
    return ",".join(found)


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else _written(field.default)


def _written(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
