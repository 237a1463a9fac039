"""Documentation site: it builds without warnings or remote assets, and the code on its pages runs.

A code block that cannot run in a test is marked by a comment above it, with the reason:

    <!-- not run: installs packages -->
    <!-- dry run -->                        snakemake and make only plan
    <!-- for config/orion.yaml -->          settings in place of this file's sections of that name

A block with a title and the language diff edits that file: lines with - are replaced by those with +. The guides to new
surveys and networks, which edit the package, are followed in a copy.

A YAML block with a title is written to the file of that name; any other is part of a region's settings.
"""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import markdown
import pytest
import yaml
from forked import start
from test_workflow import copy_project

from galcarto.dustmap.settings import read_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "config/README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>.+?) -->\n)?```(?P<language>\w*)(?: title=\"(?P<title>.+?)\")?\n(?P<code>.*?)^```$", re.M | re.S
)
# guides that edit the package, and the tests of what they add
GUIDES = {
    ROOT / "docs/new_survey.md": "tests/test_surveys.py",
    ROOT / "docs/new_network.md": "tests/test_inference.py -k 'docs or networks_give'",
}
# number of blocks per page that do not run; 0 for all others
NOT_RUN = {
    "README.md": 5,
    "docs/absorbers.md": 1,
    "docs/cluster.md": 2,
    "docs/metallicity.md": 4,
    "docs/real_data.md": 2,
    "docs/spectra.md": 5,
    "docs/tutorial.md": 1,
}


class Block(NamedTuple):
    """A fenced block of a page."""

    mark: str
    language: str
    title: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(*(part or "" for part in found.groups()), text.count("\n", 0, found.start("code")) + 1)
        for found in BLOCK.finditer(text)
    ]


def runs(block: Block) -> bool:
    return not block.mark.startswith("not run: ") and block.language != "text"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_code_block_has_a_language_and_most_run(page: Path) -> None:
    text, found = page.read_text(), blocks(page)
    assert len(re.findall("^ *```", text, re.M)) == 2 * len(found), "a code fence that BLOCK does not match"
    assert {block.language for block in found} <= {"bash", "diff", "python", "text", "yaml"}
    marks = {block.mark.partition(":")[0] for block in found if not block.mark.startswith("for config/")}
    assert marks <= {"", "dry run", "not run"}
    rest = markdown.markdown(BLOCK.sub("", text), extensions=["tables"])
    assert "<pre>" not in rest, "indented code: fence it, so that it is tested"
    assert sum(not runs(block) for block in found) == NOT_RUN.get(page.relative_to(ROOT).as_posix(), 0)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_point_to_files_of_the_repository(page: Path) -> None:
    """As on a code host; the site's own links are checked when it is built."""
    for link in re.findall(r"\]\((?![a-z]+:|#)([^)\s#]+)", page.read_text()):
        assert (page.parent / link).exists(), link


