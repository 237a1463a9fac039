"""Expected colour-magnitude diagrams by integration, against star lists that are drawn and observed."""

from collections.abc import Mapping
from dataclasses import replace

import numba
import numpy as np
import pytest
from conftest import GAIA, PERFECT, one_survey
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from galcarto.dustmap.diagrams import integration
from galcarto.dustmap.diagrams.forward import EXTINCTION_GRID, View, stars_beyond
from galcarto.dustmap.diagrams.integration import Integrator
from galcarto.galaxy.components import load
from galcarto.galaxy.hess import Hess
from galcarto.galaxy.synthesis import StarModel

ROBIN = load("robin2003")
FEW = ROBIN.model_copy(update={"components": tuple(c for c in ROBIN.components if c.name in ("thin5", "thick"))})
LIMITS = {"J": 16.3, "Ks": 14.8}
BEYOND = 1.5  # mag: depth of star lists below the limits, so that errors scatter in all stars that they can
TILES = 1000
EDGES = np.linspace(0.0, 10.0, 21)
DUST = {
    "no dust": np.zeros(20),
    "steady dust": np.linspace(0.3, 6.0, 20),
    "near dust": np.full(20, 3.0),  # all of it before 0.5 kpc
    "two clouds": np.where(EDGES[1:] > 4.0, 7.0, np.where(EDGES[1:] > 1.0, 1.5, 0.2)),
}


def star_model(limits: Mapping[str, float], galaxy=ROBIN) -> StarModel:
    return StarModel(galaxy, [{band: limit + BEYOND for band, limit in limits.items()}], bands=tuple(limits))


@pytest.fixture(scope="module")
def forward(make_view) -> View:
    return make_view(limits=LIMITS)


@pytest.fixture(scope="module")
def model() -> StarModel:
    return star_model(LIMITS)


@pytest.fixture(scope="module")
def integrator(model, forward) -> Integrator:
    return Integrator(model, forward.diagram(), EDGES)


@pytest.fixture(scope="module")
def few(forward) -> Integrator:
    """Of two components: quicker, where it does not matter."""
    return Integrator(star_model(LIMITS, FEW), forward.diagram(), EDGES)


def observe(
    forward: View, model: StarModel, direction: tuple[float, float], area: float, seed: int, extinction=None
) -> tuple[np.ndarray, np.ndarray]:
    """The diagram of one drawn and observed list, and the stars in it per tile, a thousandth of the area."""
    rng = np.random.default_rng(seed)
    image, per_tile = np.zeros((forward.pixels, forward.pixels)), np.zeros(TILES)
    for stars in model.chunks(*direction, area, rng):
        a_v = np.interp(stars["distance"], EDGES, np.append(0.0, np.zeros(20) if extinction is None else extinction))
        true = {band: stars[band].to_numpy(float) + forward.coefficients[band] * a_v for band in forward.limits}
        measured, _, seen = forward.survey.observe(true, forward.limits, forward.bright, rng)
        image += forward.images({band: values[seen] for band, values in measured.items()})[0]
        per_tile += np.bincount(rng.integers(0, TILES, seen.sum()), minlength=TILES)
    return image, per_tile


def assert_poisson(counts: np.ndarray, expected: np.ndarray, variance: float = 1.0) -> None:
    """chi2 over the pixels of more than 10 expected stars within the central 99.98 %, the total within 3.9 sigma.

    `variance` is the largest that a pixel may have over its expectation; Poisson noise alone is the least.
    """
    full = expected > 10.0
    assert full.sum() > 30
    chi2 = ((counts - expected)[full] ** 2 / expected[full]).sum()
    assert stats.chi2.sf(chi2 / variance, full.sum()) > 1e-4
    assert stats.chi2.sf(chi2, full.sum()) < 1 - 1e-4
    off = (counts.sum() - expected.sum()) / np.sqrt(variance * expected.sum())
    assert 2 * stats.norm.sf(abs(off)) > 1e-4


def assert_drawn(forward: View, model: StarModel, direction, number: float, seed: int, extinction=None) -> None:
    """A list of so many seen stars is a Poisson draw of the integral."""
    expected = Integrator(model, forward.diagram(), EDGES).image(*direction, extinction)
    area = number / expected.sum()
    assert_poisson(observe(forward, model, direction, area, seed, extinction)[0], area * expected)


