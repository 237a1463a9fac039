"""Asking a cube: answers against the file's own numbers, in every mode, band, frame and form."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import healpy as hp
import netCDF4
import numpy as np
import pytest
import xarray as xr
from astropy.coordinates import Distance as Along
from astropy.coordinates import Galactic, Galactocentric, SkyCoord, SphericalRepresentation
from astropy.utils.masked import Masked
from conftest import cube_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_maps import EDGES, SAMPLES, TILES
from test_maps import write as write_cube

import galcarto
from galcarto.core.errors import UserError
from galcarto.core.sky import Tiles
from galcarto.dust.law import WIDE, band_extinction
from galcarto.maps import bands, healpix, lookup, query, zarr
from galcarto.maps import cube as cubes
from galcarto.maps.query import MISSING, MODES, Reason
from galcarto.surveys import GAIA, SURVEYS, TWOMASS

ATTRIBUTES = {"extinction_law": "G23", "survey_limits": "J < 16.3 mag, Ks < 14.8 mag"}
PLAIN = ("mean", "best", "sd", "median", "random_sample", "random_sample_per_pix")
KNOWN = st.tuples(  # points of the cube but those of its tile that is not observed
    st.floats(0.0, 1.999), st.floats(-1.0, 0.999), st.floats(0.0, 2.0)
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Three columns of two tiles through l = 0; tile (0, 1) not observed."""
    return write_cube(tmp_path_factory.mktemp("query") / "cube.nc", ATTRIBUTES)


@pytest.fixture(scope="module")
def cube(path):
    with galcarto.open_cube(path) as found:
        yield found.load()


def at(l, b, d=None) -> SkyCoord:
    """Points of galactic longitude and latitude, deg, and distance, kpc."""
    return SkyCoord(l * u.deg, b * u.deg, distance=None if d is None else d * u.kpc, frame="galactic")


def uniform(tiles: Tiles, edges: np.ndarray, samples: int = 3, seed: int = 1) -> xr.Dataset:
    """A cube in memory, other values in each tile."""
    density = np.random.default_rng(seed).gamma(1.0, 0.5, (samples, *tiles.shape, len(edges) - 1))
    return cube_of(tiles, edges, (density * np.diff(edges)).cumsum(axis=-1)).assign_attrs(ATTRIBUTES)


@pytest.fixture(scope="module")
def globe() -> xr.Dataset:
    """The whole sky in tiles of 30 degrees, from l = 10 on."""
    return uniform(Tiles.cover((10, 370), (-90, 90), 30), np.array([0.0, 0.5, 1.0, 3.0]))


def by_hand(cube: xr.Dataset, l: float, b: float, d: float, name: str = "extinction") -> np.ndarray:
    """The value of a tile at a distance, straight from 0 at the Sun through the outer edges."""
    line = cube[name].isel(l=int((l + 1.0) % 360), b=int(b >= 0.0))
    nodes = np.append(0.0, cube.distance_bounds[:, 1])
    runs = line.to_numpy().reshape(-1, len(nodes) - 1)
    return np.array([np.interp(d, nodes, np.append(0.0, run)) for run in runs])


# --- the extinction to a point


@given(KNOWN)
def test_the_mean_is_the_cubes_straight_between_the_edges(cube, point):
    assert cube.dust.query(at(*point)).to_value(u.mag) == pytest.approx(by_hand(cube, *point).item(), rel=1e-12, abs=0)


@given(KNOWN)
def test_samples_and_what_is_made_of_them(cube, point):
    samples = by_hand(cube, *point, "extinction_samples")
    ask = at(*point)
    np.testing.assert_allclose(cube.dust.query(ask, "samples").value, samples, rtol=1e-6)
    assert cube.dust.query(ask, "median").value == pytest.approx(np.median(samples), rel=1e-6)
    found = cube.dust.query(ask, "percentile", pct=[0, 16, 84, 100]).value
    np.testing.assert_allclose(found, np.percentile(samples, [0, 16, 84, 100]), rtol=1e-6)
    assert cube.dust.query(ask, "percentile", pct=16).value == found[1]
    # straight between the edges, the file's sd is never too small
    assert cube.dust.query(ask, "sd").value >= samples.std() * (1 - 1e-6)
    assert cube.dust.query(ask, "best") == cube.dust.query(ask, "mean")


def test_the_sd_is_that_of_the_samples_at_the_edges(cube):
    ask = at(np.full(4, 0.5), np.full(4, 0.5), EDGES[1:])
    np.testing.assert_array_equal(cube.dust.query(ask, "sd").value, cube.extinction_sd.isel(l=1, b=1))
    np.testing.assert_allclose(
        cube.dust.query(ask, "sd").value, cube.dust.query(ask, "samples").value.std(axis=-1), rtol=1e-5
    )


@given(st.floats(0.0, 1.999), st.floats(-1.0, 0.999), st.lists(st.floats(0.0, 2.0), min_size=2, max_size=6))
def test_extinction_grows_with_distance(cube, l, b, distances):
    d = np.sort(distances)
    ask = at(np.full(d.shape, l), np.full(d.shape, b), d)
    for options in ({}, {"interpolation": "linear"}, {"band": "G"}, {"mode": "median", "interpolation": "linear"}):
        assert (np.diff(cube.dust.query(ask, **options).value) >= -1e-12).all(), options
    assert (np.diff(cube.dust.query(ask, "samples").value, axis=0) >= -1e-6).all()


@given(KNOWN, st.sampled_from(["icrs", "fk4", "fk5", "galactocentric", "barycentricmeanecliptic"]))
def test_any_frame_gives_the_same(cube, point, frame):
    l, b, d = point
    # away from a border, which the rounding of a frame may cross, and from the Sun, where a point has no direction
    ask = at(np.floor(l) + 0.001 + 0.998 * (l % 1), np.floor(b) + 0.001 + 0.998 * (b % 1), max(d, 0.01) * 0.999)
    other = ask.transform_to(Galactocentric() if frame == "galactocentric" else frame)
    for options in ({}, {"interpolation": "linear"}, {"mode": "samples"}):
        expected = cube.dust.query(ask, **options).value
        np.testing.assert_allclose(cube.dust.query(other, **options).value, expected, rtol=1e-5, atol=1e-7)
    assert cube.dust.query(Galactic(ask.l, ask.b, distance=ask.distance)) == cube.dust.query(ask)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 1, 3), (0,)])
