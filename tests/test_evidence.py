"""Figures of the control field, the prior, trust, clouds and surveys show the numbers they are given."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from conftest import cube_of, line
from matplotlib.figure import Figure

from galcarto.__main__ import main
from galcarto.core.sky import Tiles
from galcarto.dust.profiles import draw
from galcarto.dust.settings import ProfileSettings
from galcarto.dustmap import control_field as fitting
from galcarto.dustmap.compare import prior as measured
from galcarto.dustmap.compare import structure as clouds
from galcarto.figures import control, prior, structure, style, together, trust
from galcarto.maps.grid import distance_coordinate
from galcarto.stages import collect_metrics

EDGES = np.linspace(0.0, 2.0, 21)
PRIOR = ProfileSettings().model_dump()


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def panel(figure: Figure, title: str):
    return next(ax for ax in figure.axes if ax.get_title() == title)


@pytest.fixture
def field():
    """Two surveys on different axes; the second one's fitted diagram is half of the observed one."""
    rng = np.random.default_rng(0)
    observed = rng.poisson(20.0, (2, 8, 6))
    fitted = np.stack([np.full((8, 6), 16.0), 0.5 * observed[1]])
    fitted[0, 0, 0] = 1e-9
    return xr.Dataset(
        {
            "observed": (("survey", "magnitude", "colour"), observed),
            "mock": (("survey", "magnitude", "colour"), np.full((2, 8, 6), 10.0)),
            "fitted": (("survey", "magnitude", "colour"), fitted),
            "magnitude_axis": (("survey", "magnitude"), np.stack([np.linspace(8, 15, 8), np.linspace(10, 18, 8)])),
            "colour_axis": (("survey", "colour"), np.stack([np.linspace(0, 1, 6), np.linspace(-1, 3, 6)])),
            "bands": ("survey", ["J-Ks,Ks", "BP-RP,G"]),
            "value": (("survey", "parameter"), [[-0.01, 0.02, 0.001, 27.7, 0.28], [0.1, 0.3, 0.002, 0.0, 0.1]]),
            "sd": (("survey", "parameter"), [[0.012, 0.005, 0.0013, 2.4, 0.04], [0.01, 0.01, 0.001, 0.0, 0.05]]),
            "chi2": ("survey", [1.38, 2.5]),
            "chi2_before": ("survey", [7.99, 9.0]),
            "stars": ("survey", observed.sum(axis=(1, 2))),
            "area_deg2": ("survey", [3.8, 1.0]),
        },
        coords={"survey": ["2mass", "gaia"], "parameter": list(fitting.PARAMETERS)},
    )


def test_the_control_fields_residual_is_in_poisson_errors_and_the_mean_colour_that_of_the_stars(field):
    one = field.sel(survey="2mass")
    summary = fitting.summary(one)
    expected = (one.observed.values - 16.0) / 4.0
    expected[0, 0] = np.nan  # hardly a star expected
    np.testing.assert_allclose(summary.residual, expected)
    counts, colours = one.observed.values, one.colour_axis.values
    mean = (counts * colours).sum(axis=1) / counts.sum(axis=1)
    np.testing.assert_allclose(summary.mean_colour.sel(diagram="observed"), mean)
    stars = np.repeat(colours, counts[3])
    assert float(summary.mean_colour_error[3]) == pytest.approx(stars.std() / np.sqrt(len(stars)))
    assert (
        fitting.summary(one.assign(observed=0.01 * one.observed, mock=0.01 * one.mock, fitted=0.01 * one.fitted))
        .mean_colour.isnull()
        .all()
    )