def assert_rendered(forward: View, model: StarModel, expected: np.ndarray, direction, extinction, rng) -> None:
    """The kernel's images of a list four times larger than what is seen average to the integral.

    The list's own Poisson noise adds a quarter, less where errors spread each star of it over several pixels.
    """
    tile = 100 / expected.sum()
    drawn = model.draw(*direction, 4 * TILES * tile, rng)
    kernel = one_survey(forward, EDGES)
    stars = kernel.pack(drawn["distance"].to_numpy(), {b: drawn[b].to_numpy() for b in LIMITS}, 4 * TILES * tile)
    images = kernel.render(stars, np.tile(extinction, (TILES, 1)), np.full(TILES, tile), rng)[:, 0].astype(float)
    assert_poisson(images.sum(axis=0), TILES * tile * expected, variance=1.25)


@pytest.fixture
def narrow(monkeypatch) -> None:
    """Cells so narrow that they cost less than the Poisson noise: what is left over would be a mistake."""
    monkeypatch.setattr(integration, "FINE", 0.02)
    monkeypatch.setattr(integration, "COARSE", 0.05)


# --- Hess diagrams


def stretches(rng: np.random.Generator, axes: int, longest: float) -> tuple[np.ndarray, ...]:
    number = rng.exponential(1.0, 60)
    low = rng.uniform(-10.0, 10.0, (60, axes))
    high = low + rng.uniform(-longest, longest, (60, axes))
    return number, low, high, np.sort(rng.integers(0, 4, 60))