@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_shapes_are_the_coordinates(cube, rng, shape, interpolation):
    ask = at(rng.uniform(0, 2, shape), rng.uniform(-1, 1, shape), rng.uniform(0, 2, shape))
    how = {"interpolation": interpolation}
    for mode in PLAIN:
        for found in (cube.dust.query(ask, mode, **how), cube.dust.density(ask, mode, **how)):
            assert isinstance(found, u.Quantity)
            assert found.shape == shape, mode
            assert np.isfinite(found).all()
        assert cube.dust.profile(ask, mode, **how).shape == (*shape, 4)
    assert cube.dust.query(ask, "samples", **how).shape == (*shape, SAMPLES)
    assert cube.dust.profile(ask, "samples", **how).shape == (*shape, 4, SAMPLES)
    assert cube.dust.query(ask, "percentile", pct=50, **how).shape == shape
    assert cube.dust.query(ask, "percentile", pct=(16, 50, 84), **how).shape == (*shape, 3)
    assert cube.dust.density(ask, "samples", **how).shape == (*shape, SAMPLES)
    assert cube.dust.distance_at(ask, 0.1 * u.mag, **how).shape == shape
    assert cube.dust.distance_at(ask, 0.1 * u.mag, "samples", **how).shape == (*shape, SAMPLES)
    assert cube.dust.limit(ask, "Ks", 1.0, mode="percentile", pct=[5, 95], **how).shape == (*shape, 2)
    assert np.shape(cube.dust.reason(ask)) == shape
    assert cube.dust.reach(ask)[0].shape == shape
    assert cube.dust.query(ask).unit == u.mag
    assert cube.dust.density(ask).unit == u.mag / u.kpc


def test_a_profile_is_the_extinction_at_the_outer_edges(cube):
    l, b = np.array([0.5, 1.5, 359.5]), np.array([0.5, -0.5, -0.5])
    steps = at(l[:, None] + 0 * EDGES[1:], b[:, None] + 0 * EDGES[1:], 0 * l[:, None] + EDGES[1:])
    for options in ({}, {"mode": "samples"}, {"mode": "sd"}, {"band": "G"}, {"mode": "percentile", "pct": [16, 84]}):
        for how in ("nearest", "linear"):
            found = cube.dust.profile(at(l, b), **options, interpolation=how)
            np.testing.assert_allclose(found, cube.dust.query(steps, **options, interpolation=how), rtol=1e-6)
    one = cube.dust.profile(at(l, b), "random_sample", rng=5).value
    samples = cube.dust.profile(at(l, b), "samples").value
    assert (np.abs(samples - one[..., None]).max(axis=1) == 0).any(axis=-1).all()  # one and the same all along


def test_random_samples_are_samples_and_repeat(cube, rng):
    ask = at(rng.uniform(0, 1, 200), np.full(200, 0.5), rng.uniform(0, 2, 200))
    samples = cube.dust.query(ask, "samples").value
    each = cube.dust.query(ask, "random_sample", rng=1).value
    assert (samples == each[:, None]).any(axis=1).all()
    np.testing.assert_array_equal(each, cube.dust.query(ask, "random_sample", rng=np.random.default_rng(1)).value)
    assert (each != cube.dust.query(ask, "random_sample", rng=2).value).any()
    pixel = cube.dust.query(ask, "random_sample_per_pix", rng=1).value
    assert (samples == pixel[:, None]).all(axis=0).any()  # one for the whole tile
    assert not (samples == each[:, None]).all(axis=0).any()


# --- where there is no answer


def test_coordinates_without_distance_are_refused_where_one_is_needed(cube):
    for ask in (cube.dust.query, cube.dust.density):
        with pytest.raises(UserError, match="without distances; expected SkyCoord"):
            ask(at(0.5, 0.5))
    # and where it is not
    total = cube.extinction.isel(l=1, b=1, distance=-1)
    assert cube.dust.integrated(at(0.5, 0.5)).value == total
    assert np.isfinite(cube.dust.limit(at(0.5, 0.5), "Ks", 8.0))
    assert cube.dust.reason(at(0.5, 0.5)) == 0


def test_other_things_than_coordinates_are_refused(cube):
    for asked in (cube.dust.query, cube.dust.integrated, cube.dust.profile, cube.dust.reason, cube.dust.reach):
        with pytest.raises(TypeError, match="found tuple; expected a SkyCoord"):
            asked((0.5, 0.5, 1.0))


def test_outside_there_is_a_reason(cube):
    l = np.array([0.5, 5.0, 0.5, 359.5, 0.5, 0.5, 1.5, 0.5, np.nan])
    b = np.array([0.5, 0.5, 1.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0.5])
    d = np.array([1.0, 1.0, 1.0, 1.0, 2.1, np.nan, 1.2, 0.3, 1.0])
    ask = at(l, b, d)
    flags = cube.dust.reason(ask)
    partly = Reason.PARTLY_OBSERVED | Reason.STARS_RUN_OUT
    expected = [
        *(Reason(0), Reason.OUTSIDE, Reason.OUTSIDE, Reason.NOT_OBSERVED, Reason.BEYOND_GRID | Reason.BEYOND_DATA),
        *(Reason.NO_DISTANCE, partly | Reason.BEYOND_DATA, Reason.BEFORE_DATA, Reason.OUTSIDE),
    ]
    assert [Reason(flag) for flag in flags.tolist()] == expected
    missing = (flags & int(MISSING)) > 0
    for how in ("nearest", "linear"):
        for mode in PLAIN:
            for asked in (cube.dust.query, cube.dust.density):
                np.testing.assert_array_equal(np.isnan(asked(ask, mode, interpolation=how)), missing, mode)
        lost = missing & (flags & int(Reason.BEYOND_GRID | Reason.NO_DISTANCE) == 0)
        for asked in (cube.dust.distance_at(ask, 0.1 * u.mag, interpolation=how), cube.dust.reach(ask)[1]):
            np.testing.assert_array_equal(np.isnan(asked), lost)
    assert expected[6].text == "partly observed, stars run out, beyond data"
    assert Reason(0).text == ""


def test_the_reach_is_the_range_of_the_file_in_kpc(cube):
    near, far = cube.dust.reach(at(np.array([0.5, 1.5]), np.array([0.5, -0.5])))
    for found, name in ((near, "distance_min"), (far, "distance_max")):
        expected = [cube[name].isel(l=1, b=1).item(), cube[name].isel(l=2, b=0).item()]
        assert found.to_value(u.kpc) == pytest.approx(expected)


