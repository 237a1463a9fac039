"""Figures show the numbers they are given, in the right frame; the report is complete and self-contained."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import Page, cube_of, line
from docutils.core import publish_parts
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.text import Text
from PIL import Image

from galcarto.__main__ import main
from galcarto.core.sky import SUN_RADIUS, Tiles
from galcarto.figures import calibration, diagrams, errors, faceon, plane, profiles, published, style, training
from galcarto.galaxy.arms import REID2019, trace
from galcarto.maps.grid import distance_coordinate

ROOT = Path(__file__).parents[1]
EDGES = np.linspace(0.0, 5.0, 11)
CENTRES = 0.5 * (EDGES[1:] + EDGES[:-1])
LEVELS = np.array([0.1, 0.3, 0.5, 0.68, 0.8, 0.95])


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    total = np.array([8.0, 0.5, 4.0, 1.0, 2.0, 3.0])  # the last one was not seen by the first survey
    return xr.Dataset(
        {
            "counts": (("example", "channel", "magnitude", "colour"), rng.poisson(3.0, (6, 2, 8, 8)).astype("u2")),
            "present": (("example", "survey"), np.array([[1, 1], [1, 0], [1, 1], [1, 1], [1, 0], [0, 1]], "u1")),
            "reference": (("channel", "magnitude", "colour"), np.stack([np.full((8, 8), n, "f4") for n in (20, 7)])),
            "magnitude_axis": (("channel", "magnitude"), np.stack([np.linspace(6, 14, 8), np.linspace(10, 18, 8)])),
            "colour_axis": (("channel", "colour"), np.stack([np.linspace(0, 5, 8), np.linspace(-1, 3, 8)])),
            "extinction": (("example", "distance"), total[:, None] * np.linspace(0.1, 1, 10)),
            "area": ("example", np.full(6, 0.25)),
        },
        attrs={"channels": "2mass:J-Ks,Ks gaia:BP-RP,G"},
    )


@pytest.fixture(scope="module")
def sky():
    rng = np.random.default_rng(1)
    counts = rng.poisson(5.0, (6, 8, 8)).astype("u2")
    counts[2] = 0
    counts[4, 7, 0] = 900
    return xr.Dataset(
        {
            "counts": (("tile", "channel", "magnitude", "colour"), np.stack([counts, 2 * counts], axis=1)),
            "area": (("tile", "survey"), np.full((6, 2), 0.25)),
            "l": ("tile", 281.25 + 0.5 * np.arange(6)),
            "b": ("tile", np.full(6, -0.25)),
            "stars": (("tile", "survey"), counts.sum(axis=(1, 2), dtype=int)[:, None] * [1, 2]),
        }
    )


@pytest.fixture(scope="module")
def history():
    nan = np.nan
    return pd.DataFrame(
        {
            "epoch": [0, 0, 1, 1],
            "step": [10, 20, 30, 40],
            "examples": [1000, 2000, 3000, 4000],
            "train_loss": [5.0, nan, 1.0, -2.0],
            "valid_loss": [nan, 4.0, nan, -1.0],
            "learning_rate": [1e-3, 5e-4, 1e-4, 1e-5],
        }
    )


@pytest.fixture(scope="module")
def cube():
    samples = np.cumsum(np.random.default_rng(2).gamma(1.0, 0.5, (40, 4, 5, 10)), axis=-1)
    samples[:, 3, 4] = np.nan
    tiles = Tiles(281 + 0.5 * np.arange(5), -1.25 + 0.5 * np.arange(6))
    return cube_of(tiles, EDGES, samples, distance_max=np.full((4, 5), 3.5))


@pytest.fixture(scope="module")
def heldout():
    return xr.Dataset(
        {
            "coverage": (("level", "distance"), np.clip(LEVELS[:, None] + np.linspace(-0.05, 0.05, 10), 0, 1)),
            "coverage_all": ("level", LEVELS + 0.01),
            "pit_density": ("pit", np.array([0.9, 1.1, 1.2, 0.8])),
            "median_relative_error": ("distance", np.linspace(0.4, 0.1, 10)),
            "bias": ("distance", np.linspace(-0.2, 0.3, 10)),
            "rmse": ("distance", np.linspace(0.1, 2.0, 10)),
            "valid_share": ("distance", np.linspace(1.0, 0.2, 10)),
        },
        coords={"level": LEVELS, "distance": CENTRES, "pit": [0.125, 0.375, 0.625, 0.875]},
    )


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(3)
    planck = rng.uniform(1, 10, (6, 4))
    ours = 0.8 * planck + 0.5
    planck[0, 0] = 150.0  # over the ceiling: not used
    ours[5, 3] = np.nan
    used = np.isfinite(ours) & (planck < 100)
    return xr.Dataset(
        {
            "extinction": (("l", "b"), ours),
            "planck": (("l", "b"), planck),
            "extinction_sd": (("l", "b"), np.full_like(ours, 0.4)),
            "difference": (("l", "b"), ours - planck),
            "used": (("l", "b"), used),
        },
        coords={"l": 281.25 + 0.5 * np.arange(6), "b": -0.75 + 0.5 * np.arange(4)},
        attrs={
            "name": "odd_$name$",
            "spearman": 0.987,
            "slope": 0.8,
            "offset_mag": 0.5,
            "scatter_mag": 0.21,
            "bias_mag": -0.31,
            "difference_scatter_mag": 0.47,
            "chi2": 1.75,
            "n": int(used.sum()),
        },
    )


@pytest.fixture(scope="module")
def agreement():
    rng = np.random.default_rng(4)
    used = np.ones((6, 4, 10), bool)
    used[0, 0], used[:, :, :2] = False, False
    scores = {
        f"{kind}_{score}": ("distance", np.where(np.arange(10) < 2, np.nan, rng.uniform(0.1, 1, 10)))
        for kind in ("extinction", "density")
        for score in ("bias", "scatter", "ratio", "spearman", "chi2", "n")
    }
    dims = ("l", "b", "distance")
    return xr.Dataset(
        {"difference": (dims, rng.normal(0, 0.3, used.shape)), "used": (dims, used), **scores},
        coords={"l": 281.25 + 0.5 * np.arange(6), "b": -0.75 + 0.5 * np.arange(4), **distance_coordinate(EDGES)},
        attrs={"title": "A map_$of$ ours", "status": "compared", "shown": [4, 6, 9]},
    )


@pytest.fixture(scope="module")
def view():
    x, y = np.arange(-0.95, 4, 0.1), np.arange(-3.95, 0.5, 0.1)
    distance = np.hypot(x, y[:, None])
    return xr.Dataset(
        {
            "extinction_density": (("y", "x"), np.where(distance < 4, np.exp(-distance), np.nan)),
            "within": (("y", "x"), (distance < 2.5) & (y[:, None] < 0)),
        },
        coords={"x": x, "y": y},
        attrs={"sun_radius_kpc": 8.5},
    )


@pytest.fixture(scope="module")
def figures(examples, sky, history, cube, heldout, maps, agreement, view):
    return {
        "cmds": diagrams.gallery(examples, sky),
        "training": training.history(history),
        "profiles": profiles.sightlines(cube, cube[["extinction"]]),
        "calibration": calibration.coverage(heldout),
        "errors": errors.against_distance(heldout, heldout),
        "planck": plane.comparison(maps),
        "map": published.differences(agreement),
        "faceon": faceon.faceon(view),
    }


def test_every_axis_has_a_quantity_with_its_unit(figures):
    bare = {"Learning rate"}  # a number without a name for its unit
    for name, figure in figures.items():
        labels = []
        for block in figure.subfigs or [figure]:
            shared = [block.get_supxlabel(), block.get_supylabel()]
            labels += shared
            for ax in block.axes:
                if not all(shared) and ax.get_visible() and ax.axison:
                    ends = [ax.get_xlabel() or "shared", ax.get_ylabel() or "shared"]
                    assert ends != ["shared", "shared"], name
                    labels += ends
        for label in set(labels) - {"", "shared", "Stars per pixel"} - bare:
            assert re.search(r"\((mag|kpc|deg|%|nat|number|dimensionless|mag kpc.*)\)$", label), (name, label)


def test_letters_are_legible(figures):
    for name, figure in figures.items():
        sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
        assert min(sizes) >= 8, name
        assert figure.get_figwidth() <= style.PAGE, name


def test_bytes_do_not_depend_on_the_run(maps, tmp_path, monkeypatch):
    paths = [[tmp_path / f"{name}.{form}" for form in ("png", "pdf")] for name in ("first", "second")]
    for both, date in zip(paths, ("0", "86400"), strict=True):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", date)  # the date that matplotlib would write
        style.save(plane.comparison(maps), *both)
    assert [path.read_bytes() for path in paths[0]] == [path.read_bytes() for path in paths[1]]
    with Image.open(paths[0][0]) as image:
        assert "Software" not in image.info
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_pdf_letters_are_text_and_images_are_images(examples, sky, tmp_path):
    style.save(diagrams.gallery(examples, sky), tmp_path / "cmds.pdf")
    content = (tmp_path / "cmds.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Type3" not in content
    assert b"/Subtype /Image" in content  # not 64 x 64 squares a panel
    assert len(content) < 200_000


def test_a_stage_writes_the_formats_that_it_is_asked_for(region, monkeypatch):
    monkeypatch.chdir(region)
    assert main([*STAGES["planck_odd"], "--output", "planck.png", "planck.pdf"]) == 0
    assert (region / "planck.png").read_bytes().startswith(b"\x89PNG")
    assert (region / "planck.pdf").read_bytes().startswith(b"%PDF")


def titled(block):
    return [ax for ax in block.axes if ax.get_title()]


def test_diagrams_of_a_channel_share_one_logarithmic_scale_with_faint_below(examples, sky):
    blocks = [titled(block) for block in diagrams.gallery(examples, sky).subfigs]
    assert [len(panels) for panels in blocks] == [8, 7]  # 4 examples that Gaia saw have but 2 between the ends
    for panels in blocks:
        norm = panels[0].collections[0].norm
        assert all(ax.collections[0].norm is norm for ax in panels)
        assert isinstance(norm, LogNorm)
        assert norm.vmax == max(float(ax.collections[0].get_array().max()) for ax in panels)
        assert all(ax.yaxis_inverted() for ax in panels)
    assert blocks[0][0].collections[0].norm is not blocks[1][0].collections[0].norm


def test_diagrams_go_from_bare_to_dusty_and_leave_out_empty_tiles(examples, sky):
    for block, bare in zip(diagrams.gallery(examples, sky).subfigs, (5.0, 1.75), strict=True):
        panels = titled(block)
        np.testing.assert_allclose(panels[0].collections[0].get_array(), bare)
        totals = [float(re.search(r"= ([\d.]+) mag", ax.get_title())[1]) for ax in panels[1:-4]]
        assert totals == sorted(totals)
        assert len(set(totals)) == len(totals) >= 2
        stars = [int(ax.texts[0].get_text().split()[0]) for ax in panels[-4:]]
        assert stars == sorted(stars, reverse=True)
        assert stars[-1] > 0


def test_each_survey_s_diagrams_are_its_own(examples, sky):
    blocks = diagrams.gallery(examples, sky).subfigs
    labels = [(block.get_supxlabel(), block.get_supylabel()) for block in blocks]
    assert labels == [("J − Ks (mag)", "Ks (mag)"), ("BP − RP (mag)", "G (mag)")]
    # pixels reach half a step beyond the first colour and the last magnitude
    for number, ends in enumerate([(-5 / 14, 14 + 4 / 7), (-1 - 2 / 7, 18 + 4 / 7)]):
        panels = titled(blocks[number])
        text = "".join(ax.get_title() for ax in panels)
        unseen = examples.extinction[examples.present[:, number].values == 0, -1].values
        assert len(unseen)
        assert not any(f"= {total:.1f} mag" in text for total in unseen)
        corners = panels[0].collections[0].get_coordinates()
        assert (corners[..., 0].min(), corners[..., 1].max()) == pytest.approx(ends)
        stars = [int(ax.texts[0].get_text().split()[0]) for ax in panels[-4:]]
        assert max(stars) == int(sky.stars[:, number].max())


def test_one_channel_needs_no_blocks(examples, sky):
    one = examples.isel(channel=[0], survey=[0]).assign_attrs(channels="2mass:J-Ks,Ks")
    figure = diagrams.gallery(one, sky.isel(channel=[0], survey=[0]))
    assert not figure.subfigs
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("J − Ks (mag)", "Ks (mag)")
    assert len(titled(figure)) == 8


def test_parallaxes_grow_upwards_and_what_has_no_reference_has_no_bare_diagram(examples, sky):
    three = examples.isel(channel=[0, 1, 1]).assign_attrs(channels="2mass:J-Ks,Ks gaia:BP-RP,G gaia:BP-RP,parallax")
    three["reference"] = three.reference * xr.DataArray([1.0, 1.0, 0.0], dims="channel")
    *others, last = diagrams.gallery(three, sky.isel(channel=[0, 1, 1])).subfigs
    assert (last.get_supxlabel(), last.get_supylabel()) == ("BP − RP (mag)", "Parallax (mas)")
    assert [block.axes[0].yaxis_inverted() for block in (*others, last)] == [True, True, False]
    bare = ["Mock without dust" in [ax.get_title() for ax in block.axes] for block in (*others, last)]
    assert bare == [True, True, False]


def test_a_sky_of_one_tile_makes_one_panel_of_each_channel(examples, sky):
    for block in diagrams.gallery(examples, sky.isel(tile=[1])).subfigs:
        assert sum("Observed" in ax.get_title() for ax in block.axes if ax.get_visible()) == 1


def test_training_skips_missing_losses(history):
    top, bottom = training.history(history).axes
    np.testing.assert_array_equal(
        line(top, "training, mean of a round").get_xydata(), [[1000, 5], [3000, 1], [4000, -2]]
    )
    np.testing.assert_array_equal(line(top, "validation, at its end").get_xydata(), [[2000, 4], [4000, -1]])
    np.testing.assert_array_equal(bottom.get_lines()[0].get_ydata(), history.learning_rate)


def test_profile_bands_are_the_percentiles_of_the_samples(cube):
    figure = profiles.sightlines(cube)
    first = figure.axes[0]  # highest b, highest l: the block of l index 3 and b index 4 and 3, of which one is NaN
    one = cube.isel(l=3, b=3)
    for label, ends in (("95 %", (2.5, 97.5)), ("68 %", (16, 84))):
        band = next(c for c in first.collections if isinstance(c, PolyCollection) and c.get_label() == label)
        vertices = band.get_paths()[0].vertices
        for percentile in ends:
            curve = np.percentile(one.extinction_samples, percentile, axis=0)
            for point in zip(EDGES[1:], curve, strict=True):
                assert np.hypot(*(vertices - point).T).min() < 1e-9
    np.testing.assert_allclose(line(first, "mean").get_ydata(), np.append(0, one.extinction))
    np.testing.assert_allclose(line(first, "mean").get_xdata(), EDGES)
    grey = next(patch for patch in first.patches if patch.get_label() == "beyond distance_max")
    assert grey.get_x() == pytest.approx(3.5)
    assert grey.get_x() + grey.get_width() == pytest.approx(EDGES[-1])


def test_profiles_lie_as_on_the_sky_and_blocks_without_data_stay_empty(cube):
    panels = profiles.sightlines(cube).axes
    numbers = [re.findall(r"-?[\d.]+", ax.get_title().replace("−", "-")) for ax in panels]
    l, b = np.array(numbers, float).reshape(3, 3, 2).transpose(2, 0, 1)
    assert (np.diff(l, axis=1) < 0).all()
    assert (np.diff(b, axis=0) < 0).all()
    cube = cube.copy(deep=True)
    cube.extinction[2:, 3:] = np.nan
    assert [ax.axison for ax in profiles.sightlines(cube).axes] == [False] + 8 * [True]


def test_profiles_shade_nothing_where_the_data_reach_the_last_bin(cube):
    figure = profiles.sightlines(cube.assign(distance_max=xr.full_like(cube.distance_max, EDGES[-1])))
    assert not any(ax.patches for ax in figure.axes)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["95 %", "68 %", "mean"]


def test_profiles_draw_the_truth_only_where_it_is_known(cube):
    truth = cube[["extinction"]] * 2.0
    ax = profiles.sightlines(cube, truth).axes[0]
    np.testing.assert_allclose(line(ax, "truth").get_ydata(), 2 * line(ax, "mean").get_ydata())
    assert all(artist.get_label() != "truth" for artist in profiles.sightlines(cube).axes[0].get_lines())


def test_calibration_shows_the_given_coverage(heldout):
    nominal, distance, pit = calibration.coverage(heldout).axes
    np.testing.assert_allclose(line(nominal, "exact").get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_allclose(line(nominal, "held-out").get_ydata(), heldout.coverage_all)
    np.testing.assert_allclose(line(distance, "68 %").get_ydata(), heldout.coverage.sel(level=0.68))
    np.testing.assert_allclose(line(distance, "95 %").get_ydata(), heldout.coverage.sel(level=0.95))
    levels = [artist.get_ydata()[0] for artist in distance.get_lines() if artist.get_linestyle() == ":"]
    np.testing.assert_allclose(levels, [0.68, 0.95])
    np.testing.assert_allclose([bar.get_height() for bar in pit.patches], heldout.pit_density)
    assert sum(bar.get_width() for bar in pit.patches) == pytest.approx(1.0)


def test_errors_are_drawn_in_percent_and_mag(heldout):
    figure = errors.against_distance(heldout, heldout * 1.5)
    relative, share, bias, rmse = figure.axes
    np.testing.assert_allclose(line(relative, "held-out mocks").get_ydata(), 100 * heldout.median_relative_error)
    np.testing.assert_allclose(line(share, "held-out mocks").get_ydata(), 100 * heldout.valid_share)
    np.testing.assert_allclose(line(bias, "sky against its truth").get_ydata(), 1.5 * heldout.bias)
    np.testing.assert_allclose(line(rmse, "held-out mocks").get_ydata(), heldout.rmse)
    assert len(errors.against_distance(heldout).axes[0].get_lines()) == 1


def test_one_peak_of_the_error_does_not_flatten_the_rest(heldout):
    plain = errors.against_distance(heldout).axes
    assert [ax.get_yscale() for ax in plain] == ["linear"] * 4
    peak = heldout.copy(deep=True)
    peak["median_relative_error"][0] = 2.5
    relative, share, bias, _ = errors.against_distance(peak).axes
    assert relative.get_yscale() == "log"
    assert relative.get_ylabel() == "Median relative error, log (%)"
    assert [share.get_yscale(), bias.get_yscale()] == ["linear", "linear"]
    assert line(relative, "held-out mocks").get_ydata()[0] == 250.0


def test_both_maps_of_the_plane_share_one_scale_set_by_the_used_tiles(maps):
    figure = plane.comparison(maps)
    left, right = figure.axes[:2]
    ours, planck = left.collections[0], right.collections[0]
    assert ours.get_clim() == planck.get_clim()
    used = maps.used.values
    assert ours.get_clim() == (0.0, max(maps.planck.values[used].max(), maps.extinction.values[used].max()))
    assert planck.colorbar.extend == "max"
    for ax in (left, right):
        assert ax.xaxis_inverted()
        assert ax.get_aspect() == 1
    np.testing.assert_allclose(planck.get_array().T, maps.planck)
    # the tile over the ceiling is crossed in both maps
    assert [list(ax.get_lines()[0].get_xydata()[0]) for ax in (left, right)] == [[281.25, -0.75]] * 2


def test_maps_of_a_strip_lie_one_above_another(maps):
    strip = xr.concat([maps.isel(b=slice(0, 1)).assign_coords(l=maps.l + 3.0 * turn) for turn in range(3)], "l")
    strip.attrs = maps.attrs
    figure = plane.comparison(strip)
    figure.draw_without_rendering()
    first, second, third = (ax for ax in figure.axes if ax.get_title())
    boxes = [ax.get_position() for ax in (first, second, third)]
    assert [box.x0 for box in boxes] == pytest.approx([boxes[0].x0] * 3)
    assert boxes[0].y0 > boxes[1].y1
    assert boxes[1].y0 > boxes[2].y1
    assert "stretched" in second.get_ylabel()
    assert first.collections[0].get_clim() == second.collections[0].get_clim()
    np.testing.assert_allclose(second.collections[0].get_array()[0], strip.planck.transpose("b", "l")[0])


def test_the_plane_states_the_fit_it_draws(maps):
    figure = plane.comparison(maps)
    scatter = figure.axes[2]
    fit = line(scatter, "fitted line").get_xydata()
    np.testing.assert_allclose(fit[:, 1], 0.8 * fit[:, 0] + 0.5)
    same = line(scatter, "1 : 1").get_xydata()
    np.testing.assert_allclose(same[:, 0], same[:, 1])
    (bars,) = scatter.containers
    assert bars.get_label() == "tile, with our sd"
    np.testing.assert_allclose(bars[0].get_xdata(), maps.planck.values.T[maps.used.values.T])
    segments = np.array(bars[2][0].get_segments())
    np.testing.assert_allclose(np.diff(segments[:, :, 1], axis=1), 0.8)  # twice our standard deviation
    assert scatter.get_xlabel() == "A(V) from dust emission, map odd_$name$ (mag)"
    text = scatter.get_legend().get_title().get_text()
    for number in ("0.987", "0.800", "0.50 mag", "0.21 mag", "−0.31 mag", "0.47 mag", "1.75", str(maps.attrs["n"])):
        assert number in text


def test_the_plane_shows_the_difference_of_the_used_tiles(maps):
    (below,) = (ax for ax in plane.comparison(maps).axes if ax.get_title() == "Difference\n")
    shown = below.collections[0].get_array().T
    used = maps.used.values
    np.testing.assert_allclose(np.asarray(shown)[used], maps.difference.values[used])
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown))[~used].all()
    low, high = below.collections[0].get_clim()
    assert -low == high == np.abs(maps.difference.values[used]).max()


def test_the_plane_shows_the_colour_excess_of_the_same_tiles(maps):
    scatter = plane.comparison(maps, xr.Dataset({"extinction": 0.4 * maps.planck})).axes[2]
    theirs = line(scatter, "colour excess").get_xydata()
    np.testing.assert_allclose(theirs[:, 1], 0.4 * theirs[:, 0])
    assert len(theirs) == maps.attrs["n"]
    (bars,) = scatter.containers
    assert bars.get_label() == "this work, with our sd"
    np.testing.assert_allclose(bars[0].get_xdata(), theirs[:, 0])


def test_a_published_map_s_differences_are_shown_where_both_maps_hold(agreement):
    figure = published.differences(agreement)
    panels = [ax for ax in figure.findobj(Axes) if ax.get_title().startswith("to ")]
    assert [ax.get_title() for ax in panels] == ["to 2.50 kpc", "to 3.50 kpc", "to 5.00 kpc"]
    assert len({ax.collections[0].get_clim() for ax in panels}) == 1
    low, high = panels[0].collections[0].get_clim()
    assert -low == high
    for ax, k in zip(panels, (4, 6, 9), strict=True):
        shown = np.ma.filled(ax.collections[0].get_array().T.astype(float), np.nan)
        np.testing.assert_allclose(shown, agreement.difference.where(agreement.used)[..., k])
        assert ax.xaxis_inverted()


def test_scores_of_a_published_map_are_drawn_at_the_bins_outer_edges(agreement):
    axes = {ax.get_ylabel(): ax for ax in published.differences(agreement).findobj(Axes) if ax.get_ylabel()}
    for label, score in (("Ratio (dimensionless)", "ratio"), ("Tiles (number)", "n")):
        np.testing.assert_allclose(line(axes[label], "$A_V$").get_ydata(), agreement[f"extinction_{score}"])
        np.testing.assert_allclose(line(axes[label], "density").get_ydata(), agreement[f"density_{score}"])
        np.testing.assert_allclose(line(axes[label], "density").get_xdata(), EDGES[1:])


def test_a_comparison_that_could_not_be_made_says_why():
    figure = published.differences(xr.Dataset(attrs={"title": "Bayestar19", "status": "not available: no $server$"}))
    assert "Bayestar19: not available: no $server$" in [text.get_text() for text in figure.findobj(Text)]


def test_faceon_shows_only_what_the_data_reach(view):
    figure = faceon.faceon(view)
    ax = figure.axes[0]
    mesh = ax.collections[0]
    np.testing.assert_array_equal(np.ma.getmaskarray(mesh.get_array()), ~view.within.values)
    assert isinstance(mesh.norm, LogNorm)
    assert ax.get_aspect() == 1
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < 0 < right
    assert bottom < -2.4 < 0 < top
    assert bottom > -3.5  # not the whole file, which goes on to -3.95 beyond the data's reach
    words = {text.get_text() for text in ax.texts}
    assert {"Sun", "1 kpc", "2 kpc"} <= words
    assert "Centre" not in words


def test_the_true_density_is_drawn_beside_the_map_on_one_scale(view):
    true = 2.0 * view.extinction_density
    figure = faceon.faceon(view.assign(true_extinction_density=true))
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("Truth", "Map")
    meshes = [ax.collections[0] for ax in (left, right)]
    np.testing.assert_allclose(meshes[0].get_array().filled(np.nan), true.transpose("y", "x"))
    np.testing.assert_array_equal(np.ma.getmaskarray(meshes[1].get_array()), ~view.transpose("y", "x").within.values)
    assert meshes[0].get_clim() == meshes[1].get_clim()
    assert meshes[0].get_clim()[1] == pytest.approx(float(true.max()))
    assert left.get_xlim() == right.get_xlim()


def test_faceon_labels_stay_inside_and_apart(view):
    figure = faceon.faceon(view)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    boxes = [text.get_window_extent() for text in ax.texts]
    frame = ax.get_window_extent()
    for i, box in enumerate(boxes):
        assert frame.x0 < box.x0 < box.x1 < frame.x1
        assert frame.y0 < box.y0 < box.y1 < frame.y1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_faceon_without_data_says_what_to_look_at(view):
    figure = faceon.faceon(view.assign(within=xr.zeros_like(view.within)))
    figure.draw_without_rendering()
    ax = figure.axes[0]
    assert np.ma.getmaskarray(ax.collections[0].get_array()).all()
    assert "see quality and distance_max" in ax.get_title()


def test_arms_meet_at_their_kinks_and_lie_around_the_sun():
    azimuth = np.array([0.0])
    crossing = {arm.name: SUN_RADIUS - trace(arm, azimuth)[0][0] for arm in REID2019.arms}
    # Reid et al. 2019: the Sun is inside the Perseus and Local arms, outside Sagittarius-Carina and Scutum-Centaurus
    assert crossing["Sct–Cen"] < crossing["Sgr–Car"] < SUN_RADIUS < crossing["Local"]
    assert crossing["Perseus"] == pytest.approx(10.07, abs=0.01)
    assert crossing["Sgr–Car"] == pytest.approx(6.87, abs=0.01)
    for arm in REID2019.arms:
        before, after = np.transpose(trace(arm, arm.kink_azimuth + np.array([-1e-6, 1e-6])))
        np.testing.assert_allclose(before, after, atol=1e-5)
        assert np.hypot(before[0] - SUN_RADIUS, before[1]) == pytest.approx(arm.kink_radius, abs=1e-5)
    # positive azimuth is towards l = 90
    assert all(trace(arm, np.array([20.0]))[1][0] > 0 for arm in REID2019.arms)


METRICS = {
    "cube": {"tiles": 96, "stars": 1234567},
    "heldout": {"coverage_68": 0.68123456, "tiny": 1.5e-9},
    "planck": {"<b>odd</b>": {"slope": -0.81594}},
    "list": [3.25, None],
    "undefined": float("nan"),
}


@pytest.fixture(scope="module")
def region(tmp_path_factory, examples, sky, history, cube, heldout, maps, agreement, view):
    folder = tmp_path_factory.mktemp("region")
    about = {
        "title": "Interstellar extinction: <script>alert(1)</script>",
        "band": "V",
        "survey": "2MASS",
        "survey_limits": "J < 15 mag",
        "source": "synthetic sky",
        "galcarto_version": "0.1.0",
        "galcarto_commit": "0123abc",
        "galcarto_config": '{"sky": {"source": "<img src=x>"}}',
        "galcarto_seed": 7,
        "galcarto_software": '{"numpy": "2.4.6"}',
        "galcarto_inputs_sha256": '{"0000.nc": "f00d"}',
    }
    files = {"examples": examples, "sky": sky, "heldout": heldout, "planck": maps, "faceon": view, "map": agreement}
    for name, dataset in (files | {"cube": cube.assign_attrs(about)}).items():
        dataset.to_netcdf(folder / f"{name}.nc")
    history.to_csv(folder / "history.csv", index=False)
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    return folder


STAGES = {
    "cmds": ["plot_cmds", "--examples", "examples.nc", "--sky", "sky.nc"],
    "training": ["plot_training", "--history", "history.csv"],
    "profiles": ["plot_profiles", "--cube", "cube.nc", "--truth", "cube.nc"],
    "calibration": ["plot_calibration", "--heldout", "heldout.nc"],
    "errors": ["plot_errors", "--heldout", "heldout.nc", "--truth", "heldout.nc"],
    "planck_odd": ["plot_plane", "--comparison", "planck.nc"],
    "map_odd": ["plot_map", "--comparison", "map.nc"],
    "faceon": ["plot_faceon", "--faceon", "faceon.nc"],
}


@pytest.fixture(scope="module")
def html(region):
    """A report of all figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(region)
        for name, command in STAGES.items():
            assert main([*command, "--output", f"{name}.png"]) == 0
        assert report([f"{name}.png" for name in STAGES]) == 0
    return (region / "report.html").read_text()


