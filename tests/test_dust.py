"""Extinction laws, random profiles and the synthetic sky's dust."""

import astropy.units as u
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from galcarto.core.errors import UserError
from galcarto.core.sky import cartesian
from galcarto.dust import law, profiles, synthetic
from galcarto.dust.settings import ProfileSettings, SyntheticSky
from galcarto.dust.synthetic import SyntheticDust
from galcarto.surveys import TWOMASS

WAVELENGTHS = {name: band.wavelength for name, band in TWOMASS.bands.items()}
WINDOW = ((281.0, 287.0), (-2.0, 2.0))
DUST = SyntheticSky().model_dump(exclude={"pixels_per_tile", "planck_nside", "planck_beam", "planck_noise"})
SMOOTH = {"arm_contrast": 0.0, "turbulence": 0.0, "clouds": 0}


def draw_dust(seed: int = 1, **changes) -> SyntheticDust:
    return SyntheticDust.draw(np.random.default_rng(seed), WINDOW, **(DUST | changes))


# --- laws


def test_coefficients_of_two_mass():
    found = law.coefficients("G23", 3.1, WAVELENGTHS)
    assert list(found) == ["J", "H", "Ks"]
    assert found == pytest.approx({"J": 0.274, "H": 0.166, "Ks": 0.107}, abs=0.002)


@pytest.mark.parametrize("name", ["G23", "F99", "CCM89"])
def test_laws_are_in_units_of_the_visual_extinction(name):
    found = law.coefficients(name, 3.1, {"V": 0.55, **WAVELENGTHS})
    assert found["V"] == pytest.approx(1.0, abs=0.03)
    assert 1 > found["J"] > found["H"] > found["Ks"] > 0


@pytest.mark.parametrize("name", ["G23", "F99", "CCM89"])
def test_total_to_selective_extinction_is_the_one_asked_for(name):
    for r_v in (2.5, 3.1, 5.0):
        found = law.coefficients(name, r_v, {"B": 0.44, "V": 0.55})
        assert found["V"] / (found["B"] - found["V"]) == pytest.approx(r_v, rel=0.1)


# --- Gaia's wide bands

# effective wavelengths and rounded passbands (response per photon at micrometres) of Gaia DR2: Evans et al. 2018, A&A
# 616, A4; those of EDR3 differ by a few per cent
GAIA = {"G": 0.62, "BP": 0.51, "RP": 0.78}
PASSBANDS = {
    "G": [(0.33, 0), (0.40, 0.47), (0.48, 0.89), (0.60, 1), (0.70, 0.92), (0.80, 0.70), (0.88, 0.41), (0.96, 0.16),
          (1.05, 0.02), (1.08, 0)],
    "BP": [(0.33, 0), (0.34, 0.6), (0.40, 0.6), (0.44, 0.85), (0.52, 0.96), (0.655, 0.88), (0.67, 0)],
    "RP": [(0.62, 0), (0.635, 0.97), (0.76, 0.97), (0.84, 0.78), (0.92, 0.47), (1.00, 0.11), (1.08, 0)],
}  # fmt: skip
MICRONS = np.linspace(0.32, 1.1, 1561)


def light(band: str, temperature: float) -> np.ndarray:
    """Photons of a black body through a passband, at MICRONS."""
    place, response = np.array(PASSBANDS[band], float).T
    photons = MICRONS**-4 / np.expm1(14387.77 / (MICRONS * temperature))
    return np.interp(MICRONS, place, response) * photons


def integrated(band: str, temperature: float, extinction: float, curve: np.ndarray) -> float:
    spectrum = light(band, temperature)
    return float(-2.5 * np.log10((spectrum * 10 ** (-0.4 * extinction * curve)).sum() / spectrum.sum()))


def bp_rp(temperature: float) -> float:
    """Colour of a black body, zero at Vega's 9700 K."""
    ratio = [light("BP", t).sum() / light("RP", t).sum() for t in (temperature, 9700.0)]
    return float(-2.5 * np.log10(ratio[0] / ratio[1]))


# the relation's spectra are no black bodies, and its passbands are those of EDR3: a few per cent are expected
@pytest.mark.parametrize(("name", "r_v", "tolerance"), [("G23", 3.1, 0.07), ("F99", 3.1, 0.07), ("G23", 5.0, 0.07),
                                                        ("G23", 2.5, 0.12), ("CCM89", 2.5, 0.12)])  # fmt: skip