def test_a_negative_distance_has_no_answer(cube):
    ask = Galactic(SphericalRepresentation(0.5 * u.deg, 0.5 * u.deg, Along(-1 * u.kpc, allow_negative=True)))
    assert cube.dust.reason(ask) == Reason.NO_DISTANCE
    assert np.isnan(cube.dust.query(ask))
    assert np.isnan(cube.dust.query(ask, beyond="last"))


def test_masked_coordinates_have_no_answer(cube):
    l, d = (Masked([0.5, 0.5, 0.5], mask=mask) for mask in ([False, False, True], [False, True, False]))
    ask = at(l, np.full(3, 0.5), 2.0 * d)
    assert cube.dust.reason(ask).tolist() == [0, Reason.NO_DISTANCE, Reason.OUTSIDE]
    assert np.isnan(cube.dust.query(ask)).tolist() == [False, True, True]


def test_beyond_the_last_bin_its_edge_can_stand(cube):
    ask = at(0.5, 0.5, np.array([2.0, 2.1, 1000.0]))
    found = cube.dust.query(ask, beyond="last").value
    assert (found == cube.extinction.isel(l=1, b=1, distance=-1).item()).all()
    assert np.isnan(cube.dust.query(ask)).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "average"}, "mode: found 'average'; expected mean"),
        ({"interpolation": "cubic"}, "interpolation: found 'cubic'; expected nearest, linear"),
        ({"beyond": "zero"}, "beyond: found 'zero'; expected nan, last"),
        ({"mode": "percentile"}, "pct: found None; expected percentiles between 0 and 100"),
        ({"mode": "percentile", "pct": 101}, "pct: found 101"),
        ({"mode": "percentile", "pct": "all"}, "pct: found 'all'"),
        ({"band": "K"}, r"band: found K; expected V, J, H, Ks, G, BP, RP, E\(B-V\) or a wavelength"),
        ({"band": 2 * u.kg}, "band: found .*; expected something in um"),
        ({"band": 2 * u.mm}, "band: found .*; expected a wavelength of the law G23"),
        ({"band": "2mm"}, "band: found 2mm; expected a wavelength of the law G23"),
        ({"band": "nan um"}, "band: found nan um; expected V, J"),
        ({"band": np.nan * u.um}, "band: found nan um; expected a single band or wavelength"),
        ({"band": "0.75"}, "band: found 0.75; expected V, J"),
        ({"band": [1, 2] * u.um}, "band: found .*; expected a single band or wavelength"),
        ({"band": "G", "colour": 2 * u.kg}, "colour: found .*; expected something in mag"),
    ],
)
def test_what_makes_no_sense_is_refused(cube, options, message):
    with pytest.raises(UserError, match=message):
        cube.dust.query(at(0.5, 0.5, 1.0), **options)


# --- across the sky


@given(st.integers(1, 400), st.floats(-180.0, 360.0), st.floats(0.01, 1.0), st.booleans())
def test_bins_hold_what_bisection_says(number, first, step, even):
    edges = first + step * np.arange(number + 1) ** (1.0 if even else 1.5)
    beside = [np.nextafter(edges, side) for side in (-np.inf, np.inf)]
    values = np.concatenate([edges, *beside, 0.5 * (edges[1:] + edges[:-1]), [-1e9, 1e9]])
    found = np.searchsorted(edges, values, side="right") - 1
    np.testing.assert_array_equal(lookup.Bins(edges)(values), found)
    np.testing.assert_array_equal(lookup.Bins(edges, closed=True)(values), np.minimum(found, number - 1))
    assert lookup.Bins(edges)(np.array([np.nan])) == [-1]


@given(st.integers(0, 2), st.integers(0, 1), st.integers(0, 4), st.sampled_from(["mean", "sd", "median", "samples"]))
def test_linear_is_nearest_at_the_nodes(cube, i, j, k, mode):
    ask = at(TILES.l[i] % 360, TILES.b[j], EDGES[k])
    for asked in (cube.dust.query, cube.dust.density):
        a, b = (asked(ask, mode, interpolation=how).value for how in ("nearest", "linear"))
        np.testing.assert_array_equal(a, b)


@given(
    st.floats(15.0, 365.0),
    st.floats(-75.0, 74.9),
    st.floats(0.0, 3.0),
    st.sampled_from(["mean", "sd", "median", "samples"]),
)
def test_linear_is_bilinear_between_centres(globe, l, b, d, mode):
    """Through 0 and 360, where the last tile of the globe meets the first."""
    i, j = (l - 25.0) // 30.0, (b + 75.0) // 30.0
    u_, v = (l - 25.0) / 30.0 - i, (b + 75.0) / 30.0 - j
    total = 0.0
    for di, wi in ((0, 1 - u_), (1, u_)):
        for dj, wj in ((0, 1 - v), (1, v)):
            corner = at((25.0 + 30.0 * (i + di)) % 360, min(-75.0 + 30.0 * (j + dj), 75.0), d)
            total = total + wi * wj * globe.dust.query(corner, mode).value
    found = globe.dust.query(at(l % 360, b, d), mode, interpolation="linear").value
    np.testing.assert_allclose(found, total, rtol=1e-9, atol=1e-12)


def test_neighbours_that_are_not_there_leave_their_weight_to_the_others(cube):
    # in tile (1, 1), towards (0, 1), which is not observed, and up, where the cube ends
    ask = at(0.1, 0.9, 2.0)
    assert cube.dust.query(ask, interpolation="linear").value == pytest.approx(
        cube.dust.query(at(0.5, 0.5, 2.0)).value, rel=1e-12
    )
    # down: (1, 0) and (0, 0) are; u = 0.4 and v = 0.3
    ask, corners = at(0.1, 0.2, 2.0), {(1, 1): 0.6 * 0.7, (1, 0): 0.6 * 0.3, (0, 0): 0.4 * 0.3}
    total = sum(w * cube.extinction.isel(l=i, b=j, distance=-1).item() for (i, j), w in corners.items())
    assert cube.dust.query(ask, interpolation="linear").value == pytest.approx(total / sum(corners.values()), rel=1e-12)


def test_no_point_of_the_whole_sky_is_lost(globe, rng):
    l = np.concatenate([[10.0, np.nextafter(10.0, 0), 360.0, 0.0, -1e-17, 370.0], rng.uniform(0, 360, 500)])
    b = np.concatenate([[90.0, -90.0, 0.0, 30.0, -30.0, 89.9], rng.uniform(-90, 90, 500)])
    for how in ("nearest", "linear"):
        assert np.isfinite(globe.dust.query(at(l, b, 1.0), interpolation=how)).all()
    assert globe.dust.query(at(np.nextafter(10.0, 0), 0.0, 3.0)).value == globe.extinction[-1, 3, -1]
    assert globe.dust.query(at(10.0, 0.0, 3.0)).value == globe.extinction[0, 3, -1]  # a tile holds its lower edges


