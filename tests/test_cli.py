"""The command line: help with examples, and errors that a user can act on."""

import argparse
import importlib
import json
import re
from pathlib import Path

import pytest
import xarray as xr
import yaml
from matplotlib.figure import Figure

from galcarto import __version__
from galcarto.__main__ import COMMANDS, STAGES, main
from galcarto.core.files import Output
from galcarto.figures.stage import plot

ROOT = Path(__file__).parent.parent


def settings(config: Path, capsys: pytest.CaptureFixture[str], *sections: str) -> str:
    """Sections as the JSON that stages take."""
    assert main(["settings", str(config), *sections]) == 0
    return capsys.readouterr().out.strip()


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
    assert listed[:3] == ["query", "check_cube", "settings"]
    assert "_" not in shown


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"galcarto {__version__}\n"


def test_an_unknown_section_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", str(ROOT / "tests/tiny.yaml"), "dust", "survey"]) == 1
    said = capsys.readouterr().err
    assert "found survey; expected a stage or sections of" in said
    assert "surveys" in said


def test_dashes_and_underscores_name_the_same_stage(capsys: pytest.CaptureFixture[str]) -> None:
    helps = []
    for name in ("check-cube", "check_cube"):
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        helps.append(capsys.readouterr().out)
    assert helps[0] == helps[1]
    assert helps[0].startswith("usage: galcarto check-cube ")
    assert "Example:\n  galcarto check-cube " in helps[0]


def test_only_the_name_of_the_stage_is_rewritten(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-cube", "no_such-file.nc"]) == 1
    assert "no_such-file.nc: refused" in capsys.readouterr().out


def test_an_unknown_stage_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check-cubes"])
    assert ended.value.code == 2
    assert "invalid choice: 'check-cubes'" in (said := capsys.readouterr().err)
    assert "check-cube" in said


def test_an_empty_sightline_is_an_error_and_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    config["surveys"][0] |= {"limits": {"J": "-20 mag", "Ks": "-20 mag"}, "bright": "-30 mag"}
    path = tmp_path / "faint.yaml"
    path.write_text(yaml.safe_dump(config))
    text = settings(path, capsys, "galaxy", "surveys")
    output = tmp_path / "stars.parquet"
    code = main(["synthesize_stars", "--settings", text, "--seed", "1", "--l=30", "--b=10", "--output", str(output)])
    assert code == 1
    assert "expected fainter limits" in capsys.readouterr().err
    assert not output.exists()


def test_settings_for_another_stage_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = settings(ROOT / "tests/tiny.yaml", capsys, "dust")
    assert main(["project_faceon", "--settings", text, "--seed", "1", "--cube", "c.nc", "--output", "f.nc"]) == 1
    assert "found dust; expected faceon" in capsys.readouterr().err


def test_settings_carry_units(capsys: pytest.CaptureFixture[str]) -> None:
    text = settings(ROOT / "tests/tiny.yaml", capsys, "distance")
    assert json.loads(text) == {"distance": {"step": "0.5 kpc", "max": "5.0 kpc"}}


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
