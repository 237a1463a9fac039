"""Spiral arms, masers and HII regions against the dust: known answers, tables, the fetch and its failures, figures."""

import json
from io import BytesIO
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import xarray as xr
from astropy.coordinates import SkyCoord
from astropy.table import Table
from conftest import cube_of
from hypothesis import given
from hypothesis import strategies as st

from galcarto.__main__ import main
from galcarto.core.sky import SUN_RADIUS, Tiles
from galcarto.core.tables import TableError
from galcarto.dust.synthetic import SyntheticDust
from galcarto.dustmap.compare import tracers
from galcarto.dustmap.settings import Tracers
from galcarto.figures import faceon
from galcarto.figures.tracers import arms as draw
from galcarto.galaxy.arms import REID2019, Spirals, courses, distance, trace
from galcarto.surveys.tracers import read_hii, read_masers

TILES = Tiles(np.linspace(15, 75, 41), np.linspace(-1.5, 1.5, 4))
EDGES = np.linspace(0, 10, 101)
SHAPE = (40, 3, 100)
WIDTH = 0.35


def cells_of(near=0.3, far=9.5, height=0.2, tiles=TILES):
    return tracers.Cells.of(tiles, EDGES, np.full(tiles.shape, near), np.full(tiles.shape, far), height)


CELLS = cells_of()


def across(cells, spirals=REID2019, scale=1.0):
    x, y = cells.x.ravel(), cells.y.ravel()
    return distance(courses(spirals, x, y), x.size, scale).reshape(cells.x.shape)


def painted(contrast, scale=1.0):
    """An exponential disc with arms of so much more dust."""
    radius = np.hypot(SUN_RADIUS - CELLS.x, CELLS.y)
    disc = np.exp(-radius / 3.5 - np.abs(CELLS.z) / 0.125)
    return disc * (1 + contrast * np.exp(-0.5 * (across(CELLS, scale=scale) / 0.3) ** 2))


def found_on(density, seed=1):
    relative = tracers.over_disc(density, CELLS, SUN_RADIUS)
    return tracers.on_arms(relative, CELLS, REID2019, WIDTH, np.random.default_rng(seed))


def test_a_smooth_disc_knows_no_arms():
    relative = tracers.over_disc(painted(0.0), CELLS, SUN_RADIUS)
    np.testing.assert_allclose(relative[CELLS.used], 1.0, rtol=1e-9)
    assert np.isnan(relative[~CELLS.used]).all()
    metrics, curves = found_on(painted(0.0))
    assert metrics["on_over_between"] == pytest.approx(1.0)
    assert metrics["on_over_between_error"] == pytest.approx(0.0, abs=1e-9)
    known = np.isfinite(curves["density"])
    np.testing.assert_allclose(curves["density"][known], 1.0)


def test_dust_on_the_arms_is_found():
    metrics, curves = found_on(painted(2.0))
    assert metrics["on_over_between"] > 1.5
    assert metrics["on_over_between"] > 1 + 5 * metrics["on_over_between_error"]
    assert metrics["p_value"] < 0.05
    assert metrics["moved_low"] < 1.0 < metrics["moved_high"]
    assert curves["density"][0] > 2 * curves["density"][8]
    weaker, _ = found_on(painted(0.5))
    assert 1.0 < weaker["on_over_between"] < metrics["on_over_between"]


def test_dust_on_arms_elsewhere_is_not_taken_for_these():
    values = [found_on(painted(2.0, scale)) for scale in (0.8, 0.9, 1.2)]
    assert np.mean([metrics["on_over_between"] for metrics, _ in values]) < 1.1
    assert min(metrics["p_value"] for metrics, _ in values) > 0.05


@pytest.mark.parametrize("scale", [0.93, 1.0, 1.08])
def test_the_radius_at_which_arms_lie_is_found(scale):
    metrics, _ = found_on(painted(3.0, scale))
    assert metrics["best_radius"] == pytest.approx(scale, abs=0.02)


def test_the_best_radius_is_not_that_of_the_next_arm():
    scales = np.exp(np.array([-0.33, -0.1, 0.0, 0.1]))
    assert tracers._best(scales, np.array([9.0, 2.0, np.nan, 1.0])) == pytest.approx(np.exp(-0.1))
    assert np.isnan(tracers._best(scales, np.array([9.0, np.nan, np.nan, np.nan])))


