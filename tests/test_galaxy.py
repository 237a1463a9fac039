"""The mock Galaxy: isochrones, densities, star lists, and counts of the real Besançon model."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from galcarto.galaxy import isochrones
from galcarto.galaxy.besancon import MASS_RANGE, ROBIN2003, Component, galactocentric
from galcarto.galaxy.synthesis import BANDS, MODULUS_RANGE, MODULUS_STEP, EmptySightlineError, StarModel

LIMITS = {"J": 16.3, "Ks": 14.8}
CLUMP = 3  # core helium burning, in isochrones.PHASES
DEG2 = np.radians(1.0) ** 2


@pytest.fixture(scope="module")
def model() -> StarModel:
    return StarModel(ROBIN2003, [LIMITS])


@pytest.fixture(scope="module")
def stars(model: StarModel) -> pd.DataFrame:
    return model.draw(284.0, -1.0, 0.5, np.random.default_rng(1))


def column(values: np.ndarray, name: str) -> np.ndarray:
    return values[:, isochrones.PROPERTIES.index(name)]


# --- isochrones


def test_the_sun_is_on_the_isochrones():
    # [M/H] = 0.085 is the initial abundance of PARSEC's calibrated Sun (Z = 0.01774; Bressan et al. 2012). It lies
    # between two nodes of the grid.
    log_mass, values = isochrones.load().at(0.085, 4.6)[0]
    sun = {name: np.interp(0.0, log_mass, column(values, name)) for name in isochrones.PROPERTIES}
    assert sun["Ks"] == pytest.approx(3.27, abs=0.1)  # Willmer 2018, ApJS 236, 47
    assert sun["G"] == pytest.approx(4.67, abs=0.1)  # Casagrande & VandenBerg 2018, MNRAS 479, L102
    assert sun["BP"] - sun["RP"] == pytest.approx(0.82, abs=0.03)
    assert sun["logte"] == pytest.approx(np.log10(5772), abs=0.005)
    assert sun["logg"] == pytest.approx(4.438, abs=0.02)
    assert sun["mass"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("age", [2.0, 4.0, 6.0, 8.0])
def test_red_clump(age):
    # M_Ks = -1.61 +- 0.03: Girardi 2016, ARA&A 54, 95
    log_mass, values = isochrones.load().at(0.05, age)[CLUMP]
    weight = np.diff(10.0**log_mass)
    middle = 0.5 * (values[1:] + values[:-1])
    order = np.argsort(column(middle, "Ks"))
    median = np.interp(0.5, np.cumsum(weight[order]) / weight.sum(), column(middle, "Ks")[order])
    assert median == pytest.approx(-1.6, abs=0.15)
    assert 0.55 < np.average(column(middle, "J") - column(middle, "Ks"), weights=weight) < 0.70


@given(st.floats(-2.6, 0.6), st.floats(-3.3, 1.4))
def test_phases_follow_each_other_in_mass(metallicity, log_age):
    phases = isochrones.load().at(metallicity, 10.0**log_age)
    assert len(phases) >= 1
    for log_mass, values in phases:
        assert np.isfinite(log_mass).all()
        assert np.isfinite(values).all()
        assert (np.diff(log_mass) >= 0).all()
        assert (np.abs(column(values, "Ks")) < 30).all()
    for (before, _), (after, _) in pairwise(phases):
        assert before[-1] == after[0]


@given(st.floats(-2.1, 0.25), st.floats(-0.9, 1.1))
def test_interpolated_stars_lie_between_their_neighbours(metallicity, log_age):
    """Within 0.02 dex of metallicity and age nothing jumps on the main sequence."""
    grid = isochrones.load()
    _, here = grid.at(metallicity, 10.0**log_age)[0]
    _, there = grid.at(metallicity + 0.005, 10.0 ** (log_age + 0.005))[0]
    assert np.abs(column(here, "Ks") - column(there, "Ks")).max() < 0.3


def test_isochrones_stop_at_the_ends_of_the_grid():
    grid = isochrones.load()
    for outside, edge in [((-5.0, 5.0), (-2.192, 5.0)), ((3.0, 5.0), (0.3, 5.0)), ((0.0, 50.0), (0.0, 10**1.2))]:
        for (mass, values), (edge_mass, edge_values) in zip(grid.at(*outside), grid.at(*edge), strict=True):
            np.testing.assert_allclose(mass, edge_mass, atol=1e-9)
            np.testing.assert_allclose(values, edge_values, atol=1e-6)


# --- densities


def test_densities_at_the_sun_are_those_published():
    # Robin et al. 2003, table 2, Msun/pc3 of living stars
    published = {
        "thin1": 4.0e-3,
        "thin2": 7.9e-3,
        "thin3": 6.2e-3,
        "thin4": 4.0e-3,
        "thin5": 5.8e-3,
        "thin6": 4.9e-3,
        "thin7": 6.6e-3,
        "thick": 1.34e-3,
        "halo": 9.32e-6,
    }
    sun = np.array([-8.5]), np.array([0.0]), np.array([0.0])
    found = {c.name: c.density(*sun)[0] for c in ROBIN2003}
    assert found.pop("bulge") < 1e-9
    assert found == pytest.approx(published, rel=1e-9)


def test_older_discs_are_thicker():
    def half_height(component: Component) -> float:
        z = np.linspace(0.0, 3.0, 3001)
        value = component.density(np.full_like(z, -8.5), np.zeros_like(z), z)
        assert (np.diff(value) <= 0).all()
        return z[np.argmax(value < 0.5 * value[0])]

    heights = [half_height(c) for c in ROBIN2003[:8]]
    assert heights == sorted(heights)
    assert heights[0] < 0.1
    assert 0.3 < heights[6] < 0.5
    assert 0.6 < heights[7] < 1.0


def test_the_bar_points_to_positive_longitudes():
    # Robin et al. 2003, table 2: 13.70 stars/pc3, scale lengths 1.59, 0.424, 0.424 kpc, 11.1 deg from the Sun's
    # direction; a star has a mean of 0.206 Msun
    bulge, angle = ROBIN2003[-1], np.radians(11.1)
    for unit, scale in [
        ((-np.cos(angle), np.sin(angle), 0.0), 1.59),  # from the centre towards the Sun and l > 0
        ((np.sin(angle), np.cos(angle), 0.0), 0.424),
        ((0.0, 0.0, 1.0), 0.424),
    ]:
        found = bulge.density(*(np.array([1.2 * component]) for component in unit))
        assert found[0] == pytest.approx(13.70 * 0.206 * np.exp(-0.5 * (1.2 / scale) ** 2), rel=1e-9)
    distance = np.linspace(5.0, 8.0, 31)
    near, far = (bulge.density(*galactocentric(l, 0.0, distance)) for l in (10.0, -10.0))
    assert near.sum() > 1.5 * far.sum()


@pytest.mark.parametrize(("y", "height"), [(12.4, 0.36), (-12.4, -0.36), (8.0, 0.0)])
def test_the_disc_warps_up_towards_positive_longitudes(y, height):
    z = np.linspace(-1.0, 1.0, 401)
    for component in ROBIN2003[:8]:
        density = component.density(np.zeros_like(z), np.full_like(z, y), z)
        assert z[np.argmax(density)] == pytest.approx(height, abs=0.006)


def test_the_disc_ends():
    for component in ROBIN2003[:7]:
        edge = component.density(np.array([-13.99, -14.01]), np.zeros(2), np.zeros(2))
        assert edge[0] > 0
        assert edge[1] == 0


# --- star lists


def test_every_star_is_within_the_limits(stars):
    assert len(stars) > 10_000
    for band, limit in LIMITS.items():
        assert stars[band].max() <= limit
    assert stars["Ks"].max() > LIMITS["Ks"] - 0.01  # and the one that cuts is reached
    assert np.isfinite(stars.drop(columns="component").to_numpy()).all()
    assert set(BANDS) <= set(stars.columns)


def test_one_of_several_surveys_is_enough():
    surveys = [{"Ks": 12.0}, {"G": 14.0, "RP": 13.5}]
    stars = StarModel(ROBIN2003, surveys).draw(100.0, 3.0, 1.0, np.random.default_rng(2))
    infrared = stars["Ks"] <= 12.0
    optical = (stars["G"] <= 14.0) & (stars["RP"] <= 13.5)
    assert (infrared | optical).all()
    assert (infrared & ~optical).any()
    assert (optical & ~infrared).any()


def test_stars_have_plausible_properties(stars):
    assert stars["distance"].between(0.003, 51).all()
    assert stars["mass"].between(0.05, MASS_RANGE[1]).all()
    assert stars["teff"].between(2000, 100_000).all()
    absolute = stars["Ks"] - 5 * np.log10(stars["distance"]) - 10
    assert absolute.between(-13, 11).all()
    # hot stars are blue
    hot, cool = stars["teff"] > 8000, stars["teff"] < 4500
    assert (stars["J"] - stars["Ks"])[hot].median() < 0.15
    assert (stars["J"] - stars["Ks"])[cool].median() > 0.6
    ages = {c.name: c.age for c in ROBIN2003}
    for name, group in stars.groupby("component", observed=True):
        low, high = ages[name]
        assert group["age"].between(low * 0.999, high * 1.001).all()


def test_all_stars_are_drawn_as_often_as_expected():
    """Without limits no candidate is rejected, so the drawn numbers are Poisson around the expected ones."""
    model = StarModel(ROBIN2003, [{"Ks": 60.0}])
    area = 40_000 / model.density(20.0, 2.0)
    stars = model.draw(20.0, 2.0, area, np.random.default_rng(3))
    for component, expected in zip(ROBIN2003, model.expected(20.0, 2.0), strict=True):
        number = expected.sum() * area
        assert abs((stars["component"] == component.name).sum() - number) < 5 * np.sqrt(number) + 1
    # stars form at a constant rate: the eight ages of an old disc component are equally frequent
    for component in ROBIN2003[1:7]:
        ages = stars["age"][stars["component"] == component.name].value_counts()
        assert len(ages) == 8
        assert (np.abs(ages - ages.mean()) < 5 * np.sqrt(ages.mean()) + 0.05 * ages.mean()).all()
    # within a distance bin stars fill the volume
    modulus = 5 * np.log10(stars["distance"].to_numpy(float)) + 10
    inside = np.mod(modulus - MODULUS_RANGE[0], MODULUS_STEP)
    volume = (10 ** (0.6 * inside) - 1) / (10 ** (0.6 * MODULUS_STEP) - 1)
    assert stats.kstest(volume, "uniform").pvalue > 1e-4


def test_mass_of_nearby_stars_is_the_density_times_the_volume():
    radius, area = 0.15, 400.0
    # within 150 pc even a star of 0.09 Msun is brighter than Ks = 17.3
    stars = StarModel(ROBIN2003, [{"Ks": 17.3}]).draw(0.0, 90.0, area, np.random.default_rng(4))
    near = stars[stars["distance"] < radius]
    edges = np.linspace(0.004, radius, 500)
    middle = 0.5 * (edges[1:] + edges[:-1])
    volume = area * DEG2 * np.diff(edges**3) / 3 * 1e9  # pc3
    for component in ROBIN2003[1:8]:
        expected = (component.density(*galactocentric(0.0, 90.0, middle)) * volume).sum()
        mass = near["mass"][near["component"] == component.name]
        assert abs(mass.sum() - expected) < 5 * np.sqrt((mass**2).sum()), component.name


@pytest.mark.parametrize(("l", "b"), [(284.0, 0.0), (0.0, 5.0), (150.0, -60.0)])
def test_no_observable_star_is_lost(model, l, b):
    """Stars drawn to fainter limits and then cut are as many as those drawn to the limits."""
    deep = StarModel(ROBIN2003, [{band: limit + 0.5 for band, limit in LIMITS.items()}])
    area = 200_000 / deep.density(l, b)
    drawn = deep.draw(l, b, area, np.random.default_rng(5))
    cut = int(np.all([drawn[band] <= limit for band, limit in LIMITS.items()], axis=0).sum())
    direct = len(model.draw(l, b, area, np.random.default_rng(6)))
    assert abs(cut - direct) < 5 * np.sqrt(cut + direct)
    bound = model.density(l, b) * area
    assert direct < bound + 5 * np.sqrt(bound)
    assert direct > 0.7 * bound  # the bound is of use


def test_counts_scale_with_the_area(model):
    counts = [len(model.draw(120.0, 1.0, area, np.random.default_rng(7))) for area in (0.2, 2.0)]
    assert abs(counts[1] - 10 * counts[0]) < 5 * np.sqrt(counts[1] + 100 * counts[0])


def test_metallicities_are_those_of_the_components():
    nearby = StarModel(ROBIN2003, [{"Ks": 12.0}]).draw(180.0, 60.0, 200.0, np.random.default_rng(8))
    for component in ROBIN2003[1:8]:
        group = nearby[(nearby["component"] == component.name) & (nearby["distance"] < 0.5)]
        assert len(group) > 300
        assert group["metallicity"].mean() == pytest.approx(component.overall_metallicity(), abs=0.06)
        assert group["metallicity"].std() == pytest.approx(component.metallicity[1], rel=0.3)


def test_the_disc_is_metal_poorer_outside():
    limits = [{"Ks": 14.0}]
    inner, outer = (StarModel(ROBIN2003[2:3], limits).draw(l, 0.0, 1.0, np.random.default_rng(9)) for l in (0.0, 180.0))
    means = []
    for stars, radius in ((inner, 5.5), (outer, 11.5)):
        near = np.abs(stars["distance"] - 3.0) < 0.3
        means.append(stars["metallicity"][near].mean())
        assert means[-1] == pytest.approx(0.03 - 0.07 * (radius - 8.5), abs=0.05)
    assert means[0] > means[1]


def test_one_seed_gives_one_list(model, stars):
    again = model.draw(284.0, -1.0, 0.5, np.random.default_rng(1))
    pd.testing.assert_frame_equal(stars, again)
    other = model.draw(284.0, -1.0, 0.5, np.random.default_rng(2))
    assert len(other) != len(stars) or not other["Ks"].equals(stars["Ks"])


def test_a_direction_without_stars_is_an_error():
    with pytest.raises(EmptySightlineError, match=r"l = 10, b = 20 deg.*limits \[\{'Ks': -25\.0\}\]"):
        StarModel(ROBIN2003, [{"Ks": -25.0}]).draw(10.0, 20.0, 1.0, np.random.default_rng(0))


@pytest.mark.real
def test_counts_are_those_of_the_besancon_model(observations):
    table = pd.read_csv(observations / "besancon_k_counts" / "counts.txt", sep=r"\s+")
    table = table[(table["latitude"].abs() <= 10) & (table["Avtot"] == 0)]
    model = StarModel(ROBIN2003, [{"Ks": 14.0}])
    ratios = []
    for row in table.iloc[:: len(table) // 12].itertuples():
        area = 6000 / model.density(row.longitude, row.latitude)
        drawn = model.draw(row.longitude, row.latitude, area, np.random.default_rng(10))
        ratios.append(len(drawn) / area / row.N14)
    assert len(ratios) >= 12
    assert 0.8 < np.median(ratios) < 1.4
    assert min(ratios) > 0.5
    assert max(ratios) < 2.2
