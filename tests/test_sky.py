"""Tiles, frames and names of directions."""

from pathlib import Path

import astropy.units as u
import healpy as hp
import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.coordinates import Galactic
from hypothesis import given
from hypothesis import strategies as st

from galcarto.__main__ import main
from galcarto.core.sky import Tiles, cartesian, sightline_name, sightline_position, to_galactic
from galcarto.dustmap.settings import read_settings


@st.composite
def windows(draw):
    """Tiles of any window, also across l = 360."""
    size = draw(st.sampled_from([0.25, 0.5, 1.0, 2.5, 10.0]))
    n_l = draw(st.integers(1, min(round(350 / size), 40)))
    n_b = draw(st.integers(1, min(round(180 / size), 10)))
    l = draw(st.integers(-180, 359))
    b = draw(st.floats(-90, 90 - n_b * size))
    return Tiles.cover((l, l + n_l * size), (b, b + n_b * size), size)


@given(windows())
def test_areas_sum_to_that_of_the_window(tiles):
    l, b = np.radians(tiles.l_edges[[0, -1]]), np.radians(tiles.b_edges[[0, -1]])
    steradian = (l[1] - l[0]) * (np.sin(b[1]) - np.sin(b[0]))
    assert tiles.area().shape == tiles.shape
    assert tiles.area().sum() == pytest.approx(steradian * (180 / np.pi) ** 2, rel=1e-9)
    assert (tiles.area() > 0).all()


def test_the_sphere_has_its_area():
    sphere = Tiles.cover((0, 360), (-90, 90), 15)
    assert sphere.area().sum() == pytest.approx(4 * np.pi * (180 / np.pi) ** 2, rel=1e-12)


@given(windows(), st.integers(-2, 2))
def test_every_centre_is_in_its_own_tile(tiles, turns):
    l, b = np.meshgrid(tiles.l, tiles.b, indexing="ij")
    index = tiles.index(l.ravel() + 360 * turns, b.ravel())
    np.testing.assert_array_equal(index, np.arange(tiles.l.size * tiles.b.size))


@given(windows(), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_points_outside_are_in_no_tile(tiles, at_l, at_b):
    l0, l1, b0, b1 = *tiles.l_edges[[0, -1]], *tiles.b_edges[[0, -1]]
    beside = l1 + 1e-6 + at_l * (360 - 2e-6 - (l1 - l0))
    assert tiles.index(beside % 360, tiles.b[0]) == -1
    assert tiles.index(tiles.l[0] % 360, b1 + 1e-6 + at_b) == -1
    assert tiles.index(tiles.l[0] % 360, b0 - 1e-6 - at_b) == -1


def test_edges_belong_to_the_tile_above_only():
    tiles = Tiles.cover((350, 370), (-1, 1), 0.5)
    l, b = np.meshgrid(tiles.l_edges, tiles.b_edges, indexing="ij")
    index = tiles.index(l % 360, b)
    expected = np.full(l.shape, -1)
    expected[:-1, :-1] = np.arange(tiles.l.size * tiles.b.size).reshape(tiles.shape)
    np.testing.assert_array_equal(index, expected)


def test_neighbouring_windows_share_no_point_and_lose_none():
    whole = Tiles.cover((355, 365), (-2, 2), 1)
    west, east = Tiles.cover((355, 359), (-2, 2), 1), Tiles.cover((-1, 5), (-2, 2), 1)
    l, b = np.meshgrid(np.linspace(355, 365, 41)[:-1] % 360, np.linspace(-2, 2, 17)[:-1], indexing="ij")
    in_west, in_east = west.index(l, b), east.index(l, b)
    assert ((in_west >= 0) ^ (in_east >= 0)).all()
    np.testing.assert_array_equal(whole.index(l, b), np.where(in_west >= 0, in_west, in_east + 4 * 4))


def test_points_without_position_are_in_no_tile():
    tiles = Tiles.cover((0, 360), (-80, 80), 10)
    np.testing.assert_array_equal(tiles.index(np.array([np.nan, 5.0, 5.0]), np.array([0.0, np.nan, 0.0])), [-1, -1, 8])


def test_columns_are_a_part_of_the_tiles():
    tiles = Tiles.cover((350, 370), (-2, 2), 2)
    part = tiles.columns(3, 7)
    np.testing.assert_array_equal(part.l, tiles.l[3:7])
    np.testing.assert_array_equal(part.area(), tiles.area()[3:7])


@pytest.mark.parametrize(
    ("l", "b", "size", "message"),
    [
        ((0, 1), (0, 1), 0.3, r"sky\.l: found 0 to 1 deg, which is 3\.333 tiles of 0\.3 deg"),
        ((0, 1), (0, 1.1), 0.5, r"sky\.b: found 0 to 1\.1 deg"),
        ((0, 1), (0, 1), 4, r"sky\.l: "),
    ],
)
def test_windows_are_whole_numbers_of_tiles(l, b, size, message):
    with pytest.raises(ValueError, match=message):
        Tiles.cover(l, b, size)


@given(st.integers(0, 359_999), st.integers(-90_000, 90_000))
def test_names_hold_the_position(l, b):
    name = sightline_name(l / 1000, b / 1000)
    assert sightline_position(name) == (pytest.approx(l / 1000, abs=1e-9), pytest.approx(b / 1000, abs=1e-9))
    assert set(name) <= set("lb_+-.0123456789")


def test_names_sort_as_the_longitudes_do():
    longitudes = np.arange(0.0, 360.0, 7.3)
    names = [sightline_name(l, 1.0) for l in longitudes]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("longitude", "latitude", "frame", "l", "b"),
    [
        # the definition of the frame in FK5 and its rotation to ICRS: Perryman et al. 1997, The Hipparcos Catalogue
        (266.40499, -28.93617, "icrs", 0.0, 0.0),
        (192.85948, 27.12825, "icrs", None, 90.0),
        (266.40510, -28.93617, "fk5", 0.0, 0.0),
        (0.0, 90.0, "icrs", 122.93192, 27.12825),
    ],
)
def test_frames_are_turned_into_galactic(longitude, latitude, frame, l, b):
    found_l, found_b = to_galactic(np.array([longitude]), np.array([latitude]), frame)
    assert found_b[0] == pytest.approx(b, abs=2e-3)
    if l is not None:
        assert (found_l[0] - l + 180) % 360 - 180 == pytest.approx(0, abs=2e-3)


