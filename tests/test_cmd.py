"""The forward model against plain numpy, and the files of examples."""

from dataclasses import replace
from types import SimpleNamespace

import netCDF4
import numba
import numpy as np
import pytest
from conftest import GAIA, linear_law
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from galcarto.core.errors import UserError
from galcarto.core.netcdf import BLOCK
from galcarto.dustmap.batches import owners
from galcarto.dustmap.diagrams import nuisances
from galcarto.dustmap.diagrams.files import write_examples
from galcarto.dustmap.diagrams.forward import EXTINCTION_GRID, LAW_GRID, ForwardModel, View, stars_beyond
from galcarto.dustmap.diagrams.kernel import CHUNK, GROUP, LEVELS
from galcarto.dustmap.diagrams.nuisances import Nuisances, Populations
from galcarto.dustmap.instrument import Instrument
from galcarto.surveys import TWOMASS

EDGES = np.linspace(0.0, 10.0, 21)
PROFILES = {
    "no dust": np.zeros(20),
    "steady dust": np.linspace(0.3, 6.0, 20),
    "two clouds": np.where(EDGES[1:] > 4.0, 7.0, np.where(EDGES[1:] > 1.0, 1.5, 0.2)),
}


def bare_stars(number: int, seed: int = 1, ks=(7.0, 17.0)):
    """Distances beyond the last edge too, magnitudes beyond the limits too."""
    rng = np.random.default_rng(seed)
    distance = rng.uniform(0.05, 12.0, number)
    k = rng.uniform(*ks, number)
    h_ks, j_h = rng.uniform(0.0, 0.3, number), rng.uniform(0.1, 0.8, number)
    return distance, {"J": k + h_ks + j_h, "H": k + h_ks, "Ks": k}


def simulate(model, distance, magnitudes, extinction, draws, rng):
    """The same physics in plain numpy: the summed image of about `draws` stars of the list."""
    star = rng.integers(0, len(distance), rng.poisson(draws))
    a_v = np.interp(distance[star], model.edges, np.concatenate([[0.0], extinction]))
    measured, seen = {}, np.ones(len(star), bool)
    (view,) = model.views
    for band, limit in view.limits.items():
        kind = view.survey.bands[band]
        true = magnitudes[band][star] + view.coefficients[band] * a_v
        measured[band] = rng.normal(true, kind.error(true))
        seen &= rng.random(len(star)) < 1 / (1 + np.exp((true - kind.half) / kind.width))
        seen &= (measured[band] < limit) & (measured[band] >= view.bright)
    colour = measured[view.colour_bands[0]] - measured[view.colour_bands[1]]
    m_edges, c_edges = view.axis_edges()
    image, *_ = np.histogram2d(measured[view.magnitude_band][seen], colour[seen], bins=(m_edges, c_edges))
    return image


# to the usual limits, and to where stars begin to be missed
@pytest.mark.parametrize("limits", [{"J": 16.3, "Ks": 14.8}, {"J": 17.5, "H": 16.6, "Ks": 16.0}])
@pytest.mark.parametrize("profile", list(PROFILES))
def test_images_are_those_of_plain_numpy(make_model, limits, profile, rng):
    model = make_model(limits=limits, bright=8.0, magnitude_range=(6.0, 16.5))
    number, images, area = 2000, 800, 2.0
    distance, magnitudes = bare_stars(number)
    stars = model.pack(distance, magnitudes, area=1.0)
    extinction = PROFILES[profile]
    found = model.render(stars, np.tile(extinction, (images, 1)), np.full(images, area), rng).astype(float)
    assert found.shape == (images, 1, 64, 64)
    found = found[:, 0]
    expected = simulate(model, distance, magnitudes, extinction, number * images, rng)
    total = found.sum(axis=0)
    filled = total + area * expected > 30
    assert filled.sum() > 200
    a, b = total[filled], expected[filled]
    chi2 = ((a - area * b) ** 2 / (a + area**2 * b)).sum()
    assert abs(chi2 - filled.sum()) < 5 * np.sqrt(2 * filled.sum())
    # each image is a Poisson realisation of its own
    counts = found.sum(axis=(1, 2))
    assert abs(counts.var() / counts.mean() - 1) < 5 * np.sqrt(2 / images)
    assert abs(np.corrcoef(counts[1:], counts[:-1])[0, 1]) < 5 / np.sqrt(images)


