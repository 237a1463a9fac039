"""Where dust stands along a sightline, and the colour excess that needs no model."""

import json
from pathlib import Path

import healpy as hp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from hypothesis import given
from hypothesis import strategies as st

from galcarto.__main__ import main
from galcarto.dustmap.compare import excess, structure
from galcarto.dustmap.settings import read_settings

EDGES = np.linspace(0.0, 2.5, 51)  # 50 pc
CLOUDS = {"total": 1.0, "window": (0.34, 0.48), "foreground": 0.25, "far": 1.5}


def step(distance: float, before: float = 0.2, depth: float = 4.0, behind: float = 0.0) -> np.ndarray:
    """Even dust of `before` to a cloud of `depth` within one bin, then `behind` evenly to the end."""
    near = before * np.minimum(EDGES[1:] / distance, 1.0)
    cloud = depth * np.clip((EDGES[1:] - distance) / 0.05 + 0.5, 0.0, 1.0)
    far = behind * np.clip((EDGES[1:] - distance) / (EDGES[-1] - distance), 0.0, 1.0)
    return near + cloud + far


@given(st.floats(0.0, 2.5), st.floats(0.1, 5.0))
def test_extinction_at_a_distance_is_linear_between_edges(distance, slope):
    profiles = slope * np.stack([EDGES[1:], 2 * EDGES[1:]])
    np.testing.assert_allclose(
        structure.at_distance(profiles, EDGES, distance), slope * distance * np.array([1, 2]), atol=1e-9
    )


def test_extinction_beyond_the_last_edge_is_that_of_the_last_edge():
    assert structure.at_distance(EDGES[1:], EDGES, 9.0) == pytest.approx(2.5)


@given(st.floats(0.3, 0.9), st.floats(0.5, 10.0))
def test_the_half_rise_of_a_step_is_where_it_stands(distance, depth):
    found = structure.half_rise(step(distance, before=0.0, depth=depth)[None], EDGES, 1.0)
    assert found == pytest.approx(distance, abs=0.051)


def test_the_half_rise_of_even_dust_is_half_way():
    profiles = np.stack([EDGES[1:], 3 * EDGES[1:]])
    np.testing.assert_allclose(structure.half_rise(profiles, EDGES, 1.0), 0.5)
    # what lies behind `total` has no part in it
    profiles[1, EDGES[1:] > 1.0] += 50.0
    np.testing.assert_allclose(structure.half_rise(profiles, EDGES, 1.0), 0.5)


def test_clouds_at_known_distances_are_scored(rng):
    longitude = np.linspace(208.0, 214.0, 40)
    distance = 0.40 + 0.01 * (longitude - 211.0)
    truth = np.stack([step(d, before=0.2, depth=4.0, behind=0.84) for d in distance])
    samples = truth * rng.uniform(0.9, 1.1, (30, 40, 1))
    metrics, values = structure.measure(samples, EDGES, longitude, **CLOUDS)
    assert metrics["n"] == 40
    assert metrics["half_rise_fraction"] == 1.0
    assert metrics["half_rise_median_kpc"] == pytest.approx(0.4, abs=0.03)
    assert metrics["trend_kpc_per_deg"] == pytest.approx(0.01, abs=0.003)
    assert 0 < metrics["trend_sd"] < 0.003
    # 0.2 mag evenly to 0.4 kpc
    behind = structure.at_distance(truth[20], EDGES, 1.0)
    assert metrics["foreground_fraction"] == pytest.approx(0.125 / behind, rel=0.1)
    assert metrics["background_growth"] == pytest.approx(0.84 * 0.5 / 2.1 / behind, rel=0.1)
    # a factor on all of a profile does not move its half-rise
    np.testing.assert_allclose(values["half_rise_sd"], 0.0, atol=1e-9)
    np.testing.assert_allclose(values["half_rise"], distance, atol=0.03)


def test_one_wild_tile_moves_no_median():
    tiles = [step(0.4, behind=0.84)] * 4 + [step(0.4, behind=84.0)]
    metrics, _ = structure.measure(np.stack([tiles] * 3), EDGES, np.arange(5.0), **CLOUDS)
    near, far = (structure.at_distance(tiles[0][None], EDGES, distance).item() for distance in (1.0, 1.5))
    for found in (metrics, metrics["of_mean"]):
        assert found["foreground_fraction"] == pytest.approx(0.125 / near, rel=1e-3)
        assert found["background_growth"] == pytest.approx(far / near - 1.0, rel=1e-3)


def test_samples_that_place_the_cloud_elsewhere_say_how_sure_they_are(rng):
    places = rng.normal(0.5, 0.1, 400).clip(0.2, 0.8)
    samples = np.stack([[step(place, before=0.0)] * 3 for place in places])
    _, values = structure.measure(samples, EDGES, np.array([1.0, 2.0, 3.0]), **CLOUDS)
    np.testing.assert_allclose(values["half_rise_sd"], places.std(), rtol=0.1)