def test_the_measured_value_is_one_of_its_null():
    null = np.arange(1.0, 8.0)
    assert [tracers._p_value(found, null) for found in (0.0, 3.0, 9.0)] == [1.0, 6 / 8, 1 / 8]


def test_noise_gives_p_values_of_every_size(rng):
    found = []
    for _ in range(5):
        lumps = np.repeat(np.repeat(rng.lognormal(0, 0.7, (8, 3, 20)), 5, axis=0), 5, axis=2)
        found.append(found_on(lumps)[0])
    ratios = np.array([metrics["on_over_between"] for metrics in found])
    errors = np.array([metrics["on_over_between_error"] for metrics in found])
    assert (np.abs(ratios - 1) < 4 * errors).all()
    assert min(metrics["p_value"] for metrics in found) < 0.5 < max(metrics["p_value"] for metrics in found)


def test_a_map_that_no_arm_crosses_has_no_ratio():
    inside = Tiles(np.linspace(209, 215, 5), np.linspace(-20, -18, 3))
    cells = cells_of(far=0.6, tiles=inside)
    relative = tracers.over_disc(np.ones(cells.x.shape), cells, SUN_RADIUS)
    metrics, _ = tracers.on_arms(relative, cells, REID2019, 1.0, np.random.default_rng(1))
    assert metrics["cells_between"] == 0 < metrics["cells_on"]
    assert np.isnan([metrics["on_over_between"], metrics["p_value"]]).all()
    unseen = tracers.Cells.of(TILES, EDGES, np.full(TILES.shape, np.nan), np.full(TILES.shape, np.nan), 0.2)
    relative = tracers.over_disc(np.ones(SHAPE), unseen, SUN_RADIUS)
    metrics, _ = tracers.on_arms(relative, unseen, REID2019, WIDTH, np.random.default_rng(1))
    assert metrics["cells_on"] == metrics["cells_between"] == 0


def test_the_synthetic_sky_has_its_own_arms_and_not_the_milky_way_s():
    tiles = Tiles(np.linspace(257, 303, 24), np.linspace(-0.5, 0.5, 2))
    cells = cells_of(tiles=tiles)
    sky = SyntheticDust(0.7, 3.5, 0.125, 2.0, 0.0, np.zeros((1, 3)), np.zeros(1), np.empty((0, 5)))
    density = sky.density(cells.x, cells.y, cells.z)
    for model, high in (("synthetic", True), ("reid2019", False)):
        spirals = tracers.MODELS[model]
        relative = tracers.over_disc(density, cells, spirals.centre)
        metrics, _ = tracers.on_arms(relative, cells, spirals, WIDTH, np.random.default_rng(1))
        assert (metrics["on_over_between"] > 1.5) == high, model
        assert (metrics["p_value"] < 0.05) == high, model


@given(st.floats(-60, 60), st.floats(-1.0, 1.0), st.sampled_from(REID2019.arms))
def test_the_distance_to_an_arm_is_that_across_it(azimuth, off, arm):
    alone = Spirals("one", SUN_RADIUS, (arm,))
    low, high = arm.extent()
    x, y = (np.array([value]) for value in trace(arm, np.float64(azimuth)))
    here = distance(courses(alone, x, y), 1)
    assert here[0] == (pytest.approx(0.0, abs=1e-9) if low <= azimuth <= high else np.inf)
    # along the radius, not across the arm
    outwards = 1 + off / np.hypot(SUN_RADIUS - x, y)
    moved = distance(courses(alone, SUN_RADIUS - outwards * (SUN_RADIUS - x), outwards * y), 1)
    if low <= azimuth <= high:
        assert moved[0] == pytest.approx(abs(off) * np.cos(np.radians(arm.pitch(np.float64(azimuth)))), abs=1e-9)
        assert distance(courses(alone, x, y), 1, scale=1.1)[0] == pytest.approx(
            0.1 * np.hypot(SUN_RADIUS - x, y)[0] * np.cos(np.radians(arm.pitch(np.float64(azimuth))))
        )


