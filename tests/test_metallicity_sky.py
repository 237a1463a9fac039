"""Mock stars of known labels, the exact posterior, distances, maps of metallicity and the comparison with a cube."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import ndtr

from galcarto.core.errors import UserError
from galcarto.core.sky import Tiles
from galcarto.dust.law import coefficients
from galcarto.dust.settings import Dust
from galcarto.galaxy.components import load
from galcarto.galaxy.settings import GalaxySettings
from galcarto.galaxy.synthesis import StarModel
from galcarto.maps.grid import distance_coordinate, tile_coordinates
from galcarto.metallicity import distances, excess, posterior, simulate
from galcarto.metallicity import map as sky_map
from galcarto.metallicity.settings import LabelComparison, MapSettings, Mock
from galcarto.surveys import SURVEYS

GALAXY = GalaxySettings(binaries=False)
DUST = Dust()
FEW = Mock(
    fields=[{"l": "90 deg", "b": "45 deg"}, {"l": "180 deg", "b": "-30 deg"}],
    stars=12_000,
    surveys=["sdss", "cfis"],
    limits={"u": "20.5 mag", "g": "19.5 mag", "r": "19.5 mag", "i": "19.5 mag", "u_cfis": "22 mag"},
    hidden=0.1,
    screen="0.2 mag",
)


@pytest.fixture(scope="module")
def stars() -> pd.DataFrame:
    return simulate.simulate(GALAXY, DUST, FEW, seed=1)


# --- mock stars


def test_mock_stars_are_the_same_for_a_seed(stars):
    pd.testing.assert_frame_equal(stars, simulate.simulate(GALAXY, DUST, FEW, seed=1))
    assert not stars["g"].equals(simulate.simulate(GALAXY, DUST, FEW, seed=2)["g"])


def test_magnitudes_have_the_surveys_errors_limits_and_gaps(stars):
    assert (stars[["g", "r", "i"]] >= FEW.bright).all(axis=None)
    for name, limit in FEW.limits.items():
        there = stars[name].notna()
        assert (stars.loc[there, name] < limit).all()
        np.testing.assert_array_equal(stars[f"{name}_error"].notna(), there)
        # the stated error is that of the measured magnitude
        band = FEW.bands()[name]
        np.testing.assert_allclose(stars.loc[there, f"{name}_error"], band.error(stars.loc[there, name]), rtol=1e-4)
    # bright stars lack u only at random, a tenth of them
    bright = stars[stars["g"] < 17.0]
    assert bright["u"].isna().mean() == pytest.approx(0.1, abs=0.02)
    faint = stars[stars["g"] > 19.0]
    assert faint["u"].isna().mean() > 0.5  # red ones are too faint in u


def test_labels_have_known_errors_and_gaps(stars):
    for name, error in (("teff", 157.0), ("feh", 0.24), ("logg", 0.29)):
        there = stars[name].notna()
        assert there.mean() == pytest.approx(0.95, abs=0.01)
        assert stars[f"{name}_error"].median() == pytest.approx(error, rel=0.02)
        pulls = (stars[name] - stars[f"{name}_true"])[there] / stars[f"{name}_error"][there]
        assert pulls.std() == pytest.approx(1.0, abs=0.03)
        assert abs(pulls.mean()) < 0.04
    np.testing.assert_array_equal(stars["giant"] == 1.0, stars["logg_true"] < 3.5)


def test_iron_is_less_than_all_metals_by_what_alpha_elements_add():
    # Salaris et al. 1993: log10(0.638 * 10^0.35 + 0.362) = 0.253 for the halo of [alpha/Fe] = 0.35
    offset = simulate.iron(load("robin2003"))
    assert offset["halo"] == pytest.approx(-0.2529, abs=1e-4)
    assert offset["thin5"] == 0.0


def test_dust_reddens_by_the_law_at_each_band_s_wavelength():
    bands = {name: SURVEYS["sdss"].bands[name] for name in "ugriz"} | {"gP1": SURVEYS["ps1"].bands["gP1"]}
    bare = {name: np.array([15.0, 16.0]) for name in "ugriz"}
    found = simulate.magnitudes(bare, bands, DUST, np.array([0.0, 1.0]))
    np.testing.assert_allclose(found[0, :5], 15.0)
    assert found[0, 5] == pytest.approx(15.0 - 0.012)
    ratios = coefficients("G23", 3.1, {name: band.wavelength for name, band in bands.items()})
    for column, name in enumerate(bands):
        assert found[1, column] - found[0, column] == pytest.approx(1.0 + ratios[name], rel=1e-9)
    # Gordon et al. 2023 at R_V = 3.1
    assert ratios["u"] == pytest.approx(1.58, abs=0.03)
    assert ratios["g"] == pytest.approx(1.21, abs=0.02)
    assert ratios["z"] == pytest.approx(0.48, abs=0.03)


def test_the_screen_grows_towards_the_plane(stars):
    for b, expected in ((45.0, 0.2 / np.sin(np.radians(45.0))), (-30.0, 0.4)):
        one = stars.loc[stars["b"] == b, "a_v"]
        assert one.median() == pytest.approx(expected, rel=0.03)
        assert np.log(one).std() == pytest.approx(0.3, rel=0.05)


# --- the exact posterior


@pytest.fixture(scope="module")
def pool() -> posterior.Pool:
    return posterior.pool(GALAXY, DUST, FEW, 60_000, seed=3)


def test_the_exact_posterior_errs_as_often_as_it_says(stars, pool):
    some = stars.iloc[:2000]
    found = posterior.posterior(some, pool, FEW)
    there = found["effective"] > 20
    assert there.mean() > 0.95
    error = (some["feh_true"] - found["feh"])[there]
    sd = found["feh_sd"][there]
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(there.sum())
    # the law of total variance: the mean square error of a posterior mean is the mean of the posterior's variance
    assert (error**2).mean() == pytest.approx((sd**2).mean(), rel=0.12)
    # it beats the best straight line in the colours by far more than that
    colours = np.stack([some["g"] - some["r"], some["r"] - some["i"], np.ones(len(some))], axis=1)[there]
    fit = colours @ np.linalg.lstsq(colours, some["feh_true"][there].to_numpy(), rcond=None)[0]
    assert error.std() < 0.8 * (some["feh_true"][there] - fit).std()


def test_the_exact_posterior_is_that_of_plain_importance_sampling(monkeypatch):
    """With errors so large that stars at their own distances suffice: no integral over distance."""
    bands = {name: replace(band, floor=0.3) for name, band in SURVEYS["sdss"].bands.items()}
    monkeypatch.setitem(SURVEYS, "sdss", replace(SURVEYS["sdss"], bands=bands))
    some = simulate.simulate(GALAXY, DUST, FEW, seed=4).iloc[:12]
    found = posterior.posterior(some, posterior.pool(GALAXY, DUST, FEW, 60_000, seed=5), FEW)
    many = FEW.model_copy(update={"stars": 300_000})
    bare = simulate.bare_stars(simulate.star_model(GALAXY, many), DUST, many, 6, "plain")
    for i in range(len(some)):
        weight = np.zeros(len(bare.true))
        for column, (name, band) in enumerate(FEW.bands().items()):
            true, value = bare.true[:, column], some[name].iloc[i]
            error, there = band.error(true), band.completeness(true)
            if np.isnan(value):
                inside = ndtr((FEW.limits[name] - true) / error) - ndtr((FEW.bright - true) / error)
                weight += np.log(1.0 - (1.0 - FEW.hidden) * there * inside)
            else:
                weight += -0.5 * ((value - true) / error) ** 2 - np.log(error) + np.log(there + 1e-300)
        weight = np.exp(weight - weight.max())
        feh = bare.stars["feh"].to_numpy()
        mean = np.average(feh, weights=weight)
        sd = np.sqrt(np.average((feh - mean) ** 2, weights=weight))
        plain = weight.sum() ** 2 / (weight**2).sum()
        noise = sd * np.sqrt(1.0 / plain + 1.0 / found["effective"].iloc[i])
        assert abs(found["feh"].iloc[i] - mean) < 4 * noise + 0.01
        assert found["feh_sd"].iloc[i] == pytest.approx(sd, rel=0.15)


# --- distances


def test_main_sequence_of_ivezic():
    # by hand: -5.06 + 14.32 - 12.97 + 6.127 - 1.267 + 0.0967 = 1.2467 at g-i = 1, and 4.5 + 0.555 - 0.045 = 5.01
    assert distances.main_sequence(1.0, -0.5) == pytest.approx(6.2567, abs=1e-9)
    # the reference colour of equation A2: there M_r is its 4.50 at solar [Fe/H]
    assert distances.main_sequence(0.6, 0.0) == pytest.approx(4.53, abs=0.005)
    assert distances.main_sequence(0.6, -2.0) == pytest.approx(4.53 + 2.22 - 0.72, abs=0.005)
    assert np.isnan(distances.main_sequence([0.2, 4.1, 1.0, 1.0, np.nan], [0.0, 0.0, -2.6, 0.4, 0.0])).all()


def test_errors_of_the_main_sequence_s_distance():
    stars = [np.full(2, value) for value in (16.2567, 1.0)]
    feh = np.full(2, -0.5)
    distance, error = distances.ivezic(*stars, np.array([0.0, 0.05]), feh, np.array([0.0, 0.2]))
    np.testing.assert_allclose(distance, 1.0, rtol=1e-9)  # M_r = 6.2567, so 10 mag away: 1 kpc
    # dM/d(g-i) = 14.32 - 25.94 + 18.381 - 5.068 + 0.4835 = 2.1765; dM/d[Fe/H] = -1.11 + 0.18 = -0.93
    modulus = np.sqrt([0.15**2, 0.15**2 + (2.1765 * 0.05) ** 2 + (0.93 * 0.2) ** 2])
    np.testing.assert_allclose(error, 0.2 * np.log(10) * modulus, rtol=1e-6)


@pytest.fixture(scope="module")
def by_isochrones() -> distances.IsochroneDistances:
    return distances.IsochroneDistances.build(("r", "Ks", "G"))


def test_absolute_magnitudes_of_well_known_stars(by_isochrones):
    labels = np.array([[5772.0, 0.0, 4.44], [4800.0, -0.1, 2.45], [np.nan, 0.0, 4.4], [1000.0, 0.0, 4.4]])
    errors = np.tile([50.0, 0.05, 0.05], (4, 1))
    r, r_sd = by_isochrones.absolute("r", labels, errors)
    ks, _ = by_isochrones.absolute("Ks", labels, errors)
    # the Sun: Willmer 2018, ApJS 236, 47 (SDSS r, AB; 2MASS Ks, Vega)
    assert r[0] == pytest.approx(4.65, abs=0.08)
    assert ks[0] == pytest.approx(3.27, abs=0.08)
    assert r_sd[0] < 0.2
    # the red clump: Hawkins et al. 2017, MNRAS 471, 722, give -1.61
    assert ks[1] == pytest.approx(-1.61, abs=0.2)
    assert np.isnan(r[2:]).all()


def test_worse_labels_widen_the_distance(by_isochrones):
    labels = np.tile([5000.0, -0.5, 4.6], (2, 1))
    errors = np.array([[80.0, 0.1, 0.05], [300.0, 0.4, 0.6]])
    distance, error = by_isochrones.distance("r", np.full(2, 16.26), labels, errors)
    assert distance[0] == pytest.approx(1.0, rel=0.05)
    assert error[1] > 2 * error[0]
    assert error[0] == pytest.approx(0.46 * 0.15, rel=0.3)


def test_distances_of_mock_stars_err_as_much_as_they_say(by_isochrones):
    """Labels with errors of a good spectrum give back the mock's own distances, dwarfs' and giants'."""
    mock = FEW.model_copy(update={"stars": 6000, "screen": 0.0})
    bare = simulate.bare_stars(simulate.star_model(GALAXY, mock), DUST, mock, 8, "distances").stars
    bare = bare[(bare["teff"] > 4000) & (bare["feh"] > -2.1)]
    rng = np.random.default_rng(2)
    errors = np.tile([80.0, 0.1, 0.1], (len(bare), 1))
    labels = bare[["teff", "feh", "logg"]].to_numpy(float) + errors * rng.standard_normal(errors.shape)
    distance, error = by_isochrones.distance("r", bare["r"].to_numpy(float), labels, errors)
    pull = 5 * np.log10(distance / bare["distance"]) / (5 / np.log(10) * error / distance)
    assert abs(np.median(pull)) < 0.2
    assert (np.abs(pull) < 1).mean() == pytest.approx(0.68, abs=0.08)
    giants = (bare["logg"] < 3.5).to_numpy()
    assert giants.sum() > 100
    assert abs(np.median(np.log(distance / bare["distance"])[giants])) < 0.1


