"""Information limit: slices against integrals, the solver on known cases, colour excesses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from galcarto.core.errors import UserError
from galcarto.dust import profiles
from galcarto.dust.settings import ProfileSettings
from galcarto.dustmap.control_field import galaxies_image
from galcarto.dustmap.diagrams import nuisances
from galcarto.dustmap.diagrams.forward import LAW_GRID, ForwardModel, View
from galcarto.dustmap.diagrams.integration import Integrator
from galcarto.dustmap.diagrams.nuisances import Nuisances, Populations
from galcarto.dustmap.limit import colour_excess, comparison
from galcarto.dustmap.limit.slices import NODES, Slices
from galcarto.dustmap.limit.solver import BACKGROUND, Likelihood, Prior, solve
from galcarto.dustmap.limit.tables import Mix, Widths
from galcarto.figures import limit, style
from galcarto.galaxy.components import load
from galcarto.galaxy.synthesis import StarModel

LIMITS = {"J": 16.3, "Ks": 14.8}
EDGES = np.linspace(0.0, 2.5, 26)
L, B = 210.0, -5.0
GALAXIES = (30.0, 0.75, (1.3, 0.2))
PRIOR = ProfileSettings().model_dump() | {"envelope": (0.3, 5.0), "smooth": (0.02, 3.0)}
PRIOR["clouds"] |= {"distance": (0.08, 2.5)}
WIDE = Widths(0.05, 0.3, (0.0, 1.0), (0.7, 1.0), 0.05, (0.02, 0.01, 0.02))
CERTAIN = Widths()
CLOUD = np.where(EDGES[1:] > 0.85, 3.0, 0.1)


@pytest.fixture(scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def view(make_view) -> View:
    return make_view(coefficients={"J": 0.274, "Ks": 0.107}, offsets={"J": (-0.01, 0.002)}, normalisation=0.98)


@pytest.fixture(scope="module")
def model() -> StarModel:
    """Of two components: quicker."""
    galaxy = load("robin2003")
    few = galaxy.model_copy(update={"components": tuple(c for c in galaxy.components if c.name in ("thin5", "thick"))})
    return StarModel(few, [{band: limit + 0.75 for band, limit in LIMITS.items()}], bands=("J", "Ks"))


@pytest.fixture(scope="module")
def integrator(model, view) -> Integrator:
    return Integrator(model, view.diagram(), EDGES)


@pytest.fixture(scope="module")
def slices(integrator) -> Slices:
    return Slices.build(integrator, L, B, GALAXIES)


def through(slices: Slices, profile: np.ndarray) -> np.ndarray:
    """A_V in front of the slices' stars."""
    return np.interp(slices.position, np.arange(len(EDGES)), np.append(0.0, profile))


def weights(slices: Slices, profile: np.ndarray) -> np.ndarray:
    a_v = through(slices, profile)
    at = np.searchsorted(NODES, a_v, side="right") - 1
    part = (a_v - NODES[at]) / (NODES[at + 1] - NODES[at])
    result = np.zeros((len(a_v), len(NODES)))
    np.add.at(result, (np.arange(len(a_v))[:, None], at), (1 - part) / a_v.shape[1])
    np.add.at(result, (np.arange(len(a_v))[:, None], at + 1), part / a_v.shape[1])
    return result


# --- slices


@pytest.mark.parametrize("profile", [np.zeros(25), np.linspace(0.1, 2.0, 25), CLOUD], ids=["none", "steady", "cloud"])
def test_slices_add_up_to_the_integral(slices, integrator, profile):
    expected = integrator.image(L, B, profile)
    background = weights(slices, profile)[-1] @ slices.images[-1]
    found = (slices.image(through(slices, profile)) - background).reshape(expected.shape)
    full = expected > np.sort(expected, axis=None)[-60]
    ratio = found[full] / expected[full]
    assert found.sum() == pytest.approx(expected.sum(), rel=2e-3)
    assert np.std(ratio) < 0.025
    # a tile of a quarter of a square degree does not show the difference
    assert 0.25 * ((found - expected) ** 2 / np.maximum(expected, 1e-3)).sum() < 1.0