@pytest.mark.parametrize("temperature", [9500.0, 6000.0, 4000.0])
def test_wide_bands_agree_with_integrals_over_spectra(name, r_v, tolerance, temperature):
    curve = law.LAWS[name](Rv=r_v)(MICRONS * u.um)
    extinction = np.array([0.5, 2.0, 5.0, 10.0, 20.0, 30.0])
    found = law.band_extinction(name, r_v, GAIA, bp_rp(temperature), extinction)
    expected = [[integrated(band, temperature, a_v, curve) for band in GAIA] for a_v in extinction]
    np.testing.assert_allclose(found, expected, rtol=tolerance)


def test_wide_bands_are_those_of_the_relation():
    """DPAC's polynomial for a star of BP-RP = 1 behind 10 mag, added up by hand: k = 0.678, 0.949 and 0.586."""
    curve = law.RELATION
    found = [float(law._wide(band, curve, np.array(1.0), np.array(10.0))) / 10 for band in GAIA]
    np.testing.assert_allclose(found, [0.6779, 0.9486, 0.5860], atol=2e-3)


def test_wide_bands_of_a_usual_star_are_near_the_law_at_their_effective_wavelength():
    fixed = law.coefficients("G23", 3.1, GAIA)
    assert fixed == pytest.approx({"G": 0.864, "BP": 1.100, "RP": 0.618}, abs=0.01)
    found = law.band_extinction("G23", 3.1, GAIA, 0.8, 0.1) / 0.1
    np.testing.assert_allclose(found, list(fixed.values()), rtol=0.05)


@given(st.sampled_from(sorted(law.LAWS)), st.floats(2.3, 5.6), st.floats(-2.0, 6.0))
def test_extinction_in_every_band_grows_with_that_in_v(name, r_v, colour):
    extinction = np.linspace(0.0, 30.0, 301)
    found = law.band_extinction(name, r_v, GAIA | WAVELENGTHS, colour, extinction)
    assert found.shape == (301, 6)
    np.testing.assert_array_equal(found[0], 0.0)
    assert (np.diff(found, axis=0) > 0.1 * 0.04).all()


def test_red_stars_and_thick_dust_have_smaller_coefficients():
    extinction = np.array([0.1, 1.0, 5.0, 15.0, 30.0])
    found = law.band_extinction("G23", 3.1, {"G": 0.62}, np.array([0.0, 1.0, 2.0])[:, None], extinction)[..., 0]
    assert (np.diff(found / extinction, axis=1) < 0).all()
    assert (np.diff(found, axis=0) < 0).all()


def test_narrow_bands_have_one_coefficient():
    found = law.band_extinction("G23", 3.1, WAVELENGTHS, np.array([-0.5, 1.0, 4.0])[:, None], np.array([0.5, 30.0]))
    fixed = np.array(list(law.coefficients("G23", 3.1, WAVELENGTHS).values()))
    np.testing.assert_allclose(found, np.broadcast_to(np.array([0.5, 30.0])[:, None] * fixed, (3, 2, 3)))


def test_stars_beyond_the_relation_have_the_coefficients_of_its_end():
    found = law.band_extinction("G23", 3.1, GAIA, np.array([-0.06, -3.0, 2.5, 9.0]), 4.0)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[3])


# --- profiles