def test_mock_dwarfs_are_where_the_main_sequence_of_ivezic_puts_them():
    """The isochrones and the observed sequence differ by at most 0.35 mag: what the relation's constants rest on."""
    mock = FEW.model_copy(update={"stars": 20_000, "screen": 0.0})
    bare = simulate.bare_stars(simulate.star_model(GALAXY, mock), DUST, mock, 9, "sequence").stars
    dwarfs = bare[bare["logg"] > 4.4]
    absolute = dwarfs["r"] - 5 * np.log10(dwarfs["distance"]) - 10
    colour = dwarfs["g"] - dwarfs["i"]
    difference = absolute - distances.main_sequence(colour, dwarfs["feh"])
    for low, high in ((0.5, 0.8), (0.8, 1.2), (1.2, 1.6), (1.6, 2.0)):
        some = difference[(colour > low) & (colour < high)]
        assert len(some) > 100
        assert abs(some.median()) < 0.35


# --- the maps


def test_statistics_of_a_cell_by_hand():
    found = sky_map.statistics(
        np.array([0, 0, 0, 2, 2]), 3, np.array([-1.0, 0.0, 1.0, 5.0, 5.0]), np.array([1.0, 1.0, 2.0, 1.0, 1.0]), 3
    )
    np.testing.assert_array_equal(found["number"], [3, 0, 2])
    assert found["feh"][0] == pytest.approx(0.25)
    # half of the weight 4 lies below: 0.5 up to -1, 1.5 up to 0, 3 up to 1
    assert found["feh_median"][0] == pytest.approx(1.0 / 3.0)
    # effective number 16 / 6; weighted variance 0.6875, times 2.667 / 1.667
    assert found["feh_scatter"][0] == pytest.approx(np.sqrt(0.6875 * 1.6))
    assert found["feh_error"][0] == pytest.approx(np.sqrt(0.6875 * 1.6 / (16 / 6)))
    assert np.isnan(found["feh"][1:]).all()