def test_two_tiles_are_too_few_for_numbers():
    metrics, values = structure.measure(np.stack([[step(0.4)] * 2] * 20), EDGES, np.array([1.0, 2.0]), **CLOUDS)
    assert metrics.pop("n") == 2
    assert set(metrics.values()) == {None}
    assert len(values["half_rise"]) == 2


def test_tiles_of_one_longitude_have_no_trend():
    samples = np.stack([[step(0.4)] * 4] * 20)
    metrics, _ = structure.measure(samples, EDGES, np.full(4, 210.0), **CLOUDS)
    assert metrics["trend_kpc_per_deg"] is metrics["trend_sd"] is None
    assert metrics["half_rise_fraction"] == 1.0


def test_the_colour_excess_of_a_screen_is_its_extinction(rng):
    a_v = np.array([0.0, 1.0, 6.0, 2.0])
    tile = rng.integers(0, 3, 30_000)  # none in the last
    colour = rng.normal(0.7, 0.15, len(tile)) + 0.16 * a_v[tile]
    found = excess.extinction(colour, tile, 4, 0.7, 0.16)
    np.testing.assert_allclose(found[:3], a_v[:3], atol=5 * 0.15 / 0.16 / np.sqrt(10_000))
    assert np.isnan(found[3])


def test_the_maps_are_ranked_against_the_colours_and_each_other(tmp_path, rng):
    """Two maps, of which one falls where the other rises: the stars' colours follow the first."""
    config = yaml.safe_load((Path(__file__).parent / "tiny.yaml").read_text())
    columns = {"longitude": "l", "latitude": "b", "J": "J", "Ks": "Ks"}
    config["sky"] |= {"l": ["20 deg", "28 deg"], "b": ["0 deg", "1 deg"]}
    config["sightlines"] = {"train": [{"l": "21 deg", "b": "0 deg"}], "test": [{"l": "27 deg", "b": "0 deg"}]}
    config["tile"]["size"] = "60 arcmin"
    files = [{"path": str(tmp_path / "control.csv"), "columns": columns}]
    config["control"] = {"l": ["100 deg", "102 deg"], "b": ["0 deg", "2 deg"], "files": files}
    known = {"path": "map.fits", "quantity": "ebv", "ordering": "ring", "frame": "galactic", "column": "EBV"}
    config["compare"] = {"planck": [known | {"name": "rising"}, known | {"name": "falling"}]}
    (tmp_path / "region.yaml").write_text(yaml.safe_dump(config))
    settings = read_settings(tmp_path / "region.yaml")

    def stars(l, b, a_v):
        colour = rng.normal(0.7, 0.1, len(l)) + 0.17 * a_v
        bright = rng.uniform(9, 13, len(l))
        return pd.DataFrame({"l": l, "b": b, "J": bright + colour, "Ks": bright})

    l, b = rng.uniform(100, 102, 4000), rng.uniform(0, 2, 4000)
    stars(l, b, np.zeros(4000)).to_csv(tmp_path / "control.csv", index=False)
    l, b = rng.uniform(20, 28, 4000), rng.uniform(0, 1, 4000)
    stars(l, b, np.floor(l - 20) / 2).assign(survey="2mass").to_parquet(tmp_path / "stars.parquet")
    tiles = settings.sky.grid(settings.tile.size)
    area = xr.DataArray(tiles.area().reshape(1, *tiles.shape), dims=("survey", "l", "b"), coords={"survey": ["2mass"]})
    xr.Dataset({"area": area}).to_netcdf(tmp_path / "footprint.nc")
    at = hp.pix2ang(256, np.arange(hp.nside2npix(256)), lonlat=True)[0]
    for name, values in (("rising", at / 100), ("falling", 1.0 - at / 100)):
        hp.write_map(tmp_path / f"{name}.fits", values, column_names=["EBV"], dtype=np.float64)
    words = ["compare_excess", "--settings", settings.for_stage("compare_excess")]
    words += [f"--stars={tmp_path / 'stars.parquet'}", f"--footprint={tmp_path / 'footprint.nc'}"]
    words += [f"--comparison={tmp_path / 'excess.nc'}", f"--metrics={tmp_path / 'excess.json'}"]
    assert main([*words, "--maps", *(str(tmp_path / f"{n}.fits") for n in ("rising", "falling"))]) == 0
    found = json.loads((tmp_path / "excess.json").read_text())
    assert found["maps_spearman"] == {"rising,falling": pytest.approx(-1.0)}
    assert found["colour_excess"]["rising"]["spearman"] > 0.95
    assert found["colour_excess"]["falling"]["spearman"] < -0.95
    assert found["colour_excess"]["control_colour_mag"] == pytest.approx(0.7, abs=0.01)