def test_the_last_slice_is_the_galaxies(slices, view):
    for a_v in (0.0, 3.0):
        drawn = GALAXIES[0] * view.normalisation * galaxies_image(view, *GALAXIES[1:], a_v, 0.75)
        node = int(np.searchsorted(NODES, a_v))
        assert slices.images[-1, node].sum() == pytest.approx(drawn.sum(), rel=0.03)


@pytest.mark.parametrize(("number", "step"), [(0, 0.02), (1, 0.02), (2, 0.05)])
def test_zero_points_move_the_diagram_as_the_integral_says(slices, integrator, view, number, step):
    zero, slope = view.offsets["J"]

    def moved(by):
        offsets = [{"J": (zero + by, slope)}, {"J": (zero, slope + by)}, {"J": (zero + by, slope), "Ks": (by, 0.0)}][
            number
        ]
        return Integrator(integrator.model, replace(view, offsets=offsets).diagram(), EDGES).image(L, B, CLOUD)

    expected = (moved(step) - moved(-step)).ravel() / (2 * step)
    background = replace(slices, stars=slices.stars * (np.arange(27) == 26)[:, None, None])
    found, without = (one.derivatives(weights(slices, CLOUD))[number] for one in (slices, background))
    found = found - without
    # differences of integrals hold the beat of their nodes with the cells: the line is theirs on the smooth ones, and
    # in magnitude, where cells are coarser, the step is larger
    assert found @ expected / (found @ found) == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(found, expected)[0, 1] > 0.97


def test_only_two_bands_can_be_shifted(model, view, integrator):
    three = replace(integrator.diagram, bands=("G", "BP", "RP"))
    stub = Integrator.__new__(Integrator)
    stub.diagram = three
    with pytest.raises(UserError, match=r"G, BP, RP; expected two bands.*leave compare\.limit out"):
        Slices.build(stub, L, B)


# --- the prior


def test_the_field_has_its_covariance(rng):
    fields = profiles.gaussian_field(rng, 40_000, 12, 2.0)
    np.testing.assert_allclose(np.cov(fields.T), profiles.field_covariance(12, 2.0), atol=0.04)


def test_latents_give_the_prior(rng, one_thread):
    prior = Prior(EDGES, PRIOR)
    generator = torch.Generator().manual_seed(1)
    clouds = torch.multinomial(prior.number, 8000, replacement=True, generator=generator)
    mine = prior.profile(torch.randn(8000, prior.size, generator=generator), clouds).numpy()
    theirs = profiles.draw(rng, 8000, EDGES, **PRIOR)
    mine = mine[mine[:, -1] <= PRIOR["max_extinction"]]
    for at in (1, 5, 12, 24):
        assert stats.ks_2samp(mine[:, at], theirs[:, at]).pvalue > 1e-3
    steps = [np.diff(some, axis=1).max(axis=1) for some in (mine, theirs)]
    assert stats.ks_2samp(*steps).pvalue > 1e-3


# --- the likelihood


def likelihood(slices, counts, widths=CERTAIN, mix=None, area=0.25) -> Likelihood:
    prior = Prior(EDGES, PRIOR, 0 if mix is None else len(mix.tilt))
    return Likelihood(slices, prior, counts.reshape(64, 64), area, widths, mix)


def a_mix(number: int) -> Mix:
    rng = np.random.default_rng(2)
    place = np.stack([rng.uniform(8, 14.5, number), rng.uniform(0.2, 1.0, number)], axis=1)
    return Mix(rng.uniform(0, 25, number), place, 0.1 * rng.standard_normal((2, number)))