def test_every_image_has_its_own_profile_and_area(make_model, rng):
    model = make_model(perfect=True)
    distance, magnitudes = bare_stars(5000)
    stars = model.pack(distance, magnitudes, area=1.0)
    profiles = np.stack([np.zeros(20), np.full(20, 20.0)])
    areas = np.array([0.5, 2.0])
    images = model.render(stars, profiles, areas, rng)[:, 0]
    m_edges, _ = model.views[0].axis_edges()
    middle = 0.5 * (m_edges[1:] + m_edges[:-1])
    rows = images.sum(axis=2)
    mean = (rows * middle).sum(axis=1) / rows.sum(axis=1)
    expected = 5000 * areas
    assert (np.abs(rows.sum(axis=1) - expected) < 5 * np.sqrt(expected)).all()
    assert mean[1] - mean[0] > 1.5


# and so it is in a list that the kernel walks in several chunks
@pytest.mark.parametrize("number", [1000, 3 * CHUNK - 100])
def test_without_dust_and_limits_every_star_counts(make_model, number, rng):
    model = make_model(perfect=True)
    distance, magnitudes = bare_stars(number)
    stars = model.pack(distance, magnitudes, area=2.0)
    images = model.render(stars, np.zeros((400, 20)), np.full(400, 1.0), rng)[:, 0]
    counts = images.sum(axis=(1, 2), dtype=float)
    assert abs(counts.mean() - number / 2) < 5 * np.sqrt(number / 2 / 400)
    assert abs(counts.var() / (number / 2) - 1) < 5 * np.sqrt(2 / 400)
    # and each as often as any other: the summed image is the list's, in expectation
    expected = model.views[0].images(magnitudes)[0] * 200.0
    total = images.sum(axis=0, dtype=float)
    full = expected > 0
    assert total[~full].sum() == 0
    chi2 = ((total - expected)[full] ** 2 / expected[full]).sum()
    assert abs(chi2 - full.sum()) < 5 * np.sqrt(2 * full.sum())


@given(st.floats(0.0, 20.0), st.integers(0, 100))
def test_extinction_shifts_magnitude_and_colour_by_the_coefficients(make_model, a_v, seed):
    model = make_model(perfect=True)
    distance, magnitudes = bare_stars(3000)
    stars = model.pack(distance, magnitudes, area=1.0)
    axes = [0.5 * (edges[1:] + edges[:-1]) for edges in model.views[0].axis_edges()]

    def means(extinction: float) -> np.ndarray:
        # a screen in front of the nearest star
        edges = np.concatenate([[0.0], np.linspace(0.04, 10.0, 20)])
        screen = replace(model, edges=edges)
        packed = screen.pack(distance, magnitudes, area=1.0)
        image = screen.render(packed, np.full((1, 20), extinction), np.ones(1), np.random.default_rng(seed))[0, 0]
        return np.array([image.sum(axis=1 - axis) @ axes[axis] for axis in (0, 1)]) / image.sum()

    k = model.views[0].coefficients
    expected = np.array([k["Ks"], k["J"] - k["Ks"]]) * a_v
    # the pixels are 0.1 and 0.05 mag wide
    np.testing.assert_allclose(means(a_v) - means(0.0), expected, atol=0.01)
    assert len(stars.packed) == 3000


def test_extinction_grows_between_the_edges(make_model):
    """The pixel of a single star gives the extinction at its distance."""
    extinction = np.linspace(0.5, 10.0, 20)
    model = make_model(perfect=True, pixels=2000)
    pixel = 20.0 / 2000
    for distance, a_v in [(0.25, 0.25), (0.5, 0.5), (3.3, 3.3), (9.99, 9.99), (10.0, 10.0), (25.0, 10.0)]:
        stars = model.pack(np.array([distance]), {"J": np.array([10.0]), "Ks": np.array([9.0])}, area=1.0)
        image = model.render(stars, extinction[None], np.full(1, 50.0), np.random.default_rng(1))[0, 0]
        rows, columns = np.nonzero(image)
        assert len(set(rows)) == len(set(columns)) == 1
        assert (rows[0] + 0.5) * pixel == pytest.approx(9.0 + 0.107 * a_v, abs=pixel)
        assert (columns[0] + 0.5) * pixel / 2 - 2.0 == pytest.approx(1.0 + 0.167 * a_v, abs=pixel)