def test_a_part_of_a_cube_can_be_asked(cube):
    ask = at(np.array([0.5, 359.5]), -0.5, 1.3)
    found = cube.isel(l=slice(1, 3)).dust.query(ask)
    assert found[0] == cube.dust.query(ask)[0]
    assert np.isnan(found[1])
    with pytest.raises(UserError, match="l: found bins that leave gaps"):
        _ = cube.isel(l=[0, 2]).dust
    with pytest.raises(UserError, match="b: found bins that leave gaps or do not ascend"):
        _ = cube.isel(b=[1, 0]).dust
    with pytest.raises(UserError, match=r"distance: found bins from 0.5 kpc on; expected them from the Sun on"):
        _ = cube.isel(distance=slice(1, None)).dust
    with pytest.raises(UserError, match="expected l and b, or cell: select with slices or lists"):
        _ = cube.isel(l=0).dust
    with pytest.raises(UserError, match=r"found no quality; expected a cube of galcarto.open_cube"):
        _ = cube.drop_vars("quality").dust
    with pytest.raises(UserError, match="found no extinction_samples in the cube; expected it for this mode"):
        cube.drop_vars("extinction_samples").dust.query(ask, "median")


def test_blocks_change_nothing(globe, rng, monkeypatch):
    ask = at(rng.uniform(0, 360, (40, 5)), rng.uniform(-95, 90, (40, 5)).clip(-90), rng.uniform(0, 3.2, (40, 5)))
    asked = [(mode, how) for mode in MODES if mode != "percentile" for how in ("nearest", "linear")]

    def answers():
        found = [globe.dust.query(ask, mode, interpolation=how).value for mode, how in asked]
        found += [globe.dust.distance_at(ask, 0.7 * u.mag, mode, interpolation=how).value for mode, how in asked[:2]]
        return [*found, globe.dust.profile(ask, "sd").value]

    whole = answers()
    monkeypatch.setattr(query, "MEMORY", 3000)
    monkeypatch.setattr(query, "POINTS", 7)
    for a, b in zip(whole, answers(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isnan(whole[0]).any()


# --- along the sightline


@given(KNOWN, st.floats(0.0, 2.0), st.sampled_from(["nearest", "linear"]), st.sampled_from(["V", "Ks", "E(B-V)"]))
def test_the_density_sums_up_to_the_extinction(cube, point, near, how, band):
    l, b, far = point
    # within a bin the density is even: the trapezoids between all edges are exact
    steps = np.unique(np.concatenate([[near, far], EDGES]))
    steps = steps[(steps >= min(near, far)) & (steps <= max(near, far))]
    middles = 0.5 * (steps[1:] + steps[:-1])
    for mode in ("mean", "samples"):
        density = cube.dust.density(at(np.full(middles.shape, l), b, middles), mode, band, interpolation=how).value
        total = (density.T * np.diff(steps)).sum(axis=-1) * (1 if far >= near else -1)
        between = cube.dust.integrated(at(l, b, far), near * u.kpc, mode, band, interpolation=how).value
        np.testing.assert_allclose(between, total, rtol=1e-5, atol=1e-6)
        ends = [cube.dust.integrated(at(l, b, d), mode=mode, band=band, interpolation=how).value for d in (far, near)]
        np.testing.assert_allclose(between, ends[0] - ends[1], rtol=1e-5, atol=1e-6)


def test_what_lies_between_two_distances_has_its_own_sd(cube):
    samples = by_hand(cube, 0.5, 0.5, 2.0, "extinction_samples") - by_hand(cube, 0.5, 0.5, 1.2, "extinction_samples")
    ask = at(0.5, 0.5, 2.0)
    assert cube.dust.integrated(ask, 1200 * u.pc, "sd").value == pytest.approx(samples.std(), rel=1e-5)
    assert cube.dust.integrated(ask, 1.2 * u.kpc, "median").value == pytest.approx(np.median(samples), rel=1e-5)
    found = cube.dust.integrated(ask, [0.0, 1.2, 2.5] * u.kpc)
    assert found[0] == cube.dust.query(ask)
    assert np.isnan(found).tolist() == [False, False, True]
    with pytest.raises(UserError, match=r"start: found 1.2; expected a Quantity, such as 2 \* u.kpc"):
        cube.dust.integrated(ask, 1.2)


def test_an_edge_belongs_to_the_bin_behind_it(cube):
    density = cube.extinction_density.isel(l=1, b=1).to_numpy()
    found = cube.dust.density(at(0.5, 0.5, np.array([0.0, 0.49, 0.5, 1.99, 2.0]))).value
    np.testing.assert_array_equal(found, density[[0, 0, 1, 3, 3]])
    assert cube.dust.density(at(0.5, 0.5, 0.7), "sd").value == cube.extinction_density_sd[1, 1, 1]


@settings(max_examples=25)
@given(KNOWN, st.sampled_from(["V", "J", "G"]), st.sampled_from(["nearest", "linear"]))
def test_the_distance_of_an_extinction_leads_back(cube, point, band, how):
    l, b, d = point
    # the mean in G is that of the samples; a sample's distance leads back in every band
    for mode in ("mean", "samples") if band != "G" else ("samples",):
        if how == "linear" and (mode, band) == ("samples", "G"):
            continue  # converted before they are weighed
        value = cube.dust.query(at(l, b, d), mode, band, interpolation=how).value
        first = np.atleast_1d(value)[0]
        found = cube.dust.distance_at(at(l, b), first * u.mag, mode, band, interpolation=how).to_value(u.kpc)
        near = np.atleast_1d(found)[0]
        assert near <= d * (1 + 1e-6) + 1e-9
        back = np.atleast_1d(cube.dust.query(at(l, b, near), mode, band, interpolation=how).value)[0]
        assert back == pytest.approx(first, rel=1e-6, abs=1e-9)


def test_distances_that_are_not_reached(cube):
    end = cube.extinction.isel(l=1, b=1, distance=-1).item()
    ask = at(0.5, 0.5)
    assert cube.dust.distance_at(ask, 0 * u.mag) == 0 * u.kpc
    assert cube.dust.distance_at(ask, end * u.mag).value == pytest.approx(2.0, rel=1e-12)
    assert cube.dust.distance_at(ask, (end + 1e-6) * u.mag) == np.inf * u.kpc
    found = cube.dust.distance_at(ask, [0.1, 100.0] * u.mag)  # coordinates and values broadcast
    assert np.isinf(found).tolist() == [False, True]
    # percentiles are distances of samples, also where some of them are not reached
    level = float(np.median(cube.extinction_samples.isel(l=1, b=1, distance=-1))) * u.mag
    samples = cube.dust.distance_at(ask, level, "samples").value
    assert 0 < np.isinf(samples).sum() < SAMPLES
    shares = cube.dust.distance_at(ask, level, "percentile", pct=[10, 99]).value
    assert shares[0] in samples
    assert np.isinf(shares[1])
    assert cube.dust.distance_at(ask, level, "median").value in samples
    with pytest.raises(UserError, match="extinction: found -1 mag; expected 0 or more"):
        cube.dust.distance_at(ask, -1 * u.mag)
    with pytest.raises(UserError, match="mode: found 'sd'; expected mean, best, median, percentile, samples"):
        cube.dust.distance_at(ask, level, "sd")


def test_the_first_of_several_distances_is_taken(cube):
    flat = cube.copy()
    flat["extinction"] = cube.extinction.copy(data=np.broadcast_to([0.0, 1.0, 1.0, 2.0], (3, 2, 4)))
    found = flat.dust.distance_at(at(0.5, 0.5), [0.0, 1e-9, 1.0, 1.5] * u.mag).value
    np.testing.assert_allclose(found, [0.0, 0.5, 1.0, 1.75], atol=1e-8)


# --- a cube in the hands of xarray


def halves(cube: xr.Dataset) -> list[xr.Dataset]:
    return [cube.isel(l=slice(0, 1)), cube.isel(l=slice(1, None))]


@pytest.mark.filterwarnings("ignore:In a future version of xarray:FutureWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda cube: xr.concat(halves(cube), "l"),
        lambda cube: xr.concat([cube.isel(b=[0]), cube.isel(b=[1])], "b"),
        lambda cube: xr.combine_by_coords(halves(cube)),
        lambda cube: xr.combine_nested([halves(cube)], ["b", "l"]),
        lambda cube: xr.merge(halves(cube)),
        lambda cube: cube.where(cube.quality & query.quality.NOT_OBSERVED == 0),
        lambda cube: cube.sel(l=slice(359, 362)).isel(b=slice(None)),
        lambda cube: cube.assign(quality=cube.quality.astype("f4")),
        lambda cube: cube.transpose("distance", "b", "l", ...),
    ],
    ids=["concat", "concat_b", "combine_by_coords", "combine_nested", "merge", "where", "sel", "astype", "transpose"],
)
def test_a_cube_answers_after_what_xarray_does(path, change):
    ask = at(np.array([0.5, 359.5, 1.5, 359.5]), np.array([0.5, -0.5, -0.5, 0.5]), 1.2)
    with galcarto.open_cube(path) as cube:
        changed = change(cube)
        for mode in ("mean", "sd", "samples"):
            np.testing.assert_array_equal(changed.dust.query(ask, mode), cube.dust.query(ask, mode))
        np.testing.assert_array_equal(changed.dust.reason(ask), cube.dust.reason(ask))


def test_a_file_with_a_fill_value_of_the_quality_answers(path, tmp_path):
    with galcarto.open_cube(path) as cube:
        expected = cube.dust.query(at(0.5, 0.5, 1.2))
        encoding = {"quality": {"dtype": "u1", "_FillValue": 255}}
        cube.where(cube.l > 360).to_netcdf(tmp_path / "other.nc", encoding=encoding)
    with galcarto.open_cube(tmp_path / "other.nc") as cube:
        assert cube.quality.dtype.kind == "f"
        assert cube.dust.query(at(0.5, 0.5, 1.2)) == expected
        assert cube.dust.reason(at(359.5, -0.5, 1.2)) == Reason.NOT_OBSERVED
        assert np.isnan(cube.dust.query(at(359.5, -0.5, 1.2)))


def test_pixels_answer_after_what_xarray_does(forms):
    _, _, pixels = forms
    ask = at(np.array([0.0, 1.0]), np.array([0.3, -0.7]), 1.3)
    joined = xr.concat([pixels.isel(cell=slice(0, 30)), pixels.isel(cell=slice(30, None))], "cell")
    for one in (joined, pixels.where(pixels.quality >= 0)):
        assert one.crs.dims == ()
        np.testing.assert_array_equal(one.dust.query(ask), pixels.dust.query(ask))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cube: cube.where(cube.distance < 1), "quality: found dimensions l, b, distance; expected l, b"),
        (lambda cube: xr.concat([cube, cube], "map"), "quality: found dimensions map, l, b; expected l, b"),
        (lambda cube: cube.assign(quality=cube.quality + 0.5), "quality: found [01].5; expected sums of flags"),
        (lambda cube: cube.assign(quality=cube.quality.astype(str)), "quality: found type <U.*; expected integers"),
        (lambda cube: cube.assign(extinction=cube.extinction[..., 0]), "extinction: found dimensions l, b; expected"),
        (lambda cube: cube.isel(distance=0), "distance_bounds: found dimensions bounds; expected distance, bounds"),
        (
            lambda cube: xr.concat(halves(cube.reset_coords()), "l", data_vars="all"),
            "distance_bounds: found dimensions l, dist",
        ),
    ],
)
def test_a_cube_that_cannot_answer_says_why(cube, change, message):
    with pytest.raises(UserError, match=message):
        change(cube).dust.query(at(0.5, 0.5, 0.7))