def periodogram_slope(field: np.ndarray) -> float:
    """Slope of the mean power spectrum; the Hann taper keeps the strong long waves out of the weak short ones."""
    cells = field.shape[1]
    power = (np.abs(np.fft.rfft(field * np.hanning(cells))) ** 2).mean(axis=0)
    k = np.arange(6, cells // 8)
    return float(np.polyfit(np.log(k), np.log(power[k]), 1)[0])


@pytest.mark.parametrize("slope", [1.0, 2.0, 3.0])
def test_fields_have_unit_variance_and_their_spectrum(slope, rng):
    field = profiles.gaussian_field(rng, 4000, 256, slope)
    assert field.shape == (4000, 256)
    # at each cell: 5 sigma of a mean and of a variance over 4000 draws
    assert np.abs(field.mean(axis=0)).max() < 5 / np.sqrt(4000)
    assert np.abs(field.var(axis=0) - 1).max() < 5 * np.sqrt(2 / 4000)
    assert periodogram_slope(field) == pytest.approx(-slope, abs=0.1)
    assert abs(stats.kurtosis(field[:, 100])) < 5 * np.sqrt(24 / 4000)


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_the_shortest_wave_has_its_share_of_the_variance(slope, rng):
    """Two cells hold two waves, whose powers are as 2^slope to 1; the shorter one, half as frequent, changes sign."""
    field = profiles.gaussian_field(rng, 100_000, 2, slope)
    np.testing.assert_allclose(field.var(axis=0), 1.0, atol=5 * np.sqrt(2 / 100_000))
    expected = -1.0 / (1.0 + 2.0 * 2.0**slope)
    assert np.corrcoef(field.T)[0, 1] == pytest.approx(expected, abs=5 / np.sqrt(100_000))
    assert profiles.field_covariance(2, slope)[0, 1] == pytest.approx(expected)


def test_fields_are_not_periodic(rng):
    field = profiles.gaussian_field(rng, 4000, 100, 2.0)
    ends, neighbours = (np.corrcoef(field[:, 0], field[:, i])[0, 1] for i in (-1, 1))
    assert neighbours > 0.9
    assert ends < 0.3


PRIOR = ProfileSettings().model_dump() | {"max_extinction": 1e9}
CLOUDS = PRIOR["clouds"]
NO_CLOUDS = {"clouds": CLOUDS | {"mean": 0.0}}
NO_BUBBLE = {"bubble": (0.0, 0.0)}


def draw_profiles(rng, number: int, edges: np.ndarray, **changes) -> np.ndarray:
    return profiles.draw(rng, number, edges, **(PRIOR | changes))


@given(
    st.integers(2, 120),
    st.floats(0.5, 3.5),
    st.floats(0.0, 2.5),
    st.floats(0.1, 30.0),
    st.floats(0.01, 40.0),
    st.integers(0, 1000),
)
def test_smooth_profiles_never_fall_and_end_at_their_total(cells, slope, contrast, envelope, total, seed):
    found = draw_profiles(
        np.random.default_rng(seed),
        20,
        np.linspace(0.0, 10.0, cells + 1),
        slope=slope,
        contrast=(0.5 * contrast, contrast),
        envelope=(0.5 * envelope, envelope),
        smooth=(0.5 * total, total),
        **NO_CLOUDS,
    )
    assert found.shape == (20, cells)
    assert (found[:, 0] > 0).all()
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found[:, -1] >= 0.5 * total * (1 - 1e-12)).all()
    assert (found[:, -1] <= total * (1 + 1e-12)).all()


@given(st.integers(2, 120), st.floats(0.0, 10.0), st.floats(3.0, 40.0), st.integers(0, 1000))
def test_profiles_with_clouds_never_fall_and_stay_below_the_maximum(cells, mean, largest, seed):
    edges = np.linspace(0.0, 6.0, cells + 1)
    changes = {"smooth": (0.05, 2.0), "clouds": CLOUDS | {"mean": mean, "extinction": (0.1, 1.0)}}
    try:
        found = draw_profiles(np.random.default_rng(seed), 20, edges, **changes, max_extinction=largest)
    except UserError:
        # ten clouds of up to 1 mag and 2 mag of smooth dust hardly ever stay below 3 mag
        assert mean > 5
        return
    assert (found[:, 0] > 0).all()
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found[:, -1] <= largest).all()


def test_totals_of_the_smooth_dust_are_log_uniform(rng):
    found = draw_profiles(rng, 4000, np.linspace(0, 10, 51), **NO_CLOUDS)
    level = np.log(found[:, -1] / 0.05) / np.log(30.0 / 0.05)
    assert stats.kstest(level, "uniform").pvalue > 1e-4


def test_profiles_without_contrast_are_their_envelope(rng):
    edges = np.linspace(0.0, 10.0, 2001)
    found = draw_profiles(
        rng, 3, edges, contrast=(0.0, 0.0), envelope=(2.0, 2.0), smooth=(5.0, 5.0), **NO_CLOUDS, **NO_BUBBLE
    )
    expected = 5.0 * (1 - np.exp(-edges[1:] / 2.0)) / (1 - np.exp(-10.0 / 2.0))
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-5)


def test_contrast_is_the_scatter_of_the_logarithm(rng):
    edges = np.linspace(0.0, 10.0, 101)
    found = draw_profiles(rng, 4000, edges, contrast=(0.8, 0.8), envelope=(1e6, 1e6), smooth=(1.0, 1.0), **NO_CLOUDS)
    density = np.diff(found, axis=1, prepend=0.0)
    # the ratio of two cells does not know the total
    ratio = np.log(density[:, 90] / density[:, 10])
    field = profiles.gaussian_field(np.random.default_rng(1), 4000, 100, 2.0)
    expected = 0.8 * np.std(field[:, 90] - field[:, 10])
    assert np.std(ratio) == pytest.approx(expected, rel=5 * np.sqrt(1 / 4000))


