"""Every example in every --help: it is accepted, and it runs where its files are, here those of the tiny region."""

import argparse
import glob
import importlib
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
import yaml
from astropy.table import Table
from test_published import write_bayestar

from galcarto.__main__ import STAGES, main
from galcarto.core.settings import stage_sections
from galcarto.dustmap.compare import published
from galcarto.dustmap.settings import read_settings

ROOT = Path(__file__).parents[1]
# stages whose example uses what that of another stage writes
AFTER = {
    "collect_ablation": "ablate",
    "plot_ablation": "collect_ablation",
    "plot_control": "measure_control",
    "plot_galaxy": "measure_galaxy",
    "plot_limit": "compare_limit",
    "plot_map": "compare_maps",
    "plot_structure": "compare_structure",
}


def examples(stage: str) -> list[str]:
    """The commands of a stage's help, one line each."""
    text = importlib.import_module(f"galcarto.stages.{stage}").__doc__.partition("Example:\n")[2]
    lines = text.partition("\n\n")[0].replace("\\\n", " ").splitlines()
    assert all(line.startswith("  galcarto ") for line in lines), "another example, or a line without its backslash"
    return [line.strip() for line in lines]


def words(command: str) -> list[str]:
    """Arguments of a command as a shell gives them, without the settings, which stay ``$(...)``."""
    found = []
    for word in shlex.split(command)[1:]:
        found += sorted(glob.glob(word)) or [word]
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_each_example_is_accepted(stage: str) -> None:
    """Its options exist, and its settings are those of the stage and of a config that exists or a copy of one."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(f"galcarto.stages.{stage}").configure(parser)
    for command in examples(stage):
        name, *arguments = shlex.split(command.partition(" > ")[0])[1:]
        assert name.replace("-", "_") == stage
        given = parser.parse_args(arguments)
        if stage_sections(stage):
            config, asked = re.fullmatch(r"\$\(galcarto settings (\S+) (\w+)\)", given.settings).groups()
            assert asked == stage
            if not config.startswith("config/my_"):
                read_settings(ROOT / config).for_stage(stage)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A project after 'make demo' and 'make orion': the tiny region's files under the names that the examples use."""
    project = tmp_path_factory.mktemp("help")
    shutil.copytree(ROOT / "config", project / "config")
    shutil.copytree(ROOT / "rules/captions", project / "rules/captions")
    demo, orion = (project / "results" / name for name in ("demo", "orion"))
    tiny = finished / "results/tiny"
    for folder, test in ((demo, "l284.000_b+00.700"), (orion, "l210.000_b-19.000")):
        shutil.copytree(tiny, folder)
        shutil.copy(next(tiny.glob("cmds/test/*.nc")), folder / f"cmds/test/{test}.nc")
        shutil.copy(next(tiny.glob("stars/*.parquet")), folder / f"stars/{test}.parquet")
    shutil.copy(next(tiny.glob("stars/*.parquet")), demo / "stars/l281.500_b-01.300.parquet")
    shutil.copy(tiny / "comparisons/planck_synthetic.nc", orion / "comparisons/planck_tau353.nc")
    (project / "results/galaxy/figures").mkdir(parents=True)
    for folder in ("ablation", "maps"):
        (orion / folder).mkdir()
    write_bayestar(project / "bayestar2019.h5", centre=(284.5, 0.5))
    for name in ("tau353", "radiance"):
        shutil.copy(tiny / "sky/planck.fits", project / f"{name}.fits")
    stars = Table.from_pandas(pd.read_parquet(tiny / "sky/stars.parquet").assign(distance=1.0, bp_rp_0=0.8))
    for name in ("stars.csv", "stars.fits"):
        stars.write(project / name)

    config = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    config["ablation"] = {"train": 256, "valid": 128, "epochs": 1}
    (project / "config/config.yaml").write_text(yaml.safe_dump(config))
    window = {"l": config["sky"]["l"], "b": config["sky"]["b"]}
    columns = {"longitude": "l", "latitude": "b", "J": "J", "Ks": "Ks"}
    files = [{"path": "stars.csv", "frame": "galactic", "columns": columns}]
    (synthetic,) = config["compare"]["planck"]
    planck = [synthetic | {"name": name, "path": f"{name}.fits"} for name in ("tau353", "radiance")]
    more = {
        "sky": {"source": "files", "files": files, **window},
        "control": {"files": files, **window},
        "compare": {
            "distance": "1 kpc",
            "planck": planck,
            "structure": {"map": "tau353", "above": "0.5 mag"},
            "limit": {"examples": 2, "particles": 32},
        },
        "tracers": {"masers": ["absent.txt"]},
    }
    del config["synthetic"]
    (project / "config/orion.yaml").write_text(yaml.safe_dump(config | more))
    return project


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    """A map on a server, for the one at example.org."""
    handler = partial(SimpleHTTPRequestHandler, directory=project)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/tau353.fits"
        server.shutdown()


ran: set[str] = set()


def run(stage: str, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a stage's examples in the current folder, once, after those that they need."""
    if stage in AFTER and AFTER[stage] not in ran:
        run(AFTER[stage], address, capsys)
    if stage == "collect_ablation":
        full = json.loads(Path("full.json").read_text())
        for name in ("full", "spread"):
            Path(f"results/orion/ablation/{name}.json").write_text(json.dumps(full | {"variant": name}))
    for command in examples(stage):
        arguments = words(command.partition(" > ")[0].replace("https://example.org/map.fits", address))
        for i, word in enumerate(arguments):
            if word.startswith("$(galcarto "):
                assert main(words(word[2:-1])) == 0
                arguments[i] = capsys.readouterr().out.strip()
        assert main(arguments) == 0, capsys.readouterr().err
    ran.add(stage)


NOT_HERE = {
    "compare_surveys": "needs a network of two surveys",
    "plot_surveys": "needs a network of two surveys",
    "measure_information": "needs a region of two surveys",
    "measure_survey": "needs the observed catalogues",
    "plot_survey": "needs the observed catalogues",
    "observe_archive": "needs an archive",
}


@pytest.mark.filterwarnings("default")  # a map of four tiles has few of everything
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in NOT_HERE])
def test_each_example_runs(
    stage: str, project: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    if stage == "fetch_map":  # dustmaps would ask its servers; the stage records that it failed

        def fetch(*_: object) -> None:
            raise OSError("no network")

        monkeypatch.setattr(published, "fetch", fetch)
    run(stage, address, capsys)