def test_gradients_are_finite_differences(slices, rng, one_thread):
    counts = rng.poisson(0.25 * slices.image(through(slices, CLOUD)))
    mine = likelihood(slices, counts, WIDE, a_mix(2000))
    generator = torch.Generator().manual_seed(3)
    latent = 0.5 * torch.randn(1, mine.prior.size, generator=generator)
    clouds = torch.tensor([2])
    mine.linearise(latent, clouds)
    place = latent.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mine.log(place, clouds).sum(), place)
    step = 5e-3
    shift = step * torch.eye(mine.prior.size)
    with torch.no_grad():
        both = clouds.expand(mine.prior.size)
        found = (mine.log(latent + shift, both) - mine.log(latent - shift, both)) / (2 * step)
    # single precision, and corners where an A_V crosses a node of the table
    assert torch.corrcoef(torch.stack([found, gradient[0]]))[0, 1] > 0.995
    assert float((found - gradient[0]).abs().max()) < 0.1 * float(gradient.abs().max()) + 1.0


def test_the_likelihood_is_poisson_s(slices, rng, one_thread):
    """Without nuisances, against the full sum over the diagram of the same profile."""
    counts = rng.poisson(0.25 * slices.image(through(slices, CLOUD)))
    mine = likelihood(slices, counts)
    latent = torch.randn(6, mine.prior.size, generator=torch.Generator().manual_seed(1))
    clouds = torch.arange(6)
    found = mine.log(latent, clouds).numpy()
    for profile, value in zip(mine.prior.profile(latent, clouds).numpy(), found, strict=True):
        image = 0.25 * slices.image(through(slices, profile))
        expected = (counts * np.log(image + 0.25 * BACKGROUND)).sum() - image.sum()
        assert value == pytest.approx(expected, abs=0.02 * abs(expected) ** 0.5 + 0.05)


def test_more_galaxies_brighten_their_slice_alone(slices, rng, one_thread):
    counts = rng.poisson(0.25 * slices.image(through(slices, CLOUD)))
    brighter = slices.images.copy()
    brighter[-1] *= np.exp(0.6)
    mine = likelihood(slices, counts, Widths(galaxies=0.3))
    expected = likelihood(replace(slices, images=brighter), counts)
    latent = torch.randn(4, mine.prior.size, generator=torch.Generator().manual_seed(1))
    latent[:, mine.prior.clouds.stop :] = 0.0
    clouds = torch.arange(4)
    plain = mine.log(latent, clouds)
    latent[:, mine.prior.clouds.stop + 1] = 2.0  # standard deviations
    found = mine.log(latent, clouds)
    torch.testing.assert_close(found, expected.log(latent, clouds), rtol=1e-5, atol=0.01)
    assert (found - plain).abs().max() > 10.0


def test_differential_extinction_is_that_of_the_rendered_images(slices, model, view, rng, one_thread):
    """The mean of many rendered images with differential extinction, against the table's."""
    area, number, sigma, covering = 0.25, 200, 0.8, 0.8
    law = np.stack([view.coefficients[band] * LAW_GRID for band in view.bands])[None]
    forward = ForwardModel([view], EDGES, law, np.empty(0))
    frame = model.draw(L, B, 20.0, rng)
    stars = forward.pack(frame["distance"].to_numpy(), {band: frame[band].to_numpy() for band in ("J", "Ks")}, 20.0)
    factors = nuisances.differential_extinction(rng, number, (sigma, sigma), (covering, covering))
    plain = Nuisances.none(number, 1, 2)
    images = forward.render(
        stars, np.tile(CLOUD, (number, 1)), np.full(number, area), rng, replace(plain, differential_extinction=factors)
    )
    found = images[:, 0].mean(axis=0).ravel()
    mine = likelihood(
        slices, found, Widths(differential_extinction=(sigma, sigma), covering=(covering, covering)), area=area
    )
    profile, nuisance = torch.tensor(CLOUD[None], dtype=torch.float32), torch.zeros(1, mine.prior.size)
    fraction = mine._weights(profile, nuisance).numpy().reshape(-1, len(NODES))
    expected = area * np.tensordot(fraction, slices.images[:-1], 2)
    assert found.sum() == pytest.approx(expected.sum(), rel=0.02)
    full = expected > np.sort(expected)[-60]
    assert np.median(np.abs(found[full] / expected[full] - 1)) < 0.04


