"""A reader on its own: the wheel without the pipeline, in an environment that holds nothing but what it requires."""

import json
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from packaging.requirements import Requirement
from test_maps import write as write_cube

from galcarto import open_cube

ROOT = Path(__file__).parents[1]
LARGEST = 250  # MB, installed
ASK = """
import json, sys, time
start = time.perf_counter()
import galcarto
cube = galcarto.open_cube(sys.argv[1])
opened = time.perf_counter() - start
import astropy.units as u
from astropy.coordinates import SkyCoord
at = SkyCoord(l=[0.4, 1.3] * u.deg, b=[-0.2, 0.7] * u.deg, distance=[0.6, 1.7] * u.kpc, frame="galactic")
try:
    cube.dust.query(at, band="Ks")
except ValueError as error:
    refused = str(error)
loaded = [name for name in ("torch", "numba", "snakemake", "plotly", "scipy", "matplotlib") if name in sys.modules]
print(json.dumps([cube.dust.query(at).value.tolist(), refused, loaded, opened]))
"""


def required(requirement: str, found: dict[str, metadata.Distribution]) -> None:
    """Add a distribution and all that it requires, without extras."""
    one = metadata.distribution(Requirement(requirement).name)
    if one.name not in found:
        found[one.name] = one
        for further in one.requires or ():
            marker = Requirement(further).marker
            if marker is None or marker.evaluate({"extra": ""}):
                required(further, found)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Python of a bare environment, and the MB of what is installed there."""
    folder = tmp_path_factory.mktemp("reader")
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    build = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site,) = (folder / "venv").glob("lib/python3*/site-packages")
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    (description,) = site.glob("galcarto-*.dist-info")
    found: dict[str, metadata.Distribution] = {}
    for requirement in metadata.Distribution.at(description).requires or ():
        if Requirement(requirement).marker is None:
            required(requirement, found)
    for one in found.values():
        for file in one.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(file.locate())
    return folder / "venv/bin/python", sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) / 1e6


def test_the_reader_needs_no_pipeline(bare: tuple[Path, float], tmp_path: Path) -> None:
    python, size = bare
    assert size < LARGEST
    path = write_cube(tmp_path / "cube.nc", {"extinction_law": "F19"})
    ran = subprocess.run([python, "-I", "-c", ASK, path], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    values, refused, loaded, _ = json.loads(ran.stdout)
    at = SkyCoord(l=[0.4, 1.3] * u.deg, b=[-0.2, 0.7] * u.deg, distance=[0.6, 1.7] * u.kpc, frame="galactic")
    with open_cube(path) as cube:
        np.testing.assert_allclose(values, cube.dust.query(at).value, rtol=1e-6)
    assert np.isfinite(values).all()
    assert "found no package dust_extinction; expected it for bands other than V" in refused
    assert loaded == []
    ran = subprocess.run(
        [python, "-I", "-m", "galcarto", "check_cube", path], capture_output=True, text=True, timeout=300
    )
    assert "title: found no such attribute of the file" in ran.stdout  # checked to the end
