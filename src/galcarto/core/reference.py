"""Tables of the keys of a config file for a page, made from the models of the settings."""

import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from galcarto.core.errors import UserError
from galcarto.core.settings import Config, Section
from galcarto.core.units import Degree, Frame, Kiloparsec, Magnitude, Milliarcsecond, Second

HEAD = "| Key | Unit | Default | Meaning |\n|---|---|---|---|\n"
TABLE = re.compile(r"(?<=<!--keys of )(\S+)(-->\n\n)(?:\|.*\n)*")
ROOT = "region"  # the table of the keys that are in no section
ALL = "everything"  # the one table of a page that is not divided
KINDS: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "`true` or `false`", Frame: "frame"}
KINDS |= {Kiloparsec: "length", Degree: "angle", Magnitude: "magnitude", Milliarcsecond: "parallax", Second: "time"}
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def fill(page: str, model: type[Config], elsewhere: frozenset[type[Section]] = frozenset()) -> str:
    """A page in which each table after a comment ``<!--keys of SECTION-->`` is made again.

    Parameters
    ----------
    page : str
        With a table for each section, or one for `ALL`.
    model : type
        All settings of the config file.
    elsewhere : frozenset of type
        Sections whose keys another page describes.

    Raises
    ------
    UserError
        Unless each section has one table.
    """
    tables: dict[str, str] = {}
    for table, row in _rows(model, ROOT, "", set(), elsewhere, None):
        tables[table] = tables.get(table, HEAD) + row
    found = [match[1] for match in TABLE.finditer(page)]
    if found == [ALL]:
        tables = {ALL: HEAD + "".join(table.removeprefix(HEAD) for table in tables.values())}
    if sorted(found) != sorted(tables):
        raise UserError(f"found tables for {', '.join(found)}; expected one for each of {', '.join(tables)}")
    return TABLE.sub(lambda match: match[1] + match[2] + tables[match[1]], page)


def _rows(
    model: type[Section],
    table: str,
    prefix: str,
    listed: set[Any],
    elsewhere: frozenset[type[Section]],
    default: BaseModel | None,
) -> Iterator[tuple[str, str]]:
    """Rows of a section's keys, each after the name of its table: a section's own, or that of the list it is in."""
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        hint, path = hints[name], prefix + name
        if get_origin(hint) is Annotated and hint not in KINDS:
            hint = get_args(hint)[0]
        parts = (part for part in (hint, *get_args(hint)) if isinstance(part, type) and issubclass(part, Section))
        inner = next(parts, None)
        given = default is not None and name in default.model_fields_set
        value = getattr(default, name) if given else field.default
        many = get_origin(hint) in (list, dict)
        if inner in elsewhere:
            yield table, f"| `{path}` | mapping | | as in a region's settings |\n"
        elif inner and not many:
            start = value if isinstance(value, BaseModel) else None
            yield from _rows(inner, path, f"{path}.", listed, elsewhere, start)
        else:
            own = path if inner and not prefix else table
            written = "required" if field.is_required() and not given else _written(value)
            kind = _kind(hint) + _bounds(field)
            meaning = str(field.description).replace("|", "\\|")
            yield own, f"| `{path}` | {kind} | `{written}` | {meaning} |\n"
            if inner and inner not in listed:  # else the entries are described at another list
                listed.add(inner)
                entry = "[]" if get_origin(hint) is list else ".NAME"
                yield from _rows(inner, own, f"{path}{entry}.", listed, elsewhere, None)


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


def _written(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_written(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