def test_the_population_of_a_cell_is_freed_of_the_prior(rng):
    """Cells of other means than all stars together: posterior means are drawn to the middle, populations are not."""
    cell = np.repeat([0, 1, 2], 3000)
    true = np.array([-1.2, -0.6, 0.0])[cell] + 0.15 * rng.standard_normal(9000)
    noise = 0.4
    seen = true + noise * rng.standard_normal(9000)
    prior = np.var(true)
    sd = np.full(9000, np.sqrt(1.0 / (1.0 / noise**2 + 1.0 / prior)))
    mean = sd**2 * (seen / noise**2 + true.mean() / prior)
    one = np.ones(9000)
    plain = sky_map.statistics(cell, 3, mean, one, 20)["feh"]
    freed = sky_map.population(cell, 3, mean, sd, one, one, 20)
    found, error = freed["feh_population"], freed["feh_population_error"]
    assert plain[2] - plain[0] < 0.8  # of 1.2
    assert found[2] - found[0] == pytest.approx(1.2, abs=0.06)
    # error of a mean of 3000 stars of scatter 0.43, if the prior were known
    assert (error > 0.43 / np.sqrt(3000)).all()
    assert (error < 0.03).all()


def label_table(number: int, **changes) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    columns = {"l": 90.0, "b": 90.0, "teff": 5500.0, "feh": -0.5, "feh_sd": 0.1, "giant": 0.0, "quality": 0}
    columns |= {"distance": rng.uniform(0.5, 3.5, number), "distance_error": 0.1}
    return pd.DataFrame(columns | changes, index=range(number))