def report(figures):
    captions = sorted(map(str, (ROOT / "rules/captions").glob("*.rst")))
    files = ["--metrics", "metrics.json", "--cube", "cube.nc", "--output", "report.html"]
    return main(["report", *files, "--captions", *captions, "--figures", *figures])


def test_report_is_self_contained_and_holds_every_figure_with_its_caption(html, region):
    page = Page(html)
    links = [attrs[key] for _, attrs in page.tags for key in ("src", "href") if key in attrs]
    links.remove("explorer.html")  # beside the report
    assert not [link for link in links if not link.startswith(("data:image/png;base64,", "data:,", "#"))]
    assert not page.of("script") + page.of("iframe")
    embedded = {image["alt"]: base64.b64decode(image["src"].partition(",")[2]) for image in page.of("img")}
    assert sorted(embedded.values()) == sorted((region / f"{name}.png").read_bytes() for name in STAGES)
    anchors = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    # what is said of a figure is in its caption's file
    title, comment, text = (ROOT / "rules/captions/planck.rst").read_text().split("\n\n", 2)
    words = " ".join(" ".join(page.words).split())
    assert title.splitlines()[0] + ": odd" in words
    assert " ".join(text.split()) in words
    assert embedded[" ".join(comment[3:].split())] == (region / "planck_odd.png").read_bytes()


