"""The forward model against plain numpy, and the files of examples."""

from dataclasses import replace

import netCDF4
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galcarto.cmd.files import BLOCK, write_examples
from galcarto.cmd.forward import EXTINCTION_GRID, stars_beyond
from galcarto.errors import UserError

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
    for band, limit in model.limits.items():
        kind = model.survey.bands[band]
        true = magnitudes[band][star] + model.coefficients[band] * a_v
        measured[band] = rng.normal(true, kind.error(true))
        seen &= rng.random(len(star)) < 1 / (1 + np.exp((true - kind.half) / kind.width))
        seen &= (measured[band] < limit) & (measured[band] >= model.bright)
    colour = measured[model.colour_bands[0]] - measured[model.colour_bands[1]]
    m_edges, c_edges = model.axis_edges()
    image, *_ = np.histogram2d(measured[model.magnitude_band][seen], colour[seen], bins=(m_edges, c_edges))
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
    assert found.shape == (images, 64, 64)
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
    images = model.render(stars, profiles, areas, rng)
    m_edges, _ = model.axis_edges()
    middle = 0.5 * (m_edges[1:] + m_edges[:-1])
    rows = images.sum(axis=2)
    mean = (rows * middle).sum(axis=1) / rows.sum(axis=1)
    expected = 5000 * areas
    assert (np.abs(rows.sum(axis=1) - expected) < 5 * np.sqrt(expected)).all()
    assert mean[1] - mean[0] > 1.5


def test_without_dust_and_limits_every_star_counts(make_model, rng):
    model = make_model(perfect=True)
    distance, magnitudes = bare_stars(1000)
    stars = model.pack(distance, magnitudes, area=2.0)
    images = model.render(stars, np.zeros((400, 20)), np.full(400, 1.0), rng)
    counts = images.sum(axis=(1, 2), dtype=float)
    assert abs(counts.mean() - 500) < 5 * np.sqrt(500 / 400)
    assert abs(counts.var() / 500 - 1) < 5 * np.sqrt(2 / 400)
    # and each as often as any other: the summed image is the list's, in expectation
    expected = model.image(magnitudes) * 200.0
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
    axes = [0.5 * (edges[1:] + edges[:-1]) for edges in model.axis_edges()]

    def means(extinction: float) -> np.ndarray:
        # a screen in front of the nearest star
        edges = np.concatenate([[0.0], np.linspace(0.04, 10.0, 20)])
        screen = replace(model, edges=edges)
        packed = screen.pack(distance, magnitudes, area=1.0)
        image = screen.render(packed, np.full((1, 20), extinction), np.ones(1), np.random.default_rng(seed))[0]
        return np.array([image.sum(axis=1 - axis) @ axes[axis] for axis in (0, 1)]) / image.sum()

    k = model.coefficients
    expected = np.array([k["Ks"], k["J"] - k["Ks"]]) * a_v
    # the pixels are 0.1 and 0.05 mag wide
    np.testing.assert_allclose(means(a_v) - means(0.0), expected, atol=0.01)
    assert len(stars.packed) == 3000


def test_extinction_grows_between_the_edges(make_model):
    """One star: its pixel tells the extinction at its distance."""
    extinction = np.linspace(0.5, 10.0, 20)
    model = make_model(perfect=True, pixels=2000)
    pixel = 20.0 / 2000
    for distance, a_v in [(0.25, 0.25), (0.5, 0.5), (3.3, 3.3), (9.99, 9.99), (10.0, 10.0), (25.0, 10.0)]:
        stars = model.pack(np.array([distance]), {"J": np.array([10.0]), "Ks": np.array([9.0])}, area=1.0)
        image = model.render(stars, extinction[None], np.full(1, 50.0), np.random.default_rng(1))[0]
        rows, columns = np.nonzero(image)
        assert len(set(rows)) == len(set(columns)) == 1
        assert (rows[0] + 0.5) * pixel == pytest.approx(9.0 + 0.107 * a_v, abs=pixel)
        assert (columns[0] + 0.5) * pixel / 2 - 2.0 == pytest.approx(1.0 + 0.167 * a_v, abs=pixel)


def test_observed_and_simulated_images_use_the_same_pixels(make_model, rng):
    model = make_model(perfect=True, pixels=40)
    m_edges, c_edges = model.axis_edges()
    m, c = np.meshgrid(0.5 * (m_edges[1:] + m_edges[:-1]), 0.5 * (c_edges[1:] + c_edges[:-1]), indexing="ij")
    some = rng.random(m.shape) < 0.3
    magnitudes = {"Ks": m[some], "J": m[some] + c[some]}
    observed = model.image(magnitudes)
    np.testing.assert_array_equal(observed, some)
    stars = model.pack(np.ones(some.sum()), magnitudes, area=1.0)
    simulated = model.render(stars, np.zeros((1, 20)), np.full(1, 50.0), rng)[0]
    np.testing.assert_array_equal(simulated > 0, some)