def young(rng, number, on_dust):
    """Positions of tracers: in the densest of a few random directions at a distance, or in any."""
    l = rng.uniform(16, 74, (number, 8))
    d = np.repeat(rng.uniform(1, 9, (number, 1)), 8, axis=1)
    value = np.cos(np.radians(12 * l) + d) if on_dust else rng.random((number, 8))
    best = value.argmax(axis=1)
    return l[np.arange(number), best], np.zeros(number), d[:, 0]


def test_tracers_in_the_dust_are_told_from_tracers_anywhere(rng):
    middle = 0.5 * (EDGES[1:] + EDGES[:-1])
    waves = 1.2 + np.cos(np.radians(12 * TILES.l[:, None, None]) + middle) + np.zeros(SHAPE)
    relative = np.where(CELLS.used, waves, np.nan)
    metrics, moved = tracers.at_tracers(relative, TILES, EDGES, young(rng, 60, True), rng)
    assert metrics["density_ratio"] > 1.3
    assert metrics["p_value"] < 0.01
    assert np.mean(moved) == pytest.approx(1.0)
    metrics, _ = tracers.at_tracers(relative, TILES, EDGES, young(rng, 60, False), rng)
    assert abs(metrics["density_ratio"] - 1) < 4 * metrics["density_ratio_error"]
    assert metrics["p_value"] > 0.02
    assert 0 < metrics["n"] <= 60


def test_tracers_outside_the_map_do_not_count(rng):
    relative = np.where(CELLS.used, 1.0, np.nan)
    l, b, d = np.transpose([(100, 0, 2), (30, 0, 0.1), (30, 0, 20), (30, 5, 2), (390, 0, 2)])
    metrics, moved = tracers.at_tracers(relative, TILES, EDGES, (l, b, d), rng)
    assert metrics["n"] == 1  # l = 390 is l = 30
    assert np.isnan(metrics["density_ratio"])
    assert np.isnan(moved).all()


REID = """gname alias ra dec plx e_plx
G029.86-00.04 W43S 18:45:59.5708 -02:45:06.581 0.221 0.030
G030.78+00.20 None 18:46:48.0864 -01:48:53.946 0.140 0.032
"""
XU = """Title: What does the Milky Way look like?
Authors: Xu Y.
Table: masers
================================================================================
Byte-by-byte Description of file: masers.txt
--------------------------------------------------------------------------------
   Bytes Format Units    Label  Explanations
--------------------------------------------------------------------------------
   1- 13 A13    ---      Name   Source name
  16- 17 I2     h        RAh    Hour of Right Ascension (J2000)
  19- 20 I2     min      RAm    Minute of Right Ascension (J2000)
  22- 28 F7.4   s        RAs    Second of Right Ascension (J2000)
      31 A1     ---      DE-    Sign of the Declination (J2000)
  32- 33 I2     deg      DEd    Degree of Declination (J2000)
  35- 36 I2     arcmin   DEm    Arcminute of Declination (J2000)
  38- 43 F6.3   arcsec   DEs    Arcsecond of Declination (J2000)
  47- 51 F5.3   mas      plx    Trigonometric Parallax
  53- 57 F5.3   mas    e_plx    Uncertainty in plx
--------------------------------------------------------------------------------
G029.86-00.04  18 45 59.5708  -02 45 06.581   0.221 0.030
G239.35-05.06  07 22 58.3260  -25 46 03.060   0.855 0.057
"""


def test_masers_of_both_forms_and_none_twice(tmp_path):
    (tmp_path / "reid.txt").write_text(REID)
    (tmp_path / "xu.txt").write_text(XU)
    found = read_masers([tmp_path / "reid.txt", tmp_path / "xu.txt"])
    # the second of Reid's has a parallax of less than five sigma, the first of Xu's is there already
    assert len(found) == 2
    np.testing.assert_allclose(found["distance"], [1 / 0.221, 1 / 0.855])
    np.testing.assert_allclose(found["distance_error"], [0.030 / 0.221**2, 0.057 / 0.855**2])
    np.testing.assert_allclose(found["l"], [29.86, 239.35], atol=0.02)
    np.testing.assert_allclose(found["b"], [-0.04, -5.06], atol=0.02)
    assert len(read_masers([])) == 0
    (tmp_path / "five.txt").write_text(REID.replace("0.140 0.032", "0.250 0.050"))  # five sigma are enough
    assert len(read_masers([tmp_path / "five.txt"])) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("ra dec plx\n18:00:00 -02:00:00 0.2\n", "expected also e_plx"),
        ("name plx e_plx\na 0.2 0.01\n", "expected also ra and dec"),
        ("a b\n1\n", r"found no readable table .*expected format ascii.basic"),
    ],
)
def test_a_table_of_something_else_is_refused(tmp_path, content, says):
    (tmp_path / "t.txt").write_text(content)
    with pytest.raises(TableError, match=says):
        read_masers([tmp_path / "t.txt"])