@pytest.mark.parametrize("area", [0.0, -1.0, np.nan])
def test_an_area_that_is_none_is_refused(slices, area):
    with pytest.raises(UserError, match="expected more than 0"):
        likelihood(slices, np.ones(4096, int), area=area)


def test_a_diagram_of_another_size_is_refused(slices):
    with pytest.raises(UserError, match="found a diagram of 100 pixels; expected the 4096"):
        Likelihood(slices, Prior(EDGES, PRIOR), np.ones((10, 10), int), 0.2, Widths())


# --- the solver


def test_a_plain_cloud_is_found(slices, rng, one_thread):
    counts = rng.poisson(2.0 * slices.image(through(slices, CLOUD)))
    found = solve(likelihood(slices, counts, area=2.0), 128, seed=1)
    assert found.samples.shape == (128, 25)
    assert (np.diff(found.samples, axis=1) >= 0).all()
    assert (found.clouds >= 1).mean() > 0.9
    for at in (6, 14, 20):
        assert found.mean[at] == pytest.approx(CLOUD[at], abs=4 * float(found.sd[at]) + 0.05)
    half = (found.samples < 1.5).sum(axis=1)  # bin in which the cloud stands
    assert abs(np.median(half) - 8) <= 1
    assert 0.2 < found.acceptance["hamiltonian"] <= 1.0
    assert found.effective >= 0.45 * 128


def test_two_runs_agree(slices, rng, one_thread):
    counts = rng.poisson(0.25 * slices.image(through(slices, CLOUD)))
    mine = likelihood(slices, counts, WIDE, a_mix(2000))
    one, other = (solve(mine, 128, seed) for seed in (1, 2))
    again = solve(mine, 128, seed=1)
    np.testing.assert_array_equal(one.samples, again.samples)
    assert one.log_evidence == pytest.approx(other.log_evidence, abs=6.0)
    assert np.abs(one.mean - other.mean).max() < 1.0 * max(one.sd.max(), other.sd.max())


def test_samples_are_calibrated(slices, rng, one_thread):
    """Truths from the prior itself: their ranks among the samples are even."""
    ranks = []
    for number, truth in enumerate(profiles.draw(rng, 12, EDGES, **PRIOR)):
        counts = rng.poisson(0.25 * slices.image(through(slices, truth)))
        found = solve(likelihood(slices, counts), 64, seed=number)
        ranks.append((found.samples[:, [8, 16]] < truth[[8, 16]]).mean(axis=0))
    inside = (np.abs(np.array(ranks) - 0.5) < 0.34).mean()
    # 12 truths, two distances that go together
    assert inside == pytest.approx(0.68, abs=4 * np.sqrt(0.68 * 0.32 / 12))


# --- colour excesses


@pytest.fixture(scope="module")
def stars(model) -> dict[str, np.ndarray]:
    frame = model.draw(L, B, 20.0, np.random.default_rng(5))
    return {name: frame[name].to_numpy(float) for name in ("distance", "logg", "J", "Ks")}


def test_colour_excesses_of_many_giants_give_the_profile(slices, view, stars, rng):
    counts = rng.poisson(8.0 * slices.image(through(slices, CLOUD))).reshape(64, 64)
    found = colour_excess.profile(counts, view, stars, EDGES, seed=1)
    assert found.shape == (25,)
    assert (np.diff(found) >= 0).all()
    assert found[-1] == pytest.approx(3.0, abs=0.5)
    bare = rng.poisson(8.0 * slices.image(np.zeros_like(slices.position))).reshape(64, 64)
    assert colour_excess.profile(bare, view, stars, EDGES, seed=1)[-1] < 0.3


def test_an_empty_diagram_has_no_excess(view, stars):
    assert (colour_excess.profile(np.zeros((64, 64), int), view, stars, EDGES, seed=1) == 0).all()


def test_two_red_stars_are_enough_for_an_excess_and_one_is_not(view, stars):
    diagram = np.zeros((64, 64), int)
    diagram[40, 20] = 1
    assert (colour_excess.profile(diagram, view, stars, EDGES, seed=1) == 0).all()
    diagram[40, 21] = 1
    assert colour_excess.profile(diagram, view, stars, EDGES, seed=1)[-1] > 1.0