def test_the_control_figure_has_a_block_per_survey_with_its_own_axes(field):
    figure = control.fits(field, {name: fitting.summary(field.sel(survey=name)) for name in field.survey.values})
    residuals = [ax for ax in figure.axes if ax.get_title() == "(Observed − fitted) / σ"]
    assert [ax.get_xlabel() for ax in residuals] == ["J − Ks (mag)", "BP − RP (mag)"]
    for ax, name in zip(residuals, field.survey.values, strict=True):
        drawn = np.ma.filled(ax.collections[0].get_array().astype(float), np.nan)
        np.testing.assert_allclose(drawn, fitting.summary(field.sel(survey=name)).residual)
        assert ax.yaxis_inverted()
    second = next(ax for ax in figure.axes if ax.get_ylabel() == "Mean BP − RP (mag)")
    np.testing.assert_allclose(line(second, "fitted").get_ydata(), fitting.summary(field.isel(survey=1)).mean_colour[2])
    text = words(figure)
    for part in ("27.7 ± 2.4", "[M/H] 0.280 ± 0.040", "7.99 before and 1.38 after", "9.00 before and 2.50 after"):
        assert part in text, part
    assert text.count("galaxies") == 1  # Gaia's were not fitted


def test_what_the_prior_is_without_a_part_lacks_that_part():
    rng = np.random.default_rng(1)
    drawn = measured.draw(rng, 4000, EDGES, PRIOR)
    whole, smooth, open_ = (measured.measure(drawn[name], EDGES) for name in ("full", "no_clouds", "no_bubble"))
    assert smooth["steepest_100pc_median_mag"] < 0.5 * whole["steepest_100pc_median_mag"]
    assert open_["extinction_mag"]["0.1"][2] > 2 * whole["extinction_mag"]["0.1"][2]
    assert open_["extinction_mag"]["1"][2] == pytest.approx(whole["extinction_mag"]["1"][2], rel=0.3)


def test_statistics_of_known_profiles():
    extinction = np.tile(np.cumsum(np.full(20, 0.2)), (3, 1))  # 2 mag/kpc
    extinction[:, 10:] += 4.0  # a cloud in one bin
    found = measured.measure(extinction, EDGES)
    assert found["extinction_mag"]["0.3"] == pytest.approx([0.6] * 5)
    assert found["extinction_mag"]["2"] == pytest.approx([8.0] * 5)
    assert found["density_median_mag_per_kpc"] == pytest.approx(2.0)
    assert found["steepest_100pc_median_mag"] == pytest.approx(4.2)
    assert found["steepest_100pc_share"] == pytest.approx(4.2 / 8.0)


def test_what_is_published_goes_with_the_latitude():
    south, plane_ = measured.expected(-30.0), measured.expected(0.0)
    assert south["envelope_kpc"] == pytest.approx([0.206, 0.146, 0.45])
    assert south["disc_extinction_mag"][0] == pytest.approx(0.24)
    assert "envelope_kpc" not in plane_
    assert plane_["spectral_index"][0] == pytest.approx(1.1)
    for low, value, high in ((v[1], v[0], v[2]) for v in south.values()):
        assert low <= value <= high
    assert all(entry.source for entry in measured.PUBLISHED)


@pytest.fixture
def drawn_prior(tmp_path):
    settings = {
        "profiles": {},  # the defaults
        "distance": {"step": "100 pc", "max": "2 kpc"},
        "sky": {"source": "synthetic", "l": ["10 deg", "11 deg"], "b": ["-20 deg", "-19 deg"]},
    }
    paths = [str(tmp_path / name) for name in ("prior.nc", "prior.json")]
    options = ["--settings", json.dumps(settings), "--seed", "1", "--comparison", paths[0], "--metrics", paths[1]]
    assert main(["measure_prior", *options]) == 0
    return SimpleNamespace(data=xr.load_dataset(paths[0]), metrics=json.loads((tmp_path / "prior.json").read_text()))


