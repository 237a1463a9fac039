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
from pathlib import Path
from threading import Thread

import healpy as hp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from astropy.coordinates import SkyCoord
from astropy.table import Table
from test_archives import Server, settings_of, sky
from test_inference import BINS, profile_network
from test_information import GAIA
from test_published import write_bayestar

from galcarto.__main__ import STAGES, main
from galcarto.absorbers import bayesian
from galcarto.absorbers.settings import Settings as AbsorberSettings
from galcarto.core.settings import load, load_yaml, stage_sections
from galcarto.dustmap import control_field
from galcarto.dustmap.compare import published
from galcarto.dustmap.settings import read_settings
from galcarto.labels.file import open_labels
from galcarto.labels.file import write as write_labels
from galcarto.learning.calibration import Calibration
from galcarto.metallicity.settings import Settings as MetallicitySettings
from galcarto.spectra.compare import NSIDE, SHIFT
from galcarto.spectra.settings import Settings as SpectraSettings
from galcarto.surveys import TWOMASS
from galcarto.surveys.settings import Catalogues

ROOT = Path(__file__).parents[1]
# stages whose example uses what that of another stage writes
AFTER = {
    "collect_ablation": "ablate",
    "plot_ablation": "collect_ablation",
    "plot_control": "measure_control",
    "plot_galaxy": "measure_galaxy",
    "plot_label_profiles": "compare_labels",
    "plot_limit": "compare_limit",
    "plot_map": "compare_maps",
    "plot_structure": "compare_structure",
    "plot_survey": "measure_survey",
    "plot_surveys": "compare_surveys",
}


