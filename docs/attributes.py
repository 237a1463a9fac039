"""API pages: the comment at a field of a class, or above a group of fields, is its description."""

from typing import Any

import griffe


class Comments(griffe.Extension):
    """Take comments as docstrings of attributes that have none."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Describe one attribute."""
        if attr.docstring is None and attr.parent and attr.parent.is_class and attr.lineno and attr.annotation:
            attr.docstring = griffe.Docstring(
                comment(attr.lines_collection[attr.filepath], attr.lineno - 1), parent=attr
            )


def comment(lines: list[str], at: int) -> str:
    """The comment on a line, else the one above it and the fields before it that have none of their own."""
    if "  # " in lines[at]:
        return lines[at].partition("  # ")[2]
    above: list[str] = []
    while ": " in lines[at] and "#" not in lines[at]:
        at -= 1
    while lines[at].startswith("    # "):
        above.insert(0, lines[at].strip().removeprefix("# "))
        at -= 1
    return " ".join(above)