def test_the_prior_figure_shows_its_quantiles_and_the_published_range(drawn_prior):
    data = drawn_prior.data
    figure = prior.samples(data)
    runs, _, density = figure.axes[:3]
    for name, label in (("full", "prior, median"), ("no_clouds", "no clouds, median")):
        median = data.extinction.sel(variant=name, quantile=0.5)
        np.testing.assert_allclose(line(runs, label).get_ydata(), median)
    np.testing.assert_allclose(line(runs, label).get_xdata(), EDGES[1:])
    examples = [artist for artist in runs.get_lines() if artist.get_linewidth() == 0.6]
    np.testing.assert_allclose([artist.get_ydata() for artist in examples], data.examples)
    levels = [float(artist.get_ydata()[0]) for artist in density.get_lines() if len(artist.get_ydata()) == 2]
    assert levels == [pytest.approx(float(data.plane_density_mag_per_kpc[0]))]
    assert "0.17 (0.07–0.6)" in words(figure)
    assert "—" not in words(figure)  # no column of dashes
    block = drawn_prior.metrics["prior"]
    assert block["full"]["extinction_mag"]["1"][2] == pytest.approx(
        float(data.extinction_at.sel(at=1.0).median()), rel=1e-6
    )
    assert block["settings"]["spectral_index"] == ProfileSettings().slope


def test_the_stages_prior_is_that_of_training(drawn_prior):
    rng = np.random.default_rng(5)
    profiles = draw(rng, 8000, EDGES, **PRIOR)
    np.testing.assert_allclose(
        np.log(drawn_prior.data.extinction.sel(variant="full", quantile=0.5)),
        np.log(np.median(profiles, axis=0)),
        atol=0.2,
    )


def test_contraction_counts_trusted_tiles():
    centres = np.array([0.5, 1.5, 2.5])
    spread = np.array([[0.5, 0.6, 1.0], [0.7, 0.8, 1.0], [np.nan] * 3])
    found = measured.contraction(spread, np.array([0.4, np.nan, np.nan]), np.array([2.0, 0.0, np.nan]), centres)
    np.testing.assert_allclose(found["speaking"], [0.5, 0.5, 0.0])  # of the two that are observed
    np.testing.assert_allclose(found["quantiles"][2], [0.6, 0.7, 1.0])
    empty = measured.contraction(spread[2:], np.array([np.nan]), np.array([np.nan]), centres)
    assert not empty["speaking"].any()


def test_the_contraction_figure_marks_the_threshold_and_the_median_distances():
    levels = list(measured.QUANTILES)
    values = np.sort(np.random.default_rng(0).uniform(0.2, 1.2, (5, 4)), axis=0)
    found = xr.Dataset(
        {
            "quantiles": (("quantile", "distance"), values),
            "speaking": ("distance", [0.0, 1.0, 0.5, 0.0]),
            "posterior": (("quantile", "distance"), np.vstack([np.zeros(4), values[1:]])),
            "prior": (("quantile", "distance"), 2 * values),
            "nearest": ("tile", [0.2, 0.4, np.nan]),
            "farthest": ("tile", [1.0, 1.4, 0.0]),
        },
        coords={"quantile": levels, "distance": [0.25, 0.75, 1.25, 1.75]},
    )
    spread, share, density = prior.contraction(found, 0.9).axes
    assert set(line(spread, "constrained below 0.9").get_ydata()) == {0.9}
    np.testing.assert_allclose(line(spread, "tiles, median").get_ydata(), values[2])
    assert line(share, "distance_min, median").get_xdata()[0] == pytest.approx(0.3)
    assert line(share, "distance_max, median").get_xdata()[0] == pytest.approx(1.0)
    np.testing.assert_allclose(line(density, "prior, median").get_ydata(), 2 * values[2])


@pytest.fixture
def cube():
    rng = np.random.default_rng(2)
    quality = np.zeros((6, 2), "u1")
    quality[0, 0], quality[1, 1], quality[2, 0] = 1, 8, 8 | 16
    seen = np.where(quality == 1, np.nan, 1.0)
    names = ("fit_p_value", "fit_chi2", "out_of_distribution", "distance_min", "distance_max")
    more = {name: seen * rng.uniform(0.1, 1.0, (6, 2)) for name in names}
    more |= {"quality": quality, "stars": np.full((6, 2), 100), "area": np.full((6, 2), 0.25)}
    profile = seen[..., None] * np.linspace(0.1, 2.0, 20) * rng.uniform(1, 2, (6, 2, 1))
    return cube_of(Tiles(207 + 0.5 * np.arange(7), -19 + 0.5 * np.arange(3)), EDGES, profile[None], **more)


