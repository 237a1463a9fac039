"""Real observations beside the project: read, cut to their footprint, and compared with real maps."""

from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from galcarto.__main__ import main
from galcarto.compare import planck
from galcarto.galaxy.besancon import ROBIN2003
from galcarto.galaxy.synthesis import StarModel
from galcarto.settings import read_settings
from galcarto.sky import Tiles
from galcarto.surveys import TWOMASS

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared/data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real observations are not beside the project"),
]


@pytest.fixture(scope="module")
def orion(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, np.ndarray, dict[str, float]]:
    """Cleaned stars, observed area per tile, attributes of the footprint."""
    folder = tmp_path_factory.mktemp("orion")
    settings = read_settings(ROOT / "config/orion.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # the config's paths are relative to the project
        words = ["--stars", str(folder / "stars.parquet"), "--footprint", str(folder / "footprint.nc")]
        text = settings.section_json("sky", "tile", "survey")
        assert main(["observe_files", "--settings", text, "--seed", "1", *words]) == 0
    with netCDF4.Dataset(folder / "footprint.nc") as file:
        return pd.read_parquet(folder / "stars.parquet"), np.asarray(file["area"][:]), file.__dict__


def test_orion_stars_are_within_the_limits_and_counted(orion: tuple) -> None:
    stars, _, attributes = orion
    assert attributes["rows_read"] == 86_460
    assert attributes["rows_kept"] == len(stars)
    assert 20_000 < len(stars) < 60_000
    assert stars["J"].max() < 16.3
    assert stars["Ks"].max() < 14.8
    assert stars["l"].between(207, 216).all()


def test_orion_footprint_has_its_missing_corner(orion: tuple) -> None:
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
    tiles = Tiles.cover((150.0, 160.0), (-20.0, -10.0), 0.5)  # no young stars that heat the dust
    maps = {}
    for entry in settings.compare.planck:
        sphere = planck.read(ROOT / entry.path, entry.ordering, entry.column, entry.hdu)
        means = planck.tile_means(sphere, tiles, entry.frame)
        maps[entry.name] = planck.to_extinction(means, entry.quantity, settings.dust.r_v).ravel()
    line = planck.straight_line(maps["tau353"], maps["radiance"])
    # two tracers of the same dust: with a wrong frame or ordering the rank falls below 0.2
    assert line["spearman"] > 0.9
    assert 0.6 < line["slope"] < 1.4


def test_the_known_gap_between_mock_and_control_field() -> None:
    """README names this gap: real stars are redder, and fewer, than mock ones where there is hardly any dust."""
    table = Table.read(DATA / "twomass_orion/CF_2mass.fits", hdu=1)
    real_j, real_k = (np.asarray(table[name], float) for name in ("Jmag", "Kmag"))
    with np.errstate(invalid="ignore"):
        kept = (real_j < 16.3) & (real_k < 14.8) & (real_k > 11)
    rng = np.random.default_rng(1)
    model = StarModel(ROBIN2003, [{"J": 16.8, "Ks": 15.3}])
    area = 20.0
    stars = model.draw(233.2, -19.4, area, rng)
    # the field's A_V is about 0.1 mag
    true = {"J": stars["J"].to_numpy() + 0.027, "Ks": stars["Ks"].to_numpy() + 0.011}
    measured, _, seen = TWOMASS.observe(true, {"J": 16.3, "Ks": 14.8}, 11.0, rng)
    mock_colour = (measured["J"] - measured["Ks"])[seen]
    redder = []
    for faint in np.arange(11.5, 14.9, 0.5):
        real = kept & (real_k >= faint - 0.5) & (real_k < faint)
        mock = (measured["Ks"][seen] >= faint - 0.5) & (measured["Ks"][seen] < faint)
        redder.append(np.median((real_j - real_k)[real]) - np.median(mock_colour[mock]))
    assert 0.04 < np.median(redder) < 0.09
    # PROVENANCE: the field has about 4.1 deg2
    assert 1.15 < (seen.sum() / area) / (kept.sum() / 4.1) < 1.5
