"""Consistency of documentation and code: settings, schema, pins, version."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import galcarto
from galcarto.dustmap.settings import schema
from galcarto.stages.schema import tables

ROOT = Path(__file__).parents[1]


def pins(lines: list[str]) -> dict[str, str]:
    """Versions of ``name==version`` lines by normalised name."""
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", name).lower(): version.strip() for name, version in pairs}


@pytest.mark.parametrize(
    ("task", "path"),
    [
        ("region", "config/README.md"),
        ("metallicity", "docs/metallicity.md"),
        ("spectra", "docs/spectra.md"),
        ("absorbers", "docs/absorbers.md"),
    ],
)
def test_tables_of_settings_are_current(task, path):
    page = (ROOT / path).read_text()
    assert tables(page, task) == page, f"{path} is stale: galcarto schema --task {task} --tables {path}"
    assert "| None |" not in page, "a key without a description"


def test_schema_file_is_current():
    found = json.loads((ROOT / "config/schema.json").read_text())
    assert found == schema(), "config/schema.json is stale: galcarto schema > config/schema.json"


def test_environment_pins_the_direct_dependencies_at_the_constraints():
    constraints = pins((ROOT / "constraints.txt").read_text().splitlines())
    listed = yaml.safe_load((ROOT / "envs/galcarto.yaml").read_text())["dependencies"]
    environment = pins(next(part["pip"] for part in listed if isinstance(part, dict)))
    assert environment == {name: constraints.get(name) for name in environment}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    direct = {re.sub(r"[-_.]+", "-", name).lower() for name in project["dependencies"] + extras["pipeline"]}
    assert set(environment) == direct


def test_citation_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == galcarto.__version__