def votable(**changes):
    columns = {"GLON": [30.0, 31.0, 32.0, 33.0], "GLAT": [0.0] * 4, "Dist": [2.0, np.nan, 0.0, np.nan]}
    columns |= {"D8.5": [9.0, 3.0, 4.0, np.nan]} | changes
    file = BytesIO()
    Table({name: values for name, values in columns.items() if values is not None}).write(file, format="votable")
    return file.getvalue()


def test_hii_regions_have_the_measured_distance_first(tmp_path):
    (tmp_path / "hii.vot").write_bytes(votable())
    found = read_hii(tmp_path / "hii.vot")
    np.testing.assert_allclose(found["distance"], [2.0, 3.0, 4.0])
    np.testing.assert_allclose(found["l"], [30.0, 31.0, 32.0])
    (tmp_path / "less.vot").write_bytes(votable(Dist=None))
    with pytest.raises(TableError, match="expected also Dist"):
        read_hii(tmp_path / "less.vot")
    with pytest.raises(TableError, match=r"none\.vot: not found"):
        read_hii(tmp_path / "none.vot")


@pytest.fixture
def collect(tmp_path, server):
    """Run the stage on a maser table, one that is missing, and the server's HII regions."""
    (tmp_path / "reid.txt").write_text(REID)
    server.answers["/hii.vot"] = 200, votable()
    masers = [str(tmp_path / "reid.txt"), str(tmp_path / "absent.txt")]
    asked = Tracers(masers=masers, hii=f"{server.address}/hii.vot")

    def run(*options):
        text = json.dumps({"tracers": asked.model_dump(mode="json")})
        out = tmp_path / "tracers.nc"
        arguments = ["--settings", text, "--folder", str(tmp_path / "kept"), "--output", str(out), *options]
        assert main(["collect_tracers", *arguments]) == 0
        return xr.load_dataset(out)

    return run


def test_hii_regions_are_fetched_once_and_then_need_no_server(collect, server):
    found = collect()
    assert list(found.kind.values) == ["maser", *["HII region"] * 3]
    assert "absent.txt" in found.attrs["masers"]
    assert found.attrs["hii"] == "3 regions read"
    assert len(server.asked) == 1
    server.answers.clear()
    again = collect("--offline")
    assert len(server.asked) == 1
    xr.testing.assert_identical(again, found)


@pytest.mark.parametrize("answer", [(404, b"not here"), (200, b"<VOTABLE/>"), (200, votable(Dist=None))])
def test_without_the_archive_the_rest_goes_on(collect, server, answer, caplog):
    server.answers["/hii.vot"] = answer
    found = collect()
    assert list(found.kind.values) == ["maser"]
    assert found.attrs["hii"].startswith("left out")
    assert "HII regions are left out" in caplog.text
    server.answers["/hii.vot"] = 200, votable()  # nothing that could not be read was kept
    assert collect().sizes["tracer"] == 4