# --- bands


def test_bands_follow_the_law_of_the_cube(cube):
    ask = at(np.array([0.5, 1.5]), np.array([0.5, -0.5]), 2.0)
    a_v = cube.dust.query(ask)
    for band in ("J", "H", "Ks"):
        wavelength = TWOMASS.bands[band].wavelength
        k = band_extinction("G23", 3.1, {band: wavelength}, np.array(1.0), np.array(1.0)).item()
        for mode in ("mean", "sd", "median"):
            expected = k * cube.dust.query(ask, mode).value
            np.testing.assert_allclose(cube.dust.query(ask, mode, band).value, expected, rtol=1e-12)
        np.testing.assert_allclose(cube.dust.query(ask, band=wavelength * u.um).value, k * a_v.value, rtol=1e-12)
        np.testing.assert_allclose(cube.dust.density(ask, band=band), k * cube.dust.density(ask), rtol=1e-12)
    np.testing.assert_allclose(cube.dust.query(ask, band="E(B-V)") * 3.1, a_v, rtol=1e-12)
    # another R_V, another law
    other = cube.assign_attrs(r_v=4.5, extinction_law="CCM89")
    assert abs((other.dust.query(ask, band="Ks")[0] / a_v[0]).value / k - 1.0) > 0.02
    assert (other.dust.query(ask) == a_v).all()