def test_the_bubble_thins_the_dust_inside_its_wall(rng):
    edges = np.linspace(0.0, 2.0, 201)  # 10 pc
    even = {"contrast": (0.0, 0.0), "envelope": (1e6, 1e6), "smooth": (2.0, 2.0), **NO_CLOUDS}
    (found,) = draw_profiles(rng, 1, edges, **even, bubble=(0.125, 0.125), bubble_density=(0.1, 0.1))
    density = np.diff(found, prepend=0.0)
    outside = density[-1]
    np.testing.assert_allclose(density[:12], 0.1 * outside, rtol=1e-4)
    # half of the bin with the wall lies inside
    assert density[12] == pytest.approx(0.55 * outside, rel=1e-4)
    np.testing.assert_allclose(density[13:], outside, rtol=1e-4)
    assert found[-1] == pytest.approx(2.0)


def test_walls_and_densities_of_bubbles_fill_their_ranges(rng):
    edges = np.linspace(0.0, 0.5, 501)  # 1 pc
    even = {"contrast": (0.0, 0.0), "envelope": (1e6, 1e6), "smooth": (2.0, 2.0), **NO_CLOUDS}
    density = np.diff(draw_profiles(rng, 3000, edges, **even), axis=1, prepend=0.0)
    inside = density[:, 0] / density[:, -1]
    assert stats.kstest(np.log(inside / 0.02) / np.log(0.5 / 0.02), "uniform").pvalue > 1e-4
    step = density > 0.75 * density[:, -1:]
    wall = edges[np.argmax(step, axis=1)]
    assert stats.kstest((wall - 0.06) / 0.14, "uniform").pvalue > 1e-4


def only_clouds(rng, number: int, edges: np.ndarray, **changes) -> np.ndarray:
    """Profiles whose smooth dust is nothing beside their clouds."""
    clouds = CLOUDS | changes
    return draw_profiles(rng, number, edges, smooth=(1e-9, 1e-8), clouds=clouds)


def test_clouds_are_steps_of_their_depth(rng):
    edges = np.linspace(0.0, 8.0, 801)
    found = only_clouds(rng, 3000, edges, mean=0.3)
    total = found[:, -1]
    # one cloud: half of its depth stands before the distance at which the profile is half way
    low, high = (edges[1:][np.argmax(found >= share * total[:, None], axis=1)] for share in (0.16, 0.84))
    dusty = total > 1e-3
    assert dusty.mean() == pytest.approx(1 - np.exp(-0.3), abs=5 * np.sqrt(0.2 / 3000))
    # 68 % of a normal density stands within two of its standard deviations; a bin is 10 pc, some have two clouds
    assert np.median((high - low)[dusty]) < 2 * 0.05 + 0.01
    assert total[dusty].min() > 0.1 * 0.9


def test_the_number_of_clouds_is_poisson(rng):
    """Clouds of 1 mag each: the total counts them."""
    edges = np.linspace(0.0, 8.0, 81)
    found = only_clouds(rng, 3000, edges, mean=2.0, extinction=(0.999, 1.001), width=(0.005, 0.01))
    number = np.round(found[:, -1]).astype(int)
    np.testing.assert_allclose(found[:, -1], number, atol=0.02)
    assert abs(number.mean() - 2.0) < 5 * np.sqrt(2.0 / 3000)
    assert abs(number.var() / 2.0 - 1) < 5 * np.sqrt(2.5 / 3000)
    for count in range(5):
        share = stats.poisson.pmf(count, 2.0)
        assert abs((number == count).mean() - share) < 5 * np.sqrt(share * (1 - share) / 3000)


def test_no_cloud_stands_inside_the_bubble(rng):
    edges = np.linspace(0.0, 3.0, 3001)  # 1 pc
    found = draw_profiles(
        rng, 500, edges, smooth=(1e-9, 1e-8), bubble=(0.3, 0.3), clouds=CLOUDS | {"mean": 3.0, "width": (0.0005, 0.001)}
    )
    assert found[:, 294].max() < 1e-6  # to 295 pc: the clouds are 1 pc wide
    nearest = found[:, -1] > 1e-3
    first = edges[1:][np.argmax(found[nearest] > 1e-3, axis=1)]
    assert first.min() > 0.295
    assert first.min() < 0.4