def examples(stage: str) -> list[str]:
    """The commands of a stage's help, one line each."""
    text = importlib.import_module(f"galcarto.stages.{stage}").__doc__.partition("Example:\n")[2]
    lines = text.partition("\n\n")[0].replace("\\\n", " ").splitlines()
    assert lines, "no example"
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
    parser.format_help()
    for command in examples(stage):
        name, *arguments = shlex.split(command.partition(" > ")[0])[1:]
        assert name.replace("-", "_") == stage
        given = parser.parse_args(arguments)
        if stage_sections(stage):
            config, asked = re.fullmatch(r"\$\(galcarto settings (\S+) (\w+)\)", given.settings).groups()
            # one command trains on stars or on spectra, whose settings are others
            assert asked == ("train_spectra" if getattr(given, "spectra", False) else stage)
            if not config.startswith("config/my_"):
                found = load_yaml(ROOT / config)
                sister = SpectraSettings if "table" in found else MetallicitySettings
                sister = AbsorberSettings if "examples" in found else sister
                read = read_settings if "region" in found else partial(load, model=sister)
                read(ROOT / config).for_stage(asked)


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, finished: Path, labelled: Path, spectral: Path, absorbed: Path
) -> Path:
    """A project after 'make demo' and 'make orion': the tiny region's files under the names that the examples use."""
    project = tmp_path_factory.mktemp("help") / "galcarto"
    shutil.copytree(ROOT / "config", project / "config")
    (project / "docs").mkdir()
    (project / "tests").mkdir()
    shutil.copy(ROOT / "tests/tiny_galaxy.yaml", project / "tests")
    shutil.copy(ROOT / "docs/spectra.md", project / "docs")
    for captions in ("rules/captions", "rules/label_captions", "rules/spectra_captions", "rules/absorber_captions"):
        shutil.copytree(ROOT / captions, project / captions)
    demo, orion, cone = (project / "results" / name for name in ("demo", "orion", "cone"))
    tiny = finished / "results/tiny"
    for folder, test in ((demo, "l292.500_b+00.200"), (orion, "l210.000_b-19.000"), (cone, "l122.900_b+22.400")):
        shutil.copytree(tiny, folder)
        next(folder.glob("cmds/test/*.nc")).rename(folder / f"cmds/test/{test}.nc")
        next(folder.glob("cmds/valid/*.nc")).rename(folder / "cmds/valid/l285.000_b+00.400.nc")
        one, other = folder.glob("stars/*.parquet")
        one.rename(folder / f"stars/{test}.parquet")
        other.rename(folder / "stars/l285.000_b+00.400.parquet")
    shutil.copy(tiny / "comparisons/planck_synthetic.nc", orion / "comparisons/planck_tau353.nc")
    for folder in ("galaxy/figures", "surveys/figures", "orion/ablation", "orion/maps"):
        (project / "results" / folder).mkdir(parents=True)
    write_bayestar(project / "bayestar2019.h5", centre=(284.5, 0.5))
    for name in ("tau353", "radiance"):
        shutil.copy(tiny / "sky/planck.fits", project / f"{name}.fits")
    stars = Table.from_pandas(pd.read_parquet(tiny / "sky/stars.parquet").assign(distance=1.0, bp_rp_0=0.8))
    for name in ("stars.csv", "stars.fits"):
        stars.write(project / name)

    config = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    config["ablation"] = {"train": 256, "valid": 128, "epochs": 1}
    config["training"]["rounds"] = 1
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
            "limit": {"examples": 2, "particles": 32, "excess": 2},
        },
        "tracers": {"masers": ["absent.txt"]},
    }
    del config["synthetic"]
    (project / "config/orion.yaml").write_text(yaml.safe_dump(config | more))

    two = config | {"surveys": [*config["surveys"], GAIA]}
    (project / "config/cone.yaml").write_text(yaml.safe_dump(two))
    words = ["--settings", read_settings(two).for_stage("synthesize_stars"), "--seed=1", "--l=284.2", "--b=0.2"]
    assert main(["synthesize_stars", *words, "--output", str(cone / "stars/l122.900_b+22.400.parquet")]) == 0
    profile_network(2, Calibration.none(BINS)).save(cone / "network/network.pt", {})
    images = xr.load_dataset(tiny / "sky/cmds.nc").isel(channel=[0, 0], survey=[0, 0])
    images.assign(survey=["2mass", "gaia"], owner=("channel", [0, 1])).to_netcdf(cone / "sky/cmds.nc")

    shutil.copytree(labelled / "results/tiny_metallicity", project / "results/metallicity")
    shutil.copy(labelled / "config/tiny_metallicity.yaml", project / "config/metallicity.yaml")
    path = project / "results/metallicity/stars.parquet"
    labels = pd.read_parquet(path)
    labels.assign(l=284.25, b=0.25).to_parquet(path)  # inside the cube
    Table.from_pandas(labels).write(project / "my.fits")
    names = {
        "psfMag_u": "u",
        "psfMagErr_u": "u_error",
        "psfMag_g": "g",
        "psfMagErr_g": "g_error",
        "ra": "l",
        "dec": "b",
    }
    sdss = pd.DataFrame({new: labels[old] for new, old in names.items()}).assign(objID=range(len(labels)))
    sdss.to_csv(project / "sdss.csv", index=False)
    segue = load_yaml(project / "config/segue.yaml")
    segue["stars"]["path"] = "segue.csv"
    colours = {"ug": ("u", "g"), "gr": ("g", "r"), "ri": ("r", "i"), "iz": ("i", "z"), "feh": ("feh",)}
    found = {name: labels[one] - sum(labels[band] for band in others) for name, (one, *others) in colours.items()}
    pd.DataFrame(found).to_csv(project / "segue.csv", index=False)
    (project / "config/segue.yaml").write_text(yaml.safe_dump(segue))

    for name in ("spectra", "spectra_goals"):
        shutil.copytree(spectral / "results/tiny_spectra", project / "results" / name)
        shutil.copy(spectral / "config/tiny_spectra.yaml", project / f"config/{name}.yaml")
    shutil.copytree(absorbed / "results/tiny_absorbers", project / "results/absorbers")
    shutil.copy(absorbed / "config/tiny_absorbers.yaml", project / "config/absorbers.yaml")
    shutil.copytree(absorbed / "spectra", project / "spectra")
    for number in range(20):  # of which a model of ten components is learnt
        shutil.copy(absorbed / "spectra/spec-3655-55240-0001.fits", project / f"spectra/copy-{number}.fits")
    shutil.copy(absorbed / "quasars.npz", project)
    for path in (absorbed / "spectra").iterdir():
        shutil.copy(path, project)
    names = [f"3655-55240-{number}" for number in (1, 2, 3, 4)]
    Table({"name": names, "z": [3.0, 3.0, 3.0, 3.0]}).write(project / "quasars.fits")
    for name in ("spectra.nc", "emulator.npz"):
        shutil.copy(spectral / name, project)
    xp = xr.load_dataset(spectral / "spectra.nc").isel(star=slice(0, 60))
    cells = {name: [json.dumps(row.tolist()) for row in xp[name].to_numpy()] for name in ("flux", "flux_error")}
    written = pd.DataFrame({"source_id": xp["source_id"].to_numpy(), **cells}).to_csv(index=False)
    (project / "my_xp.csv").write_text(f"# sampling: {xp['wavelength'].to_numpy().tolist()}\n{written}")
    # stars of Gaia inside the cube, whose places are in their names
    path = project / "results/spectra/labels.parquet"
    place = SkyCoord(l=[284.4], b=[0.4], unit="deg", frame="galactic").icrs
    star = (int(hp.ang2pix(NSIDE, place.ra.deg, place.dec.deg, nest=True, lonlat=True)[0]) << SHIFT) + np.arange(1500)
    distances = pd.DataFrame({"id": star, "distance": np.linspace(0.5, 4.0, len(star))})
    distances.to_csv(project / "distances.csv", index=False)
    gaia = open_labels(path).assign(id=star.astype(str), a_k=0.1 * distances["distance"], quality=0)
    write_labels(path, [gaia], {name: one for name, one in gaia.attrs.items() if isinstance(one, str)})

    rng = np.random.default_rng(1)
    for path in Catalogues().twomass:
        table = Table(rng.uniform(0, 2, (20_000, 4)), names=("GLON", "GLAT", "RAJ2000", "DEJ2000"))
        for name, band in TWOMASS.bands.items():
            table[f"{name[0]}mag"] = magnitude = 18 - rng.exponential(2, len(table))
            seen = rng.random(len(table)) < band.completeness(magnitude)
            table[f"e_{name[0]}mag"] = np.where(seen, band.error(magnitude), np.nan)
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        table.write(project / path)
    return project


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    """A server for the one at example.org and for the archive of ``config/my_orion.yaml``."""
    with Server(sky("vizier-2mass", np.random.default_rng(1))) as server:
        server.file = (project / "tau353.fits").read_bytes()
        config = yaml.safe_load((project / "config/orion.yaml").read_text()) | {"sky": {}}
        settings_of(config, server)
        (project / "config/my_orion.yaml").write_text(yaml.safe_dump(config))
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.address
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
        arguments = words(command.partition(" > ")[0].replace("https://example.org", address))
        for i, word in enumerate(arguments):
            if word.startswith("$(galcarto "):
                assert main(words(word[2:-1])) == 0
                arguments[i] = capsys.readouterr().out.strip()
        assert main(arguments) == 0, capsys.readouterr().err
    ran.add(stage)


@pytest.mark.filterwarnings("default")  # a map of four tiles has few of everything
@pytest.mark.parametrize("stage", STAGES)
def test_each_example_runs(
    stage: str, project: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(control_field, "ITERATIONS", 1)  # of a fit that would not converge on a tiny field
    if stage == "fetch_map":  # dustmaps would ask its servers; the stage records that it failed

        def fetch(*_: object) -> None:
            raise OSError("no network")

        monkeypatch.setattr(published, "fetch", fetch)
    if stage == "compare_finder":  # which takes seconds for each sightline
        nothing = pd.DataFrame({name: [] for name in ("sightline", "z", "log_nhi", "probability", "snr")})
        monkeypatch.setattr(bayesian, "search", lambda _: (nothing, 1.0))
    run(stage, address, capsys)