@pytest.mark.parametrize("band", ["G", "BP", "RP"])
@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_wide_bands_are_converted_sample_by_sample(cube, band, colour):
    ask = at(np.array([0.5, 1.5]), np.array([0.5, -0.5]), 2.0)
    samples = cube.dust.query(ask, "samples").value
    converted = band_extinction("G23", 3.1, {band: 0.6}, np.array(colour), samples)[..., 0]
    for mode, expected in (
        ("samples", converted),
        ("mean", converted.mean(axis=-1)),
        ("sd", converted.std(axis=-1)),
        ("median", np.median(converted, axis=-1)),
    ):
        found = cube.dust.query(ask, mode, band, colour=colour * u.mag).value
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=5e-5)  # mag: the table's steps
    with pytest.raises(UserError, match=f"band: found {band}; expected another for a density"):
        cube.dust.density(ask, band=band)


def test_each_star_has_its_own_colour(cube, rng):
    ask = at(rng.uniform(0, 2, 6), rng.uniform(-1, 1, 6), 1.9)
    colour = np.array([0.0, 2.5, 1.3, np.nan, 50.0, -20.0])
    for form in (colour, colour * u.mag, Masked(colour, mask=np.isnan(colour)), np.ma.masked_invalid(colour)):
        for options in ({}, {"mode": "sd"}, {"mode": "median", "interpolation": "linear"}, {"mode": "samples"}):
            found = cube.dust.query(ask, band="G", colour=form, **options)
            one = [cube.dust.query(ask[i], band="G", colour=colour[i], **options).value for i in range(6)]
            np.testing.assert_allclose(found.value, one, rtol=1e-9)
            assert np.isfinite(found[:3]).all()
            assert np.isnan(found[3:]).all()
        flags = [0, 0, 0, Reason.NO_COLOUR, Reason.COLOUR_OUT_OF_RANGE, Reason.COLOUR_OUT_OF_RANGE]
        assert (cube.dust.reason(ask, "G", form) - cube.dust.reason(ask)).tolist() == flags
        assert (cube.dust.reason(ask, "Ks", form) == cube.dust.reason(ask)).all()
    assert all(MISSING & flag for flag in flags[3:])
    assert (cube.dust.query(ask, band="Ks", colour=colour) == cube.dust.query(ask, band="Ks")).all()
    # two colours, as one has in a table of two
    found = cube.dust.query(ask[:2], band="G", colour=colour[:2])
    one = [cube.dust.query(ask[i], band="G", colour=colour[i]).value for i in range(2)]
    np.testing.assert_allclose(found.value, one, rtol=1e-9)
    # one point, many colours; distances that they lead to
    assert cube.dust.query(ask[0], band="G", colour=colour).shape == (6,)
    assert cube.dust.profile(ask, band="BP", colour=colour).shape == (6, 4)
    level = cube.dust.query(ask, "samples", "G", colour=colour)[:, 0]
    found = cube.dust.distance_at(ask, np.nan_to_num(level), "samples", "G", colour=colour)[:, 0]
    np.testing.assert_allclose(found.value, [1.9, 1.9, 1.9, np.nan, np.nan, np.nan], rtol=1e-6)
    with pytest.raises(UserError, match=r"found coordinates of shape \(6,\) and values of shape \(2,\); expected one"):
        cube.dust.query(ask, band="G", colour=[0.5, 1.0])
    with pytest.raises(UserError, match="colour: found 'red'; expected something in mag"):
        cube.dust.query(ask, band="G", colour="red")


def test_many_colours_are_those_of_each(cube):
    ask, colours = at(0.5, 0.5, 2.0), np.linspace(-0.06, 2.5, 1000)
    for band in ("G", "BP", "RP"):
        a_v = cube.dust.query(ask, "samples").value
        exact = band_extinction("G23", 3.1, {band: np.nan}, colours[:, None], a_v)[..., 0]
        found = cube.dust.query(ask, "samples", band, colour=colours).value
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-4)


def test_the_bands_are_those_of_the_file(cube, monkeypatch):
    ask = at(0.5, 0.5, 2.0)
    expected = {band: cube.dust.query(ask, band=band) for band in ("J", "Ks", "G")}
    told = bands.described({"J": 1.0, "Z": 0.9, "G": 0.62}, WIDE)
    assert told == {"bands": '{"J": 1.0, "Z": 0.9, "G": "Gaia EDR3"}'}
    own = cube.assign_attrs(told)
    assert own.dust.query(ask, band="J") == cube.dust.query(ask, band=1.0 * u.um)
    assert own.dust.query(ask, band="Z") == cube.dust.query(ask, band=0.9 * u.um)
    assert own.dust.query(ask, band="G") == expected["G"]
    with pytest.raises(UserError, match=r"band: found Ks; expected V, J, Z, G, E\(B-V\) or a wavelength"):
        own.dust.query(ask, band="Ks")
    # a G that is not Gaia's
    other = cube.assign_attrs(bands='{"G": 0.48}')
    assert other.dust.query(ask, band="G", colour=np.nan) == cube.dust.query(ask, band=0.48 * u.um)
    # a survey that is added changes no answer of an old file
    monkeypatch.setitem(SURVEYS, "new", replace(TWOMASS, bands={"J": replace(TWOMASS.bands["J"], wavelength=9.0)}))
    for one in (cube, cube.assign_attrs(survey="2MASS, Gaia DR3")):
        for band, value in expected.items():
            assert one.dust.query(ask, band=band) == value
    with pytest.raises(UserError, match=r"band: found J; expected V, E\(B-V\) or a wavelength"):
        cube.assign_attrs(survey="2MASS, Another").dust.query(ask, band="J")
    for bad in ("J, Ks", "[1]", '{"J": "blue"}', '{"J": -1}', 3):
        with pytest.raises(UserError, match=r"bands: found .* expected JSON of each band's wavelength"):
            cube.assign_attrs(bands=bad).dust.query(ask, band="J")
    assert {name: survey for survey in bands.FORMER.values() for name in survey}.keys() == {
        name for survey in (TWOMASS, GAIA) for name in survey.bands
    }
    assert bands.FORMER["2MASS"] == {name: band.wavelength for name, band in TWOMASS.bands.items()}