def test_galactic_coordinates_stay_but_for_whole_turns():
    l, b = to_galactic(np.array([-10.0, 350.0, 370.0]), np.array([-5.0, 0.0, 5.0]), "galactic")
    np.testing.assert_allclose(l, [350.0, 350.0, 10.0])
    np.testing.assert_array_equal(b, [-5.0, 0.0, 5.0])


def test_an_unknown_frame_is_refused():
    with pytest.raises(ValueError, match="Galctic"):
        to_galactic(np.array([1.0]), np.array([1.0]), "Galctic")


def test_cartesian_is_that_of_astropy(rng):
    l, b, distance = rng.uniform(0, 360, 50), rng.uniform(-90, 90, 50), rng.uniform(0, 20, 50)
    expected = Galactic(l * u.deg, b * u.deg, distance * u.kpc).cartesian.xyz.to_value(u.kpc)
    np.testing.assert_allclose(np.stack(cartesian(l, b, distance)), expected, atol=1e-12)


def test_cartesian_broadcasts():
    x, y, z = cartesian(90.0, np.array([[0.0], [90.0]]), np.array([1.0, 2.0]))
    np.testing.assert_allclose(np.stack(np.broadcast_arrays(x, y, z))[1], [[1.0, 2.0], [0.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(np.stack(np.broadcast_arrays(x, y, z))[2], [[0.0, 0.0], [1.0, 2.0]], atol=1e-12)


def test_points_are_spread_evenly_over_each_tile():
    tiles = Tiles.cover((358.0, 362.0), (-1.0, 2.0), 0.5)
    l, b = tiles.points(4)
    assert l.shape == b.shape == (8, 6, 16)
    np.testing.assert_array_equal(tiles.index(l, b), np.arange(48).reshape(8, 6, 1) + np.zeros(16, int))
    np.testing.assert_allclose(l.mean(axis=-1), np.broadcast_to(tiles.l[:, None], (8, 6)))
    np.testing.assert_allclose(b.mean(axis=-1), np.broadcast_to(tiles.b, (8, 6)))
    assert len(np.unique(np.round(l + 1000 * b, 6))) == 48 * 16


@pytest.mark.parametrize("b", [("89 deg", "90 deg"), ("-90 deg", "-89 deg")])
def test_a_synthetic_sky_may_touch_a_pole(tmp_path, b):
    config = yaml.safe_load((Path(__file__).parent / "tiny.yaml").read_text())
    config["sky"] |= {"l": ["0 deg", "4 deg"], "b": list(b)}
    config["tile"] = {"size": "1 deg"}
    config["surveys"][0]["limits"] = {"J": "20 mag", "Ks": "20 mag"}  # few stars are there
    config["sightlines"] = {
        part: [{"l": f"{l} deg", "b": b[0] if b[0] != "-90 deg" else b[1]}] for part, l in (("train", 1), ("test", 2))
    }
    names = {"stars": "stars.parquet", "footprint": "f.nc", "truth": "t.nc", "planck": "planck.fits"}
    words = [word for name, file in names.items() for word in (f"--{name}", str(tmp_path / file))]
    text = read_settings(config).for_stage("observe_synthetic")
    assert main(["observe_synthetic", "--settings", text, "--seed", "1", *words]) == 0
    stars = pd.read_parquet(tmp_path / "stars.parquet")
    low, high = (float(end.split()[0]) for end in b)
    assert len(stars) > 0
    assert stars["b"].between(low, high).all()
    assert stars["l"].between(0, 4).all()
    sphere = hp.read_map(tmp_path / "planck.fits")
    nside = hp.npix2nside(len(sphere))
    pole = hp.ang2pix(nside, 45.0, np.sign(low) * 90.0, lonlat=True)
    assert sphere[pole] != hp.UNSEEN
