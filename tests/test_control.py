"""The control field: background galaxies, and a fit that recovers known errors of a mock field."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from galcarto.core.errors import UserError
from galcarto.dustmap import control_field
from galcarto.galaxy import background_galaxies
from galcarto.galaxy.components import load
from galcarto.galaxy.synthesis import StarModel

LIMITS = {"J": 16.3, "Ks": 14.8}
MARGIN = 1.5  # mag below the limits to which stars are drawn
ROBIN = load("robin2003")
FEW = ROBIN.model_copy(update={"components": tuple(c for c in ROBIN.components if c.name in ("thin5", "thick"))})
EDGES = np.linspace(0.0, 10.0, 21)
DIRECTION = (230.0, -20.0)
A_V = 0.1
GALAXIES = {"slope": 0.75, "colour": (1.3, 0.2)}
TRUTH = {"normalisation": -0.08, "colour": 0.04, "colour_slope": 0.01, "galaxies": 12.0, "metallicity": 0.12}
AREA = 12.0  # deg2


# --- galaxies


@given(st.floats(0.1, 50.0), st.floats(0.1, 1.2), st.floats(10.0, 16.0))
def test_expected_galaxies_are_the_integral_of_their_counts(density, slope, faintest):
    magnitude = np.linspace(background_galaxies.BRIGHTEST, faintest, 4001)
    counts = density * 10 ** (slope * (magnitude - 14.0))
    found = background_galaxies.expected(2.0, density, slope, faintest)
    assert found == pytest.approx(2.0 * np.trapezoid(counts, magnitude), rel=1e-4)


def test_drawn_galaxies_are_as_many_and_as_red_as_expected(rng):
    drawn = background_galaxies.draw(rng, 500.0, density=10.0, faintest=15.0, **GALAXIES)
    expected = background_galaxies.expected(500.0, 10.0, 0.75, 15.0)
    assert abs(len(drawn["Ks"]) - expected) < 5 * np.sqrt(expected)
    for faint in (12.0, 13.0, 14.0):
        number = background_galaxies.expected(500.0, 10.0, 0.75, faint)
        assert abs((drawn["Ks"] < faint).sum() - number) < 5 * np.sqrt(number)
    assert drawn["Ks"].min() >= background_galaxies.BRIGHTEST
    assert drawn["Ks"].max() <= 15.0
    assert stats.kstest((drawn["J"] - drawn["Ks"] - 1.3) / 0.2, "norm").pvalue > 1e-4
    np.testing.assert_allclose(
        (drawn["J"] - drawn["H"]) / (drawn["J"] - drawn["Ks"]), background_galaxies.J_H, rtol=1e-9
    )


def test_no_density_is_no_galaxy(rng):
    assert len(background_galaxies.draw(rng, 100.0, density=0.0, faintest=16.0, **GALAXIES)["J"]) == 0


def test_the_diagram_of_galaxies_holds_what_passes_the_limits(make_view, rng):
    view = make_view(limits=LIMITS)
    image = control_field.galaxies_image(view, margin=MARGIN, a_v=0.5, **GALAXIES)
    drawn = background_galaxies.draw(rng, 2000.0, density=10.0, faintest=14.8 + MARGIN, **GALAXIES)
    true = {band: drawn[band] + 0.5 * view.coefficients[band] for band in LIMITS}
    measured, _, seen = view.survey.observe(true, LIMITS, view.bright, rng)
    (counts,) = view.images({band: values[seen] for band, values in measured.items()})
    assert image.sum() == pytest.approx(counts.sum() / 20_000, rel=0.04)
    rows = 0.5 * (view.axis_edges()[0][1:] + view.axis_edges()[0][:-1])
    means = [one.sum(axis=1) @ rows / one.sum() for one in (image, counts)]
    assert means[0] == pytest.approx(means[1], abs=0.03)


def test_a_survey_without_ks_has_no_diagram_of_galaxies(make_view):
    view = make_view(limits={"J": 16.0, "H": 15.0}, magnitude_band="J", colour_bands=("J", "H"))
    assert control_field.galaxies_image(view, margin=MARGIN, a_v=0.0, **GALAXIES).sum() == 0


# --- the fit


@cache
def model(metallicity: float) -> StarModel:
    faint = {band: limit + MARGIN for band, limit in LIMITS.items()}
    return StarModel(FEW.enriched(metallicity), [faint], bands=tuple(LIMITS))


def mock_field(view, truth: dict[str, float], seed: int) -> dict[str, np.ndarray]:
    """Stars and galaxies as the survey would measure them if the mock were wrong by `truth`."""
    rng = np.random.default_rng(seed)
    drawn = model(truth["metallicity"]).draw(*DIRECTION, AREA * np.exp(truth["normalisation"]), rng)
    galaxies = background_galaxies.draw(rng, AREA, density=truth["galaxies"], faintest=14.8 + MARGIN, **GALAXIES)
    true = {
        band: np.concatenate([drawn[band].to_numpy(float), galaxies[band]]) + A_V * view.coefficients[band]
        for band in LIMITS
    }
    true["J"] = true["J"] + truth["colour"] + truth["colour_slope"] * (true["J"] - 13.0)
    measured, _, seen = view.survey.observe(true, LIMITS, view.bright, rng)
    return {band: values[seen] for band, values in measured.items()}


def fit(view, counts: np.ndarray):
    return control_field.fit(counts, AREA, DIRECTION, model, view, EDGES, extinction=A_V, margin=MARGIN, **GALAXIES)


@pytest.fixture(scope="module")
def view(make_view):
    return make_view(limits=LIMITS, bright=8.0)


@pytest.fixture(scope="module")
def fitted(view):
    (counts,) = view.images(mock_field(view, TRUTH, 1))
    return fit(view, counts.astype(float))


@pytest.mark.parametrize("name", list(TRUTH))
def test_the_fit_finds_what_is_wrong_with_the_mock(fitted, name):
    value, sd = (float(fitted[kind].sel(parameter=name)) for kind in ("value", "sd"))
    assert abs(value - TRUTH[name]) < 4 * sd
    # and is precise enough to distinguish it from zero
    assert (
        sd < {"normalisation": 0.04, "colour": 0.01, "colour_slope": 0.005, "galaxies": 4.0, "metallicity": 0.08}[name]
    )


def test_the_fitted_diagram_is_the_observed_one(fitted):
    assert fitted.attrs["chi2"] < 1.3
    assert fitted.attrs["chi2_before"] > fitted.attrs["chi2"] + 0.3
    assert float(fitted["fitted"].sum()) == pytest.approx(float(fitted["observed"].sum()), rel=0.02)
    assert fitted.attrs["stars"] == int(fitted["observed"].sum())


def test_a_right_mock_needs_no_correction(view):
    nothing = dict.fromkeys(TRUTH, 0.0) | {"galaxies": 5.0}
    (counts,) = view.images(mock_field(view, nothing, 2))
    found = fit(view, counts.astype(float))
    off = (found["value"] - np.array([nothing[name] for name in control_field.PARAMETERS])) / found["sd"]
    assert (np.abs(off) < 4).all()
    assert found.attrs["chi2"] < 1.3


def test_too_few_stars_are_refused(view):
    with pytest.raises(UserError, match="found 499 stars within limits; expected at least 500"):
        fit(view, np.full((1, 1), 499))


def test_five_hundred_stars_are_enough(view):
    def asked(_: float) -> StarModel:
        raise NotImplementedError("the fit begins with the mock Galaxy")

    others = {"extinction": A_V, "margin": MARGIN, **GALAXIES}
    with pytest.raises(NotImplementedError):
        control_field.fit(np.full((1, 1), 500), AREA, DIRECTION, asked, view, EDGES, **others)
