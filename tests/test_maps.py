"""The cube, its file, and the view from above."""

import astropy.units as u
import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from galcarto import open_cube
from galcarto.core.sky import Tiles
from galcarto.maps import cube, faceon
from galcarto.maps.cube import NOT_OBSERVED, PARTLY_OBSERVED, POOR_FIT, STARS_RUN_OUT, UNLIKE_TRAINING, Strip
from galcarto.maps.grid import edges_of

TILES = Tiles.cover((359, 362), (-1, 1), 1)  # three columns of two
EDGES = np.linspace(0.0, 2.0, 5)
SAMPLES = 16


def strip(tiles: int, seed: int = 1, **changes) -> Strip:
    rng = np.random.default_rng(seed)
    values = {
        "samples": rng.gamma(30.0, 0.01, (tiles, SAMPLES, 4)).cumsum(axis=2),
        "stars_beyond": np.tile([100.0, 80.0, 50.0, 30.0], (tiles, 1)),
        "contraction": np.full((tiles, 4), 0.5),
        "out_of_distribution": np.linspace(0.1, 0.9, tiles),
        "fit_p_value": np.linspace(0.2, 0.8, tiles),
        "fit_chi2": np.linspace(0.9, 1.1, tiles),
        "stars": np.arange(tiles) + 100,
        "area": np.full(tiles, 1.0),
        "full_area": np.full(tiles, 1.0),
    }
    return Strip(**(values | changes))


def two_strips():
    """The first two columns and the third; tile (0, 1) not observed, tile (2, 0) in part and short of stars."""
    first, second = strip(4), strip(2, seed=2)
    first.samples[1], first.stars_beyond[1], first.stars[1], first.area[1] = np.nan, 0.0, 0, 0.0
    for values in (first.contraction, first.out_of_distribution, first.fit_p_value, first.fit_chi2):
        values[1] = np.nan
    second.stars_beyond[0], second.area[0] = [40.0, 25.0, 5.0, 1.0], 0.6
    return first, second


def write(path, attributes=None):
    first, second = two_strips()
    blocks = [(0, cube.summarise(first, EDGES, 20.0)), (2, cube.summarise(second, EDGES, 20.0))]
    cube.write(path, TILES, EDGES, SAMPLES, blocks, {"band": "V", "r_v": 3.1} | (attributes or {}))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cube") / "cube.nc")


@pytest.fixture
def opened(path):
    with open_cube(path) as found:
        yield found


# --- reach


def sharp(tiles: int) -> np.ndarray:
    """Samples that agree: A_V of 1 to 4 mag in all tiles."""
    return np.tile([1.0, 2.0, 3.0, 4.0], (tiles, 5, 1))


def test_a_map_reaches_as_far_as_stars_and_contraction():
    beyond = np.array(
        [[100.0, 90.0, 75.0, 30.0], [100.0, 50.0, 19.9, 1.0], [19.0, 10.0, 5.0, 0.0], [100.0, 90.0, 80.0, 70.0]]
    )
    contraction = np.full(beyond.shape, 0.5)
    contraction[3] = 0.5, 0.95, 0.5, 1.0  # an unconstrained bin in between does not end it
    near, far = cube.trusted_range(sharp(4), beyond, contraction, EDGES, 20.0)
    np.testing.assert_array_equal(far, [2.0, 1.0, 0.0, 1.5])
    np.testing.assert_array_equal(near, [0.5, 0.5, np.nan, 0.5])