@given(st.integers(0, 2**32), st.integers(2, 3), st.floats(0.02, 0.2), st.floats(0.01, 5.0))
def test_hess_diagrams_conserve_numbers_and_means(seed, axes, step, longest):
    rng = np.random.default_rng(seed)
    steps = np.array([step, 2 * step, 0.1][:axes])
    parts = [stretches(rng, axes, longest) for _ in range(2)]
    parts = [(n, low, high, np.append(which[:-1], 3)) for n, low, high, which in parts]  # 4 populations in each
    hess = Hess.fold(steps, parts)
    assert hess.first[0] == 0
    assert len(hess.first) == 9
    assert hess.first[-1] == len(hess.entry) == len(hess.number)
    # cells are sorted, none comes twice, none is empty
    assert (np.lexsort(hess.cell.T[::-1]) == np.arange(len(hess.cell))).all()
    assert len(np.unique(hess.cell, axis=0)) == len(hess.cell)
    np.testing.assert_array_equal(np.unique(hess.entry), np.arange(len(hess.cell)))
    for i in range(8):
        number, low, high, which = parts[i // 4]
        members = which == i % 4
        entries = slice(hess.first[i], hess.first[i + 1])
        assert (np.diff(hess.entry[entries]) > 0).all()
        assert hess.number[entries].sum() == pytest.approx(number[members].sum(), rel=1e-9)
        if members.any():
            place = (hess.cell[hess.entry[entries]] + 0.5) * hess.step
            mean = np.average(place, axis=0, weights=hess.number[entries])
            expected = np.average(0.5 * (low + high)[members], axis=0, weights=number[members])
            assert (np.abs(mean - expected) <= 0.5 * hess.step + 1e-9).all()


def test_hess_diagrams_are_those_of_the_stars():
    """A hundred thousand stars along the stretches, against the cells; the means are better than a cell's tenth."""
    rng = np.random.default_rng(1)
    number, low, high, which = stretches(rng, 2, 2.0)
    hess = Hess.fold(np.array([0.25, 0.5]), [(number, low, high, which)])
    star = rng.choice(len(number), 100_000, p=number / number.sum())
    place = low[star] + rng.random((100_000, 1)) * (high - low)[star]
    # columns of cells: pieces within a column go to it whole
    for axis, step in ((0, 0.25), (1, 0.5)):
        edges = np.arange(-12.0, 12.1, 4 * step)
        counts, _ = np.histogram(place[:, axis], edges)
        cells, _ = np.histogram((hess.cell[hess.entry, axis] + 0.5) * step, edges, weights=hess.number)
        expected = cells / number.sum() * 100_000
        assert np.abs(counts - expected).sum() < 0.05 * 100_000
        mean = np.average((hess.cell[hess.entry, axis] + 0.5) * step, weights=hess.number)
        assert mean == pytest.approx(place[:, axis].mean(), abs=0.1 * step)


DIAGRAMS = {
    "Ks against J - Ks": ("Ks", ("J", "Ks"), ("J", "Ks")),
    "J against J - Ks": ("J", ("J", "Ks"), ("J", "Ks")),
    "J against Ks - J": ("J", ("Ks", "J"), ("J", "Ks")),
    "Ks against J - Ks, with H": ("Ks", ("J", "Ks"), ("J", "H", "Ks")),
    "H against J - Ks": ("H", ("J", "Ks"), ("J", "H", "Ks")),
    "Ks against J - H": ("Ks", ("J", "H"), ("J", "H", "Ks")),
}


@pytest.mark.parametrize("kind", list(DIAGRAMS))
@given(st.lists(st.floats(-10.0, 30.0), min_size=3, max_size=3))
def test_axes_and_bands_give_each_other(make_view, kind, values):
    magnitude, colour, bands = DIAGRAMS[kind]
    model = make_view(magnitude_band=magnitude, colour_bands=colour, limits=dict.fromkeys(bands, 15.0))
    diagram = model.diagram()
    assert sorted(diagram.bands) == sorted(bands)
    assert len(diagram.axes) == len(bands)
    assert diagram.axes[:2] == [(magnitude,), colour]
    true = dict(zip(("J", "H", "Ks"), values, strict=True))
    coordinates = [true[axis[0]] - (true[axis[1]] if len(axis) == 2 else 0.0) for axis in diagram.axes]
    np.testing.assert_allclose(diagram.matrix() @ coordinates, [true[band] for band in diagram.bands], atol=1e-9)
    for band, first in zip(diagram.bands, diagram.errors, strict=True):
        assert first[700] == pytest.approx(model.survey.bands[band].error(np.array(14.01)))


# --- diagrams against draws


@pytest.mark.parametrize("direction", [(30.0, 1.0), (284.0, -1.0), (120.0, 60.0)])
def test_samples_average_to_the_expected_diagram(model, forward, integrator, direction):
    """A thousand tiles of 200 stars: pixel by pixel the sum is a Poisson draw of the expectation."""
    expected = integrator.image(*direction)
    area = 200 * TILES / expected.sum()
    counts, per_tile = observe(forward, model, direction, area, 1)
    assert_poisson(counts, area * expected)
    # each tile is a Poisson realisation of its own
    assert abs(per_tile.var() / 200 - 1) < 4 * np.sqrt(2 / TILES)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("direction", [(120.0, 60.0)])
def test_the_expected_diagram_converges(model, forward, integrator, direction):
    """Half a million stars show what the width of the cells costs; with narrow ones they show nothing."""
    exact = Integrator(model, forward.diagram(), EDGES).image(*direction)
    area = 5e5 / exact.sum()
    counts, _ = observe(forward, model, direction, area, 2)
    assert_poisson(counts, area * exact)
    # with the usual cells: 2 % of a pixel, in the mean over the stars, and 0.1 % of all
    used = integrator.image(*direction)
    full = area * exact > 10.0
    assert np.sqrt(np.average((used[full] / exact[full] - 1.0) ** 2, weights=exact[full])) < 0.02
    assert used.sum() == pytest.approx(exact.sum(), rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "direction"), [("near dust", (120.0, 60.0)), ("steady dust", (30.0, 1.0)), ("two clouds", (284.0, -1.0))]
)
def test_rendered_images_average_to_the_expected_diagram(model, forward, integrator, kind, direction, rng):
    """Behind dust, against the kernel that makes the training images."""
    expected = integrator.image(*direction, DUST[kind])
    assert_rendered(forward, model, expected, direction, DUST[kind], rng)
    bare = integrator.image(*direction)
    assert np.abs(expected - bare).sum() > 0.3 * bare.sum()


def test_zero_points_and_normalisation_are_those_of_the_kernel(make_view, rng):
    """Behind dust, on the survey's own scale: images, integral and detectable stars agree."""
    plain = make_view(limits=LIMITS)
    forward = replace(plain, offsets={"J": (0.2, 0.03), "Ks": (-0.1, 0.0)}, normalisation=0.8)
    model, direction, extinction = star_model(LIMITS, FEW), (60.0, 2.0), DUST["steady dust"]
    integrator = Integrator(model, forward.diagram(), EDGES)
    expected = integrator.image(*direction, extinction)
    assert_rendered(forward, model, expected, direction, extinction, rng)
    without = Integrator(model, plain.diagram(), EDGES)
    assert np.abs(expected - 0.8 * without.image(*direction, extinction)).sum() > 0.2 * expected.sum()
    # brighter in Ks, whose limit is the deeper one: more are detected than the normalisation alone leaves
    detectable, before = (one.detectable(*direction)[:, 0].sum() for one in (integrator, without))
    assert 1.0 < integrator.image(*direction).sum() / detectable < 1.06
    assert detectable > 1.02 * 0.8 * before


