"""Command line: ``python -m galcarto STAGE --option ...``, the command behind every rule."""

import argparse
import ast
import importlib
import logging
import sys
import textwrap
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from galcarto import __version__
from galcarto.core.errors import UserError
from galcarto.core.files import Output, whole

START = time.time()
FOLDER = Path(__file__).parent / "stages"
STAGES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
# what a user calls by hand; the help lists these first
COMMANDS = ("query", "predict_labels", "explain_labels", "check_cube", "settings", "schema", "explorer", "report")


def _summary(stage: str) -> str:
    """First line of a stage's docstring. The stage is not imported, as the libraries of all take seconds to load."""
    text = ast.get_docstring(ast.parse((FOLDER / f"{stage}.py").read_text(encoding="utf-8"))) or stage
    return text.partition("\n")[0]


def _list(stages: Sequence[str]) -> str:
    """One line for each stage, wrapped."""
    width = 2 + max(len(stage) for stage in STAGES)
    lines = []
    for stage in stages:
        start = f"  {stage.replace('_', '-'):<{width}}"
        lines.append(textwrap.fill(start + _summary(stage), 100, subsequent_indent=" " * len(start)))
    return "\n".join(lines)


def _parser(stage: str | None, helping: bool = False) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="galcarto",
        usage="galcarto [-h] [--version] STAGE ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Map the Milky Way's dust in three dimensions from star counts alone.\n\n"
        f"commands:\n{_list(COMMANDS)}\n\n"
        f"stages of the workflow:\n{_list([name for name in STAGES if name not in COMMANDS])}",
        epilog="'galcarto STAGE --help' shows a stage's options and an example. Its name may be written with\n"
        "underscores, as in the rules. The workflow passes settings as JSON; 'galcarto settings\n"
        "config/config.yaml STAGE' prints those of a stage.",
    )
    parser.add_argument("--version", action="version", version=f"galcarto {__version__}")
    stages = parser.add_subparsers(
        dest="stage", metavar="STAGE", required=True, prog="galcarto", help=argparse.SUPPRESS
    )
    for name in STAGES:
        verb = name.replace("_", "-")
        if name != stage:
            stages.add_parser(verb, add_help=False)
            continue
        module = _options_of(name) if helping else vars(importlib.import_module(f"galcarto.stages.{name}"))
        summary, _, body = (module["__doc__"] or name).partition("\n\n")
        sub = stages.add_parser(
            verb, description=summary, epilog=body, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module["configure"](sub)
        sub.set_defaults(run=module.get("run"))
    return parser


def _options_of(stage: str) -> dict[str, Any]:
    """Docstring and ``configure`` of a stage, without what only its ``run`` imports: libraries take seconds to load."""
    path = FOLDER / f"{stage}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = [(node, _bound(node)) for node in tree.body]
    todo, used = {"configure"}, set[str]()
    while todo:
        used.add(name := todo.pop())
        defining = (node for node, names in named if name in names)
        todo |= {inner.id for node in defining for inner in ast.walk(node) if isinstance(inner, ast.Name)} - used
    part = ast.Module([node for node, names in named if names & used], [])
    found: dict[str, Any] = {"__name__": f"galcarto.stages.{stage}", "__doc__": ast.get_docstring(tree)}
    exec(compile(part, path, "exec"), found)
    return found


def _bound(node: ast.stmt) -> set[str]:
    """Names that a statement of a module defines."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one stage; an error of the input or the disk ends in a message and exit code 1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    place, stage = next(((i, word) for i, word in enumerate(arguments) if not word.startswith("-")), (0, None))
    if stage is not None:
        arguments[place] = stage.replace("_", "-")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    helping = not {"-h", "--help"}.isdisjoint(arguments)
    args = _parser(stage and stage.replace("-", "_"), helping).parse_args(arguments)
    given = [one for value in vars(args).values() for one in (value if isinstance(value, list) else [value])]
    outputs = [one for one in given if isinstance(one, Output)]
    inputs = [one for one in given if isinstance(one, str) and not isinstance(one, Output)]
    try:
        with whole(outputs, inputs):
            args.run(args)
    except (UserError, OSError) as error:  # any other error is a bug and keeps its traceback
        print(f"galcarto {stage}: {error}", file=sys.stderr)
        return 1
    if args.stage.replace("-", "_") not in COMMANDS:
        _log_cost()
    return 0


def _log_cost() -> None:
    """Log what the process has taken, its imports and its own processes included."""
    import resource  # which Windows, where files can be read, lacks

    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = sum(used.ru_utime + used.ru_stime for used in (own, others))
    logging.info(
        "started %s, took %.1f s and %.1f s of CPU, at most %.0f MB of memory in a process",
        datetime.fromtimestamp(START, UTC).isoformat(timespec="milliseconds"),
        time.time() - START,
        cpu,
        max(own.ru_maxrss, others.ru_maxrss) / (2**20 if sys.platform == "darwin" else 2**10),  # bytes there, kB here
    )


if __name__ == "__main__":
    sys.exit(main())
