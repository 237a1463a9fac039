"""Star lists of any part of the sky: cells that cover it, and stars that do not depend on how it is cut."""

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import healpy as hp
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from galcarto.galaxy import field, synthesis
from galcarto.galaxy.components import load
from galcarto.galaxy.synthesis import StarModel

WINDOW = (359.6, 360.4), (1.0, 1.8)
SEED = 7


@cache
def model() -> StarModel:
    return StarModel(load("robin2003"), [{"J": 13.0, "Ks": 12.0}], bands=("J", "Ks"))


def draw(cell: int, seed: int = SEED) -> pd.DataFrame:
    """All stars of a cell."""
    return pd.concat(list(field.stars(model(), cell, seed)), ignore_index=True)


@cache
def small_model() -> StarModel:
    """Made in a moment, for other processes."""
    galaxy = load("robin2003")
    few = tuple(one for one in galaxy.components if one.name in ("thin5", "thick"))
    return StarModel(galaxy.model_copy(update={"components": few}), [{"J": 13.0, "Ks": 12.0}], bands=("J", "Ks"))


def draw_small(cell: int) -> pd.DataFrame:
    """As `draw`, in any process: the name is there, and the model is made once."""
    return pd.concat(list(field.stars(small_model(), cell, SEED)), ignore_index=True)


def cut(stars: pd.DataFrame, l_range: tuple[float, float], b_range: tuple[float, float]) -> pd.DataFrame:
    """Stars in a window."""
    inside = (stars["l"] - l_range[0]) % 360.0 < l_range[1] - l_range[0]
    return stars[inside & (stars["b"] >= b_range[0]) & (stars["b"] < b_range[1])]