@pytest.mark.parametrize("kind", ["no dust", "steady dust"])
def test_a_survey_without_errors_is_a_histogram(make_view, kind):
    """Pixels of whole cells: no errors blur what cells cost."""
    limits = {"J": 16.3, "Ks": 14.8}
    forward = make_view(
        survey=PERFECT, limits=limits, bright=5.0, magnitude_range=(5.0, 15.0), colour_range=(-0.8, 3.2), pixels=25
    )
    assert_drawn(forward, star_model(limits, FEW), (60.0, 2.0), 50_000, 3, DUST[kind])


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    "kind",
    ["J against J - Ks", "J against Ks - J", "Ks against J - Ks, with H", "H against J - Ks", "Ks against J - H"],
)
def test_other_diagrams_and_a_band_that_only_has_a_limit(make_view, kind):
    """Three limits and other axes, to where stars begin to be missed, with a bright limit, behind dust."""
    magnitude, colour, bands = DIAGRAMS[kind]
    limits = {band: {"J": 17.0, "H": 15.6, "Ks": 15.5}[band] for band in bands}
    forward = make_view(
        limits=limits,
        bright=12.5,
        magnitude_band=magnitude,
        colour_bands=colour,
        magnitude_range=(8.0, 18.0),
        colour_range=(-3.0, 1.0) if colour == ("Ks", "J") else (-1.0, 3.0),
    )
    assert_drawn(forward, star_model(limits, FEW), (60.0, 2.0), 50_000, 4, DUST["steady dust"])


@pytest.mark.parametrize("extinction", [None, DUST["steady dust"] / 2])
def test_a_gaia_like_diagram(make_view, extinction):
    """G against BP - RP: none of the colour's bands is the magnitude."""
    limits = {"G": 17.5, "BP": 18.0, "RP": 17.0}
    forward = make_view(
        survey=GAIA,
        limits=limits,
        coefficients={"G": 0.79, "BP": 1.0, "RP": 0.6},
        magnitude_band="G",
        colour_bands=("BP", "RP"),
        magnitude_range=(8.0, 18.0),
        colour_range=(-1.0, 5.0),
    )
    assert_drawn(forward, star_model(limits, FEW), (60.0, 10.0), 50_000, 5, extinction)


# --- many directions at once


@pytest.mark.parametrize("kind", ["2mass", "gaia"])
def test_many_directions_have_the_diagrams_of_single_ones(few, make_view, kind):
    """Below 0.5 % of the counts in any pixel with more than 10, in a tile of 0.25 deg2; the totals to 1e-5."""
    one = few
    if kind == "gaia":  # a third axis
        limits = {"G": 15.5, "BP": 16.5, "RP": 15.0}
        axes = {"magnitude_range": (8.0, 16.0), "colour_range": (-1.0, 5.0)}
        bands = {"magnitude_band": "G", "colour_bands": ("BP", "RP"), "coefficients": {"G": 0.8, "BP": 1.0, "RP": 0.6}}
        view = make_view(survey=GAIA, limits=limits, **axes, **bands)
        one = Integrator(star_model(limits, FEW), view.diagram(), EDGES)
    l, b = np.array([284.0, 291.0, 30.0]), np.array([0.3, -2.7, 60.0])
    contents = np.stack([np.concatenate(one.model.content(*at)) for at in zip(l, b, strict=True)])
    images, detectables = one.images(contents), one.detectables(contents)
    for i in range(len(l)):
        for found, expected in (
            (images[i], one.image(l[i], b[i])),
            (detectables[i], one.detectable(l[i], b[i])),
        ):
            full = 0.25 * expected > 10.0
            assert full.any() or i == 2
            np.testing.assert_allclose(found[full], expected[full], rtol=5e-3)
            np.testing.assert_allclose(found.sum(), expected.sum(), rtol=1e-5)


# --- what integrals must do