def replace(path: Path, lines: str) -> None:
    """Replace the lines with - or a space before them, which must be there once, by those with + or a space."""
    before, after = (
        "".join(line[1:] for line in lines.splitlines(keepends=True) if line[0] in marks) for marks in ("- ", "+ ")
    )
    # a line of a wide table may be cut behind a cell
    before, after = (part.rstrip("\n") if path.suffix == ".md" else part for part in (before, after))
    text = path.read_text()
    assert text.count(before) == 1, f"{path}: found {text.count(before)} times, expected once:\n{before}"
    path.write_text(text.replace(before, after))


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_is_followed_in_a_copy(page: Path, tmp_path: Path) -> None:
    """As a reader would: files written, edited, the schema made again; then what was added is used and tested."""
    project = copy_project(tmp_path / "galcarto", edited=True)
    shutil.copytree(ROOT / "tests", project / "tests", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for part in ("README.md", "docs", "pyproject.toml", "constraints.txt", "CHANGELOG.md", "CITATION.cff"):
        (project / part).symlink_to(ROOT / part)
    script = ""
    for block in filter(runs, blocks(page)):
        if block.language == "diff":
            replace(project / block.title, block.code)
        elif block.title:
            (project / block.title).write_text(block.code)
        elif block.language == "bash":
            shell(block.code, project, block.mark == "dry run", forked=False)
        elif block.language == "python":
            script += block.code
    (project / "tried.py").write_text(script)
    shell("python tried.py", project, forked=False)
    config = yaml.safe_load((project / "config/config.yaml").read_text())
    for block in blocks(page):
        if block.language == "yaml" and not block.title:
            config |= yaml.safe_load(block.code)
    (project / "tried.yaml").write_text(yaml.safe_dump(config))
    shell("galcarto settings tried.yaml network surveys", project, forked=False)
    shell(f"python -m pytest -q -p no:cacheprovider tests/test_docs.py {GUIDES[page]}", project, forked=False)


def test_every_config_of_real_stars_has_its_archive_on_the_page() -> None:
    """A stranger has none of the files that the configs name."""
    archives = {
        block.mark.removeprefix("for "): yaml.safe_load(block.code)["sky"]
        for block in blocks(ROOT / "docs/real_data.md")
        if block.language == "yaml" and "archives:" in block.code
    }
    real = {
        path.relative_to(ROOT).as_posix(): config["sky"]
        for path in (ROOT / "config").glob("*.yaml")
        if (config := yaml.safe_load(path.read_text())).get("sky", {}).get("source") == "files"
    }
    assert set(archives) == set(real)
    for name, sky in real.items():
        assert (archives[name]["l"], archives[name]["b"]) == (sky["l"], sky["b"]), name


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A clone as after 'make demo', with the tiny region's map in place of the demo's."""
    clone = tmp_path_factory.mktemp("reader") / "galcarto"
    clone.mkdir()
    for part in ("Snakefile", "Makefile", "pyproject.toml", "constraints.txt", "rules", "src", "envs", "slurm", "docs"):
        (clone / part).symlink_to(ROOT / part)  # not copied, to use numba's cache
    shutil.copytree(ROOT / "config", clone / "config")
    shutil.copytree(finished / "results/tiny", clone / "results/demo")
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/activate").touch()  # the tests' environment is used instead
    return clone


def shell(code: str, project: Path, dry: bool = False, forked: bool = True) -> None:
    """Run a block of shell commands in the clone; with `dry`, snakemake and make only plan.

    Snakemake and stages are forks, unless the clone's sources are its own.
    """
    plan = "-n" if dry else ""
    functions = f'snakemake() {{ python -m snakemake {plan} "$@"; }}; galcarto() {{ python -m galcarto "$@"; }}\n'
    functions += f'make() {{ command make {plan} "$@"; }}\n'
    first = [str(start())] if forked else []
    path = os.pathsep.join([*first, str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(project / "src"), "CDPATH": str(project.parent)}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", functions + code],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
    )
    assert ran.returncode == 0, ran.stdout


def setting(block: Block, project: Path) -> None:
    """Validate settings: a titled file, which is also written, sections of a config, or a part of the demo's."""
    given: dict[str, Any] = yaml.safe_load(block.code)
    if block.title:
        (project / block.title).write_text(block.code)
        read_settings(given)
    elif block.mark:
        read_settings(yaml.safe_load((ROOT / block.mark.removeprefix("for ")).read_text()) | given)
    else:
        demo = yaml.safe_load((ROOT / "config/config.yaml").read_text())
        for name, section in given.items():
            both = isinstance(section, dict) and isinstance(demo.get(name), dict)
            demo[name] = {**demo[name], **section} if both else section
        read_settings(demo)


@pytest.mark.filterwarnings("default", "ignore:unclosed file .*mwdust:ResourceWarning")  # of missing maps; mwdust's own
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in GUIDES], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_the_code_of_a_page_runs(page: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    todo = [block for block in blocks(page) if runs(block)]
    if not todo:
        return  # without making the map
    project = request.getfixturevalue("project")
    monkeypatch.chdir(project)
    monkeypatch.setenv("DUST_DIR", str(project.parent))  # else mwdust makes a folder in the home directory
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in todo:
        where = f"{page.relative_to(ROOT)}, line {block.line}"
        if block.language == "yaml":
            setting(block, project)
        elif block.language == "bash":
            shell(block.code, project, block.mark == "dry run")
        elif block.title:
            (project / block.title).write_text(block.code)  # a script that another block runs
        else:
            exec(compile("\n" * (block.line - 1) + block.code, where, "exec"), names)


class Assets(HTMLParser):
    """Addresses that a browser fetches for a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.found.append(given.get("src") or "")
        elif tag == "link" and given.get("rel") != "canonical":
            self.found.append(given.get("href") or "")


def test_the_site_builds_without_warnings_or_remote_assets(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    pages = sorted(path for path in tmp_path.rglob("*.html"))
    assert {"index.html", "tutorial.html", "settings.html", "api/maps.html"} <= {
        path.relative_to(tmp_path).as_posix() for path in pages
    }
    for page in pages:
        for address in Assets(page.read_text()).found:
            assert "//" not in address, f"{page.name} fetches {address}"
            assert not address or (page.parent / address.partition("?")[0]).is_file() or page.name == "404.html"
    assert not any(re.search(r"url\((?:https?:)?//", path.read_text()) for path in tmp_path.rglob("*.css"))
    assert "Gaussian radius (kpc)" in (tmp_path / "api/dust.html").read_text()  # from the comment at a field
    maps = (tmp_path / "api/maps.html").read_text()
    assert 'id="galcarto.maps.reader.open_cube"' in maps
