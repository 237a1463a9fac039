"""Artefacts: known answers, the stage on files, the figure."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter1d

from galcarto.__main__ import main
from galcarto.core.sky import Tiles, cartesian
from galcarto.dustmap.compare import artefacts
from galcarto.figures.artefacts import artefacts as draw

TILES = Tiles(np.linspace(0, 24, 25), np.linspace(-2, 2, 5))
EDGES = np.linspace(0, 4, 41)
MIDDLE = 0.5 * (EDGES[1:] + EDGES[:-1])
PATCH = artefacts.patches(np.ones(TILES.shape, bool))


def blobs(rng, size=0.07, number=1500):
    """Density of round clouds strewn evenly in space: isotropic whatever the frame; shape (l, b, distance)."""
    x, y, z = cartesian(TILES.l[:, None, None], TILES.b[:, None], MIDDLE)
    centres = rng.uniform((-0.3, -0.3, -0.4), (4.3, 2.0, 0.4), (number, 3))
    squares = (x[..., None] - centres[:, 0]) ** 2 + (y[..., None] - centres[:, 1]) ** 2
    squares += (np.broadcast_to(z, x.shape)[..., None] - centres[:, 2]) ** 2
    return 0.1 + np.exp(-0.5 * squares / size**2).sum(axis=-1)


def elongation(density):
    return np.array([artefacts.pair_contrasts(density, TILES.l, TILES.b, EDGES).elongation()])


@pytest.fixture(scope="module")
def clouds():
    return [blobs(np.random.default_rng(seed)) for seed in range(4)]


def test_isotropic_dust_is_not_elongated(clouds):
    found = np.array([artefacts.jackknife(elongation, PATCH, sky) for sky in clouds])[..., 0]
    # one sky's own variance comes on top of the jackknife's error
    rng = np.random.default_rng(5)
    skies = [elongation(artefacts.isotropic(rng, TILES.l, TILES.b, EDGES, 0.5))[0] for _ in range(6)]
    assert found[:, 0].mean() == pytest.approx(1.0, abs=0.08)
    assert (np.abs(found[:, 0] - 1.0) < 3 * np.hypot(found[:, 1], np.std(skies))).all()
    assert (found[:, 1] < 0.15).all()


def test_dust_smeared_along_the_line_of_sight_is_elongated_the_more_the_longer(clouds):
    smeared = [elongation(uniform_filter1d(clouds[0], bins, axis=2))[0] for bins in (1, 5, 9)]
    assert smeared[0] < 1.2
    assert smeared[1] > 1.4 * smeared[0]
    assert smeared[2] > 1.3 * smeared[1]


def test_dust_smeared_across_is_not(clouds):
    assert elongation(uniform_filter1d(clouds[0], 9, axis=0))[0] < 0.9 * elongation(clouds[0])[0]


def test_isotropic_skies_in_the_map_s_cells_are_not_elongated_but_for_the_cells(rng):
    thin = artefacts.isotropic(rng, TILES.l, TILES.b, EDGES, 0.5)
    assert np.log(thin).std() == pytest.approx(0.5)
    assert elongation(thin)[0] == pytest.approx(1.0, abs=0.15)
    # cells a few pc wide and 100 pc long average along the line of sight: neighbours across are alike
    narrow = np.linspace(0, 2.4, 25)
    needles = artefacts.pair_contrasts(artefacts.isotropic(rng, narrow, TILES.b, EDGES, 0.5), narrow, TILES.b, EDGES)
    assert needles.elongation() < 0.95


@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_the_elongation_knows_no_unit_and_no_side(factor, seed):
    density = np.random.default_rng(seed).lognormal(0, 1, (8, 2, 12))
    l, b, edges = np.arange(8.0), np.array([0.0, 1.0]), np.linspace(0, 6, 13)
    found = artefacts.pair_contrasts(density, l, b, edges)
    for other in (factor * density, density[::-1]):
        again = artefacts.pair_contrasts(other, l, b, edges)
        assert again.elongation() == pytest.approx(found.elongation(), rel=1e-9)
    for part in (found.along, found.across):
        assert ((part >= 0) & (part <= 1)).all()


def test_what_was_not_observed_has_no_say(clouds):
    holes = clouds[0].copy()
    holes[5:9, 1:] = np.nan
    holes[:, :, 30:] = np.nan
    wild = np.where(np.isnan(holes), np.nan, clouds[0])
    assert np.isfinite(elongation(holes)[0])
    assert elongation(wild)[0] == elongation(holes)[0]
    assert np.isnan(elongation(np.full_like(holes, np.nan))[0])
    assert np.isnan(artefacts.pair_contrasts(clouds[0][:1], TILES.l[:1], TILES.b, EDGES).elongation())


def test_the_jackknife_gives_the_error_of_a_mean(rng):
    observed = np.ones((16, 16), bool)
    observed[:3] = False
    patch = artefacts.patches(observed)
    means, errors = [], []
    for _ in range(40):
        field = np.where(observed[..., None], rng.standard_normal((16, 16, 5)), np.nan)
        mean, error = artefacts.jackknife(lambda one: np.array([np.nanmean(one)]), patch, field)
        means.append(mean[0])
        errors.append(error[0])
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.3)


def turbulence(rng, shape=(12, 12, 6)):
    """Random maps with power k^-3.7, as thick layers of turbulence have, one for each distance."""
    k = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64))
    k[0, 0] = np.inf
    maps = np.fft.irfft2(k**-1.85 * np.fft.rfft2(rng.standard_normal((shape[2], 64, 64))), axes=(1, 2))
    return np.moveaxis(maps / maps.std(), 0, 2)[: shape[0], : shape[1]]


def test_stripes_are_found_where_they_are_and_nowhere_else(rng):
    field = turbulence(rng)
    striped = field + 0.1 * rng.standard_normal(12)[None, :, None]
    found, before = artefacts.stripes(striped, rng), artefacts.stripes(field, rng)
    assert found.correlation > 3 * found.error
    assert found.p_value <= 0.01
    assert found.amplitude == pytest.approx(0.1, rel=0.5)
    assert abs(before.correlation) < 3 * before.error
    other = artefacts.stripes(striped.swapaxes(0, 1), rng)
    assert abs(other.correlation) < 3 * other.error


def test_rows_of_nothing_but_stripes_share_all(rng):
    found = artefacts.stripes(np.broadcast_to(rng.standard_normal(12)[:, None], (12, 12, 3)), rng)
    assert found.correlation == pytest.approx(1.0)
    # one row that is off by 1: a mean square of 1 over the 20 rows that have two others on either side
    one = artefacts.stripes(np.broadcast_to((np.arange(24) == 10.0)[:, None], (12, 24, 3)), rng)
    assert one.amplitude == pytest.approx(np.sqrt(1 / 20))


def test_turbulence_is_no_stripe(rng):
    values = np.array([artefacts.stripes(turbulence(rng), rng).p_value for _ in range(40)])
    assert 0.35 < values.mean() < 0.65
    assert (values < 0.05).mean() <= 0.15


def test_one_wild_row_shows_which_it_is(rng):
    field = turbulence(rng)
    field[:, 5] += 0.5
    found = artefacts.stripes(field, rng)
    assert np.nanargmax(found.rows) == 5
    assert np.isnan(found.rows[[0, 1, -2, -1]]).all()
    assert np.nanmean(found.rows) == pytest.approx(found.correlation)


def test_stripes_need_rows_and_columns(rng):
    for shape in ((5, 12, 2), (12, 6, 2)):
        assert np.isnan(artefacts.stripes(rng.standard_normal(shape), rng).correlation)
    assert np.isnan(artefacts.stripes(np.full((12, 12, 2), np.nan), rng).correlation)
    assert np.isnan(artefacts.stripes(np.ones((12, 12, 2)), rng).correlation)


def test_tiles_that_know_nothing_of_each_other_jump_as_far_next_door(rng):
    alone, smooth = rng.standard_normal((12, 12, 20)), turbulence(rng)
    assert artefacts.jump_ratio(alone) == pytest.approx(1.0, abs=0.05)
    assert artefacts.jump_ratio(smooth) < 0.7
    # a tilted plane: the difference grows with the distance
    assert artefacts.jump_ratio(np.arange(8.0)[:, None, None] + np.zeros((8, 8, 1))) == pytest.approx(0.5)
    assert artefacts.jump_over_noise(alone, np.ones_like(alone)) == pytest.approx(1.0, abs=0.05)
    assert artefacts.jump_over_noise(alone, np.full_like(alone, 2.0)) == pytest.approx(0.5, abs=0.03)


def test_shared_and_independent_errors_are_distinguished(rng):
    alone = rng.standard_normal((12, 12, 20))
    assert artefacts.shared(alone) == pytest.approx(0.0, abs=0.05)
    assert artefacts.shared(alone + 7.0) == pytest.approx(artefacts.shared(alone))  # what all share is not counted
    twice = np.repeat(alone[::4], 4, axis=0)
    assert artefacts.shared(twice) == pytest.approx(3 / 4 * 12 / 11 / 2, abs=0.08)
    assert artefacts.shared(turbulence(rng)) > 0.8


def test_the_largest_step_and_its_share():
    density = np.array([[3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [1.0, 5.0, np.nan], [9.0, np.nan, np.nan]])
    np.testing.assert_array_equal(artefacts.largest_step(density), [0, 2, 1, 0])
    part, error = artefacts.fraction(np.array([True, False, False, True]))
    assert part == 0.5
    assert error == pytest.approx(np.sqrt(0.25 / 4), rel=0.2)
    assert artefacts.fraction(np.zeros(100, bool))[1] > 0
    assert np.isnan(artefacts.fraction(np.zeros(0, bool))).all()


def cube_of(density, samples=9):
    """A cube with what the stage reads."""
    rng = np.random.default_rng(3)
    drawn = density * rng.lognormal(0, 0.1, (samples, *density.shape))
    sightline = xr.Dataset(
        {
            "extinction": (("l", "b", "distance"), np.cumsum(density, axis=2) * 0.1),
            "extinction_sd": (("l", "b", "distance"), 0.1 * np.cumsum(density, axis=2) * 0.1),
            "extinction_density": (("l", "b", "distance"), density),
            "extinction_density_samples": (("sample", "l", "b", "distance"), drawn),
            "distance_min": (("l", "b"), np.full(density.shape[:2], 0.2)),
            "distance_max": (("l", "b"), np.full(density.shape[:2], 3.5)),
            "quality": (("l", "b"), np.zeros(density.shape[:2], np.uint8)),
            "distance_bounds": (("distance", "bounds"), np.stack([EDGES[:-1], EDGES[1:]], axis=1)),
        },
        coords={"l": TILES.l, "b": TILES.b, "distance": MIDDLE},
    )
    missing = sightline.copy(deep=True)
    missing["quality"][0, 0] = 1
    for name in missing.data_vars:
        if "l" in missing[name].dims and name != "quality":
            missing[name][{"l": 0, "b": 0}] = np.nan
    return missing


@pytest.fixture(scope="module")
def measured(clouds, tmp_path_factory):
    """The stage's answers, for a map that is the truth and one smeared along the line of sight."""
    folder = tmp_path_factory.mktemp("artefacts")
    truth = xr.Dataset({"extinction": (("l", "b", "distance"), np.cumsum(clouds[0], axis=2) * 0.1)})
    truth.to_netcdf(folder / "truth.nc")
    for name, density in (("perfect", clouds[0]), ("smeared", uniform_filter1d(clouds[0], 7, axis=2))):
        cube_of(density).to_netcdf(folder / f"{name}.cube.nc")
        out = ["--comparison", str(folder / f"{name}.nc"), "--metrics", str(folder / f"{name}.json")]
        truths = ["--truth", str(folder / "truth.nc")]
        assert main(["measure_artefacts", "--seed", "1", "--cube", str(folder / f"{name}.cube.nc"), *truths, *out]) == 0
    return folder