def test_a_screen_shifts_magnitudes_and_colours(make_view):
    """Without errors and limits, by exactly what the coefficients say: fainter and redder."""
    forward = make_view(perfect=True, limits={"J": 30.0, "Ks": 29.0}, bright=-15.0, magnitude_range=(-10.0, 40.0))
    model = star_model(LIMITS, FEW)
    integrator = Integrator(model, forward.diagram(), np.concatenate([[0.0], np.linspace(0.003, 10.0, 20)]))
    axes = [0.5 * (edges[1:] + edges[:-1]) for edges in forward.axis_edges()]

    def means(a_v: float) -> np.ndarray:
        image = integrator.image(284.0, -1.0, np.full(20, a_v))
        return np.array([image.sum(), *(image.sum(axis=1 - i) @ axes[i] / image.sum() for i in (0, 1))])

    bare = means(0.0)
    k = forward.coefficients
    for a_v in (0.1, 1.0, 7.3):
        shift = means(a_v) - bare
        assert shift[0] == pytest.approx(0.0, abs=1e-3 * bare[0])
        assert shift[1] == pytest.approx(k["Ks"] * a_v, abs=0.005)
        assert shift[2] == pytest.approx((k["J"] - k["Ks"]) * a_v, abs=0.005)


def test_dust_hides_stars_and_reddens_the_rest(few, forward):
    colour = forward.axis_edges()[1]
    middle = 0.5 * (colour[1:] + colour[:-1])
    totals, hues = [], []
    for a_v in (0.0, 1.0, 3.0, 8.0):
        image = few.image(30.0, 0.0, np.full(20, a_v))
        assert (image >= 0).all()
        totals.append(image.sum())
        hues.append(image.sum(axis=0) @ middle / image.sum())
    assert (np.diff(totals) < 0).all()
    assert (np.diff(hues) > 0.1).all()
    # no profile is no dust
    np.testing.assert_array_equal(few.image(30.0, 0.0), few.image(30.0, 0.0, extinction=np.zeros(20)))


def test_counts_scale_with_the_density(forward, few, integrator):
    twice = tuple(
        one.model_copy(update={"density": one.density.model_copy(update={"local": 2 * one.density.local})})
        for one in FEW.components
    )
    galaxy = FEW.model_copy(update={"components": twice})
    denser = Integrator(star_model(LIMITS, galaxy), forward.diagram(), EDGES)
    image = few.image(30.0, 2.0, DUST["two clouds"])
    np.testing.assert_allclose(denser.image(30.0, 2.0, DUST["two clouds"]), 2 * image, rtol=1e-9)
    np.testing.assert_allclose(denser.detectable(30.0, 2.0), 2 * few.detectable(30.0, 2.0), rtol=1e-9)
    # the parts are less than the whole
    assert image.sum() < integrator.image(30.0, 2.0, DUST["two clouds"]).sum()