def test_trust_maps_lie_as_on_the_sky_and_flags_in_their_tiles(cube):
    figure = trust.maps(cube)
    for name, title, *_ in trust.PANELS:
        ax = panel(figure, title)
        drawn = np.ma.filled(ax.collections[0].get_array().astype(float), np.nan)
        np.testing.assert_allclose(drawn, cube[name].transpose("b", "l"))
        assert ax.xaxis_inverted()
        assert ax.get_aspect() == 1
    flags = panel(figure, "Quality flags")
    poor = line(flags, "poor fit (2)").get_xydata()
    tiles = {(float(cube.l[i]), float(cube.b[j])) for i, j in ((1, 1), (2, 0))}
    nearest = {(float(cube.l.sel(l=x, method="nearest")), float(cube.b.sel(b=y, method="nearest"))) for x, y in poor}
    assert nearest == tiles
    assert len(line(flags, "unlike training (1)").get_xdata()) == 1
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["not observed (1)", "poor fit (2)", "unlike training (1)"], "flags that no tile has are left out"


def test_trust_maps_say_that_no_flag_is_raised_and_their_scales_have_ticks(cube):
    """An empty panel could mean that nothing was drawn; a scale of one tick cannot be read."""
    cube["quality"] = xr.zeros_like(cube.quality)
    cube["fit_chi2"] = xr.full_like(cube.fit_chi2, 1.4)
    figure = trust.maps(cube)
    figure.draw_without_rendering()
    (said,) = panel(figure, "Quality flags").texts
    assert said.get_text() == "no flag is raised\nin any tile"
    assert not figure.legends
    bar = next(ax for ax in figure.axes if ax.get_xlabel() == "ratio, log (number)")
    low, high = bar.get_xlim()
    assert low < 1.0 < 1.4 < high
    assert sum(low <= tick <= high for tick in bar.get_xticks()) >= 2


def test_metrics_hold_the_control_field_the_extinction_nearby_and_the_shares_of_bad_tiles(cube, tmp_path):
    cube.to_netcdf(tmp_path / "cube.nc")
    (tmp_path / "history.csv").write_text("examples,valid_loss\n10,1.5\n20,0.5\n")
    (tmp_path / "control.json").write_text('{"2mass": {"chi2": 1.38}, "metallicity": 0.28}')
    (tmp_path / "part.json").write_text('{"heldout": {"n": 3}}')
    names = {name: str(tmp_path / name) for name in ("cube.nc", "history.csv", "control.json", "part.json", "out.json")}
    options = ["--settings", '{"compare": {"distance": "0.5 kpc"}}', "--cube", names["cube.nc"]]
    options += ["--history", names["history.csv"], "--control", names["control.json"]]
    assert main(["collect_metrics", *options, "--parts", names["part.json"], "--output", names["out.json"]]) == 0
    metrics = json.loads((tmp_path / "out.json").read_text())
    near = cube.extinction.values[..., 4]
    assert metrics["cube"]["median_extinction_0.5kpc_mag"] == pytest.approx(np.nanmedian(near))
    assert metrics["cube"]["max_extinction_0.5kpc_mag"] == pytest.approx(np.nanmax(near))
    assert metrics["trust"]["poor_fit_share"] == pytest.approx(2 / 11)
    assert metrics["trust"]["unlike_training_share"] == pytest.approx(1 / 11)
    assert metrics["trust"]["median_fit_chi2"] == pytest.approx(np.nanmedian(cube.fit_chi2))
    assert metrics["control"]["2mass"]["chi2"] == 1.38
    assert collect_metrics.NEAR == 1.0


