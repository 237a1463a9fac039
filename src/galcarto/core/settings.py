"""Sections of settings: validation, error messages, and what a rule passes to its stage."""

import ast
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from galcarto.core.errors import UserError

PACKAGE = Path(__file__).parents[1]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is installed


class SettingsError(UserError):
    """Invalid settings; each line of the message begins with the path of a key."""


class Section(BaseModel):
    """A block of settings. It cannot be changed, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Section)


class Config(Section):
    """All settings of a config file."""

    def section_json(self, *names: str) -> str:
        """Return the named sections as compact JSON, in the given order.

        Raises
        ------
        SettingsError
            If there is no section of that name.
        """
        known = type(self).model_fields
        if unknown := [name for name in names if name not in known]:
            raise SettingsError(f"found {', '.join(unknown)}; expected a stage or sections of {', '.join(known)}")
        dumped = self.model_dump(mode="json", include=set(names))
        return json.dumps({name: dumped[name] for name in names}, separators=(",", ":"))

    def for_stage(self, stage: str) -> str:
        """Return the sections that a stage declares as compact JSON: the value of its option ``--settings``."""
        return self.section_json(*stage_sections(stage))


def increasing(value: tuple[float, float]) -> tuple[float, float]:
    """Validate a range; raises ValueError unless the lower end comes first."""
    if not value[0] < value[1]:
        raise ValueError(f"found {value[0]:g} to {value[1]:g}; expected the lower end first")
    return value


def load_yaml(path: str | Path) -> Any:
    """Read a YAML file, of which YAML itself would take the last of two equal keys.

    Raises
    ------
    SettingsError
        If the file is no YAML, or a key is there twice.
    """
    text = Path(path).read_bytes()
    try:
        tree, content = yaml.compose(text, Loader=LOADER), yaml.load(text, Loader=LOADER)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not a YAML file: {error}") from None
    faults = [
        f"{key}: found twice, in lines {first} and {second} of {path}; expected once; remove one"
        for key, first, second in _repeated(tree, "")
    ]
    if faults:
        raise SettingsError("\n".join(faults))
    return content


def _repeated(node: yaml.Node | None, place: str) -> Iterator[tuple[str, int, int]]:
    """Keys that a mapping has twice, here and below, and their lines."""
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _repeated(item, f"{place}{i}.")
    elif isinstance(node, yaml.MappingNode):
        lines: dict[Any, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                yield f"{place}{key.value}", lines[key.value], line
            elif isinstance(key, yaml.ScalarNode):
                lines[key.value] = line
            yield from _repeated(value, f"{place}{key.value}.")


def load(config: Mapping[str, Any] | str | Path, model: type[S]) -> S:
    """Read settings from a mapping or a YAML file.

    Parameters
    ----------
    config : mapping or path
    model : type
        The class that describes the settings.

    Raises
    ------
    SettingsError
        With one line for each invalid key, or if a key is there twice.
    """
    if not isinstance(config, Mapping):
        config = load_yaml(config)
    try:
        return model.model_validate(config)
    except ValidationError as error:
        raise SettingsError(_message(error)) from None


def read(text: str, model: type[S]) -> S:
    """Read the sections that a rule passed to its stage.

    Parameters
    ----------
    text : str
        JSON from `Config.section_json`.
    model : type
        The stage's class ``Settings``. The text must hold exactly its sections, so that a rule's
        parameters change only with the settings that its stage uses.

    Raises
    ------
    SettingsError
        If a section is missing, superfluous or invalid.
    """
    passed, expected = json.loads(text), model.model_fields
    if set(passed) != set(expected):
        raise SettingsError(f"--settings: found {', '.join(sorted(passed))}; expected {', '.join(sorted(expected))}")
    return load(passed, model)


def stage_sections(stage: str) -> list[str]:
    """Names of the sections that a stage declares in its class ``Settings``.

    They are read from the source, with those of its base classes: to import the stage would load libraries for seconds.
    """
    return _fields(PACKAGE / "stages" / f"{stage}.py", "Settings")


def _fields(path: Path, name: str) -> list[str]:
    """Annotated names of a class in a file, those of its bases first; none if the file has no such class."""
    for node in _body(path.read_bytes()):
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return _fields(PACKAGE.joinpath(*str(node.module).split(".")[1:]).with_suffix(".py"), name)
        if isinstance(node, ast.ClassDef) and node.name == name:
            bases = [field for base in node.bases if base.id != "BaseModel" for field in _fields(path, base.id)]  # type: ignore[attr-defined]
            return bases + [item.target.id for item in node.body if isinstance(item, ast.AnnAssign)]  # type: ignore[union-attr]
    return []


@cache
def _body(source: bytes) -> list[ast.stmt]:
    return ast.parse(source).body


def _message(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"])
        text = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            text = "unknown key; expected one of those in config/README.md"
        elif item["type"] == "missing":
            text = "missing; expected this key"
        elif not item["msg"].startswith("Value error"):
            text = f"found {item['input']!r}; {text}"
        lines.append(f"{path}: {text}" if path else text)
    return "\n".join(lines)