def block(path: Path):
    return json.loads(path.read_text())["artefacts"]


def test_a_perfect_map_has_the_truth_s_numbers(measured):
    found = block(measured / "perfect.json")
    assert found["smoothing"] == "none"
    assert found["tiles"] == 95
    assert found["elongation"]["map"] == pytest.approx(found["elongation"]["truth"])
    assert found["elongation"]["map_over_truth"] == pytest.approx(1.0)
    assert found["elongation"]["map_over_truth_error"] == pytest.approx(0.0, abs=1e-12)
    assert found["tiling"]["map_over_truth"] == pytest.approx(1.0)
    assert found["ends"]["first_bin_share"] == found["ends"]["truth_first_bin_share"]


def test_a_smeared_map_is_found_out(measured):
    found = block(measured / "smeared.json")["elongation"]
    assert found["map_over_truth"] > 1 + 3 * found["map_over_truth_error"]
    assert found["map"] > found["isotropic"] + 3 * found["isotropic_error"]


def test_every_number_has_an_error(measured):
    for name, values in block(measured / "perfect.json").items():
        if isinstance(values, dict):
            bare = {key for key in values if not key.endswith(("_error", "_p_value", "_amplitude"))}
            assert bare
            assert {f"{key}_error" for key in bare} <= set(values), name