MAP = MapSettings(step="1 kpc", height="4 kpc", radius=("6 kpc", "11 kpc"), voxel="1 kpc", half_side="4 kpc")


def test_map_places_stars_and_leaves_out_those_that_it_should():
    galaxy = load("robin2003")
    labels = label_table(2000)
    labels["feh"] = -0.3 * labels["distance"]
    found = sky_map.metallicity_map(labels, MAP, galaxy, None)
    # at the pole |Z| is distance plus the Sun's height, R the Sun's
    near = found.sel(radius=galaxy.sun.radius, method="nearest")
    assert int(found["number"].sum()) == 2000 == int(near["number"].sum())
    assert float(near["feh"].sel(height=1.5)) == pytest.approx(-0.3 * (1.5 - galaxy.sun.height), abs=0.01)
    column = found.sel(x=0.5, y=0.5, method="nearest")["feh_xyz"]
    assert float(column.sel(z=1.5)) == pytest.approx(-0.45, abs=0.01)
    assert found["number_xyz"].dims == ("z", "y", "x")
    value, _ = sky_map.slope(found, "feh", found["feh_error"])
    assert np.isnan(value)  # one column of cells has no plane
    labels.loc[:99, "quality"] = 8
    labels.loc[100:199, "giant"] = 0.9
    labels.loc[200:299, "teff"] = 4000.0
    labels.loc[300:399, "distance"] = np.nan
    labels.loc[400:499, "distance_error"] = 9.0
    fewer = sky_map.metallicity_map(labels, MAP, galaxy, None)
    assert fewer.attrs["stars"] == 1500
    assert "100 stars: not dwarfs" in fewer.attrs["selection_left_out"]
    with pytest.raises(UserError, match=r"found no distance, distance_error; expected a label file"):
        sky_map.metallicity_map(labels.drop(columns=["distance", "distance_error"]), MAP, galaxy, None)
    with pytest.raises(UserError, match="found no star for the map among 2000"):
        sky_map.metallicity_map(labels.assign(teff=9000.0), MAP, galaxy, None)