def test_observed_and_simulated_images_use_the_same_pixels(make_model, rng):
    model = make_model(perfect=True, pixels=40)
    m_edges, c_edges = model.views[0].axis_edges()
    m, c = np.meshgrid(0.5 * (m_edges[1:] + m_edges[:-1]), 0.5 * (c_edges[1:] + c_edges[:-1]), indexing="ij")
    some = rng.random(m.shape) < 0.3
    magnitudes = {"Ks": m[some], "J": m[some] + c[some]}
    (observed,) = model.views[0].images(magnitudes)
    np.testing.assert_array_equal(observed, some)
    stars = model.pack(np.ones(some.sum()), magnitudes, area=1.0)
    simulated = model.render(stars, np.zeros((1, 20)), np.full(1, 50.0), rng)[0, 0]
    np.testing.assert_array_equal(simulated > 0, some)


def test_a_pixel_that_would_overflow_is_refused_and_stays(make_view):
    view = make_view()
    stars = {"J": np.full(200, 11.0), "Ks": np.full(200, 10.0)}
    counts = np.zeros((1, 1, view.pixels, view.pixels), np.uint8)
    view.add(stars, np.zeros(200, int), counts)
    with pytest.raises(UserError, match=r"found 400 stars in a pixel .* expected at most 255: choose smaller tiles"):
        view.add(stars, np.zeros(200, int), counts)
    assert counts.sum() == counts.max() == 200


def test_observed_stars_off_the_axes_are_left_out(make_view):
    (image,) = make_view().images(
        {"Ks": np.array([4.9, 15.1, 10.0, 10.0, 10.0]), "J": np.array([6.0, 16.0, 9.0, 17.0, 10.7])}
    )
    assert image.sum() == 1
    assert image[32, 11] == 1  # pixels of 10/64 mag from 5, and of 6.5/64 mag from -0.5


def test_images_do_not_depend_on_the_number_of_threads(make_model):
    model = make_model()
    stars = model.pack(*bare_stars(3000), area=1.0)
    profiles = np.random.default_rng(2).uniform(0, 1, (2 * GROUP + 1, 20)).cumsum(axis=1)
    threads = numba.get_num_threads()
    assert numba.config.NUMBA_NUM_THREADS > 1
    images = []
    try:
        for number in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(number)
            images.append(model.render(stars, profiles, np.ones(len(profiles)), np.random.default_rng(3)))
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(*images)
    assert images[0].sum() > 0


