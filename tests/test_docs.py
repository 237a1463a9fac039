"""Consistency of documentation and code: settings, schema, pins, version."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import galcarto
from galcarto.dustmap.settings import Settings, schema

ROOT = Path(__file__).parents[1]
REQUIRED = "required"
Keys = dict[str, FieldInfo]


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models in an annotation: the annotation itself, or the members of a list or a union."""
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            yield annotation
    else:
        for part in get_args(annotation):
            yield from models(part)


def walk(model: type[BaseModel], prefix: str = "") -> tuple[set[str], Keys]:
    """Sections of a model and its nested models, and their keys with fields."""
    sections: set[str] = set()
    keys: Keys = {}
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        inner = list(models(field.annotation))
        # a section, possibly optional
        if inner and (inner[0] is field.annotation or type(None) in get_args(field.annotation)):
            sections.add(path)
        else:
            keys[path] = field
            path += "[]"
        for one in inner:
            more_sections, more_keys = walk(one, f"{path}.")
            sections |= more_sections
            keys |= more_keys
    return sections, keys


def pins(lines: list[str]) -> dict[str, str]:
    """Versions of ``name==version`` lines by normalised name."""
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", name).lower(): version.strip() for name, version in pairs}


SECTIONS, KEYS = walk(Settings)
TEXT = (ROOT / "config/README.md").read_text()
# | `key` | unit | default | meaning |
ROWS = {
    cells[1].strip("` "): cells[3].strip("` ")
    for line in TEXT.splitlines()
    if line.startswith("| `") and len(cells := line.split("|")) == 6
}


def test_walk_finds_every_kind_of_key():
    assert {"sky", "synthetic", "examples", "profiles.clouds", "surveys[].colour", "control"} <= SECTIONS
    assert {"seed", "sky.l", "synthetic.local_density", "surveys[].limits", "surveys[].colour.range"} <= set(KEYS)
    assert {"sky.files", "sky.files[].path", "compare.planck[].name", "sightlines.train[].l", "control.l"} <= set(KEYS)


def test_every_section_and_key_is_documented():
    missing = sorted(path for path in SECTIONS | set(KEYS) if f"`{path}`" not in TEXT)
    assert not missing, f"config/README.md lacks {missing}"
    assert set(KEYS) == set(ROWS), "rows of config/README.md and keys of the settings differ"


@pytest.mark.parametrize("path", sorted(KEYS))
def test_documented_default_is_the_default(path):
    field = KEYS[path]
    if field.is_required():
        assert ROWS[path] == REQUIRED
        return
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    found = yaml.safe_load(ROWS[path])
    assert found == (pytest.approx(default, rel=1e-3) if isinstance(default, float) else default)


def test_schema_file_is_current():
    found = json.loads((ROOT / "config/schema.json").read_text())
    assert found == schema(), "config/schema.json is stale: galcarto schema > config/schema.json"


def test_environment_pins_the_direct_dependencies_at_the_constraints():
    constraints = pins((ROOT / "constraints.txt").read_text().splitlines())
    listed = yaml.safe_load((ROOT / "envs/galcarto.yaml").read_text())["dependencies"]
    environment = pins(next(part["pip"] for part in listed if isinstance(part, dict)))
    assert environment == {name: constraints.get(name) for name in environment}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {re.sub(r"[-_.]+", "-", name).lower() for name in project["dependencies"]}
    assert set(environment) == direct


def test_citation_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == galcarto.__version__