def test_selection_is_the_share_of_stars_within_the_limits():
    selection = sky_map.Selection.build(MAP, {"r": 20.0}, 14.0)
    far, close, middle = selection.of(np.array([-0.5, -0.5, -0.5]), np.array([60.0, 0.05, 2.0]))
    assert far < 0.02
    assert close < 0.02
    assert middle > 0.95
    # Teff of 5000 to 6500 K: M_r of about 4 to 7; metal-poor dwarfs are fainter, so fewer are seen far away
    rich, poor = selection.of(np.array([0.0, -1.5]), np.array([8.0, 8.0]))
    assert 0.1 < poor < rich < 0.8
    # whether a distance counts does not depend on a star's own [Fe/H]
    every = np.linspace(-2.5, 0.5, 601)
    for distance in (5.0, 8.0, 15.0, 20.0):
        lowest = selection.of(every, np.full(len(every), distance)).min()
        assert selection.least(np.array([distance]))[0] == pytest.approx(lowest, rel=1e-3)


def test_slope_of_a_map_is_that_of_its_stars(rng):
    galaxy = load("robin2003")
    labels = label_table(20_000, l=rng.uniform(0, 360, 20_000), b=rng.uniform(20, 90, 20_000))
    _, height = sky_map.galactocentric(galaxy, *(labels[name].to_numpy() for name in ("l", "b", "distance")))
    labels["feh"] = -0.2 - 0.3 * height + 0.2 * rng.standard_normal(20_000)
    found = sky_map.metallicity_map(labels, MAP.model_copy(update={"step": 0.25}), galaxy, None)
    value, error = sky_map.slope(found, "feh", found["feh_error"])
    assert 0.001 < error < 0.02
    assert value == pytest.approx(-0.3, abs=3 * error)