def test_a_map_is_trusted_from_where_nine_in_ten_samples_agree():
    # the dust of each sample is a step of 3 mag at this distance, kpc
    edges = np.linspace(0.0, 1.0, 101)
    outer = edges[1:]
    alike, scattered = np.linspace(0.38, 0.42, 20), np.linspace(0.3, 0.8, 20)
    steps = np.stack([alike, scattered])[..., None]
    near, _ = cube.trusted_range(3.0 * (outer >= steps), np.full((2, 100), 99.0), np.zeros((2, 100)), edges, 20.0)
    assert near[0] == outer[0]  # a step that is known to 5 % is trusted all along
    # the mean is 3 n / 20 mag after n steps: right about samples that have all their dust for n >= 16
    assert near[1] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("mean", "right"),
    [
        (2.61, True),
        (2.59, False),
        (4.59, True),
        (4.61, False),
    ],  # 3.35 = 2.6 + 0.1 + 0.25 x 2.6 = 4.6 - 0.1 - 0.25 x 4.6
)
def test_a_mean_is_right_to_a_tenth_of_a_magnitude_and_a_quarter(mean, right):
    edges = np.linspace(0.0, 10.0, 11)
    truth = np.where(edges[1:] < 5.0, 0.0, 3.35)  # flat around 8 kpc: no shift helps
    assert cube.right(np.full(10, mean), truth, edges)[7] == right


def test_a_mean_may_be_a_fifth_off_in_distance():
    edges = np.linspace(0.0, 10.0, 101)
    outer = edges[1:]
    truth = 3.0 * (outer >= 5.0)
    for place, right in ((5.9, True), (6.2, False), (4.2, True), (4.0, False)):
        assert cube.right(3.0 * (outer >= place), truth, edges).all() == right


@given(
    hnp.arrays(float, 4, elements=st.floats(0, 100)),
    hnp.arrays(float, (1, 4), elements=st.floats(0, 1.5)),
    st.floats(0.5, 50),
    st.floats(0.5, 50),
)
def test_reach_shrinks_with_the_stars_asked_for(here, contraction, fewer, more):
    beyond = here[::-1].cumsum()[::-1][None]
    fewer, more = sorted((fewer, more))
    far = [cube.trusted_range(sharp(1), beyond, contraction, EDGES, number)[1][0] for number in (fewer, more)]
    assert far[0] >= far[1]


# --- summaries


@given(
    hnp.arrays(np.float32, (2, 5, 6), elements=st.floats(0, 20, width=32)), st.sampled_from([0.05, 0.1, 0.25, 1 / 3])
)
def test_extinction_is_the_sum_of_the_density(steps, width):
    edges = width * np.arange(7)
    samples = steps.cumsum(axis=2)
    one = strip(2, samples=samples, stars_beyond=np.full((2, 6), 50.0), contraction=np.full((2, 6), 0.5))
    found = cube.summarise(one, edges, 20.0)
    # the means exactly, not just nearly
    np.testing.assert_array_equal(found["extinction"], np.cumsum(found["extinction_density"] * np.diff(edges), axis=1))
    np.testing.assert_allclose(
        found["extinction_samples"],
        np.cumsum(found["extinction_density_samples"] * np.diff(edges), axis=2),
        rtol=1e-5,
        atol=1e-5,
    )
    assert (np.diff(found["extinction_samples"], axis=2, prepend=0) >= 0).all()
    assert (found["extinction_density_samples"] >= 0).all()
    # and they are the posterior's
    np.testing.assert_allclose(found["extinction_samples"], samples, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["extinction"], samples.mean(axis=1, dtype=float), rtol=1e-5, atol=1e-5)