def together(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One list, in the order of position."""
    return pd.concat(list(parts)).sort_values(["l", "b"], ignore_index=True)


# --- cells


@given(
    st.floats(-180.0, 360.0),
    st.floats(-90.0, 90.0),
    st.floats(1e-6, 1.0) | st.floats(1.0, 360.0),
    st.floats(1e-6, 1.0) | st.floats(1.0, 180.0),
    st.integers(0, 2**32),
)
@example(359.9, -0.1, 0.2, 0.2, 1)  # across l = 0
@example(-0.1, -0.1, 0.2, 0.2, 1)
@example(17.0, 89.99, 1.0, 0.01, 1)  # at a pole
@example(17.0, -90.0, 1e-3, 0.3, 1)
@example(0.0, 88.0, 359.0, 2.0, 1)
@example(45.0, 41.8, 1e-6, 1e-6, 1)  # where HEALPix changes its pattern
@example(0.0, -90.0, 360.0, 180.0, 1)
def test_cells_cover_their_window(l, b, width, height, seed):
    """Every position in the window, its corners among them, lies in one of the cells."""
    top = min(b + height, 90.0)
    rng = np.random.default_rng(seed)
    place_l = l + width * np.concatenate([rng.random(300), [0.0, 0.0, 1.0, 1.0], rng.random(50), np.zeros(50)])
    place_b = b + (top - b) * np.concatenate([rng.random(300), [0.0, 1.0, 0.0, 1.0], np.ones(50), rng.random(50)])
    found = field.cells((l, l + width), (b, top))
    needed = hp.ang2pix(field.NSIDE, place_l, np.clip(place_b, -90.0, 90.0), nest=True, lonlat=True)
    assert np.isin(needed, found).all()
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("window", [((40.0, 44.0), (1.0, 3.0)), ((358.0, 362.0), (-61.0, -58.0))])
def test_no_cell_is_far_from_its_window(window):
    (west, east), (south, north) = window
    found = field.cells(*window)
    l, b = hp.pix2ang(field.NSIDE, found, nest=True, lonlat=True)
    reach = 2 * np.degrees(hp.max_pixrad(field.NSIDE))
    assert ((b > south - reach) & (b < north + reach)).all()
    along = reach / np.cos(np.radians(max(abs(south), abs(north)) + reach))
    assert ((l - west + along) % 360.0 < east - west + 2 * along).all()
    area = len(found) * hp.nside2pixarea(field.NSIDE, degrees=True)
    assert area < (east - west + 2 * along) * (north - south + 2 * reach)


def test_the_whole_sky_is_all_cells():
    found = field.cells((0.0, 360.0), (-90.0, 90.0))
    np.testing.assert_array_equal(found, np.arange(hp.nside2npix(field.NSIDE)))


# --- stars


@pytest.mark.parametrize(("l", "b"), [(40.0, 2.0), (0.0, 0.0), (123.0, 89.9), (300.0, -89.9), (90.0, 41.8)])
def test_stars_lie_in_their_cell(l, b):
    cell = int(hp.ang2pix(field.NSIDE, l, b, nest=True, lonlat=True))
    stars = draw(cell)
    assert len(stars) > 20
    assert (hp.ang2pix(field.NSIDE, stars["l"], stars["b"], nest=True, lonlat=True) == cell).all()
    assert stars["l"].between(0.0, 360.0, inclusive="left").all()
    assert stars["l"].dtype == stars["b"].dtype == np.float64  # 32 bits are 0.1 arcsec at best
    bare = next(model().chunks(l, b, 1.0, np.random.default_rng(1)))
    assert list(stars.columns) == [*bare.columns, "l", "b"]


def test_stars_fill_their_cell_evenly():
    cell = int(hp.ang2pix(field.NSIDE, 5.0, 2.0, nest=True, lonlat=True))
    stars = pd.concat([draw(cell, seed) for seed in range(8)])
    assert len(stars) > 20_000
    for finer in (2, 8):
        inside = hp.ang2pix(field.NSIDE * finer, stars["l"], stars["b"], nest=True, lonlat=True) - cell * finer**2
        counts = np.bincount(inside, minlength=finer**2)
        assert len(counts) == finer**2
        assert stats.chisquare(counts).pvalue > 1e-4
    # to the smallest scales: no two stars in one place
    assert not stars.duplicated(["l", "b"]).any()
    # wherever they are, their distances and magnitudes are the same
    north = stars["b"] > np.median(stars["b"])
    for name in ("distance", "Ks", "age"):
        assert stats.ks_2samp(stars[name][north], stars[name][~north]).pvalue > 1e-4


def test_a_cell_has_the_stars_of_its_middle():
    """As many as the list of that direction, and as far: the cell's area is part of the number."""
    cell = int(hp.ang2pix(field.NSIDE, 5.0, 2.0, nest=True, lonlat=True))
    l, b = hp.pix2ang(field.NSIDE, cell, nest=True, lonlat=True)
    stars = pd.concat([draw(cell, seed) for seed in range(8)])
    area = 8 * hp.nside2pixarea(field.NSIDE, degrees=True)
    direct = model().draw(l, b, area, np.random.default_rng(1))
    assert abs(len(stars) - len(direct)) < 4 * np.sqrt(len(stars) + len(direct))
    for name in ("distance", "Ks"):
        assert stats.ks_2samp(stars[name], direct[name]).pvalue > 1e-4


def test_a_field_has_the_same_stars_however_it_is_cut():
    whole = together(cut(draw(cell), *WINDOW) for cell in field.cells(*WINDOW))
    assert len(whole) > 1000
    (west, east), (south, north) = WINDOW
    for columns, rows in ((1, 3), (2, 2)):
        l_edges, b_edges = np.linspace(west, east, columns + 1), np.linspace(south, north, rows + 1)
        tiles = [((l_edges[i], l_edges[i + 1]), (b_edges[j], b_edges[j + 1])) for i, j in np.ndindex(columns, rows)]
        parts = [cut(draw(cell), *tile) for tile in tiles for cell in field.cells(*tile)]
        pd.testing.assert_frame_equal(together(parts), whole)


def test_the_order_of_the_cells_does_not_matter():
    numbers = field.cells((40.0, 40.5), (1.0, 1.5))
    forth = {cell: draw(cell) for cell in numbers}
    back = {cell: draw(cell) for cell in numbers[::-1]}
    # taken by turns, too, each has its own random numbers
    first, second = (field.stars(model(), cell, SEED) for cell in numbers[:2])
    turns = dict(zip(numbers[:2], zip(*zip(first, second, strict=False), strict=True), strict=True))
    for cell in numbers:
        pd.testing.assert_frame_equal(forth[cell], back[cell])
    for cell, parts in turns.items():
        pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), forth[cell])