@pytest.mark.parametrize("text", ["0.75um", "0.75 um", "750nm", "7500 Angstrom"])
def test_a_wavelength_may_be_text(cube, text):
    ask = at(0.5, 0.5, 2.0)
    assert cube.dust.query(ask, band=text).value == pytest.approx(cube.dust.query(ask, band=0.75 * u.um).value)


def test_the_table_of_wide_bands_is_fine_enough():
    thick = np.linspace(0.0, 60.0, 2401)
    for band in ("G", "BP", "RP"):
        table = band_extinction("G23", 3.1, {band: 0.6}, np.array(2.5), query.WIDE_GRID)[..., 0]
        exact = band_extinction("G23", 3.1, {band: 0.6}, np.array(2.5), thick)[..., 0]
        np.testing.assert_allclose(np.interp(thick, query.WIDE_GRID, table), exact, rtol=0, atol=3e-5)


def test_bands_need_the_law_in_the_file(cube):
    with pytest.raises(UserError, match="found no attribute extinction_law in the cube"):
        cube.drop_attrs(deep=False).assign_attrs(r_v=3.1).dust.query(at(0.5, 0.5, 1.0), band="Ks")


# --- how far a star is seen


@given(st.floats(0.0, 1.999), st.floats(-1.0, 0.999), st.floats(3.0, 12.0), st.sampled_from(["J", "Ks", "G", "V"]))
def test_at_the_limit_a_star_is_as_faint_as_can_be(cube, l, b, magnitude, band):
    faint = 15.0
    for how in ("nearest", "linear"):
        found = cube.dust.limit(at(l, b), band, magnitude, faint, interpolation=how)
        run = at(l, b, min(found.value, 2.0))
        # the mean run of A_V, converted
        a_v = cube.dust.query(run, interpolation=how).value
        dimmed = np.interp(
            a_v, query.WIDE_GRID, band_extinction("G23", 3.1, {band: 0.55}, np.array(1.0), query.WIDE_GRID)[..., 0]
        )
        if band != "G":
            dimmed = cube.dust.query(run, band=band, interpolation=how).value
        apparent = magnitude + 5 * np.log10(run.distance.to_value(u.pc) / 10) + dimmed
        if np.isinf(found):
            assert apparent < faint
        else:
            assert apparent == pytest.approx(faint, abs=1e-9)


def test_the_limit_is_the_surveys_unless_another_is_given(cube):
    ask = at(0.5, 0.5)
    assert cube.dust.limit(ask, "Ks", 5.0) == cube.dust.limit(ask, "Ks", 5.0, 14.8)
    assert cube.dust.limit(ask, "J", 5.0) == cube.dust.limit(ask, "J", 5.0 * u.mag, 16.3 * u.mag)
    assert cube.dust.limit(ask, "Ks", 5.0, 13.0) < cube.dust.limit(ask, "Ks", 5.0)
    with pytest.raises(UserError, match=r"faint: found no limit in G in the cube \(J < 16.3 mag, Ks < 14.8 mag\)"):
        cube.dust.limit(ask, "G", 5.0)
    fainter = cube.dust.limit(ask, "Ks", np.array([2.0, 4.0, 6.0, 8.0]))  # coordinates and values broadcast
    assert fainter.shape == (4,)
    assert fainter[0] == np.inf * u.kpc
    assert (np.diff(fainter[1:]) < 0).all()
    # without dust it is the distance modulus
    clear = cube.copy()
    clear["extinction"] = 0.0 * cube.extinction
    assert clear.dust.limit(ask, "Ks", 5.0).to_value(u.pc) == pytest.approx(10 ** (0.2 * (14.8 - 5.0) + 1), rel=1e-12)
    samples = cube.dust.limit(ask, "Ks", 6.0, mode="samples")
    assert samples.min() < cube.dust.limit(ask, "Ks", 6.0, mode="median") < samples.max()


# --- other forms of the cube


def smooth(folder: Path) -> Path:
    """A cube in tiles of half a degree whose dust changes slowly across the sky."""
    tiles, edges, samples = Tiles.cover((357, 363), (-3, 3), 0.5), np.linspace(0.0, 2.0, 9), 8
    rng = np.random.default_rng(3)
    l, b = np.meshgrid(tiles.l, tiles.b, indexing="ij")
    shape = (1.0 + 0.1 * np.cos(np.radians(20 * l)) + 0.1 * np.sin(np.radians(30 * b))).ravel()
    drawn = shape[:, None, None] * rng.gamma(2.0, 0.2, (1, samples, 8)).cumsum(axis=2)
    number = len(drawn)
    half, ones = np.full((number, 8), 0.5), np.ones(number)
    given = cubes.Strip(
        drawn, 1000 * half, half, 0.5 * ones, 0.5 * ones, ones, 100 * ones, tiles.area().ravel(), tiles.area().ravel()
    )
    cubes.write(
        folder / "cube.nc",
        tiles,
        edges,
        samples,
        [(0, cubes.summarise(given, edges, 20.0))],
        {"band": "V", "r_v": 3.1, **ATTRIBUTES},
    )
    return folder / "cube.nc"


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """The same cube as netCDF, Zarr and HEALPix pixels."""
    folder = tmp_path_factory.mktemp("forms")
    with galcarto.open_cube(smooth(folder)) as cube:
        zarr.write(folder / "cube.zarr", cube)
        healpix.write(folder / "cube_healpix.nc", cube, None, {})
        with (
            galcarto.open_cube(folder / "cube.zarr") as store,
            galcarto.open_cube(folder / "cube_healpix.nc") as pixels,
        ):
            yield cube, store, pixels


def test_the_forms_of_a_cube_give_the_same(forms, rng):
    cube, store, pixels = forms
    ask = at(rng.uniform(-2.4, 2.4, 300), rng.uniform(-2.4, 2.4, 300), rng.uniform(0, 2.0, 300))
    for options in (
        {},
        {"mode": "sd"},
        {"mode": "median"},
        {"band": "Ks"},
        {"band": "G"},
        {"mode": "percentile", "pct": [16, 84]},
    ):
        for how, close in (("nearest", 0.05), ("linear", 0.005)):
            expected = cube.dust.query(ask, **options, interpolation=how).value
            np.testing.assert_array_equal(store.dust.query(ask, **options, interpolation=how).value, expected)
            # pixels are not where the tiles are: the dust changes by up to 5 % from a tile to the next
            found = pixels.dust.query(ask, **options, interpolation=how).value
            np.testing.assert_allclose(found, expected, rtol=close, atol=1e-6)
    expected = cube.dust.distance_at(ask, 1 * u.mag, interpolation="linear").value
    np.testing.assert_allclose(
        pixels.dust.distance_at(ask, 1 * u.mag, interpolation="linear").value, expected, rtol=0.02
    )