def test_error_of_a_slope_grows_with_the_scatter_of_the_cells():
    height, radius = np.arange(0.75, 4.0, 0.5), np.arange(7.25, 10.0, 0.5)
    above, along = np.meshgrid(height, radius)
    signs = np.where((np.arange(above.size) % 2).reshape(above.shape) == 0, 1.0, -1.0)
    cells, known = {"radius": radius, "height": height}, ("radius", "height")
    found = {}
    for times in (0.5, 1.0, 4.0):
        mean = -0.3 * above + 0.05 * along + times * 0.02 * signs
        dataset = xr.Dataset({"feh": (known, mean)}, cells, {"sun_radius_kpc": 8.5})
        found[times] = sky_map.slope(dataset, "feh", xr.full_like(dataset["feh"], 0.02))
    assert [value for value, _ in found.values()] == pytest.approx([-0.3] * 3, abs=0.01)
    assert found[1.0][1] < 1.1 * found[0.5][1]
    scatter = 16 * above.size / (above.size - 3)
    assert found[4.0][1] == pytest.approx(found[0.5][1] * np.sqrt(scatter), rel=0.05)
    # exact: without scatter it is that of the least squares
    design = np.stack([np.ones(above.size), above.ravel(), along.ravel()], axis=1) / 0.02
    assert found[0.5][1] == pytest.approx(np.sqrt(np.linalg.inv(design.T @ design)[1, 1]))


def test_mock_map_has_the_true_slope_once_selection_and_prior_are_taken_out():
    """Within 10 % and 2 standard errors, with labels of known errors, drawn to the mean as a network's are."""
    mock = Mock(stars=120_000, limits={"g": "20 mag", "r": "20 mag", "i": "20 mag"}, surveys=["sdss"], screen="0 mag")
    settings, galaxy = MapSettings(), load(GALAXY.model)
    stars = simulate.simulate(GALAXY, DUST, mock, seed=11)
    rng = np.random.default_rng(12)
    errors = {"teff": 80.0, "logg": 0.15, "feh": 0.3}
    labels = pd.DataFrame({"l": stars["l"], "b": stars["b"], "giant": stars["giant"], "quality": 0})
    for name, error in errors.items():
        labels[name] = stars[f"{name}_true"] + error * rng.standard_normal(len(stars))
        labels[f"{name}_sd"] = error
    # its prior: the stars of the same brightness, here of the same distance, in all directions
    alike = stars["feh_true"].groupby(pd.qcut(stars["distance"], 40, labels=False))
    variance, noise = alike.transform("var"), errors["feh"] ** 2
    labels["feh"] += noise / (noise + variance) * (alike.transform("mean") - labels["feh"])
    labels["feh_sd"] = np.sqrt(noise * variance / (noise + variance))
    labels = labels.join(distances.distances(labels, stars, distances.IsochroneDistances.build(("r",))))
    limits = simulate.required_limits(mock)
    assert limits == {"g": 20.0, "r": 20.0, "i": 20.0}
    real = sky_map.truth(GALAXY, mock, settings, seed=13)
    selection = sky_map.Selection.build(settings, limits, mock.bright)
    found = sky_map.compared(sky_map.metallicity_map(labels, settings, galaxy, selection), real)
    assert found["slope_true"] < -0.2
    assert abs(found["relative_difference"]) < 0.1, found
    assert abs(found["difference_in_errors"]) < 2.0, found
    # neither alone is enough
    assert found["slope_of_predictions"] > 0.9 * found["slope_true"]
    seen = sky_map.compared(sky_map.metallicity_map(labels, settings, galaxy, None), real)
    assert seen["relative_difference"] < -0.05, seen


