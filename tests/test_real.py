"""Real observations, where available: reading, footprint, and comparison with real maps."""

import json
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from scipy.spatial import ConvexHull

from galcarto.__main__ import main
from galcarto.core.sky import Tiles
from galcarto.dustmap.compare import planck
from galcarto.dustmap.settings import read_settings
from galcarto.galaxy.components import load
from galcarto.galaxy.synthesis import StarModel
from galcarto.surveys import TWOMASS

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared/data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real observations are not beside the project"),
]


@pytest.fixture(scope="module")
def orion(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, np.ndarray, dict[str, float]]:
    """Stars, observed area per tile (deg2), and numbers of rows."""
    folder = tmp_path_factory.mktemp("orion")
    settings = read_settings(ROOT / "config/orion.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # the config's paths are relative to the project
        words = ["--stars", str(folder / "stars.parquet"), "--footprint", str(folder / "footprint.nc")]
        text = settings.for_stage("observe_files")
        assert main(["observe_files", "--settings", text, "--seed", "1", *words]) == 0
    with netCDF4.Dataset(folder / "footprint.nc") as file:
        (area,) = np.asarray(file["area"][:])
        return pd.read_parquet(folder / "stars.parquet"), area, json.loads(file.rows)["2mass"]


def test_orion_stars_are_within_the_limits_and_counted(orion: tuple) -> None:
    stars, _, rows = orion
    assert rows["read"] == 86_460
    assert rows["kept"] == len(stars) == rows["read"] - sum(rows["dropped"].values())
    assert (stars["survey"] == "2mass").all()
    assert 20_000 < len(stars) < 60_000
    assert stars["J"].max() < 16.3
    assert stars["Ks"].max() < 14.8
    assert stars["l"].between(207, 216).all()


def test_orion_footprint_lacks_its_unobserved_corner(orion: tuple) -> None:
    _, area, _ = orion
    settings = read_settings(ROOT / "config/orion.yaml")
    tiles = settings.sky.grid(settings.tile.size)
    share = area / tiles.area()
    corner = (tiles.l[:, None] > 214.3) & (tiles.b[None, :] > -19.0)
    assert share[corner].max() == 0.0
    inner = (tiles.l[:, None] < 213.5) & (tiles.b[None, :] > -20) & (tiles.b[None, :] < -18.5)
    assert share[inner].min() > 0.95
    assert 16.0 < area.sum() < 20.5  # PROVENANCE: about 19.3 deg2, of which the window holds most


def test_real_planck_maps_agree_where_dust_is_cold() -> None:
    settings = read_settings(ROOT / "config/orion.yaml")
    tiles = Tiles.cover((150.0, 160.0), (-20.0, -10.0), 0.5)  # no young stars heat the dust
    maps = {}
    for entry in settings.compare.planck:
        sphere = planck.read(ROOT / entry.path, entry)
        means = planck.tile_means(sphere, tiles, entry.frame)
        maps[entry.name] = planck.to_extinction(means, entry.quantity, settings.dust.r_v).ravel()
    line = planck.straight_line(maps["tau353"], maps["radiance"])
    # with a wrong frame or ordering the rank correlation falls below 0.2
    assert line["spearman"] > 0.9
    assert 0.6 < line["slope"] < 1.4


def test_mock_counts_agree_with_the_control_field() -> None:
    """In the nearly dust-free field beside Orion A counts agree, and real stars are slightly redder."""
    table = Table.read(DATA / "twomass_orion/CF_2mass.fits", hdu=1)
    real = {band: np.asarray(table[f"{band[0]}mag"], float) for band in ("J", "Ks")}
    # area of the convex hull on an equal-area projection
    l, b = (np.asarray(table[name], float) for name in ("GLON", "GLAT"))
    real_area = ConvexHull(np.stack([(l - l.mean()) * np.cos(np.radians(b)), b], axis=1)).volume
    assert 3.5 < real_area < 3.9
    limits, bright, area = {"J": 16.3, "Ks": 14.8}, 8.0, 40.0
    rng = np.random.default_rng(1)
    model = StarModel(load("robin2003"), [{band: limit + 0.8 for band, limit in limits.items()}], bands=("J", "Ks"))
    stars = model.draw(l.mean(), b.mean(), area, rng)
    # the field's A_V is about 0.1 mag
    true = {"J": stars["J"].to_numpy() + 0.027, "Ks": stars["Ks"].to_numpy() + 0.011}
    mock, _, seen = TWOMASS.observe(true, limits, bright, rng)
    with np.errstate(invalid="ignore"):
        kept = (real["J"] < limits["J"]) & (real["Ks"] < limits["Ks"]) & (real["J"] >= bright) & (real["Ks"] >= bright)
    mock, real = ({band: values[where] for band, values in m.items()} for m, where in ((mock, seen), (real, kept)))
    assert len(real["Ks"]) > 9000
    assert 0.9 < len(mock["Ks"]) / area / (len(real["Ks"]) / real_area) < 1.12
    for bright_end in np.arange(9.0, 14.6, 0.5):
        (mock_colour, mock_count), (real_colour, real_count) = (
            (np.median((m["J"] - m["Ks"])[inside]), inside.sum())
            for m in (mock, real)
            for inside in [(m["Ks"] >= bright_end) & (m["Ks"] < min(bright_end + 0.5, limits["Ks"]))]
        )
        ratio = mock_count / area / (real_count / real_area)
        assert abs(ratio - 1.0) < 0.12 + 3.0 / np.sqrt(real_count), bright_end
        if bright_end >= 11.0:
            assert 0.015 < real_colour - mock_colour < 0.085, bright_end