@pytest.mark.parametrize("path", sorted((ROOT / "rules/captions").glob("*.rst")), ids=lambda path: path.stem)
def test_captions_have_the_parts_that_both_reports_read(path):
    title, comment, text = path.read_text().split("\n\n", 2)
    heading, underline = title.split("\n")
    assert underline == "=" * len(heading)
    assert re.match(r"\.\. [^_]", comment)
    assert not set("{`|") & set(text)  # Snakemake reads a template and markup where the other report shows letters
    body = publish_parts(path.read_text(), writer="html", settings_overrides={"report_level": 1, "halt_level": 2})
    assert "".join(Page(body["body"]).words).split() == text.split()


def test_report_holds_every_number_and_the_provenance(html):
    page = Page(html)
    rows = re.findall(r"<code>(.+?)</code></th><td class=\"(?:number|list)\">(.*?)</td>", html)
    shown = {name.replace("<wbr>", ""): re.sub("<[^>]+>", "", cell) for name, cell in rows}
    assert shown == {
        "cube.tiles": "96",
        "cube.stars": "1234567",
        "heldout.coverage_68": "0.6812",
        "heldout.tiny": "1.5e-09",
        "planck.&lt;b&gt;odd&lt;/b&gt;.slope": "-0.8159",
        "list": "3.25, not defined",
        "undefined": "not defined",
    }
    assert {"value": "0.68123456"} in page.of("data")
    words = "\n".join(page.words)
    for text in ("0.1.0", "0123abc", "2.4.6", "f00d", '"source": "<img src=x>"'):
        assert text in words
    assert "19 of 20 sightlines" in " ".join(words.split())
    assert not any(text in html for text in ("<script", "<img src=x>", "<b>odd</b>"))  # what files say is text
    ids = re.findall(r'id="figure-(\w+)"', html)
    assert ids == ["planck_odd", "faceon", "profiles", "errors", "calibration", "map_odd", "cmds", "training"]


def test_report_says_what_is_ideal(html):
    rows = re.findall(r'<tr><th scope="row">(.+?)<small>.+?</small></th><td>(.+?)</td><td>(.+?)</td>', html)
    assert rows == [
        ("A(V) within the 68 % interval, simulated", "68.1 %", "68 %"),
        ("Slope against the emission map &lt;b&gt;odd&lt;/b&gt;", "−0.82", "1"),
    ]


def test_report_refuses_a_figure_it_cannot_caption(region, monkeypatch, capsys):
    monkeypatch.chdir(region)
    (region / "cat.png").write_bytes(b"")
    assert report(["cat.png"]) == 1
    assert "found cat.png; expected a name that begins with one of ablation, arms, artefacts" in capsys.readouterr().err
