"""Figures of predicted labels and of the map show the numbers that they are given."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.text import Text
from PIL import Image
from scipy.special import ndtri

from galcarto.__main__ import main
from galcarto.figures import labels, spectra
from galcarto.labels.diagnostics import LEVELS, diagnostics, gravities
from galcarto.maps.grid import bounded

FIGURES = ("labels_truth", "labels_residuals", "labels_calibration", "labels_missing", "labels_gravity")
METRICS = {
    "labels": {
        "labels": {"feh": {"all": {"rms": 0.2}}},
        "missing": {"u": {"rms": 0.3, "alone": 0.29}, "g": {"rms": 0.22}, "r": {"rms": None}},
    }
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Test stars whose predictions have known errors."""
    rng = np.random.default_rng(7)
    number = 6000
    frame = pd.DataFrame({"r": rng.uniform(14, 20, number), "g_error": 0.01})
    frame["g"] = frame["r"] + rng.uniform(0.2, 1.4, number)
    for name, middle, spread, error in (("teff", 5500, 600, 100), ("feh", -0.6, 0.5, 0.2), ("logg", 4.2, 0.4, 0.2)):
        frame[f"{name}_true"] = middle + spread * rng.standard_normal(number)
        frame[f"predicted_{name}"] = frame[f"{name}_true"] + error * rng.standard_normal(number) + 0.1 * error
        frame[f"predicted_{name}_sd"] = error
        for quantile, level in (("p2_5", 0.025), ("p16", 0.16), ("p50", 0.5), ("p84", 0.84), ("p97_5", 0.975)):
            frame[f"predicted_{name}_{quantile}"] = frame[f"predicted_{name}"] + ndtri(level) * error
    return frame


@pytest.fixture
def found() -> xr.Dataset:
    """A map with one empty cell."""
    shape = (4, 3)
    mean = np.linspace(-1.5, 0.0, 12).reshape(shape)
    mean[3, 2] = np.nan
    axes = ("radius", "height")
    return xr.Dataset(
        {
            "feh_population": (axes, mean),
            "feh_population_error": (axes, np.where(np.isfinite(mean), 0.05, np.nan)),
            "number": (axes, np.where(np.isfinite(mean), 100, 3)),
        },
        coords={**bounded("radius", np.linspace(6, 10, 5), {}), **bounded("height", np.linspace(0, 3, 4), {})},
        attrs={"sun_radius_kpc": 8.5},
    )


def texts(figure) -> str:
    return " ".join(one.get_text() for one in figure.findobj(Text))


def test_diagnostics_count_stars_and_know_the_calibration(table):
    one = diagnostics(table, "feh")
    assert one.attrs["stars"] == 6000
    assert float(one["truth_density"].sum()) == pytest.approx(6000, rel=0.02)
    assert one.attrs["colour"] == "g-r"
    assert one.attrs["magnitude"] == "r"
    # predictions are too high by a tenth of their error
    assert float(one["magnitude_running"].sel(quantile=0.5).mean()) == pytest.approx(0.02, abs=0.012)
    half = (one["magnitude_running"].sel(quantile=0.84) - one["magnitude_running"].sel(quantile=0.16)) / 2
    assert float(half.mean()) == pytest.approx(0.2, rel=0.05)
    np.testing.assert_allclose(one["coverage"], LEVELS, atol=0.02)
    assert float(one["pit_density"].mean()) == pytest.approx(1.0)


def test_a_known_label_s_own_error_widens_what_is_expected(table):
    known = table.drop(columns="feh_true").assign(feh=table["feh_true"], feh_error=0.3)
    known["feh"] = known["feh"] + 0.3 * np.random.default_rng(8).standard_normal(len(known))
    np.testing.assert_allclose(diagnostics(known, "feh")["coverage"], LEVELS, atol=0.02)


def test_gravities_are_medians_of_their_cells(table):
    flat = table.assign(feh_true=-0.5, predicted_feh=-0.4)
    found = gravities(flat)
    known = found["known"].to_numpy()
    assert np.isfinite(known).sum() > 50
    assert set(known[np.isfinite(known)]) == {-0.5}
    assert gravities(table.drop(columns=["g"])) is None
    assert "No" in texts(labels.gravity(None))


def test_missing_bands_are_drawn_where_they_are_known():
    ax = labels.missing(METRICS).axes[0]
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["one network for all sets of bands"].get_ydata(), [0.3, 0.22])
    np.testing.assert_allclose(lines["network trained without the band"].get_ydata(), [0.29, np.nan])
    np.testing.assert_allclose(lines["all bands"].get_ydata(), 0.2)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["u", "g"]


def test_the_map_shows_mean_number_and_error(found):
    figure = labels.galactic(found)
    mean, number, error = (ax.collections[0].get_array() for ax in figure.axes[:3])
    np.testing.assert_allclose(np.ma.filled(mean, np.nan), found["feh_population"].T)
    np.testing.assert_allclose(number, found["number"].T)
    np.testing.assert_allclose(np.ma.filled(error, np.nan), found["feh_population_error"].T)
    empty = found.assign(feh_population=found["feh_population"] * np.nan)
    assert "No cell has enough stars" in texts(labels.galactic(empty))


