"""What the site makes of the repository: its README and other files as pages, the commands, and the API's pages."""

import ast
import posixpath
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/galcarto"
PAGES = {"README.md": "index.md", "config/README.md": "settings.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")


def _source(uri: str) -> str:
    """The repository's file behind a page."""
    return next((path for path, page in PAGES.items() if page == uri), f"docs/{uri}")


def _target(link: str, source: str) -> str:
    """Where the site has the file of the repository that a link in `source` leads to."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return PAGES.get(path, path.removeprefix("docs/"))


def _commands() -> str:
    """A page of every command: what it does, and an example."""
    parts = ["# Commands\n\nEach is one rule of the workflow; `galcarto COMMAND --help` lists its options.\n"]
    for path in sorted((PACKAGE / "stages").glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if text:
            summary, _, rest = text.partition("\n\n")
            body, _, example = rest.partition("Example:\n")
            summary = " ".join(summary.split())
            parts.append(f"## {path.stem}\n\n{summary}\n\n{body}\n\n```bash\n{dedent(example)}\n```\n")
    return "\n".join(parts)


def _api(folder: Path) -> str:
    """A page of every public module of a package, those of its folders too."""
    paths = (path for path in sorted(folder.rglob("*.py")) if not path.stem.startswith("_"))
    names = (".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths)
    return "\n\n".join([f"# galcarto.{folder.name}", *(f"::: {name}" for name in names)])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in docs/: pages made of other files, and files that pages link to."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    files.append(File.generated(config, "commands.md", content=_commands()))
    for folder in sorted(path.parent for path in PACKAGE.glob("*/__init__.py") if path.parent.name != "stages"):
        files.append(File.generated(config, f"api/{folder.name}.md", content=_api(folder)))
    for page in list(files.documentation_pages()):
        source = _source(page.src_uri)
        for link in LINK.findall(page.content_string):
            target = _target(link, source)
            if (ROOT / target).is_file() and files.get_file_from_path(target) is None:
                files.append(File.generated(config, target, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between the repository's files into links between the site's."""
    source, here = _source(page.file.src_uri), posixpath.dirname(page.file.src_uri) or "."
    return LINK.sub(lambda link: posixpath.relpath(_target(link[1], source), here), markdown)