def test_profiles_of_a_class_are_the_median_of_its_tiles():
    extinction = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0], [np.nan, np.nan]])
    found, tiles = clouds.by_class(extinction, np.array([0.5, 0.9, 3.0, 0.2]), np.array([0.0, 1.0, 2.0, np.inf]))
    np.testing.assert_array_equal(tiles, [2, 0, 1])
    np.testing.assert_allclose(found[[0, 2]], [[2.0, 3.0], [5.0, 9.0]])
    assert np.isnan(found[1]).all()


def test_the_structure_figure_draws_what_is_known_beside_the_tiles(tmp_path):
    l = np.array([208.0, 210.0, 212.0, 214.0])
    rise = np.array([0.38, 0.41, 0.44, 0.47])
    found = xr.Dataset(
        {
            "half_rise": ("tile", rise),
            "half_rise_sd": ("tile", np.full(4, 0.02)),
            "l": ("tile", l),
            "class_extinction": (("class", "distance"), np.stack([EDGES[1:], np.full(20, np.nan), 3 * EDGES[1:]])),
            "class_tiles": ("class", [5, 0, 4]),
            "class_bounds": (("class", "bounds"), [[0, 1], [1, 8], [8, np.inf]]),
            "known_l": ("known", [209.0, 214.0]),
            "known_distance": ("known", [0.388, 0.47]),
            "known_source": ("known", np.array(["Someone 2018"] * 2, dtype=object)),
        },
        coords=distance_coordinate(EDGES),
        attrs={"map": "odd_$m$", "above": 4.0, "window": [0.34, 0.48], "trend_kpc_per_deg": 0.015, "trend_sd": 0.001},
    )
    figure = structure.distances(found)
    left, right = figure.axes
    np.testing.assert_allclose(line(left, "Someone 2018").get_xydata(), [[209, 0.388], [214, 0.47]])
    np.testing.assert_allclose(line(left, "trend 15.0 ± 1.0 pc/deg").get_ydata(), [0.38, 0.47], atol=1e-9)
    assert left.xaxis_inverted()
    np.testing.assert_allclose(line(right, "over 8 mag (4)").get_ydata(), 3 * EDGES)
    assert [artist.get_label() for artist in right.get_lines()] == ["0–1 mag (5)", "over 8 mag (4)"]
    style.save(figure, tmp_path / "figure.png")  # the map's name is no mathematics


def test_the_surveys_figure_draws_each_tile_with_its_own_errors():
    rng = np.random.default_rng(4)
    mean, sd = rng.uniform(0.5, 1.0, (3, 9, 4)), rng.uniform(0.05, 0.1, (3, 9, 4))
    dims = ("survey", "tile", "distance")
    found = xr.Dataset(
        {
            "extinction": (dims, mean),
            "extinction_sd": (dims, sd),
            "sd_ratio": ("distance", [0.9, 0.8, 0.7, 0.6]),
            "l": ("tile", 122 + 0.1 * np.arange(9)),
            "b": ("tile", np.full(9, 22.0)),
        },
        coords={"survey": ["2mass", "gaia", "both"], "distance": [0.25, 0.5, 1.0, 2.0]},
    )
    axes = together.surveys(found).axes
    order = np.argsort(mean[2, :, -1])
    for ax, tile in zip(axes[:5], order[[0, 2, 4, 6, 8]], strict=True):
        for i, bars in enumerate(ax.containers):
            np.testing.assert_allclose(bars[0].get_ydata(orig=False), mean[i, tile])
            ends = np.array([segment[:, 1] for segment in bars[2][0].get_segments()])
            np.testing.assert_allclose(np.diff(ends, axis=1)[:, 0] / 2, sd[i, tile])
    np.testing.assert_allclose(axes[5].get_lines()[0].get_ydata(), found.sd_ratio)
