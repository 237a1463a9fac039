"""The command line: help with examples, and errors that a user can act on."""

import argparse
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from matplotlib.figure import Figure

from galcarto.__main__ import COMMANDS, STAGES, _parser, main
from galcarto.core.files import Output
from galcarto.figures.stage import plot


def test_each_file_to_write_gets_its_name_only_when_it_is_whole() -> None:
    for stage in STAGES:
        parser = argparse.ArgumentParser()
        importlib.import_module(f"galcarto.stages.{stage}").configure(parser)
        for option in parser._actions:
            if re.search("files? to write", option.help or "") and stage != "fetch_planck":  # its download goes on
                assert option.type is Output, f"{stage} {option.option_strings}"


def test_the_help_lists_commands_of_users_before_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    listed = [line.split()[0].replace("-", "_") for line in shown.splitlines() if re.match(r"  [a-z]", line)]
    assert listed == [*COMMANDS, *(stage for stage in STAGES if stage not in COMMANDS)]
    assert listed[:2] == ["query", "predict_labels"]
    assert "_" not in shown


@pytest.mark.parametrize("stage", STAGES)
def test_the_help_of_a_stage_is_that_of_its_whole_module(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for helping in (True, False):
        with pytest.raises(SystemExit):
            _parser(stage, helping).parse_args([stage.replace("_", "-"), "--help"])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert "Example" in shown[0]


def test_help_loads_no_library_that_takes_seconds() -> None:
    code = "import sys, galcarto.__main__ as m; m._parser('predict_labels', helping=True); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numba", "scipy", "astropy", "matplotlib"} & set(loaded)


def test_only_the_name_of_the_stage_is_rewritten(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-cube", "no_such-file.nc"]) == 1
    assert "no_such-file.nc: refused" in capsys.readouterr().out


def test_a_figure_is_drawn_from_the_files_that_are_given(tmp_path: Path) -> None:
    def figure(first: xr.Dataset, second: xr.Dataset | None = None) -> Figure:
        drawn = Figure()
        drawn.suptitle(f"{float(first['x'])} {second}")
        return drawn

    xr.Dataset({"x": 1.0}).to_netcdf(tmp_path / "a.nc")
    configure, run = plot(figure, a="the first file", b=("the second", str.upper))
    parser = argparse.ArgumentParser()
    configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--b", "x", "--output", "f.png"])
    names = [tmp_path / "one.png", tmp_path / "two.png"]
    for name, words in zip(names, ([], ["--b", "b"]), strict=True):
        args = parser.parse_args(["--a", str(tmp_path / "a.nc"), *words, "--output", str(name)])
        run(args)
        Path(args.output[0]).rename(name)
    assert names[0].read_bytes() != names[1].read_bytes()