def test_a_pixel_answers_for_its_points(forms):
    _, _, pixels = forms
    nside = 2 ** int(pixels.crs.attrs["refinement_level"])
    rng = np.random.default_rng(4)
    l, b = rng.uniform(-2.4, 2.4, 100), rng.uniform(-2.4, 2.4, 100)
    held = hp.ang2pix(nside, l, b, nest=True, lonlat=True)
    index = pixels.healpix_index.to_numpy()
    rows = [int(np.flatnonzero(index == one).item()) for one in held]
    np.testing.assert_array_equal(pixels.dust.query(at(l, b, 2.0)).value, pixels.extinction[rows, -1])
    # stored the other way round, and numbered in rings
    back = pixels.isel(cell=slice(None, None, -1))
    np.testing.assert_array_equal(back.dust.query(at(l, b, 2.0)), pixels.dust.query(at(l, b, 2.0)))
    rings = pixels.copy()
    rings["healpix_index"] = pixels.healpix_index.copy(data=hp.nest2ring(nside, index))
    rings["crs"] = pixels.crs.assign_attrs(indexing_scheme="ring")
    for how in ("nearest", "linear"):
        for mode in ("mean", "samples"):
            a, b_ = (one.dust.query(at(l, b, 1.3), mode, interpolation=how).value for one in (rings, pixels))
            np.testing.assert_allclose(a, b_, rtol=1e-12)


def test_pixels_that_are_not_there_have_no_answer(forms):
    _, _, pixels = forms
    ask = at(np.array([0.0, 90.0, np.nan]), np.array([0.0, 0.0, 0.0]), 1.0)
    for how in ("nearest", "linear"):
        assert np.isnan(pixels.dust.query(ask, interpolation=how)).tolist() == [False, True, True]
    assert pixels.dust.reason(ask).tolist()[1:] == [Reason.OUTSIDE, Reason.OUTSIDE]
    # one pixel alone answers for itself
    one = pixels.isel(cell=[20])
    centre = at(one.l.to_numpy(), one.b.to_numpy(), 1.0)
    assert one.dust.query(centre, interpolation="linear") == one.dust.query(centre)
    corner = hp.boundaries(2 ** int(pixels.crs.attrs["refinement_level"]), int(one.healpix_index[0]), nest=True)
    l, b = hp.vec2ang(0.999 * corner.T + 0.001 * corner.mean(axis=1), lonlat=True)
    np.testing.assert_allclose(
        one.dust.query(at(l, b, 1.0), interpolation="linear"), one.dust.query(centre).repeat(4), rtol=1e-12
    )


def test_a_pixel_answers_alone_where_healpy_names_others_that_are_not_there(forms, monkeypatch):
    _, _, pixels = forms
    nowhere = np.full((2, 4), -1), np.full((2, 4), 0.25)
    monkeypatch.setattr(lookup.PixelSightlines, "around", lambda *_: nowhere)
    ask = at(np.array([0.0, 1.0]), np.array([0.3, -0.7]), 1.3)
    np.testing.assert_array_equal(pixels.dust.query(ask, interpolation="linear"), pixels.dust.query(ask))


def test_the_numbering_of_pixels_is_not_guessed(forms):
    _, _, pixels = forms
    for attrs in (
        {},
        {"refinement_level": 6},
        {"indexing_scheme": "nested"},
        {"indexing_scheme": "zuniq", "refinement_level": 6},
    ):
        other = pixels.copy()
        other["crs"] = xr.DataArray(0, attrs=attrs)
        with pytest.raises(UserError, match="expected 'nested' or 'ring', which is not guessed"):
            _ = other.dust


# --- memory


QUESTIONS = r"""
import re, sys
import astropy.units as u, numpy as np
from astropy.coordinates import SkyCoord
import galcarto
cube = galcarto.open_cube(sys.argv[1])
print(cube.nbytes)
k = np.arange(10)
ask = SkyCoord((0.25 + 10.5 * k) * u.deg, (-19.75 + 3.5 * k) * u.deg, distance=1.0 * u.kpc, frame="galactic")
for mode in ("mean", "sd", "median", "samples"):
    for interpolation in ("nearest", "linear"):
        assert np.isfinite(cube.dust.query(ask, mode, interpolation=interpolation)).all(), mode
print(cube.dust.query(ask, band="G")[3].value, cube.dust.limit(ask, "Ks", -1.61).shape)
print(cube.dust.reason(ask).tolist())
# its own peak: that of getrusage counts the process which it was forked from
print(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read()).group(1))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a process's peak is read from /proc")
def test_ten_sightlines_of_ten_gigabytes_stay_small(tmp_path):
    """What is not written takes no room in a file of chunks: only ten sightlines are."""
    tiles, edges = Tiles.cover((0, 275), (-20, 20), 0.5), np.linspace(0.0, 10.0, 301)
    path = tmp_path / "large.nc"
    with netCDF4.Dataset(path, "w") as file:
        coordinates = {
            **cubes.tile_coordinates(tiles),
            **cubes.distance_coordinate(edges),
            **cubes.sample_coordinate(100),
        }
        variables = cubes.create(file, coordinates, cubes.VARIABLES, {"l": 1}, {"l": 1, "b": 1})
        file.setncatts({"band": "V", "r_v": 3.1, "Conventions": "CF-1.13", **ATTRIBUTES})
        grown = np.linspace(0.01, 3.0, 300)
        for k in range(10):
            i, j = 21 * k, 7 * k
            for name, (dims, *_) in cubes.VARIABLES.items():
                value = {"quality": 0, "stars": 100}.get(name, grown if "distance" in dims else 1.0)
                place = {"sample": slice(None), "l": i, "b": j, "distance": slice(None)}
                variables[name][tuple(place[d] for d in dims)] = value
    done = subprocess.run([sys.executable, "-c", QUESTIONS, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    size, _, flags, peak = done.stdout.splitlines()
    assert int(size) > 10e9
    assert path.stat().st_size < 100e6
    assert flags == str([0] * 10)
    assert int(peak) < 300_000, f"{int(peak) / 1000:.0f} MB resident"