def test_cells_and_seeds_have_stars_of_their_own():
    cell, neighbour = field.cells((40.0, 40.5), (1.0, 1.5))[:2]
    lists = [draw(cell), draw(neighbour), draw(cell, SEED + 1)]
    for i, one in enumerate(lists):
        for other in lists[:i]:
            assert not np.isin(one["distance"], other["distance"]).mean() > 0.01
    # and a star's place is not that of a star of the same rank in another cell
    inside = [hp.ang2pix(hp.order2nside(29), s["l"], s["b"], nest=True, lonlat=True) % 4**20 for s in lists]
    for i, one in enumerate(inside):
        for other in inside[:i]:
            assert not np.isin(one, other).any()


def test_processes_do_not_change_the_stars():
    numbers = [int(cell) for cell in field.cells((40.0, 40.6), (1.0, 1.6))]
    serial = [draw_small(cell) for cell in numbers]
    assert sum(map(len, serial)) > 1000
    for workers in (1, 2):
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for one, other in zip(serial, pool.map(draw_small, numbers), strict=True):
                pd.testing.assert_frame_equal(one, other)


def test_parts_of_a_cell_are_bounded(monkeypatch):
    """Places follow the parts: a cell of many blocks has all its stars placed, none twice."""
    cell = int(hp.ang2pix(field.NSIDE, 5.0, 1.0, nest=True, lonlat=True))
    monkeypatch.setattr(synthesis, "BLOCK", 100)
    parts = list(field.stars(model(), cell, SEED))
    assert len(parts) > 2
    assert max(map(len, parts)) <= 1600
    stars = pd.concat(parts, ignore_index=True)
    assert (hp.ang2pix(field.NSIDE, stars["l"], stars["b"], nest=True, lonlat=True) == cell).all()
    assert not stars.duplicated(["l", "b"]).any()


def test_counts_of_tiles_are_the_expected_ones():
    """All stars of the halo: none is rejected, so the model's density is the expected number per deg2."""
    galaxy = load("robin2003")
    halo = next(one for one in galaxy.components if one.name == "halo")
    thin = halo.model_copy(update={"density": halo.density.model_copy(update={"local": 1e-6})})
    galaxy = galaxy.model_copy(update={"components": (thin,)})
    all_stars = StarModel(galaxy, [{"Ks": 60.0}], bands=("Ks",))
    l_edges, b_edges = np.arange(118.0, 122.1, 1.0), np.arange(30.0, 33.1, 1.0)
    cells = field.cells((l_edges[0], l_edges[-1]), (b_edges[0], b_edges[-1]))
    stars = pd.concat([part for cell in cells for part in field.stars(all_stars, cell, SEED)])
    counts, *_ = np.histogram2d(stars["l"], stars["b"], bins=(l_edges, b_edges))
    area = np.degrees(np.diff(np.sin(np.radians(b_edges))))[None, :] * np.diff(l_edges)[:, None]
    middle = 0.5 * (l_edges[1:] + l_edges[:-1]), 0.5 * (b_edges[1:] + b_edges[:-1])
    expected = np.array([[all_stars.density(l, b) for b in middle[1]] for l in middle[0]]) * area
    assert expected.min() > 300
    # several hundred stars a tile: the cells' steps in density are far below the Poisson noise
    off = (counts - expected) / np.sqrt(expected)
    assert np.abs(off).max() < 4.5
    assert stats.chi2.sf((off**2).sum(), off.size) > 1e-4
    assert stats.chi2.cdf((off**2).sum(), off.size) > 1e-4


def test_a_cell_without_stars_is_no_fault():
    bright = StarModel(load("robin2003"), [{"Ks": -4.0}], bands=("Ks",))
    cell = int(hp.ang2pix(field.NSIDE, 100.0, 70.0, nest=True, lonlat=True))
    assert sum(map(len, field.stars(bright, cell, SEED))) == 0