def test_clouds_are_log_uniform_in_depth_and_even_in_distance(rng):
    edges = np.linspace(0.0, 6.0, 1201)
    found = only_clouds(rng, 8000, edges, mean=0.05, width=(0.0005, 0.001), distance=(0.2, 5.0))
    dusty = found[found[:, -1] > 1e-3]
    assert len(dusty) > 300
    depth = np.log(dusty[:, -1] / 0.1) / np.log(150.0)
    assert stats.kstest(depth, "uniform").pvalue > 1e-3
    place = edges[1:][np.argmax(dusty > 0.5 * dusty[:, -1:], axis=1)]
    assert stats.kstest((place - 0.2) / 4.8, "uniform").pvalue > 1e-3


def test_profiles_above_the_maximum_are_drawn_again(rng):
    edges = np.linspace(0.0, 6.0, 61)
    found = draw_profiles(rng, 2000, edges, max_extinction=5.0, smooth=(0.05, 5.0))
    assert found[:, -1].max() <= 5.0
    free = draw_profiles(rng, 2000, edges, smooth=(0.05, 5.0))[:, -1]
    assert (free > 5.0).mean() > 0.1
    # those that are kept are as they were
    assert stats.ks_2samp(found[:, -1], free[free <= 5.0]).pvalue > 1e-4


def test_a_maximum_that_hardly_a_profile_keeps_is_refused(rng):
    with pytest.raises(UserError, match=r"profiles\.max_extinction: .* stay above 1 mag"):
        draw_profiles(rng, 50, np.linspace(0.0, 6.0, 61), smooth=(5.0, 6.0), max_extinction=1.0)