def comparison(number: int) -> xr.Dataset:
    axes = ("sightline", "distance")
    values = np.full((number, 4), 1.0)
    return xr.Dataset(
        {name: (axes, values) for name in ("a_v", "a_v_error", "cube", "cube_sd")}
        | {name: ("sightline", np.full(number, 20.0)) for name in ("l", "b", "stars")},
        coords=bounded("distance", np.linspace(0, 2, 5), {}),
        attrs={"verdict": "Too few stars: none."},
    )


def test_profiles_of_stars_and_cube():
    figure = labels.profiles(comparison(4))
    assert sum(ax.axison for ax in figure.axes) == 4
    np.testing.assert_allclose(figure.axes[0].get_lines()[0].get_ydata(), 1.0)
    assert "Too few stars: none." in texts(labels.profiles(comparison(0)))


def test_stages_draw_every_figure(table, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table.to_parquet("evaluation.parquet")
    found.to_netcdf("map.nc")
    comparison(2).to_netcdf("labels_cube.nc")
    (tmp_path / "labels.json").write_text(json.dumps(METRICS))
    wanted = [f"{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")]
    files = ["--evaluation", "evaluation.parquet", "--metrics", "labels.json"]
    assert main(["plot_labels", *files, "--output", *wanted]) == 0
    assert main(["plot_metallicity_map", "--map", "map.nc", "--output", "map.png"]) == 0
    assert main(["plot_label_profiles", "--comparison", "labels_cube.nc", "--output", "profiles.png"]) == 0
    for name in (*(one for one in wanted if one.endswith("png")), "map.png", "profiles.png"):
        with Image.open(name) as image:
            assert image.width > 500
            assert len(set(np.asarray(image.convert("L")).ravel())) > 10


def test_curves_of_learning_have_every_number_of_stars():
    numbers = {"network": {"training_stars": 9000.0, "labels": {"teff": {"rms": 100.0}}}}
    numbers["trials"] = {
        f"stars_{size}": {"labels": {"teff": {"rms": rms}}} for size, rms in ((500, 300.0), (50, 400.0))
    }
    numbers["baselines"] = {
        name: {method: {"teff": {"rms": rms}} for method, rms in (("trees", 150.0 + add), ("ridge", 250.0 + add))}
        for name, add in (("500", 200.0), ("0", 0.0))
    }
    ours, trees, ridge = spectra.learning(numbers).axes[0].get_lines()[:3]
    assert (list(ours.get_xdata()), list(ours.get_ydata())) == ([50, 500, 9000.0], [400.0, 300.0, 100.0])
    assert (list(trees.get_xdata()), list(trees.get_ydata())) == ([500, 9000.0], [350.0, 150.0])
    assert list(ridge.get_ydata()) == [450.0, 250.0]


def test_bars_of_bounds_and_the_spectra_of_the_gap():
    wavelength = np.linspace(1500.0, 1600.0, 1500)
    emulated = xr.Dataset(
        {
            "ratio": ("label", [1.2, 2.5]),
            "real": ("wavelength", np.sin(wavelength)),
            "model": ("wavelength", np.cos(wavelength)),
            "emulated_features": (("star", "component"), np.arange(20.0).reshape(10, 2)),
            "real_features": ("component", [3.0, 4.0]),
        },
        {"label": ["teff", "logg"], "wavelength": wavelength},
    )
    assert [bar.get_height() for bar in spectra.bounds(emulated).axes[0].patches] == [1.2, 2.5]
    left, right = spectra.gap(emulated).axes
    real, model = left.get_lines()
    np.testing.assert_array_equal(real.get_xdata(), wavelength[500:900])
    np.testing.assert_array_equal(real.get_ydata(), np.sin(wavelength[500:900]))
    np.testing.assert_array_equal(model.get_ydata(), np.cos(wavelength[500:900]))
    emulations, star = right.get_lines()
    assert list(emulations.get_xdata()) == list(np.arange(0.0, 20.0, 2.0))
    assert (float(star.get_xdata()[0]), float(star.get_ydata()[0])) == (3.0, 4.0)
    assert "no real spectrum" in texts(spectra.gap(emulated[["ratio"]]))


def test_a_search_shows_the_best_until_then():
    history = pd.DataFrame({"number": [0, 1, 2], "value": [3.0, 1.0, 2.0], "params_width": [64, 128, 256]})
    first, second = spectra.search(history).axes[:2]
    trials, best = first.get_lines()
    assert list(trials.get_ydata()) == [3.0, 1.0, 2.0]
    assert list(best.get_ydata()) == [3.0, 1.0, 1.0]
    assert list(second.get_lines()[0].get_xdata()) == [64, 128, 256]
