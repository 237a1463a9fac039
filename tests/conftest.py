"""Fixtures that the tests share."""

import copy
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

# before numba is imported: on a machine of one core, too, threads can be compared
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# threads that wait would keep the cores from the tests of another process
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
import torch
import xarray as xr
from filelock import FileLock
from hypothesis import settings
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from galcarto.core.sky import Tiles
from galcarto.dustmap.diagrams.forward import LAW_GRID, ForwardModel, View
from galcarto.maps.cube import VARIABLES
from galcarto.maps.grid import distance_coordinate, tile_coordinates
from galcarto.surveys import TWOMASS
from galcarto.surveys.survey import Band, Survey

settings.register_profile("galcarto", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("galcarto")

WORKER = "PYTEST_XDIST_WORKER" in os.environ  # one of several processes that run the tests
if WORKER:
    torch.set_num_threads(1)

CONFIG: dict[str, Any] = {
    "region": "toy",
    "seed": 1,
    "sky": {"source": "synthetic", "l": ["281 deg", "287 deg"], "b": ["-2 deg", "2 deg"]},
    "tile": {"size": "30 arcmin"},
    "distance": {"step": "100 pc", "max": "10 kpc"},
    "surveys": [
        {
            "name": "2mass",
            "limits": {"J": "16.3 mag", "Ks": "14.8 mag"},
            "magnitude": {"bands": ["Ks"], "range": ["5 mag", "15 mag"]},
            "colour": {"bands": ["J", "Ks"], "range": ["-0.5 mag", "6 mag"]},
        }
    ],
    "examples": {"train": 600, "valid": 100, "test": 100},
    "sightlines": {
        "train": [{"l": "282 deg", "b": "0 deg"}, {"l": "286 deg", "b": "1 deg"}],
        "test": [{"l": "284 deg", "b": "-1 deg"}],
    },
    "training": {"epochs": 1},
}

# a survey that measures without errors and misses nothing
PERFECT = Survey(
    name="perfect",
    title="Perfect",
    bands={band: Band(TWOMASS.bands[band].wavelength, 0.0, 100.0, 100.0, 0.15) for band in TWOMASS.bands},
)

# made-up errors and limits
GAIA = Survey(
    name="gaia",
    title="Gaia-like",
    bands={
        "G": Band(wavelength=0.64, floor=0.01, ten_sigma=18.5, half=18.2, width=0.2),
        "BP": Band(wavelength=0.52, floor=0.03, ten_sigma=18.0, half=19.0, width=0.3),
        "RP": Band(wavelength=0.78, floor=0.02, ten_sigma=17.5, half=18.5, width=0.3),
    },
    parallax=Band(wavelength=0.64, floor=0.2, ten_sigma=16.5, half=100.0, width=0.3),  # mas
)


# files of minutes; the others follow, so that no process is left with one of these at the end
LONG = (
    "test_slurm",
    "test_workflow",
    "test_help",
    "test_pages",
    "test_ablation",
    "test_spectra_task",
    "test_limit",
    "test_absorbers",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the files of `LONG` first, in its order."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture
def config() -> dict[str, Any]:
    """The least that a region's settings must say; a fresh copy."""
    return copy.deepcopy(CONFIG)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220113)


@pytest.fixture(scope="session")
def observations() -> Path:
    """The folder of real observations beside the project."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real observations in {folder}")
    return folder


def once(factory: pytest.TempPathFactory, name: str, copy: Callable[[Path], Path], *arguments: str) -> Path:
    """A project that one of pytest's processes runs; each has a copy, which its tests may change.

    Parameters
    ----------
    factory : pytest.TempPathFactory
    name : str
    copy : callable
        Makes the project in a folder and returns it.
    *arguments : str
        Of snakemake.
    """
    from test_workflow import snakemake

    def make(folder: Path) -> Path:
        project = copy(folder)
        ran = snakemake(project, *arguments)
        assert ran.returncode == 0, ran.stdout
        return project

    if not WORKER:
        return make(factory.mktemp(name))
    common = factory.getbasetemp().parent / name
    with FileLock(f"{common}.lock"):
        if not common.exists():
            part = shutil.copytree(make(factory.mktemp(name)), f"{common}.part", symlinks=True)
            Path(part).rename(common)
    return Path(shutil.copytree(common, factory.mktemp(name) / name, symlinks=True))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the tiny region has been mapped."""
    from test_workflow import copy_project

    return once(tmp_path_factory, "tiny", copy_project)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the tiny metallicity task has run."""
    from test_metallicity_task import TINY, project

    return once(tmp_path_factory, "labelled", project, "metallicity", *TINY)


@pytest.fixture(scope="session")
def spectral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the tiny spectra task has run."""
    from test_spectra_task import TINY, project

    return once(tmp_path_factory, "spectral", project, "spectra", *TINY)


@pytest.fixture(scope="session")
def absorbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the tiny absorbers task has run."""
    from test_absorbers_task import TINY, project

    return once(tmp_path_factory, "absorbed", project, "absorbers", *TINY)


def line(ax: Axes, label: str) -> Line2D:
    """The curve of a figure that has this label."""
    return next(artist for artist in ax.get_lines() if artist.get_label() == label)


def cube_of(tiles: Tiles, edges: np.ndarray, samples: np.ndarray, **more: Any) -> xr.Dataset:
    """A cube in memory from samples of A_V, shape (sample, l, b, distance); `more` are other variables."""
    grid = tiles.shape
    values = {"distance_min": np.full(grid, edges[1]), "distance_max": np.full(grid, edges[-2])}
    values |= {"quality": np.zeros(grid, "u1")}
    density = np.diff(samples, axis=-1, prepend=0.0) / np.diff(edges)
    for name, drawn in (("extinction", samples), ("extinction_density", density)):
        values |= {name: drawn.mean(axis=0), f"{name}_sd": drawn.std(axis=0), f"{name}_samples": drawn}
    return xr.Dataset(
        {name: (VARIABLES[name][0], value, VARIABLES[name][2]) for name, value in (values | more).items()},
        coords={**tile_coordinates(tiles), **distance_coordinate(edges)},
        attrs={"band": "V", "extinction_law": "G23", "r_v": 3.1},
    )


class Page(HTMLParser):
    """Tags with their attributes, the words outside of styles and scripts, and the scripts that run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = "" if tag == "script" and attrs else tag
        if self.inside == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


class Answers(BaseHTTPRequestHandler):
    """Answers with the status and content that its server has for a path, else 404."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)  # type: ignore[attr-defined]
        status, body = self.server.answers.get(path, (404, b"no such file"))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    """A server of `answers`, which keeps the paths that were asked."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        running.asked, running.answers = [], {}  # type: ignore[attr-defined]
        running.address = f"http://127.0.0.1:{running.server_port}"  # type: ignore[attr-defined]
        Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def linear_law(views: Sequence[View]) -> np.ndarray:
    """The law of `ForwardModel` where extinction grows evenly with A_V, for one class of stars."""
    return np.stack([view.coefficients[band] * LAW_GRID for view in views for band in view.bands])[None]


def one_survey(view: View, edges: np.ndarray) -> ForwardModel:
    """The forward model of a single view."""
    return ForwardModel(views=[view], edges=edges, law=linear_law([view]), colours=np.empty(0))


@pytest.fixture(scope="session")
def make_view() -> Callable[..., View]:
    """Views of J and Ks; ``perfect=True``: no errors, no limits, axes that hold everything."""

    def make(perfect: bool = False, **changes: Any) -> View:
        values: dict[str, Any] = {
            "survey": TWOMASS,
            "limits": {"J": 16.3, "Ks": 14.8},
            "bright": 4.0,
            "coefficients": {"J": 0.274, "H": 0.166, "Ks": 0.107},
            "magnitude_band": "Ks",
            "colour_bands": ("J", "Ks"),
            "magnitude_range": (5.0, 15.0),
            "colour_range": (-0.5, 6.0),
            "pixels": 64,
        }
        if perfect:
            values |= {
                "survey": PERFECT,
                "limits": {"J": 90.0, "Ks": 90.0},
                "bright": -90.0,
                "magnitude_range": (0.0, 20.0),
                "colour_range": (-2.0, 8.0),
                "pixels": 200,
            }
        return View(**(values | changes))

    return make


@pytest.fixture(scope="session")
def make_model(make_view: Callable[..., View]) -> Callable[..., ForwardModel]:
    """Forward models of one view of `make_view`, on twenty bins to 10 kpc."""

    def make(perfect: bool = False, **changes: Any) -> ForwardModel:
        return one_survey(make_view(perfect, **changes), np.linspace(0.0, 10.0, 21))

    return make