def test_standard_deviations_are_those_of_the_samples():
    one = strip(3)
    found = cube.summarise(one, EDGES, 20.0)
    np.testing.assert_allclose(found["extinction_sd"], one.samples.std(axis=1), rtol=1e-5)
    density = np.diff(one.samples, axis=2, prepend=0.0) / 0.5
    np.testing.assert_allclose(found["extinction_density_sd"], density.std(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found["extinction_density"], density.mean(axis=1), rtol=1e-5)


def test_every_flag_has_its_cause():
    plenty, few = [100.0, 80.0, 50.0, 30.0], [100.0, 80.0, 50.0, 5.0]
    known, unknown = [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 1.0]
    one = strip(
        8,
        stars_beyond=np.array([plenty, few, *[plenty] * 6]),
        contraction=np.array([known, known, unknown, *[known] * 5]),
        area=np.array([1.0, 1.0, 1.0, 0.94, 0.96, 1.0, 1.0, 1.0]),
        fit_p_value=np.array([0.5, 0.5, 0.5, 0.5, 0.02, 0.019, 0.5, 0.001]),
        out_of_distribution=np.array([0.5, 0.5, 0.5, 0.5, 0.999, 0.5, 0.9991, 1.0]),
    )
    found = cube.summarise(one, EDGES, 20.0)["quality"]
    np.testing.assert_array_equal(
        found,
        [0, STARS_RUN_OUT, STARS_RUN_OUT, PARTLY_OBSERVED, 0, POOR_FIT, UNLIKE_TRAINING, POOR_FIT | UNLIKE_TRAINING],
    )
    assert found.dtype == np.uint8


def test_a_tile_that_is_not_observed_says_so():
    first, _ = two_strips()
    found = cube.summarise(first, EDGES, 20.0)
    assert found["quality"][1] & NOT_OBSERVED
    assert not (found["quality"][[0, 2, 3]] & NOT_OBSERVED).any()
    for name in (
        *("extinction", "extinction_sd", "extinction_density", "extinction_samples", "distance_max"),
        *("out_of_distribution", "fit_p_value", "fit_chi2"),
    ):
        assert np.isnan(found[name][1]).all(), name
        assert np.isfinite(found[name][[0, 2, 3]]).all(), name
    assert np.isnan(found["distance_min"][1])


# --- the file


def test_the_file_keeps_its_contract(opened):
    assert dict(opened.sizes) == {"sample": SAMPLES, "l": 3, "b": 2, "distance": 4, "bounds": 2}
    described = {
        "extinction": (("l", "b", "distance"), "mag", "phys.absorption.gal"),
        "extinction_sd": (("l", "b", "distance"), "mag", "stat.stdev;phys.absorption.gal"),
        "extinction_density": (("l", "b", "distance"), "mag kpc-1", "phys.absorption.gal"),
        "extinction_density_sd": (("l", "b", "distance"), "mag kpc-1", "stat.stdev;phys.absorption.gal"),
        "extinction_samples": (("sample", "l", "b", "distance"), "mag", "phys.absorption.gal"),
        "extinction_density_samples": (("sample", "l", "b", "distance"), "mag kpc-1", "phys.absorption.gal"),
        "distance_max": (("l", "b"), "kiloparsec", "pos.distance"),
        "fit_p_value": (("l", "b"), "1", "stat.fit.goodness"),
        "fit_chi2": (("l", "b"), "1", "stat.fit.chi2"),
        "l": (("l",), "degree", "pos.galactic.lon"),
        "b": (("b",), "degree", "pos.galactic.lat"),
        "distance": (("distance",), "kiloparsec", "pos.distance"),
    }
    for name, (dimensions, units, ucd) in described.items():
        assert opened[name].dims == dimensions, name
        assert (opened[name].attrs["units"], opened[name].attrs["ucd"]) == (units, ucd), name
        assert opened[name].attrs["long_name"]
    assert opened["quality"].attrs["ucd"] == "meta.code.qual"
    np.testing.assert_array_equal(opened["quality"].attrs["flag_masks"], [1, 2, 4, 8, 16])
    assert len(opened["quality"].attrs["flag_meanings"].split()) == 5
    assert opened["l"].attrs["frame"] == opened["b"].attrs["frame"] == "galactic"
    assert opened.attrs["Conventions"].startswith("CF-")
    assert opened.attrs["band"] == "V"
    assert opened.attrs["r_v"] == 3.1


def test_every_unit_is_one_of_astropy(opened):
    for name in opened.variables:
        if "units" in opened[name].attrs:
            assert u.Unit(opened[name].attrs["units"]) is not None
    assert u.Unit(opened["distance"].attrs["units"]) == u.kpc


def test_bounds_are_those_of_the_cells(opened):
    for name, edges in (("l", TILES.l_edges), ("b", TILES.b_edges), ("distance", EDGES)):
        assert opened[name].attrs["bounds"] == f"{name}_bounds"
        bounds = opened[f"{name}_bounds"].to_numpy()
        np.testing.assert_array_equal(bounds, np.stack([edges[:-1], edges[1:]], axis=1))
        np.testing.assert_array_equal(opened[name], bounds.mean(axis=1))
        np.testing.assert_array_equal(edges_of(opened, name), edges)


def test_the_identity_holds_exactly_in_the_file(opened):
    width = np.diff(opened["distance_bounds"].to_numpy(), axis=1)[:, 0]
    total = np.cumsum(opened["extinction_density"].to_numpy() * width, axis=-1)
    np.testing.assert_array_equal(opened["extinction"], total)


def test_tiles_are_where_they_belong(opened):
    first, second = two_strips()
    samples = opened["extinction_samples"].transpose("l", "b", "sample", "distance").to_numpy()
    expected = np.concatenate([first.samples, second.samples]).reshape(3, 2, SAMPLES, 4)
    np.testing.assert_allclose(samples, expected, rtol=1e-5)
    np.testing.assert_array_equal(opened["stars"], [[100, 0], [102, 103], [100, 101]])
    np.testing.assert_allclose(opened["area"], [[1, 0], [1, 1], [0.6, 1]], rtol=1e-6)
    for name in ("out_of_distribution", "fit_p_value", "fit_chi2"):
        given_values = np.concatenate([getattr(first, name), getattr(second, name)]).reshape(3, 2)
        np.testing.assert_allclose(opened[name], given_values, rtol=1e-6)
    np.testing.assert_allclose(
        opened["extinction"].sel(l=361.5, b=-0.5)[-1], second.samples[0, :, -1].mean(), rtol=1e-5
    )


def test_missing_and_poor_tiles_are_flagged_in_the_file(opened):
    missing = (opened["quality"] & NOT_OBSERVED).to_numpy() > 0
    np.testing.assert_array_equal(missing, [[False, True], [False, False], [False, False]])
    np.testing.assert_array_equal(np.isnan(opened["extinction"]).all("distance"), missing)
    np.testing.assert_array_equal(np.isnan(opened["extinction_samples"]).any(("sample", "distance")), missing)
    assert int(opened["quality"][2, 0]) == PARTLY_OBSERVED | STARS_RUN_OUT
    assert int(opened["quality"][0, 0]) == 0
    np.testing.assert_array_equal(opened["distance_max"], [[2.0, np.nan], [2.0, 2.0], [1.0, 2.0]])
    np.testing.assert_array_equal(opened["distance_min"], [[0.5, np.nan], [0.5, 0.5], [0.5, 0.5]])


def test_two_runs_give_the_same_bytes(tmp_path, path):
    assert write(tmp_path / "again.nc").read_bytes() == path.read_bytes()


def test_samples_are_a_group_that_opens_lazily_with_the_rest(path, opened):
    with netCDF4.Dataset(path) as file:
        assert not [name for name in file.variables if "samples" in name]
        assert set(file["samples"].variables) == {"sample", "extinction_samples", "extinction_density_samples"}
        assert file["samples/extinction_samples"].chunking() == [SAMPLES, 1, 1, 4]  # a sightline's
    opened.transpose("b", "l", ...).isel(l=0)  # nor do these read
    assert not opened["extinction_samples"].variable._in_memory
    np.testing.assert_array_equal(opened["sample"], np.arange(SAMPLES))


def test_a_cube_of_old_with_all_in_one_group_opens_as_before(tmp_path, opened):
    opened.drop_vars("sample").to_netcdf(tmp_path / "old.nc")
    with open_cube(tmp_path / "old.nc") as old:
        xr.testing.assert_equal(old, opened.drop_vars("sample"))


def test_a_cube_of_old_with_an_old_name_opens_with_the_new_one(tmp_path, opened):
    opened.rename(out_of_distribution="strangeness").to_netcdf(tmp_path / "old.nc")
    with open_cube(tmp_path / "old.nc") as old:
        xr.testing.assert_equal(old, opened)
    with netCDF4.Dataset(tmp_path / "old.nc", "a"):  # HDF5 refuses to change what is open for reading
        pass


def test_a_closed_cube_leaves_no_file_open(path, tmp_path):
    copy = tmp_path / "cube.nc"
    copy.write_bytes(path.read_bytes())
    with open_cube(copy) as kept:
        pass
    with netCDF4.Dataset(copy, "a"):  # HDF5 refuses to change what is open for reading
        assert kept.sizes["l"] == 3


def test_opening_nothing_says_how_to_make_a_cube(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cube\.nc: not found; expected a cube\.nc: 'snakemake"):
        open_cube(tmp_path / "cube.nc")


def test_opening_another_file_says_what_is_missing(tmp_path):
    path = tmp_path / "other.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("l", 1)
        file.createVariable("extinction", "f8", ("l",))
    with pytest.raises(ValueError, match="found no distance_max, extinction_density, quality; expected a cube"):
        open_cube(path)


# --- from above


def uniform(l, b, size, edges, density=0.7, reach=None) -> xr.Dataset:
    """A cube with the variables that the view needs."""
    tiles = Tiles.cover(l, b, size)
    shape = (*tiles.shape, len(edges) - 1)
    coordinates = {**cube.tile_coordinates(tiles), **cube.distance_coordinate(edges)}
    return xr.Dataset(
        {
            "extinction_density": (("l", "b", "distance"), np.full(shape, density)),
            "distance_max": (("l", "b"), np.full(shape[:2], edges[-1] if reach is None else reach)),
        },
        coords=coordinates,
    )


def polar(view: xr.Dataset, start: float):
    """Distance, and longitude from `start` on, of the pixels' centres."""
    x, y = np.meshgrid(view["x"], view["y"])
    return np.hypot(x, y), np.mod(np.degrees(np.arctan2(y, x)) - start, 360)


@pytest.mark.parametrize("l", [(281, 287), (350, 371), (80, 100), (0, 360), (-30, 200), (100, 260)])
def test_a_uniform_cube_is_uniform_from_above(l):
    pixel, end = 0.05, 3.0
    view = faceon.project(uniform(l, (-2, 2), 1, np.linspace(0, end, 31)), pixel)
    value = view["extinction_density"].to_numpy()
    known = np.isfinite(value)
    np.testing.assert_allclose(value[known], 0.7, rtol=1e-12)
    # the sector: all that is more than a pixel inside, nothing that is more than a pixel outside
    distance, angle = polar(view, l[0])
    span = l[1] - l[0]
    margin = np.degrees(pixel / np.maximum(distance, pixel))
    beside = np.minimum(np.abs(angle - span), np.minimum(angle, 360 - angle)) > margin
    inside = (angle < span) & (beside | (span == 360)) & (distance < end - pixel) & (distance > pixel)
    outside = ((angle > span) & beside & (distance > pixel)) | (distance > end + pixel)
    assert inside.sum() > 50
    assert known[inside].all()
    assert not known[outside].any()
    # pixels are square and the grid holds the sector
    angles = np.radians(np.linspace(*l, 1000))
    for name, rim in (("x", end * np.cos(angles)), ("y", end * np.sin(angles))):
        axis = view[name].to_numpy()
        np.testing.assert_allclose(np.diff(axis), pixel)
        assert axis[0] - pixel / 2 <= min(rim.min(), 0) + 1e-9
        assert axis[-1] + pixel / 2 >= max(rim.max(), 0) - 1e-9


def test_the_view_is_the_right_way_round():
    grid = uniform((0, 180), (-1, 1), 2, np.linspace(0, 2, 5))
    grid["extinction_density"].loc[{"l": slice(0, 30)}] = 5.0  # towards the centre
    view = faceon.project(grid, 0.1)["extinction_density"]
    assert float(view.sel(x=1.5, y=0.25, method="nearest")) == pytest.approx(5.0)
    assert float(view.sel(x=-1.5, y=0.25, method="nearest")) == pytest.approx(0.7)
    assert float(view.sel(x=0.05, y=1.5, method="nearest")) == pytest.approx(0.7)
    assert view.dims == ("y", "x")
    assert view["y"].min() > -0.1


def test_a_shell_stays_at_its_distance():
    grid = uniform((30, 60), (-1, 1), 1, np.linspace(0, 4, 41))
    grid["extinction_density"][:] = 0.0
    grid["extinction_density"].loc[{"distance": slice(2.0, 3.0)}] = 1.0
    view = faceon.project(grid, 0.05)
    value = view["extinction_density"].to_numpy()
    distance, _ = polar(view, 30)
    known = np.isfinite(value)
    assert (value[known & (distance > 2.05) & (distance < 2.95)] == 1).all()
    assert (value[known & ((distance < 1.95) | (distance > 3.05))] == 0).all()


def test_latitudes_weigh_by_their_area_and_gaps_by_nothing():
    grid = uniform((10, 40), (0, 80), 10, np.linspace(0, 2, 5))
    grid["extinction_density"][:] = grid["b"].to_numpy()[None, :, None]
    expected = np.average(grid["b"], weights=np.cos(np.radians(grid["b"])))
    view = faceon.project(grid, 0.05)
    # nearer than this all latitudes lie above the point in the plane
    near = np.hypot(*np.meshgrid(view["x"], view["y"])) < 2 * np.cos(np.radians(75)) - 0.05
    density = view["extinction_density"].to_numpy()[near]
    np.testing.assert_allclose(density[np.isfinite(density)], expected)
    grid["extinction_density"].loc[{"b": slice(20, 80)}] = np.nan
    expected = np.average([5.0, 15.0], weights=np.cos(np.radians([5.0, 15.0])))
    density = faceon.project(grid, 0.05)["extinction_density"].to_numpy()[near]
    np.testing.assert_allclose(density[np.isfinite(density)], expected)


def test_a_shell_far_from_the_plane_is_projected_onto_it():
    grid = uniform((0, 40), (59, 61), 1, np.linspace(0, 2, 41))
    grid["extinction_density"][:] = 0.0
    grid["extinction_density"].loc[{"distance": slice(1.0, 1.05)}] = 1.0
    view = faceon.project(grid, 0.02)
    distance, _ = polar(view, 0)
    density = view["extinction_density"].to_numpy()
    assert distance[density > 0.5].mean() == pytest.approx(1.025 * np.cos(np.radians(60)), abs=0.02)


def test_columns_that_are_not_observed_stay_empty():
    grid = uniform((0, 40), (-1, 1), 1, np.linspace(0, 2, 5))
    grid["extinction_density"].loc[{"l": slice(20, 40)}] = np.nan
    view = faceon.project(grid, 0.05)
    distance, angle = polar(view, 0.0)
    known = np.isfinite(view["extinction_density"].to_numpy())
    assert not known[(angle > 23) & (distance > 1)].any()
    assert known[(angle > 3) & (angle < 17) & (distance > 1) & (distance < 1.9)].all()


def test_the_true_density_lies_in_the_same_cells_as_the_maps() -> None:
    grid = uniform((60, 120), (-1, 1), 1, np.linspace(0, 4, 41))
    step = np.diff(grid["distance_bounds"], axis=1)[:, 0]
    true = (3.0 * grid["extinction_density"] * xr.DataArray(step, dims="distance")).cumsum("distance")
    true = true.to_dataset(name="extinction")
    view = faceon.project(grid, 0.05, true)
    ours, theirs = view["extinction_density"].to_numpy(), view["true_extinction_density"].to_numpy()
    np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs))
    np.testing.assert_allclose(theirs, 3.0 * ours, rtol=1e-6)
    assert "true_extinction_density" not in faceon.project(grid, 0.05)


def test_within_ends_where_the_stars_do():
    view = faceon.project(uniform((60, 120), (-1, 1), 1, np.linspace(0, 4, 41), reach=2.5), 0.05)
    distance, angle = polar(view, 60)
    inside = (angle > 5) & (angle < 55)
    within = view["within"].to_numpy()
    assert within[inside & (distance > 0.5) & (distance < 2.4)].all()
    assert not within[distance > 2.6].any()


def test_the_view_says_its_units(opened):
    view = faceon.project(opened, 0.1)
    assert view["extinction_density"].attrs["units"] == "mag kpc-1"
    assert view["x"].attrs["units"] == view["y"].attrs["units"] == "kiloparsec"
    assert view.attrs["b_range_degree"] == [-1.0, 1.0]