def test_one_seed_draws_the_same_profiles():
    edges = np.linspace(0.0, 6.0, 61)
    first, again, other = (draw_profiles(np.random.default_rng(seed), 20, edges) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# --- the synthetic sky


def test_extinction_adds_up():
    dust = draw_dust()
    l, b = np.array([281.3, 284.0, 286.6]), np.array([-1.0, 0.0, 1.5])
    fine = dust.extinction(l, b, np.linspace(0.0, 4.0, 33), step=1 / 64)
    coarse = dust.extinction(l, b, np.array([0.0, 1.0, 4.0]), step=1 / 64)
    assert fine.shape == (3, 32)
    assert (np.diff(fine, axis=1, prepend=0.0) > 0).all()
    np.testing.assert_allclose(coarse, fine[:, [7, 31]], rtol=1e-10)
    far = dust.extinction(l, b, np.array([1.0, 4.0]), step=1 / 64)[:, 0]
    np.testing.assert_allclose(fine[:, 7] + far, fine[:, 31], rtol=1e-10)


def test_extinction_is_the_integral_of_the_density():
    dust = draw_dust()
    distance = np.linspace(0.0, 3.0, 6001)
    density = dust.density(*cartesian(283.7, 0.4, distance))
    expected = np.trapezoid(density, distance)
    found = dust.extinction(np.array([283.7]), np.array([0.4]), np.linspace(0.0, 3.0, 31), step=0.001)
    assert found[0, -1] == pytest.approx(expected, rel=1e-4)


def test_density_keeps_the_shape_of_positions():
    dust = draw_dust()
    x, y, z = np.random.default_rng(2).uniform(-1, 1, (3, 4, 5))
    grid = dust.density(x, y, z)
    assert grid.shape == (4, 5)
    np.testing.assert_allclose(grid.ravel(), dust.density(x.ravel(), y.ravel(), z.ravel()), rtol=1e-12)


def test_smooth_dust_towards_the_poles_is_an_exponential():
    dust = draw_dust(**SMOOTH)
    edges = np.linspace(0.0, 2.0, 21)
    north, south = dust.extinction(np.array([0.0, 0.0]), np.array([90.0, -90.0]), edges, step=0.0005)
    height, sun, local = 0.125, 0.015, 0.7
    above = local * height * (np.exp(-sun / height) - np.exp(-(sun + edges[1:]) / height))
    # the Sun is above the plane: towards the south pole the density first grows
    below = local * height * (2 - np.exp(-sun / height) - np.exp(-(edges[1:] - sun) / height))
    np.testing.assert_allclose(north, above, rtol=1e-4)
    np.testing.assert_allclose(south, below, rtol=1e-4)


def test_smooth_dust_thins_outwards():
    dust = draw_dust(**SMOOTH)
    x = np.array([-2.0, 0.0, 2.0])
    density = dust.density(x, np.zeros(3), np.full(3, -0.015))
    np.testing.assert_allclose(density, 0.7 * np.exp(x / 3.5), rtol=1e-9)


def test_arms_trail_and_raise_the_density():
    smooth, arms = draw_dust(**SMOOTH), draw_dust(**(SMOOTH | {"arm_contrast": 2.0}))

    def contrast(azimuth: float, radius: float) -> float:
        # azimuth from the Sun, positive towards l = 90
        x, y = 8.5 - radius * np.cos(azimuth), radius * np.sin(azimuth)
        position = np.array([x]), np.array([y]), np.array([0.0])
        return float(arms.density(*position)[0] / smooth.density(*position)[0])

    for azimuth in (-0.5, 0.0, 0.5):
        # the arm that crosses the Sun-centre line at 7.0 kpc, pitch 13 deg; rotation is towards l = 90
        ridge = 7.0 * np.exp(-azimuth * np.tan(np.radians(13.0)))
        assert contrast(azimuth, ridge) == pytest.approx(3.0, abs=0.1)
        assert contrast(azimuth, ridge + 0.8) < 1.6


def test_turbulence_has_zero_mean_and_unit_variance(rng):
    smooth, rough = draw_dust(**SMOOTH), draw_dust(**(SMOOTH | {"turbulence": 0.7}))
    position = rng.uniform(-5.0, 5.0, (3, 20_000))
    field = (np.log(rough.density(*position) / smooth.density(*position)) + 0.5 * 0.7**2) / 0.7
    # positions many outer scales apart are nearly independent
    assert abs(field.mean()) < 5 / np.sqrt(20_000)
    assert abs(field.var() - 1) < 5 * np.sqrt(2 / 20_000) + 5 / np.sqrt(384)
    assert abs(stats.kurtosis(field)) < 0.2
    # the lognormal keeps the mean density
    assert np.exp(0.7 * field - 0.5 * 0.7**2).mean() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("slope", [2.0, 3.0, 11 / 3])
def test_wave_numbers_follow_the_spectrum(slope):
    waves = np.concatenate([draw_dust(seed, turbulence_slope=slope).waves for seed in range(5)])
    k = np.linalg.norm(waves, axis=1)
    low, high = 2 * np.pi / 0.5, 2 * np.pi / 0.03
    assert (k >= low * (1 - 1e-12)).all()
    assert (k <= high * (1 + 1e-12)).all()
    grid = np.geomspace(low, high, 2000)
    density = grid ** (2 - slope)
    cumulative = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid))])
    assert stats.kstest(np.interp(k, grid, cumulative / cumulative[-1]), "uniform").pvalue > 1e-4
    # and point nowhere in particular
    direction = waves / k[:, None]
    assert np.abs(direction.mean(axis=0)).max() < 5 / np.sqrt(3 * len(k))
    assert np.abs((direction**2).mean(axis=0) - 1 / 3).max() < 5 * 0.3 / np.sqrt(len(k))


def test_clouds_are_in_the_window_and_have_their_extinction():
    dust = draw_dust(**(SMOOTH | {"clouds": 200, "local_density": 0.0}))
    x, y, z, radius, centre = dust.clouds.T
    distance = np.sqrt(x**2 + y**2 + z**2)
    l, b = np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arcsin(z / distance))
    assert ((l > 281) & (l < 287) & (b > -2) & (b < 2)).all()
    assert ((distance > synthetic.CLOUD_DISTANCE[0]) & (distance < synthetic.CLOUD_DISTANCE[1])).all()
    one = SyntheticDust(0.0, 3.5, 0.125, 0.0, 0.0, dust.waves, dust.phases, dust.clouds[:1])
    found = one.extinction(l[:1], b[:1], np.array([0.0, distance[0], 5.0]), step=0.0005)[0]
    depth = np.sqrt(2 * np.pi) * radius * centre
    assert ((depth > 0.5) & (depth < 4.0)).all()
    assert found[1] == pytest.approx(depth[0], rel=1e-3)
    assert found[0] == pytest.approx(0.5 * depth[0], rel=0.05)


def test_one_seed_gives_one_sky():
    first, again, other = draw_dust(3), draw_dust(3), draw_dust(4)
    for name in ("waves", "phases", "clouds"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))
    arguments = np.array([284.0]), np.array([0.0]), np.linspace(0, 1, 11)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = first.extinction(*arguments)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(alone, again.extinction(*arguments))
