"""Provenance, code digests, and random streams."""

import json
import re
import shutil
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from galcarto.core import provenance
from galcarto.core.seeds import generator


def test_inputs_of_the_same_name_are_kept_apart(tmp_path: Path) -> None:
    paths = []
    for folder in ("train", "valid"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "l284.nc")
        paths[-1].write_text(folder)
    found = json.loads(provenance.attributes("rule", Namespace(), paths)["galcarto_inputs_sha256"])
    assert set(found) == {"train/l284.nc", "valid/l284.nc"}
    assert found["train/l284.nc"] != found["valid/l284.nc"]


def test_the_digest_of_a_part_of_a_file_follows_its_values() -> None:
    def digest(**changes: object) -> str:
        values = {"counts": ("tile", [1, 2]), "survey": ("survey", np.array(["gaia"], object))} | changes
        part = {"sky/cmds.nc, strip 0000": xr.Dataset(values)}
        attributes = provenance.attributes("rule", Namespace(), [], part)
        return json.loads(attributes["galcarto_inputs_sha256"])["sky/cmds.nc, strip 0000"]

    assert digest() == digest()
    others = {digest(counts=("tile", [1, 3])), digest(survey=("survey", np.array(["2mass"], object)))}
    assert len(others | {digest()}) == 3


def test_attributes_hold_no_path_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_text("x")
    text = json.dumps(
        provenance.attributes("rule", Namespace(settings='{"dust": {"law": "G23"}}'), [tmp_path / "a.nc", None])
    )
    assert str(tmp_path) not in text
    assert "G23" in text


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package: a stage imports a module that imports another."""
    for folder in ("stages", "diagrams", "maps"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / "__init__.py").write_text("def f():\n    from galcarto.maps.reader import open_cube\n")
    (tmp_path / "units.py").write_text("")
    (tmp_path / "seeds.py").write_text("")
    (tmp_path / "maps/reader.py").write_text("")
    (tmp_path / "diagrams/kernel.py").write_text("from galcarto import units\n")
    (tmp_path / "stages/render.py").write_text("import numpy\n\ndef run():\n    from galcarto.diagrams import kernel\n")
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    provenance.code_digest.cache_clear()
    yield tmp_path
    provenance.code_digest.cache_clear()


@pytest.mark.parametrize(
    ("module", "changes"),
    [
        ("stages/render.py", True),
        ("diagrams/kernel.py", True),
        ("diagrams/__init__.py", True),
        ("units.py", True),
        ("seeds.py", False),
        ("maps/reader.py", False),
    ],
)
def test_a_digest_follows_imports_and_nothing_else(package: Path, module: str, changes: bool) -> None:
    before = provenance.code_digest("render")
    provenance.code_digest.cache_clear()
    assert provenance.code_digest("render") == before
    (package / module).write_text((package / module).read_text() + "\n# edited\n")
    provenance.code_digest.cache_clear()
    assert (provenance.code_digest("render") != before) == changes


@pytest.mark.parametrize(
    ("section", "stages"),
    [
        ("surveys/settings.py Catalogues", {"schema", "settings"}),
        ("maps/settings.py FaceOn", {"schema", "settings", "project_faceon"}),
        ("dustmap/compare/settings.py Limit", {"compare_limit", "compare_planck"}),
        ("learning/settings.py Training", {"train_network", "ablate", "assemble_cube"}),
    ],
)
def test_a_new_key_of_a_section_concerns_only_the_stages_that_use_it(
    section: str, stages: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = shutil.copytree(provenance.PACKAGE, tmp_path / "galcarto", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", package)

    demo = {"train_network", "observe_synthetic", "draw_profiles", "render_cmds", "infer_sightlines", "assemble_cube"}

    def digests() -> dict[str, str]:
        provenance.code_digest.cache_clear()
        return {stage: provenance.code_digest(stage) for stage in stages | demo}

    before = digests()
    name, model = section.split()
    path = package / name
    path.write_text(re.sub(rf"(class {model}\(Section\):\n    .*\n)", r"\1\n    added: int = 1\n", path.read_text()))
    changed = {stage for stage, digest in digests().items() if digest != before[stage]}
    provenance.code_digest.cache_clear()
    assert changed == stages


@pytest.mark.parametrize("kind", ["html.j2", "css", "js"])
def test_templates_are_part_of_the_digest_of_a_stage(package: Path, kind: str) -> None:
    before = provenance.code_digest("render")
    (package / f"stages/render.{kind}").write_text("<p>")
    provenance.code_digest.cache_clear()
    assert provenance.code_digest("render") != before


def test_streams_are_reproducible_and_independent() -> None:
    one = generator(1, "render", "train").random(1000)
    np.testing.assert_array_equal(one, generator(1, "render", "train").random(1000))
    for other in (generator(2, "render", "train"), generator(1, "render", "valid"), generator(1, "train", "render")):
        assert abs(np.corrcoef(one, other.random(1000))[0, 1]) < 0.15