def test_the_stage_says_the_same_twice_and_needs_no_truth(measured, tmp_path):
    for i in range(2):
        out = ["--comparison", str(tmp_path / f"{i}.nc"), "--metrics", str(tmp_path / f"{i}.json")]
        assert main(["measure_artefacts", "--seed", "1", "--cube", str(measured / "perfect.cube.nc"), *out]) == 0
    for kind in ("nc", "json"):
        assert (tmp_path / f"0.{kind}").read_bytes() == (tmp_path / f"1.{kind}").read_bytes()
    found = block(tmp_path / "0.json")
    assert "truth" not in found["elongation"]
    assert found["elongation"]["map"] == block(measured / "perfect.json")["elongation"]["map"]
    with xr.open_dataset(tmp_path / "0.nc") as curves:
        assert curves.attrs["smoothing"] == "none"
        figure = draw(curves)
    assert [ax.get_title(loc="left")[:2] for ax in figure.axes] == ["a.", "b.", "c.", "d.", "e.", "f."]
    assert "too few tiles" in figure.axes[3].texts[0].get_text()  # four rows of latitude


def test_the_figure_draws_map_and_truth(measured):
    with xr.open_dataset(measured / "smeared.nc") as curves:
        figure = draw(curves)
        first = {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
        assert first == {"map, across", "map, along", "true sky, across", "true sky, along"}
        shown = np.asarray(figure.axes[1].containers[1].lines[0].get_ydata(), float)
        np.testing.assert_allclose(shown, curves.elongation_map)
    assert {text.get_text() for text in figure.axes[5].get_legend().get_texts()} == {"map", "true sky"}


@pytest.mark.parametrize("tiles", [2, 0])
def test_a_map_too_small_to_tell_has_figures_all_the_same(measured, tmp_path, tiles):
    with xr.open_dataset(measured / "perfect.cube.nc") as cube:
        small = cube.isel(l=slice(4, 6), b=slice(1, 3)).load()
    for name in small.data_vars if not tiles else ():
        if "l" in small[name].dims:
            small[name] = xr.ones_like(small[name]) if name == "quality" else small[name] * np.nan
    small.to_netcdf(tmp_path / "cube.nc")
    out = ["--comparison", str(tmp_path / "a.nc"), "--metrics", str(tmp_path / "a.json")]
    assert main(["measure_artefacts", "--seed", "1", "--cube", str(tmp_path / "cube.nc"), *out]) == 0
    found = block(tmp_path / "a.json")
    assert found["tiles"] == tiles**2
    assert found["latitude_stripes"]["map"] is None
    assert main(["plot_artefacts", "--comparison", str(tmp_path / "a.nc"), "--output", str(tmp_path / "a.png")]) == 0