# --- the comparison with a cube


EDGES = np.linspace(0.0, 4.0, 9)  # kpc


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    """Dust in a sheet at 1 kpc: A_V of 0.1 in front and 1.0 behind."""
    tiles = Tiles(np.array([283.0, 284.0, 285.0]), np.array([0.0, 1.0]))
    profile = np.where(EDGES[1:] > 1.0, 1.0, 0.1)
    values = np.broadcast_to(profile, (2, 1, len(profile)))
    axes = ("l", "b", "distance")
    return xr.Dataset(
        {"extinction": (axes, values), "extinction_sd": (axes, np.full(values.shape, 0.05))},
        coords={**tile_coordinates(tiles), **distance_coordinate(EDGES)},
    )


@pytest.fixture(scope="module")
def reddened() -> pd.DataFrame:
    """Stars towards the cube's first tile behind its dust, with spectroscopic labels."""
    model = StarModel(load("robin2003"), [{"r": 16.5}], bands=("g", "r", "i"), binaries=False)
    stars = model.draw(283.5, 0.5, 0.5, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    ratio = coefficients("G23", 3.1, {name: SURVEYS["sdss"].bands[name].wavelength for name in "gri"})
    a_v = np.where(stars["distance"] > 1.0, 1.0, 0.1)
    frame = pd.DataFrame({name: stars[name] + ratio[name] * a_v for name in "gri"})
    frame = frame.assign(l=283.5, b=0.5, true=a_v)
    stars["feh"] = stars["metallicity"]  # of the thin disc
    for name, error in (("teff", 80.0), ("feh", 0.1), ("logg", 0.1)):
        frame[name] = stars[name] + error * rng.standard_normal(len(stars))
        frame[f"{name}_error"] = error
    return frame[(frame["r"] < 16.0) & (stars["component"] != "halo") & (stars["teff"] < 8000)]


def test_colour_excess_of_labelled_stars_gives_the_profile(cube, reddened):
    settings = LabelComparison(least=20)
    found = excess.star_extinctions(reddened, settings, DUST)
    assert np.nanmedian(found["a_v"] - reddened["true"]) == pytest.approx(0.0, abs=0.05)
    profile = excess.profiles(reddened[["l", "b"]].join(found), cube, settings)
    assert profile.sizes["sightline"] == 1  # no star lies in the other tile
    one = profile.isel(sightline=0)
    assert float(one["l"]) == 283.5
    assert float(one["a_v"].sel(distance=0.25)) == pytest.approx(0.1, abs=0.1)
    for distance in (1.75, 2.25):
        assert float(one["a_v"].sel(distance=distance)) == pytest.approx(1.0, abs=0.12)
    # the cube's value in the middle of a bin is between those at its edges
    assert float(one["cube"].sel(distance=1.25)) == pytest.approx(0.55)
    assert float(one["cube"].sel(distance=0.25)) == pytest.approx(0.05)
    scores = excess.scores(profile)
    assert scores["bins"] == int(np.isfinite(one["a_v"]).sum()) >= 5
    assert abs(scores["difference"]) < 0.1


def test_too_few_stars_are_said_plainly(cube, reddened):
    settings = LabelComparison(least=1000)
    found = reddened[["l", "b"]].join(excess.star_extinctions(reddened, settings, DUST)).head(50)
    profile = excess.profiles(found, cube, settings)
    assert "Too few stars: the fullest cone has 50, and no distance bin the 1000" in profile.attrs["verdict"]
    assert excess.scores(profile)["difference"] is None
    elsewhere = excess.profiles(found.assign(l=10.0), cube, settings)
    assert elsewhere.sizes["sightline"] == 0
    assert "none of the 50 stars" in elsewhere.attrs["verdict"]
    with pytest.raises(UserError, match="found no logg, logg_error; expected"):
        excess.star_extinctions(reddened.drop(columns=["logg", "logg_error"]), settings, DUST)