def test_integrals_do_not_depend_on_the_star_lists_limits(forward, few):
    """The star model's limits are for drawing; all its stars are integrated."""
    bright = StarModel(FEW, [{"Ks": 10.0}], bands=("Ks", "J"))
    other = Integrator(bright, forward.diagram(), EDGES)
    np.testing.assert_allclose(other.image(284.0, -1.0), few.image(284.0, -1.0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(other.detectable(284.0, -1.0), few.detectable(284.0, -1.0), rtol=1e-6, atol=1e-6)


def test_integrals_do_not_depend_on_the_number_of_threads(forward):
    threads = numba.get_num_threads()
    assert numba.config.NUMBA_NUM_THREADS > 1
    results = []
    try:
        for number in (1, numba.config.NUMBA_NUM_THREADS, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(number)
            integrator = Integrator(star_model(LIMITS, FEW), forward.diagram(), EDGES)
            results.append((integrator.image(284.0, -1.0, DUST["steady dust"]), integrator.detectable(284.0, -1.0)))
    finally:
        numba.set_num_threads(threads)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0][0], other[0])
        np.testing.assert_array_equal(results[0][1], other[1])
    assert results[0][0].sum() > 0


# --- detectable stars


@pytest.mark.parametrize(
    ("limits", "bands"), [(LIMITS, "Ks against J - Ks"), ({"J": 16.9, "H": 15.8, "Ks": 15.5}, "H against J - Ks")]
)
def test_detectable_stars_are_those_counted(make_view, limits, bands):
    """A plain count of drawn stars in the limits and the diagram, each with its chance to be found."""
    magnitude, colour, _ = DIAGRAMS[bands]
    forward = make_view(
        limits=limits, bright=12.0, magnitude_band=magnitude, colour_bands=colour, magnitude_range=(5.0, 18.0)
    )
    edges = np.linspace(0.0, 8.0, 9)
    model = star_model(limits, FEW)
    direction = (60.0, 2.0)
    table = Integrator(model, forward.diagram(), edges).detectable(*direction)
    assert table.shape == (8, len(EXTINCTION_GRID))
    area = 200_000 / table[:, 0].sum()
    stars = model.draw(*direction, area, np.random.default_rng(6))
    # stars beyond the last edge count in the last bin
    bins = np.clip(np.searchsorted(edges, stars["distance"], side="right") - 1, 0, 7)
    for a_v in (0.0, 0.5, 3.0, 12.0):
        seen, chance = np.ones(len(stars), bool), np.ones(len(stars))
        true = {band: stars[band].to_numpy(float) + forward.coefficients[band] * a_v for band in limits}
        for band, limit in limits.items():
            seen &= (true[band] < limit) & (true[band] >= forward.bright)
            chance *= forward.survey.bands[band].completeness(true[band])
        hue = true[colour[0]] - true[colour[1]]
        seen &= (hue >= -0.5) & (hue < 6.0)
        counts = np.bincount(bins[seen], chance[seen], minlength=8)
        error = np.sqrt(np.bincount(bins[seen], chance[seen] ** 2, minlength=8))
        expected = area * table[:, int(np.flatnonzero(a_v == EXTINCTION_GRID)[0])]
        assert counts.min() > 100
        # 1 %: the cells at the limits, and the bins of the distance at the edges
        assert (np.abs(counts - expected) < 4 * error + 0.01 * expected).all(), a_v
        assert abs(counts.sum() - expected.sum()) < 4 * np.sqrt((error**2).sum()) + 0.003 * expected.sum()


def test_detectable_stars_lie_in_the_diagram(make_view):
    """Stars outside of its range do not count; its ends may lie within a cell of the magnitude, hence 3 %."""
    forward = make_view(limits=LIMITS, magnitude_range=(10.0, 14.0), colour_range=(0.4, 0.8))
    model = star_model(LIMITS, FEW)
    expected = Integrator(model, forward.diagram(), EDGES).detectable(60.0, 2.0)[:, 0].sum()
    stars = model.draw(60.0, 2.0, 50_000 / expected, np.random.default_rng(7))
    inside = stars["Ks"].between(10.0, 14.0) & (stars["J"] - stars["Ks"]).between(0.4, 0.8)
    assert inside.sum() == pytest.approx(50_000, rel=0.03)
    assert inside.sum() < 0.7 * ((stars["J"] < LIMITS["J"]) & (stars["Ks"] < LIMITS["Ks"])).sum()


def test_detectable_stars_without_limits_are_all_stars(make_view):
    forward = make_view(perfect=True, bright=-30.0, magnitude_range=(-20.0, 90.0), colour_range=(-5.0, 40.0))
    model = StarModel(FEW, [{"Ks": 60.0}], bands=("J", "Ks"))
    table = Integrator(model, forward.diagram(), EDGES).detectable(284.0, -1.0)
    for behind in table.T:
        assert behind.sum() == pytest.approx(model.density(284.0, -1.0), rel=1e-6)
    beyond = stars_beyond(table, np.zeros(20))
    radius = np.repeat(np.sqrt(model.edges[1:] * model.edges[:-1])[None], 2, axis=0)
    expected = model.expected(284.0, -1.0)
    for edge, found in zip(EDGES[[4, 10, 18]], beyond[[4, 10, 18]], strict=True):
        count = sum(part.sum(axis=0)[radius[0] > edge].sum() for part in expected)
        assert found == pytest.approx(count, rel=0.05)


def test_detectable_stars_never_grow_with_dust_or_distance(integrator, rng):
    for direction in ((0.0, 0.0), (200.0, -20.0)):
        table = integrator.detectable(*direction)
        assert (np.diff(table, axis=1) <= 1e-9 * table.max()).all()
        profile = np.sort(rng.uniform(0.0, 20.0, (5, 20)), axis=1)
        beyond = stars_beyond(table, profile)
        assert (np.diff(beyond, axis=1) <= 0).all()
        assert (stars_beyond(table, profile + 1.0) <= beyond + 1e-9).all()


def test_detectable_stars_are_those_of_the_diagram(integrator):
    """What errors scatter out over the limits, they scatter in from beyond, and a little more."""
    for direction in ((30.0, 1.0), (120.0, 60.0)):
        ratio = integrator.image(*direction).sum() / integrator.detectable(*direction)[:, 0].sum()
        assert 1.0 < ratio < 1.06