def test_seeds_make_the_images(make_model):
    model = make_model()
    stars = model.pack(*bare_stars(3000), area=1.0)
    first, again, other = (
        model.render(stars, np.zeros((3, 20)), np.ones(3), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


# --- several surveys and nuisances

GRID = np.array([0.0, 2.0, 60.0])  # mag: A_V where the classes' laws bend
LAWS = {  # mag behind GRID, of blue and red stars
    "J": ([0.0, 0.56, 15.0], [0.0, 0.52, 14.0]),
    "Ks": ([0.0, 0.22, 6.2], [0.0, 0.21, 6.0]),
    "G": ([0.0, 1.7, 35.0], [0.0, 1.4, 32.0]),
    "BP": ([0.0, 2.1, 50.0], [0.0, 1.9, 46.0]),
    "RP": ([0.0, 1.2, 30.0], [0.0, 1.1, 29.0]),
}
BORDER = 1.0  # mag of BP-RP between the classes


def two_surveys(**changes) -> ForwardModel:
    """2MASS, and Gaia with a diagram of parallaxes; two classes of stars, whose laws are not straight."""
    infrared = View(
        survey=TWOMASS,
        limits={"J": 16.3, "Ks": 14.8},
        bright=8.0,
        coefficients={"J": 0.27, "Ks": 0.11},
        magnitude_band="Ks",
        colour_bands=("J", "Ks"),
        magnitude_range=(5.0, 15.0),
        colour_range=(-0.5, 6.0),
        pixels=64,
        offsets={"J": (0.03, 0.01)},
    )
    visible = View(
        survey=GAIA,
        limits={"G": 18.0, "BP": 19.0, "RP": 17.5},
        bright=6.0,
        coefficients={"G": 0.8, "BP": 1.0, "RP": 0.6},
        magnitude_band="G",
        colour_bands=("BP", "RP"),
        magnitude_range=(6.0, 19.0),
        colour_range=(-1.0, 5.0),
        parallax_range=(-1.0, 7.0),
        pixels=64,
    )
    views = [replace(infrared, **changes), replace(visible, **changes)]
    law = [[np.interp(LAW_GRID, GRID, LAWS[band][kind]) for view in views for band in view.bands] for kind in range(2)]
    return ForwardModel(views=views, edges=EDGES, law=np.array(law), colours=np.array([BORDER]))


def bare_in_all_bands(number: int):
    """Stars of three populations: distances, magnitudes, and the population of each."""
    rng = np.random.default_rng(4)
    distance, magnitudes = bare_stars(number)
    hue = rng.uniform(0.3, 2.0, number)
    red = magnitudes["Ks"] + 1.0 + hue
    magnitudes |= {"RP": red, "BP": red + hue, "G": red + 0.6 * hue}
    return distance, magnitudes, rng.integers(0, 3, number)


def simulate_all(model, distance, magnitudes, group, extinction, draws, nuisances, rng):
    """Everything that the kernel does, in plain numpy: the summed images of about `draws` stars, and who saw them.

    Nuisances are those of one profile.
    """
    star = rng.integers(0, len(distance), rng.poisson(draws))
    # the largest weight sets the mean gap
    star = star[rng.random(len(star)) < nuisances.weights[0][group[star]] / nuisances.weights[0].max()]
    a_v = np.interp(distance[star], model.edges, np.append(0.0, extinction))
    a_v = a_v * rng.choice(nuisances.differential_extinction[0], len(star))
    kind = (magnitudes["BP"] - magnitudes["RP"])[star] > BORDER
    images, found = [], []
    for survey, view in enumerate(model.views):
        measured, seen, true = {}, np.ones(len(star), bool), {}
        for band, limit in view.limits.items():
            at = model.bands.index((survey, band))
            dimmed = np.where(kind, *(np.interp(a_v, GRID, LAWS[band][k]) for k in (1, 0)))
            value = magnitudes[band][star] + nuisances.scales[0, at] * dimmed
            zero, slope = nuisances.offsets[0, at] + np.array(view.offsets.get(band, (0.0, 0.0)))
            true[band] = value + zero + slope * (value - 13.0)
            tables = view.survey.bands[band]
            measured[band] = rng.normal(true[band], tables.error(true[band]))
            seen &= rng.random(len(star)) < tables.completeness(true[band])
            seen &= (measured[band] < limit) & (measured[band] >= view.bright)
        if view.parallax_range is not None:
            error = view.survey.parallax.error(true[view.magnitude_band])
            measured["parallax"] = rng.normal(1.0 / distance[star], error)
        images.append(view.images({name: values[seen] for name, values in measured.items()}))
        found.append(seen)
    return np.concatenate(images), found


@pytest.fixture(scope="module")
def everything() -> Nuisances:
    """Every nuisance switched on, far from what leaves the mock as it is; of one profile."""
    rng = np.random.default_rng(5)
    spread = np.exp(0.6 * rng.standard_normal(LEVELS)) * (np.arange(LEVELS) >= 50)
    return Nuisances(
        weights=np.array([[0.5, 1.6, 1.0]]),
        differential_extinction=(spread / spread.mean())[None],
        scales=np.array([[1.1, 0.9, 0.95, 1.05, 1.2, 1.0]]),
        offsets=np.array([[(0.1, 0.02), (-0.05, 0.0), (0.02, -0.01), (0.0, 0.03), (-0.1, 0.0), (0.0, 0.0)]]),
    )


@pytest.mark.parametrize("profile", ["no dust", "two clouds"])
def test_images_with_every_nuisance_are_those_of_plain_numpy(everything, profile, rng):
    model = two_surveys()
    assert [band for _, band in model.bands] == ["J", "Ks", "G", "BP", "RP", "parallax"]
    number, images, area = 3000, 800, 2.0
    distance, magnitudes, group = bare_in_all_bands(number)
    populations = Populations(np.bincount(group), np.arange(3), np.zeros(3, bool), np.zeros(3), np.zeros(3))
    stars = model.pack(distance, magnitudes, 1.0, (populations, group))
    extinction = PROFILES[profile]
    many = Nuisances(*(np.repeat(getattr(everything, n), images, axis=0) for n in NAMES))
    found = model.render(stars, np.tile(extinction, (images, 1)), np.full(images, area), rng, many)
    assert found.shape == (images, 3, 64, 64)
    found = found.astype(float)
    # the plain simulation draws a share of the list at most, the kernel stars in proportion to the weights
    draws = number * images * everything.weights.max()
    expected, seen = simulate_all(model, distance, magnitudes, group, extinction, draws, everything, rng)
    for channel, name in enumerate(model.channels):
        total = found[:, channel].sum(axis=0)
        filled = total + area * expected[channel] > 30
        assert filled.sum() > 200
        a, b = total[filled], expected[channel][filled]
        chi2 = ((a - area * b) ** 2 / (a + area**2 * b)).sum()
        assert abs(chi2 - filled.sum()) < 5 * np.sqrt(2 * filled.sum()), name
    # one visit of a star shows it to both surveys: their counts share the stars that both saw
    counts = found.sum(axis=(2, 3))
    both = (seen[0] & seen[1]).sum() / np.sqrt(seen[0].sum() * seen[1].sum())
    assert both > 0.2
    assert np.corrcoef(counts[:, 0], counts[:, 1])[0, 1] == pytest.approx(both, abs=5 / np.sqrt(images))
    # and the two diagrams of one survey hold the same stars but for those off an axis
    assert np.corrcoef(counts[:, 1], counts[:, 2])[0, 1] > 0.9


NAMES = ("weights", "differential_extinction", "scales", "offsets")


@pytest.mark.parametrize("left_out", NAMES)
def test_the_comparison_sees_every_nuisance(everything, left_out, rng):
    """The summed images change by far more than their noise when one kind of nuisance is left out."""
    model = two_surveys()
    distance, magnitudes, group = bare_in_all_bands(3000)
    populations = Populations(np.bincount(group), np.arange(3), np.zeros(3, bool), np.zeros(3), np.zeros(3))
    stars = model.pack(distance, magnitudes, 1.0, (populations, group))
    without = replace(everything, **{left_out: getattr(Nuisances.none(1, 3, len(model.bands)), left_out)})
    sums = []
    for one in (everything, without):
        many = Nuisances(*(np.repeat(getattr(one, n), 400, axis=0) for n in NAMES))
        sums.append(
            model.render(stars, np.tile(PROFILES["two clouds"], (400, 1)), np.full(400, 2.0), rng, many).sum(
                axis=0, dtype=float
            )
        )
    a, b = sums
    filled = a + b > 30
    chi2 = ((a - b)[filled] ** 2 / (a + b)[filled]).sum()
    assert chi2 - filled.sum() > 20 * np.sqrt(2 * filled.sum())


def test_nuisances_switched_off_leave_the_mock_as_it_is(make_model):
    model = make_model()
    stars = model.pack(*bare_stars(3000), area=1.0)
    plain, none = (
        model.render(stars, np.zeros((3, 20)), np.ones(3), np.random.default_rng(1), nuisances)
        for nuisances in (None, Nuisances.none(3, 1, 2))
    )
    np.testing.assert_array_equal(plain, none)


def test_a_population_of_weight_zero_is_absent(make_model, rng):
    model = make_model(perfect=True)
    distance, magnitudes = bare_stars(2000)
    group = np.repeat([0, 1], 1000)
    populations = Populations(np.array([1000, 1000]), np.arange(2), np.zeros(2, bool), np.zeros(2), np.zeros(2))
    magnitudes["J"] = magnitudes["Ks"] + np.where(group == 0, 0.0, 3.0)
    stars = model.pack(distance, magnitudes, 1.0, (populations, group))
    nuisances = replace(Nuisances.none(200, 2, 2), weights=np.tile([0.0, 2.5], (200, 1)))
    images = model.render(stars, np.zeros((200, 20)), np.ones(200), rng, nuisances)[:, 0].astype(float)
    _, colour = model.views[0].axis_edges()
    red = 0.5 * (colour[1:] + colour[:-1]) > 1.5
    assert images[..., ~red].sum() == 0
    counts = images.sum(axis=(1, 2))
    # 2.5 times as many as in the list, and still Poisson
    assert abs(counts.mean() - 2500) < 5 * np.sqrt(2500 / 200)
    assert abs(counts.var() / 2500 - 1) < 5 * np.sqrt(2 / 200)


def test_normalisation_is_the_number_of_stars(make_model, rng):
    model = make_model(perfect=True, normalisation=0.7)
    stars = model.pack(*bare_stars(1000), area=1.0)
    counts = model.render(stars, np.zeros((200, 20)), np.ones(200), rng).sum(axis=(1, 2, 3), dtype=float)
    assert abs(counts.mean() - 700) < 5 * np.sqrt(700 / 200)


def test_galaxies_lie_behind_all_dust(make_model, rng):
    """A star infinitely far has the extinction of the last edge, and a parallax of zero."""
    model = two_surveys()
    magnitudes = {"J": 12.0, "Ks": 11.0, "G": 13.0, "BP": 13.5, "RP": 12.5}
    stars = model.pack(np.array([np.inf]), {name: np.array([value]) for name, value in magnitudes.items()}, 1.0)
    assert stars.packed[0, 0] == 20
    assert stars.packed[0, -1] == 0.0
    images = model.render(stars, np.linspace(0.2, 4.0, 20)[None], np.full(1, 500.0), rng)[0]
    rows = [np.average(np.arange(64), weights=image.sum(axis=1)) + 0.5 for image in images]
    k, g = (np.interp(4.0, GRID, LAWS[band][0]) for band in ("Ks", "G"))
    assert 5.0 + rows[0] * 10 / 64 == pytest.approx(11.0 + k, abs=0.1)  # the pixels are 0.16 and 0.2 mag wide
    assert 6.0 + rows[1] * 13 / 64 == pytest.approx(13.0 + g, abs=0.12)
    assert -1.0 + rows[2] * 8 / 64 == pytest.approx(0.0, abs=0.05)


def test_a_star_without_a_parallax_is_in_the_other_diagram_only():
    view = two_surveys().views[1]
    stars = {"G": [12.0, 12.0], "BP": [13.0, 13.0], "RP": [12.0, 12.0], "parallax": [1.0, np.nan]}
    images = view.images({name: np.array(values) for name, values in stars.items()})
    assert images.sum(axis=(1, 2)).tolist() == [2, 1]


# --- what nuisances are drawn


def sorted_stars(seed: int = 1, number: int = 20_000):
    """Populations of two components of different metallicity, a third of their stars binaries."""
    rng = np.random.default_rng(seed)
    component = np.sort(rng.integers(0, 2, number))
    metallicity = np.where(component == 0, rng.normal(0.0, 0.2, number), rng.normal(-0.8, 0.3, number))
    binary = rng.random(number) < 0.33
    return component, metallicity, binary, *Populations.sort(component, metallicity, binary)


OFF = dict.fromkeys(("normalisation", "components", "metallicity", "binaries", "galaxies"), 0.0)


def test_populations_group_stars_of_a_kind():
    component, metallicity, binary, populations, group = sorted_stars()
    assert (populations.component[group] == component).all()
    assert (populations.binary[group] == binary).all()
    np.testing.assert_array_equal(np.bincount(group), populations.number)
    for kind in range(2):
        own = component == kind
        scaled = (metallicity[own] - metallicity[own].mean()) / metallicity[own].std()
        within = np.abs(populations.metallicity[group[own]] - scaled)
        assert within[np.abs(scaled) < 3.9].max() <= 0.5 + 1e-9
        assert populations.sigma[populations.component == kind] == pytest.approx(metallicity[own].std())


def test_weights_switched_off_are_one():
    *_, populations, _ = sorted_stars()
    weights = nuisances.population_weights(np.random.default_rng(1), 5, populations.with_galaxies(10), **OFF)
    np.testing.assert_allclose(weights, 1.0, rtol=1e-12)


@given(st.integers(0, 1000), st.floats(0.0, 0.5), st.floats(0.0, 1.0))
def test_a_component_keeps_its_number(seed, metallicity, binaries):
    *_, populations, _ = sorted_stars()
    changes = {"metallicity": metallicity, "binaries": binaries}
    weights = nuisances.population_weights(np.random.default_rng(seed), 4, populations, **(OFF | changes))
    assert (weights >= 0).all()
    for kind in range(2):
        own = populations.component == kind
        expected = populations.number[own].sum()
        np.testing.assert_allclose(weights[:, own] @ populations.number[own], expected, rtol=1e-9)


def test_weights_shift_the_metallicity_by_what_is_drawn():
    _, metallicity, _, populations, group = sorted_stars(number=200_000)
    weights = nuisances.population_weights(np.random.default_rng(2), 400, populations, **(OFF | {"metallicity": 0.05}))
    own = populations.component == 0
    mean = np.bincount(group, metallicity)[own] / populations.number[own]
    shift = weights[:, own] @ (populations.number[own] * mean) / populations.number[own].sum()
    shift -= metallicity[: int(populations.number[own].sum())].mean()
    # a little less, as no population grows beyond LARGEST_SHIFT
    assert shift.std() == pytest.approx(0.05, rel=0.12)
    assert abs(shift.mean()) < 5 * 0.05 / np.sqrt(400)


@pytest.mark.parametrize("name", ["normalisation", "components", "binaries", "galaxies"])
def test_weights_scatter_by_their_width(name):
    *_, populations, _ = sorted_stars()
    populations = populations.with_galaxies(100)
    weights = np.log(nuisances.population_weights(np.random.default_rng(3), 2000, populations, **(OFF | {name: 0.2})))
    galaxies = populations.component < 0
    first, second = (weights[:, np.flatnonzero(populations.component == kind)] for kind in range(2))
    one = weights[:, galaxies][:, 0] if name == "galaxies" else first[:, 0]
    if name == "binaries":  # of binaries over single stars
        binary = populations.binary[populations.component == 0]
        one = first[:, np.flatnonzero(binary)[0]] - first[:, np.flatnonzero(~binary)[0]]
    assert one.std() == pytest.approx(0.2, rel=5 / np.sqrt(4000))
    if name in ("normalisation", "components"):
        together = np.corrcoef(first[:, 0], second[:, 0])[0, 1]
    if name == "normalisation":
        assert together == pytest.approx(1.0)
        assert np.abs(weights[:, galaxies]).max() == 0.0
    if name == "components":
        assert abs(together) < 5 / np.sqrt(2000)
    if name == "galaxies":
        assert np.abs(weights[:, ~galaxies]).max() < 1e-9


@given(st.integers(0, 1000), st.floats(0.0, 2.0), st.floats(0.05, 1.0))
def test_differential_extinction_has_a_mean_of_one(seed, sigma, covered):
    found = nuisances.differential_extinction(np.random.default_rng(seed), 3, (sigma, sigma), (covered, covered))
    assert found.shape == (3, LEVELS)
    np.testing.assert_allclose(found.mean(axis=1), 1.0, rtol=1e-9)
    bare = (found == 0).mean()
    assert bare == pytest.approx(1.0 - covered, abs=1 / LEVELS)


def test_differential_extinction_is_lognormal_where_there_is_dust():
    (found,) = nuisances.differential_extinction(np.random.default_rng(1), 1, (0.5, 0.5), (1.0, 1.0))
    for level in (0.02, 0.16, 0.5, 0.84, 0.98):
        expected = np.exp(0.5 * stats.norm.ppf(level) - 0.125)
        assert np.quantile(found, level) == pytest.approx(expected, rel=0.03)
    (even,) = nuisances.differential_extinction(np.random.default_rng(1), 1, (0.0, 0.0), (1.0, 1.0))
    np.testing.assert_allclose(even, 1.0)
    drawn = nuisances.differential_extinction(np.random.default_rng(1), 2000, (0.0, 1.0), (1.0, 1.0))
    assert (
        stats.kstest(np.log(drawn[:, -1] / drawn[:, 0]) / (2 * stats.norm.ppf(1 - 0.5 / LEVELS)), "uniform").pvalue
        > 1e-4
    )


# --- detectable stars


def test_stars_beyond_interpolates_in_extinction():
    detectable = np.zeros((2, len(EXTINCTION_GRID)))
    detectable[0], detectable[1] = 100.0, 1000.0 - 10 * EXTINCTION_GRID
    np.testing.assert_allclose(stars_beyond(detectable, np.array([0.0, 0.1])), [1099.0, 999.0])
    np.testing.assert_allclose(stars_beyond(detectable, np.array([3.0, 11.0])), [990.0, 890.0])
    # beyond the grid: as at its end
    np.testing.assert_allclose(stars_beyond(detectable, np.array([50.0, 60.0])), [700.0, 600.0])


# --- files


def examples(channels: int, surveys: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    for size in (BLOCK, 17):
        yield (
            rng.integers(0, 2**16, (size, channels, 64, 64), dtype=np.uint16),
            rng.uniform(0, 2, (size, 20)).cumsum(axis=1),
            rng.uniform(0.1, 0.3, size),
            rng.integers(0, 2, (size, surveys)),
        )


@pytest.mark.parametrize("surveys", [1, 2])
def test_examples_can_be_read_back(tmp_path, make_model, rng, surveys):
    model = make_model() if surveys == 1 else two_surveys()
    channels = {1: 1, 2: 3}[surveys]
    reference = rng.uniform(0, 100, (channels, 64, 64)).astype(np.float32)
    detectable = rng.uniform(0, 100, (surveys, 20, len(EXTINCTION_GRID))).astype(np.float32)
    paths = [tmp_path / "a.nc", tmp_path / "b.nc"]
    for path in paths:
        write_examples(path, examples(channels, surveys), reference, detectable, model, {"galcarto_seed": 1})
    counts, extinction, area, present = (
        np.concatenate(parts) for parts in zip(*examples(channels, surveys), strict=True)
    )
    with netCDF4.Dataset(paths[0]) as file:
        sizes = {name: len(dimension) for name, dimension in file.dimensions.items()}
        assert sizes == {
            "example": BLOCK + 17,
            "channel": channels,
            "survey": surveys,
            "magnitude": 64,
            "colour": 64,
            "distance": 20,
            "grid": len(EXTINCTION_GRID),
        }
        assert file["counts"].dimensions == ("example", "channel", "magnitude", "colour")
        np.testing.assert_array_equal(np.ma.getdata(file["counts"][:]), counts)
        np.testing.assert_array_equal(file["extinction"][:], extinction.astype(np.float32))
        np.testing.assert_array_equal(file["area"][:], area.astype(np.float32))
        np.testing.assert_array_equal(file["present"][:], present)
        np.testing.assert_array_equal(file["reference"][:], reference)
        np.testing.assert_array_equal(file["detectable"][:], detectable)
        np.testing.assert_allclose(file["grid"][:], EXTINCTION_GRID)
        np.testing.assert_allclose(file["distance"][:], np.arange(0.25, 10.0, 0.5))
        np.testing.assert_allclose(file["magnitude_axis"][0, [0, -1]], [5 + 5 / 64, 15 - 5 / 64])
        np.testing.assert_allclose(file["colour_axis"][0, [0, -1]], [-0.5 + 3.25 / 64, 6 - 3.25 / 64])
        if surveys == 2:  # the parallaxes' rows are in mas
            np.testing.assert_allclose(file["magnitude_axis"][2, [0, -1]], [-1 + 4 / 64, 7 - 4 / 64])
        assert file.galcarto_seed == 1
        assert file.channels.split(" ") == model.channels
        np.testing.assert_array_equal(owners(file), model.surveys)
        assert {name: file[name].units for name in ("extinction", "area", "reference", "distance")} == {
            "extinction": "mag",
            "area": "degree2",
            "reference": "degree-2",
            "distance": "kiloparsec",
        }
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_channels_are_named_by_survey_and_axes(make_model):
    assert make_model().channels == ["2mass:J-Ks,Ks"]
    assert two_surveys().channels == ["2mass:J-Ks,Ks", "gaia:BP-RP,G", "gaia:BP-RP,parallax"]
    assert two_surveys().surveys == [0, 1, 1]


def test_references_of_parallaxes_are_empty():
    class Flat:
        """Integrals that are a constant."""

        def __init__(self, value: float) -> None:
            self.value = value

        def image(self, l, b):
            return np.full((64, 64), self.value)

        def detectable(self, l, b):
            return np.full((20, len(EXTINCTION_GRID)), self.value)

    instrument = SimpleNamespace(forward_model=two_surveys(), integrators=[Flat(2.0), Flat(3.0)])
    reference, detectable = Instrument.references(instrument, 0.0, 0.0)
    assert [float(part.mean()) for part in reference] == [2.0, 3.0, 0.0]
    assert [float(part.mean()) for part in detectable] == [2.0, 3.0]


def test_a_law_of_another_shape_is_refused(make_view):
    view = make_view()
    with pytest.raises(ValueError, match="found an extinction law of shape"):
        ForwardModel(views=[view], edges=EDGES, law=linear_law([view])[:, :1], colours=np.empty(0))


def test_a_pixel_of_too_many_stars_is_refused(make_model):
    model = make_model(perfect=True)
    stars = model.pack(np.ones(1), {"J": np.array([10.0]), "Ks": np.array([9.0])}, area=1.0)
    with pytest.raises(UserError, match="choose smaller tiles"):
        model.render(stars, np.zeros((1, 20)), np.full(1, 80_000.0), np.random.default_rng(1))