def test_colour_excesses_need_giants_and_the_diagram(view, stars):
    with pytest.raises(UserError, match="found no giant"):
        colour_excess.profile(np.zeros((64, 64), int), view, stars | {"logg": np.full(len(stars["J"]), 4.5)}, EDGES, 1)
    with pytest.raises(UserError, match=r"expected \(64, 64\)"):
        colour_excess.profile(np.zeros((10, 10), int), view, stars, EDGES, 1)


# --- tilts


def test_tilts_are_derivatives_of_the_weights(rng):
    number = 4000
    component = rng.integers(0, 2, number)
    metallicity = 0.2 * rng.standard_normal(number) - component
    populations, _ = Populations.sort(component, metallicity, rng.random(number) < 0.4)
    found = nuisances.tilts(populations, components=0.1, metallicity=0.05, binaries=0.2)
    assert found.shape == (5, len(populations.number))
    # a component keeps its number whatever its metallicity and its binaries
    for kind in range(2):
        members = populations.component == kind
        np.testing.assert_allclose(found[2:, members] @ populations.number[members], 0.0, atol=1e-9 * number)
    off = {"normalisation": 0.0, "galaxies": 0.0}
    only = {"components": 0.0, "metallicity": 0.0, "binaries": 0.0}
    for rows, width in ((slice(0, 2), "components"), (slice(2, 4), "metallicity"), (slice(4, 5), "binaries")):
        small = {**only, width: 1e-4}
        drawn = np.log(nuisances.population_weights(np.random.default_rng(1), 20_000, populations, **small, **off))
        own = nuisances.tilts(populations, **small)[rows]
        np.testing.assert_allclose(drawn.std(axis=0), np.sqrt((own**2).sum(axis=0)), rtol=0.05, atol=2e-7)


# --- the comparison


def test_the_comparison_counts_only_where_stars_remain(rng, tmp_path):
    truth = np.cumsum(rng.uniform(0, 0.3, (40, 25)), axis=1)
    valid = np.arange(25) < 20
    valid = np.broadcast_to(valid, truth.shape)
    samples = {}
    for name, width in zip(comparison.METHODS, (0.4, 0.2, 0.8), strict=True):
        error = width * rng.standard_normal(truth.shape) + np.where(valid, 0.0, 100.0)
        samples[name] = (truth + error)[:, None] + width * rng.standard_normal((40, 200, 25))
    dataset, metrics = comparison.compare(samples, truth, valid, 0.5 * (EDGES[1:] + EDGES[:-1]), seed=1)
    quick = {name: samples[name].mean(axis=1) for name in ("network", "colour_excess")}
    many, on_many = comparison.compare_many(quick, truth, valid, seed=1)
    dataset, metrics = dataset.merge(many), metrics | on_many
    assert metrics["rms_ratio"] == pytest.approx(2.0, rel=0.1)
    assert metrics["colour_excess_rms_ratio"] == pytest.approx(2.0, rel=0.1)
    assert 0 < metrics["rms_ratio_sd"] < 0.3
    assert len(metrics["rms_ratio_by_distance"]) == 20
    assert metrics["better_than_colour_excess"] == 1.0
    # a normal error's median is 0.6745 of its standard deviation
    medians = [metrics[f"{name}_median_mag"] for name in comparison.METHODS]
    assert medians == pytest.approx([0.6745 * width for width in (0.4, 0.2, 0.8)], rel=0.15)
    assert metrics["solver_coverage_68"] == pytest.approx(0.68, abs=0.08)
    assert np.isnan(dataset["rmse"][:, 20:]).all()
    inside = (dataset["rmse_interval"][:, 0] <= dataset["rmse"]) & (dataset["rmse"] <= dataset["rmse_interval"][:, 1])
    assert inside[:, :20].mean() > 0.9
    style.save(limit.against_distance(dataset), tmp_path / "limit.png")
    assert (tmp_path / "limit.png").stat().st_size > 10_000