def test_observed_stars_off_the_axes_are_left_out(make_model):
    model = make_model()
    image = model.image({"Ks": np.array([4.9, 15.1, 10.0, 10.0, 10.0]), "J": np.array([6.0, 16.0, 9.0, 17.0, 10.7])})
    assert image.sum() == 1
    assert image[32, 11] == 1  # pixels of 10/64 mag from 5, and of 6.5/64 mag from -0.5


def test_images_do_not_depend_on_the_number_of_threads(make_model):
    model = make_model()
    stars = model.pack(*bare_stars(3000), area=1.0)
    profiles = np.random.default_rng(2).uniform(0, 1, (64, 20)).cumsum(axis=1)
    threads = numba.get_num_threads()
    assert numba.config.NUMBA_NUM_THREADS > 1
    images = []
    try:
        for number in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(number)
            images.append(model.render(stars, profiles, np.ones(64), np.random.default_rng(3)))
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


# --- detectable stars


def test_stars_beyond_interpolates_in_extinction():
    detectable = np.zeros((2, len(EXTINCTION_GRID)))
    detectable[0], detectable[1] = 100.0, 1000.0 - 10 * EXTINCTION_GRID
    np.testing.assert_allclose(stars_beyond(detectable, np.array([0.0, 0.1])), [1099.0, 999.0])
    np.testing.assert_allclose(stars_beyond(detectable, np.array([3.0, 11.0])), [990.0, 890.0])
    # beyond the grid: as at its end
    np.testing.assert_allclose(stars_beyond(detectable, np.array([50.0, 60.0])), [700.0, 600.0])


# --- files


def examples(seed: int = 1):
    rng = np.random.default_rng(seed)
    for size in (BLOCK, 17):
        yield (
            rng.integers(0, 2**16, (size, 64, 64), dtype=np.uint16),
            rng.uniform(0, 2, (size, 20)).cumsum(axis=1),
            rng.uniform(0.1, 0.3, size),
        )


def test_examples_can_be_read_back(tmp_path, make_model, rng):
    model = make_model()
    reference = rng.uniform(0, 100, (64, 64)).astype(np.float32)
    detectable = rng.uniform(0, 100, (20, len(EXTINCTION_GRID))).astype(np.float32)
    paths = [tmp_path / "a.nc", tmp_path / "b.nc"]
    for path in paths:
        write_examples(path, examples(), reference, detectable, model, {"galcarto_seed": 1})
    counts, extinction, area = (np.concatenate(parts) for parts in zip(*examples(), strict=True))
    with netCDF4.Dataset(paths[0]) as file:
        sizes = {name: len(dimension) for name, dimension in file.dimensions.items()}
        assert sizes == {
            "example": BLOCK + 17,
            "magnitude": 64,
            "colour": 64,
            "distance": 20,
            "grid": len(EXTINCTION_GRID),
        }
        assert file["counts"].dimensions == ("example", "magnitude", "colour")
        np.testing.assert_array_equal(np.ma.getdata(file["counts"][:]), counts)
        np.testing.assert_array_equal(file["extinction"][:], extinction.astype(np.float32))
        np.testing.assert_array_equal(file["area"][:], area.astype(np.float32))
        np.testing.assert_array_equal(file["reference"][:], reference)
        np.testing.assert_array_equal(file["detectable"][:], detectable)
        np.testing.assert_allclose(file["grid"][:], EXTINCTION_GRID)
        np.testing.assert_allclose(file["distance"][:], np.arange(0.25, 10.0, 0.5))
        np.testing.assert_allclose(file["magnitude"][[0, -1]], [5 + 5 / 64, 15 - 5 / 64])
        np.testing.assert_allclose(file["colour"][[0, -1]], [-0.5 + 3.25 / 64, 6 - 3.25 / 64])
        assert (file.magnitude_band, file.colour_bands, file.galcarto_seed) == ("Ks", "J-Ks", 1)
        assert {name: file[name].units for name in ("extinction", "area", "reference", "distance")} == {
            "extinction": "mag",
            "area": "degree2",
            "reference": "degree-2",
            "distance": "kiloparsec",
        }
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_more_bands_than_the_kernel_has_bits_for_are_refused(make_model):
    model = make_model()
    with pytest.raises(UserError, match="at most 3 bands"):
        replace(model, limits={band: 15.0 for band in ("J", "H", "Ks", "G")})