def test_offline_says_so_and_asks_nobody(collect, server, caplog):
    assert collect("--offline").sizes["tracer"] == 1
    assert not server.asked
    assert "sky.offline" in caplog.text


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The stage's answers for a sky with arms, with and without tracers."""
    folder = tmp_path_factory.mktemp("arms")
    density = painted(2.0)
    ends = {"distance_min": np.full(SHAPE[:2], 0.3), "distance_max": np.full(SHAPE[:2], 9.5)}
    cube = cube_of(TILES, EDGES, np.cumsum(density, axis=2)[None] * 0.1, **ends)
    cube.to_netcdf(folder / "cube.nc")
    cube[["extinction"]].to_netcdf(folder / "truth.nc")
    place = np.argsort(across(CELLS)[:, 1, 10:90].ravel())[:400:20]  # on the ridges
    l, d = TILES.l[place // 80], cube.distance.to_numpy()[10 + place % 80]
    values = {"l": l, "b": np.zeros(20), "distance": d, "distance_error": np.full(20, 0.3)}
    kind = np.array(["maser"] * 19 + ["HII region"], dtype=object)
    xr.Dataset({name: ("tracer", value) for name, value in values.items()} | {"kind": ("tracer", kind)}).to_netcdf(
        folder / "tracers.nc"
    )
    text = json.dumps({"tracers": Tracers().model_dump(mode="json")})
    shared = ["compare_arms", "--settings", text, "--seed", "1", "--cube", str(folder / "cube.nc")]
    for name, more in (("full", ["truth", "tracers"]), ("plain", []), ("again", [])):
        out = ["--comparison", str(folder / f"{name}.nc"), "--metrics", str(folder / f"{name}.json")]
        options = [word for one in more for word in (f"--{one}", str(folder / f"{one}.nc"))]
        assert main([*shared, *options, *out]) == 0
    return folder


def numbers(path: Path):
    return json.loads(path.read_text())["arms"]


def test_the_stage_finds_painted_arms_and_the_masers_on_them(compared):
    found = numbers(compared / "full.json")
    assert found["on_over_between"] > 1.5
    assert found["p_value"] < 0.05
    assert found["truth"]["on_over_between"] == pytest.approx(found["on_over_between"])
    assert found["masers"]["n"] == 19
    assert found["masers"]["density_ratio"] > 1.2
    assert found["masers"]["p_value"] < 0.05
    assert found["hii"]["n"] == 1
    assert found["hii"]["density_ratio"] is None
    assert "Reid" in found["model"]


def test_the_stage_says_the_same_twice_and_needs_arms_only(compared):
    for kind in ("nc", "json"):
        assert (compared / f"plain.{kind}").read_bytes() == (compared / f"again.{kind}").read_bytes()
    plain, full = numbers(compared / "plain.json"), numbers(compared / "full.json")
    assert {"truth", "masers", "hii"} & set(plain) == set()
    assert plain["on_over_between"] == full["on_over_between"]


def test_the_figures_show_arms_nulls_and_tracers(compared):
    with xr.open_dataset(compared / "full.nc") as found:
        figure = draw(found)
        assert len(figure.axes) == 4
        words = {text.get_text() for text in figure.axes[1].get_legend().get_texts()}
        assert f"map: {float(found.ratio_map):.2f}, $p$ = {float(found.p_value_map):.3f}" in words
        assert "too few" in figure.axes[3].texts[0].get_text()
    with xr.open_dataset(compared / "plain.nc") as found:
        assert len(draw(found).axes) == 2
    view = xr.Dataset(
        {"extinction_density": (("y", "x"), np.ones((20, 30))), "within": (("y", "x"), np.ones((20, 30), bool))},
        coords={"x": 0.1 + 0.2 * np.arange(30), "y": 0.1 + 0.2 * np.arange(20)},
        attrs={"sun_radius_kpc": SUN_RADIUS},
    )
    with xr.open_dataset(compared / "tracers.nc") as young_ones:
        figure = faceon.faceon(view, tracers.SYNTHETIC, young_ones)
    legend = {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
    assert any(word.startswith("masers (") for word in legend)
    assert any(text.get_text() == "5.2-kpc arm" for text in figure.axes[0].texts)  # the synthetic sky's arms


def test_real_tables_are_read(observations):
    folder = observations / "masers_arms"
    found = read_masers([folder / name for name in ("apjacc45ct1_mrt.txt", "reid2019_merge.txt")])
    assert 150 < len(found) < 220
    orion = SkyCoord(found["l"].to_numpy() * u.deg, found["b"].to_numpy() * u.deg, frame="galactic").separation(
        SkyCoord(209.0 * u.deg, -19.4 * u.deg, frame="galactic")
    )
    # Menten et al. 2007: 414 +- 7 pc
    assert found["distance"][int(np.argmin(orion))] == pytest.approx(0.414, abs=0.02)
