"""Provenance, code digests, and random streams."""

import ast
import json
import os
import re
import shutil
import subprocess
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from galcarto.__main__ import STAGES
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


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def unpacked(folder: Path) -> Path:
    """The product's folder, as from a tarball."""
    (folder / "src/galcarto").mkdir(parents=True)
    (folder / "src/galcarto/__init__.py").write_text("")
    return folder


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """The commit that a package in a folder names; git reads no settings of the machine."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))

    def named(folder: Path) -> str:
        monkeypatch.setattr(provenance, "PACKAGE", folder / "src/galcarto")
        return provenance.git_commit.__wrapped__()

    return named


def test_a_checkout_names_its_commit(tmp_path: Path, commit, monkeypatch: pytest.MonkeyPatch) -> None:
    root = unpacked(tmp_path / "galcarto")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    head = git(root, "rev-parse", "HEAD")
    assert commit(root) == head
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))  # as in a hook of another repository
    assert commit(root) == head
    (root / "src/galcarto/__init__.py").write_text("x = 1")
    assert commit(root) == f"{head}-dirty"


@pytest.mark.parametrize("place", ["g", "vendor/g", ".venv/lib/python3.11/site-packages"])
@pytest.mark.parametrize("added", [False, True])
def test_another_repository_s_commit_is_not_ours(tmp_path: Path, commit, caplog, place: str, added: bool) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "commit", "-qm", "mine", "--allow-empty")
    root = unpacked(outer / place)
    if added:
        git(outer, "add", "-f", ".")
        git(outer, "commit", "-qm", "and a tool")
    assert commit(root) == "unknown"
    assert not caplog.records


def test_files_that_a_repository_does_not_track_have_no_commit(tmp_path: Path, commit) -> None:
    """A tarball unpacked at the top of another repository."""
    git(tmp_path, "init", "-q", "outer")
    git(tmp_path / "outer", "commit", "-qm", "mine", "--allow-empty")
    assert commit(unpacked(tmp_path / "outer")) == "unknown"


def test_without_a_repository_there_is_no_commit(tmp_path: Path, commit, caplog) -> None:
    assert commit(unpacked(tmp_path / "g")) == "unknown"
    assert not caplog.records


def test_a_clone_that_git_distrusts_says_so(tmp_path: Path, commit, caplog, monkeypatch: pytest.MonkeyPatch) -> None:
    root = unpacked(tmp_path / "galcarto")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert commit(root) == "unknown"
    assert "git says 'fatal: detected dubious ownership" in caplog.text
    assert f"run: git config --global --add safe.directory {root}" in caplog.text


def forget() -> None:
    """The sources are read once in a process; here they are edited."""
    for cached in (provenance.code_digest, provenance._read, provenance._definitions, provenance._modules):
        cached.cache_clear()


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
    forget()
    yield tmp_path
    forget()


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
    forget()
    assert provenance.code_digest("render") == before
    (package / module).write_text((package / module).read_text() + "\n# edited\n")
    forget()
    assert (provenance.code_digest("render") != before) == changes


def test_imports_found_in_the_text_are_those_that_python_sees() -> None:
    for path in provenance.PACKAGE.rglob("*.py"):
        expected = set()
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("galcarto"):
                expected |= {(one.asname or one.name, node.module, one.name) for one in node.names}
            elif isinstance(node, ast.Import):
                assert not any(one.name.startswith("galcarto.") for one in node.names), path
        expected = {one for one in expected if one[1] != "galcarto"}
        assert {one for one in provenance._imports(path.read_bytes()) if one[2]} == expected, path


DEMO = {
    "train_network",
    "observe_synthetic",
    "draw_profiles",
    "render_cmds",
    "infer_sightlines",
    "assemble_cube",
    "plot_cmds",
}


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Callable[[str], str]], set]]:
    """Stages whose digest is another after a file of a copy of the package was edited."""
    package = shutil.copytree(provenance.PACKAGE, tmp_path / "galcarto", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", package)

    def digests() -> dict[str, str]:
        forget()
        return {stage: provenance.code_digest(stage) for stage in STAGES}

    def edit(name: str, change: Callable[[str], str]) -> set[str]:
        before, path = digests(), package / name
        path.write_text(change(path.read_text()))
        return {stage for stage, digest in digests().items() if digest != before[stage]}

    yield edit
    forget()


@pytest.mark.parametrize(
    ("section", "stages"),
    [
        ("surveys/settings.py Catalogues", {"schema", "settings"}),
        ("maps/settings.py FaceOn", {"schema", "settings", "project_faceon"}),
        ("dustmap/settings.py Limit", {"compare_limit", "compare_planck"}),
        ("learning/settings.py Training", {"train_network", "ablate", "assemble_cube"}),
    ],
)
def test_a_new_key_of_a_section_concerns_only_the_stages_that_use_it(section: str, stages: set[str], changed) -> None:
    name, model = section.split()
    found = changed(
        name, lambda text: re.sub(rf"(class {model}\(Section\):\n    .*\n)", r"\1\n    added: int = 1\n", text)
    )
    assert found & (stages | DEMO) == stages


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("stages/plot_faceon.py", {"plot_faceon"}),
        ("maps/faceon.py", {"project_faceon"}),
        ("pages/report.html.j2", {"report"}),
        ("pages/explorer.js", {"explorer"}),
        ("figures/training.py", {"plot_training"}),
        ("maps/reader.py", {"project_faceon", "compare_truth", "compare_planck", "report"}),
        ("dustmap/compare/planck.py", {"compare_planck"}),
    ],
)
def test_an_edited_module_concerns_only_the_stages_that_use_it(module: str, stages: set[str], changed) -> None:
    found = changed(module, lambda text: text + "\n")
    assert stages <= found
    assert not found & DEMO


@pytest.mark.parametrize("kind", ["html.j2", "css", "js"])
def test_templates_are_part_of_the_digest_of_a_stage(package: Path, kind: str) -> None:
    before = provenance.code_digest("render")
    (package / f"stages/render.{kind}").write_text("<p>")
    forget()
    assert provenance.code_digest("render") != before


def test_streams_are_reproducible_and_independent() -> None:
    one = generator(1, "render", "train").random(1000)
    np.testing.assert_array_equal(one, generator(1, "render", "train").random(1000))
    for other in (generator(2, "render", "train"), generator(1, "render", "valid"), generator(1, "train", "render")):
        assert abs(np.corrcoef(one, other.random(1000))[0, 1]) < 0.15
