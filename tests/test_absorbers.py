"""Absorbers in quasar spectra: lines, forest, numbers of absorbers, mocks, readers, votes, matches and scores."""

import gzip
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from galcarto.absorbers import bayesian, forest, lines, mock, population
from galcarto.absorbers.catalogue import compare_known, target_id
from galcarto.absorbers.find import (
    ECHO_OF_ANOTHER,
    NEAR_EDGE,
    NEAR_THE_QUASAR,
    OVERLAPPING,
    AbsorberTrained,
    candidates,
    normal_samples,
    peaks,
    votes,
)
from galcarto.absorbers.networks import CENTRE, FAR, OUTPUTS, WIDTH, build, read_outputs
from galcarto.absorbers.read import (
    ERRORS_ESTIMATED,
    HIGH_REDSHIFT,
    NOT_SEARCHED,
    REDSHIFT_DOUBTFUL,
    SightlineError,
    on_lattice,
    read_sightlines,
    read_spectrum,
    redshift_table,
)
from galcarto.absorbers.scores import (
    COLUMN_EDGES,
    best_threshold,
    correction,
    distribution,
    match,
    path,
    score,
    true_distribution,
    truth_table,
)
from galcarto.absorbers.settings import Mock, Network
from galcarto.absorbers.sightlines import LATTICE, PIXELS, REST, Files, Sightlines, arrays, first_pixel, scaled, write
from galcarto.absorbers.train import _calibration, learn
from galcarto.core.errors import UserError
from galcarto.learning.calibration import Calibration
from galcarto.learning.settings import Training

REST_WAVELENGTH = 10 ** (LATTICE * (REST + np.arange(PIXELS)))
SMOOTH = mock.Continuum(
    REST_WAVELENGTH,
    1.2 + 3.0 * np.exp(-0.5 * ((REST_WAVELENGTH - 1216.0) / 12.0) ** 2),
    0.1 * np.stack([np.ones(PIXELS), np.linspace(-1.0, 1.0, PIXELS)], axis=1),
)
PLAIN = Mock(all_columns=False, lyman_limit=False, metals=False, broad_lines=False, sky=False, redshift_errors=False)


@pytest.fixture(scope="module")
def hard() -> Sightlines:
    return mock.draw(np.random.default_rng(1), 400, Mock(), SMOOTH)


@pytest.fixture(scope="module")
def plain() -> Sightlines:
    return mock.draw(np.random.default_rng(2), 400, PLAIN, SMOOTH)


# lines and numbers


def test_a_voigt_profile_has_the_equivalent_width_of_its_regime() -> None:
    """Linear: W = N f lambda^2 pi e^2 / (m_e c^2); damped: W = 7.3 Angstrom sqrt(N / 1e20) (Draine 2011, eq. 9.23)."""
    line = lines.LYMAN_ALPHA
    near = line.wavelength + np.linspace(-3, 3, 60_001)
    thin = np.trapezoid(-np.expm1(-lines.optical_depth(near, line, 0.0, 10.0, 25.0)), near)
    assert thin == pytest.approx(8.853e-21 * 1e10 * line.oscillator * line.wavelength**2, rel=0.01)
    far = line.wavelength + np.linspace(-1000, 1000, 400_001)
    thick = np.trapezoid(-np.expm1(-lines.optical_depth(far, line, 0.0, 21.0, 25.0)), far)
    assert thick == pytest.approx(7.3 * np.sqrt(10), rel=0.03)


def test_the_limit_takes_all_light_below_it_and_none_above() -> None:
    wavelength = lines.LYMAN_LIMIT * 3.5 * np.array([0.5, 0.999, 1.001])
    depth = lines.limit_depth(wavelength, 2.5, 18.0)
    assert depth == pytest.approx([6.3 * 0.125, 6.3 * 0.999**3, 0.0])


def test_metals_stand_at_their_wavelengths_in_proportion() -> None:
    wavelength = 10 ** np.arange(3.55, 3.75, 0.5e-4)
    depth = -np.log(lines.metal_transmission(wavelength, 2.5, 0.5, 80.0))
    for name, relative in (("Si II 1260", 1.0), ("C II 1334", 0.115)):
        at = np.argmin(np.abs(wavelength - lines.METALS[name][0] * 3.5))
        assert depth[at] == pytest.approx(0.5 * relative, rel=0.02)


def test_numbers_of_absorbers_are_those_of_the_published_distribution() -> None:
    assert population.column_density_distribution(np.array([20.0])) == pytest.approx(10**-21.28)
    # Prochaska & Wolfe 2009 have l(X) of 0.05 to 0.08 at these redshifts
    assert 0.04 < population.expected_number(20.3) < 0.09
    split = population.expected_number(20.3, 21.0) + population.expected_number(21.0)
    assert split == pytest.approx(population.expected_number(20.3), rel=1e-4)
    drawn = population.draw_log_n(np.random.default_rng(1), 20_000, 20.3)
    share = population.expected_number(20.3, 20.8) / population.expected_number(20.3)
    assert (drawn < 20.8).mean() == pytest.approx(share, abs=0.01)
    assert drawn.min() >= 20.3


def test_absorption_distance_is_the_integral() -> None:
    # an empty universe of today's rate would give dX/dz = (1+z)^2; here, at z = 2.5, 3.5^2 / sqrt(0.3 3.5^3 + 0.7)
    slope = np.diff(population.absorption_distance(np.array([2.49, 2.51])))[0] / 0.02
    assert slope == pytest.approx(3.5**2 / np.sqrt(0.3 * 3.5**3 + 0.7), rel=1e-4)
    assert population.redshift_at(population.absorption_distance(np.array([2.2, 4.4]))) == pytest.approx([2.2, 4.4])


@pytest.mark.parametrize("redshift", [2.2, 3.0, 4.2])
def test_the_forest_has_the_published_mean_and_power(redshift: float) -> None:
    depth = forest.draw(np.random.default_rng(3), np.full((1000, 3584), redshift))
    flux = np.exp(-depth)
    assert flux.mean() == pytest.approx(np.exp(-0.00554 * (1 + redshift) ** 3.182), rel=0.01)
    modes = np.abs(np.fft.rfft(flux / flux.mean() - 1, axis=1)) ** 2
    power = modes.mean(axis=0) * forest.VELOCITY / flux.shape[1]
    k = 2 * np.pi * np.fft.rfftfreq(flux.shape[1], forest.VELOCITY)
    for low, high in ((0.001, 0.003), (0.003, 0.01), (0.01, 0.02)):
        rows = (k > low) & (k < high)
        assert np.mean(power[rows] / forest.flux_power(k[rows], redshift)) == pytest.approx(1.0, abs=0.03)


def test_the_power_at_its_pivot_is_the_amplitude() -> None:
    assert forest.flux_power(np.array([0.009]), 3.0) == pytest.approx(np.pi * 0.064 / 0.009)
    slope = np.diff(np.log(forest.flux_power(np.array([0.0089, 0.0091]), 3.0)))[0] / np.log(0.0091 / 0.0089)
    assert slope == pytest.approx(-2.55 + 2, abs=0.01)


def test_lyman_beta_lies_where_it_should_with_a_sixth_of_the_depth() -> None:
    depth = np.zeros((1, 3584))
    depth[0, 2000] = 1.0
    both = forest.with_beta(depth)[0]
    (beta, alpha) = np.flatnonzero(both)
    assert alpha == 2000
    assert 10 ** ((alpha - beta) * forest.STEP) == pytest.approx(1215.6701 / 1025.7223, rel=1e-4)
    assert both[beta] == pytest.approx(0.1603, abs=1e-3)


# mocks


def test_mocks_have_the_stated_signal_to_noise_and_numbers(hard: Sightlines) -> None:
    snr = hard.snr()
    assert 0.8 < np.quantile(snr, 0.02) < 1.4
    assert np.median(snr) == pytest.approx(np.sqrt(12.0), rel=0.15)
    expected = population.expected_number(mock.LOOKED_FOR) * path_of(hard)
    assert np.isfinite(hard.absorber_z).sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert (hard.absorber_log_n[np.isfinite(hard.absorber_log_n)] >= mock.LOOKED_FOR).all()


def path_of(sightlines: Sightlines) -> float:
    """Absorption distance from the blue end of the data, or of the sightline, to the quasars."""
    blue = np.maximum(10 ** (LATTICE * sightlines.first), mock.BLUEST) / lines.LYMAN_ALPHA.wavelength - 1
    ends = [population.absorption_distance(z) for z in (blue, sightlines.redshift)]
    return float((ends[1] - ends[0]).sum())


def test_the_noise_is_what_its_error_says_and_nothing_is_before_the_data(plain: Sightlines) -> None:
    rest = plain.rest()
    red = (rest > 1290) & (rest < 1340)
    steps = np.diff(plain.flux, axis=1) / (np.sqrt(2) * plain.error[:, 1:].clip(1e-6))
    assert np.std(steps[red[:, 1:]]) == pytest.approx(1.0, abs=0.03)
    blue = 10 ** (LATTICE * (plain.first[:, None] + np.arange(PIXELS))) < mock.BLUEST
    assert (plain.error[blue] == 0).all()
    assert (plain.flux[blue] == 0).all()


def test_thick_absorbers_leave_no_light(plain: Sightlines) -> None:
    thick = np.argwhere(plain.absorber_log_n > 20.8)
    values = []
    for i, j in thick:
        at = int(np.rint(plain.pixel_of(plain.absorber_z)[i, j]))
        if 5 < at < PIXELS - 5 and (plain.error[i, at - 3 : at + 4] > 0).all():
            values.append((plain.flux[i, at - 3 : at + 4] / plain.error[i, at - 3 : at + 4]).mean())
    assert len(values) > 5
    assert np.mean(values) == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("switch", ["forest", "metals", "broad_lines", "sky", "redshift_errors", "lyman_limit"])
def test_a_switch_changes_the_spectra(switch: str) -> None:
    with_it, without = (mock.draw(np.random.default_rng(5), 60, Mock(**{switch: on}), SMOOTH) for on in (True, False))
    assert not np.allclose(with_it.flux, without.flux)


def test_every_column_has_those_that_the_network_does_not_look_for() -> None:
    """Absorbers of 17.2 to 19.5 take light, and are not in the truth."""
    off = PLAIN.model_copy(update={"forest": False, "snr": (50.0, 60.0)})
    dark = []
    for columns in (False, True):
        sightlines = mock.draw(np.random.default_rng(6), 300, off.model_copy(update={"all_columns": columns}), SMOOTH)
        empty = ~np.isfinite(sightlines.absorber_z).any(axis=1)
        inside = sightlines.searched() & (sightlines.rest() < 1180) & empty[:, None]
        dark.append((sightlines.flux[inside] < 0.3).mean())
    assert dark[0] < 1e-4 < dark[1]


def test_the_galaxys_dust_reddens_and_keeps_absorbers() -> None:
    flux = {}
    for a_v in (0.0, 1.0):
        dusty = PLAIN.model_copy(update={"reddening": a_v, "forest": False, "snr": (40.0, 50.0)})
        flux[a_v] = mock.draw(np.random.default_rng(7), 50, dusty, SMOOTH)
    assert np.array_equal(flux[0.0].absorber_z, flux[1.0].absorber_z, equal_nan=True)
    rest = flux[0.0].rest()
    blue = (rest > 1100) & (rest < 1120) & (flux[0.0].error > 0) & (flux[0.0].flux > 0.5)
    ratio = np.median(flux[1.0].flux[blue] / flux[0.0].flux[blue])
    assert 0.70 < ratio < 0.95  # 0.25 mag or so between 1110 and 1310 Angstrom at a redshift of 2.4


def test_mocks_are_the_same_twice_and_enriched_ones_have_more() -> None:
    one, other = (mock.draw(np.random.default_rng(8), 30, Mock(), SMOOTH) for _ in range(2))
    assert np.array_equal(one.flux, other.flux)
    rich = mock.draw(np.random.default_rng(8), 300, Mock(), SMOOTH, enriched=True)
    expected = 4 * population.expected_number(mock.LOOKED_FOR) * path_of(rich)
    assert np.isfinite(rich.absorber_z).sum() == pytest.approx(expected, rel=0.25)
    assert (rich.absorber_log_n > 21.3).sum() > 10


def test_absorbers_are_injected_into_spectra_of_ones_own(plain: Sightlines) -> None:
    own = plain[~np.isfinite(plain.absorber_z).any(axis=1)]
    made = mock.draw(np.random.default_rng(9), 200, PLAIN, own, enriched=True)
    bare = ~np.isfinite(made.absorber_z).any(axis=1)
    theirs = {tuple(row[-200:]) for row in own.error}
    assert all(tuple(row[-200:]) in theirs for row in made.error)
    assert 0.05 < bare.mean() < 0.95
    dark = [(made.flux[rows][made.searched()[rows]] < 0.2).mean() for rows in (~bare, bare)]
    assert dark[0] > dark[1] + 0.02


def test_a_model_of_quasars_is_learnt_from_spectra() -> None:
    quiet = PLAIN.model_copy(update={"forest": False, "snr": (80.0, 90.0), "redshift": (2.9, 3.0)})
    sightlines = mock.draw(np.random.default_rng(10), 200, quiet, SMOOTH)
    clean = sightlines[~np.isfinite(sightlines.absorber_z).any(axis=1)]
    alpha = clean.rest() * (1 + clean.redshift[:, None]) / lines.LYMAN_ALPHA.wavelength - 1
    absorbed = np.where(alpha < clean.redshift[:, None], forest.mean_flux(alpha), 1.0)
    model = mock.learn_continuum(replace(clean, flux=clean.flux * absorbed), 2)
    level = np.median(SMOOTH.mean[(REST_WAVELENGTH > 1270) & (REST_WAVELENGTH < 1350)])
    rows = (REST_WAVELENGTH > 1000) & (REST_WAVELENGTH < 1340) & (np.abs(REST_WAVELENGTH - 1216) > 2)
    assert model.mean[rows] == pytest.approx(SMOOTH.mean[rows] / level, rel=0.08)
    with pytest.raises(UserError, match=r"found 3 spectra; expected at least 8 for 4 components"):
        mock.learn_continuum(clean[:3], 4)


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"continuum.path: .*absent.npz: not found"):
        mock.Continuum.read(str(tmp_path / "absent.npz"))
    np.savez(tmp_path / "other.npz", mu=np.ones(3))
    with pytest.raises(UserError, match="expected rest_wavelengths, mu and M"):
        mock.Continuum.read(str(tmp_path / "other.npz"))


# the file and the grid


def test_sightlines_are_read_as_they_were_written(tmp_path: Path, hard: Sightlines) -> None:
    paths = [str(tmp_path / f"{n}.nc") for n in range(2)]
    write(paths[0], hard[:300], {})
    write(paths[1], hard[300:], {})
    source = Files(paths)
    assert source.sizes == [300, 100]
    for got, expected in zip(source.read(0, 256, 44), arrays(hard[256:300]), strict=True):
        assert np.array_equal(got, expected, equal_nan=True)


@given(st.floats(2.0, 5.0), st.floats(0.0, PIXELS - 1.0))
def test_pixels_and_redshifts_are_inverse(redshift: float, pixel: float) -> None:
    empty = np.zeros((1, PIXELS), "f4")
    one = Sightlines(empty, empty, np.array([redshift]), np.full((1, 1), np.nan), np.full((1, 1), np.nan))
    z = one.redshift_of(np.array([pixel]), np.array([0]))
    assert one.pixel_of(z[:, None])[0, 0] == pytest.approx(pixel, abs=1e-6)
    assert (1 + z[0]) * 1215.6701 == pytest.approx(10 ** (LATTICE * (first_pixel(np.array(redshift)) + pixel)))


def test_the_flux_is_scaled_where_there_is_light_above_the_noise() -> None:
    flux, error = np.full((3, PIXELS), 7.0), np.full((3, PIXELS), 1.0)
    error[1] = 1e5
    error[2] = 0.0
    scaled_flux, scaled_error, bright = scaled(flux, error, np.full(3, 2.5))
    assert bright.tolist() == [True, False, False]
    assert scaled_flux[0] == pytest.approx(1.0)
    assert scaled_error[0] == pytest.approx(1 / 7.0)
    assert (scaled_error[2] == 0).all()


# networks and votes


@pytest.mark.parametrize("name", ["dilated", "parks2018"])
def test_losses_and_outputs_of_networks(name: str, hard: Sightlines) -> None:
    torch.manual_seed(1)
    finder = build(name, width=8, blocks=3, stride=8, dropout=0.0, offset_loss="gaussian")
    batch = [torch.from_numpy(part) for part in arrays(hard[:6])]
    outputs = finder(finder.inputs(batch))
    assert outputs.shape == (6, OUTPUTS, len(finder.positions))
    finder.loss(outputs, batch).backward()
    assert all(torch.isfinite(one.grad).all() for one in finder.parameters() if one.grad is not None)
    finder.eval()
    again, features = finder.forward_features(finder.inputs(batch))
    assert features.shape[0] == 6
    assert finder.positions[-1] < PIXELS
    assert again.shape[2] == len(finder.positions)


def test_sliding_windows_are_learnt_from_and_used(tmp_path: Path, hard: Sightlines) -> None:
    write(tmp_path / "a.nc", hard[:64], {})
    training = Training(epochs=1, batch=32, rounds=1, learning_rate=1e-3)
    network = Network(name="parks2018")
    trained, history = learn([str(tmp_path / "a.nc")], [str(tmp_path / "a.nc")], tmp_path / "ck", network, training, 1)
    assert history[0]["examples"] == 64
    found, _ = trained.find(hard[:8])
    assert found["probability"].between(0, 1).all()


def test_a_training_that_is_stopped_goes_on_to_the_same_weights(tmp_path: Path, hard: Sightlines) -> None:
    write(tmp_path / "a.nc", hard[:128], {})
    training, network = Training(epochs=2, batch=32, rounds=1), Network(width=8, blocks=2)

    def train(checkpoints: str, seconds: float = np.inf) -> dict[str, torch.Tensor]:
        files = [str(tmp_path / "a.nc")]
        return learn(files, files, tmp_path / checkpoints, network, training, 1, seconds)[0].estimator.state_dict()

    with pytest.raises(SystemExit, match="run again to go on"):
        train("stopped", 0.0)
    assert (tmp_path / "stopped/last.ckpt").is_file()
    for one, other in zip(train("stopped").values(), train("whole").values(), strict=True):
        assert torch.equal(one, other)


def test_labels_tell_the_nearest_absorber(hard: Sightlines) -> None:
    finder = build("dilated", 8, 1, 8, 0.0, "gaussian")
    one = hard[:1]
    z = one.redshift_of(np.array([900.0, 1000.0]), np.array([0, 0]))[None]
    one = replace(one, absorber_z=z, absorber_log_n=np.array([[20.3, 21.0]]))
    presence, offset, column, _ = (
        part[0].numpy() for part in finder.labels([torch.from_numpy(a) for a in arrays(one)])
    )
    assert presence[[869, 870, 900, 930, 931, 950]].tolist() == [0, 1, 1, 1, 0, 0]
    assert offset[[880, 990]] * FAR == pytest.approx([20, 10], abs=1e-2)
    assert column[[900, 1000]] * WIDTH + CENTRE == pytest.approx([20.3, 21.0], abs=1e-5)


def test_the_loss_counts_columns_of_absorbers_alone() -> None:
    finder = build("dilated", 8, 1, 8, 0.0, "squared")
    flux = torch.ones(1, PIXELS)
    nothing = torch.full((1, 1), torch.nan)
    searched = torch.ones(1, PIXELS, dtype=torch.bool)
    batch = [flux, flux, torch.tensor([2.5]), nothing, nothing, searched]
    outputs = torch.zeros(1, OUTPUTS, PIXELS)
    first = finder.loss(outputs, batch)
    assert float(first) == pytest.approx(np.log(2))
    outputs[:, 2] = 5.0  # a wrong lg N where there is no absorber
    assert float(finder.loss(outputs, batch)) == pytest.approx(float(first))


def perfect(sightlines: Sightlines, sd: float = 0.1) -> dict[str, np.ndarray]:
    """Outputs of a network that knows the truth."""
    finder = build("dilated", 8, 1, 8, 0.0, "gaussian")
    presence, offset, column, _ = finder.labels([torch.from_numpy(part) for part in arrays(sightlines)])
    logit = torch.where(presence > 0, 8.0, -8.0)
    spread = torch.full_like(logit, np.log(sd / WIDTH))
    far = torch.full_like(logit, np.log(1.0 / FAR))
    return read_outputs(finder, torch.stack([logit, offset, column, far, spread], dim=1))


def test_a_network_that_knows_the_truth_finds_every_absorber(plain: Sightlines) -> None:
    found = candidates(perfect(plain), np.arange(PIXELS), plain)
    truth = truth_table(plain)
    found["match"] = match(found, truth)
    alone = truth[~truth["sightline"].duplicated(keep=False)]
    seen = alone.index.isin(found["match"])
    assert seen.mean() > 0.97  # those at the very ends of the data have few votes
    good = found[found["match"].isin(alone.index)]
    theirs = truth.loc[good["match"]]
    assert good["z"].to_numpy() == pytest.approx(theirs["z"].to_numpy(), abs=2e-4)
    assert good["log_nhi"].to_numpy() == pytest.approx(theirs["log_nhi"].to_numpy(), abs=0.01)


def test_two_absorbers_overlap_and_are_two(plain: Sightlines) -> None:
    one = plain[[int(np.argmax(plain.redshift))]]
    z = one.redshift_of(np.array([900.0, 940.0]), np.array([0, 0]))[None]
    one = replace(one, absorber_z=z, absorber_log_n=np.array([[20.5, 20.9]]), error=np.maximum(one.error, 0.1))
    found = candidates(perfect(one), np.arange(PIXELS), one)
    assert sorted(np.rint(found["pixel"])) == [900, 940]
    assert (found["flag"] & OVERLAPPING > 0).all()


def test_echoes_edges_and_the_quasars_own_are_flagged(plain: Sightlines) -> None:
    one = plain[[int(np.argmax(plain.redshift))]]
    first = int(one.searched()[0].argmax())
    last = PIXELS - 1 - int(one.searched()[0, ::-1].argmax())
    thick = (1 + 0.97 * one.redshift[0]) * 1.0
    z = np.array(
        [thick - 1, thick * 1025.7223 / 1215.6701 - 1, *one.redshift_of(np.array([first + 8.0]), np.array([0]))]
    )
    z = np.append(z, one.redshift[0] * 0.999)[None]
    one = replace(one, absorber_z=z, absorber_log_n=np.array([[21.5, 19.9, 20.4, 20.4]]))
    assert last > first
    found = candidates(perfect(one), np.arange(PIXELS), one)
    found["match"] = match(found, truth_table(one).reset_index(drop=True))
    flags = found.set_index("match")["flag"]
    assert flags[0] & ECHO_OF_ANOTHER == 0
    assert flags[1] & ECHO_OF_ANOTHER
    assert flags[2] & NEAR_EDGE
    assert flags[3] & NEAR_THE_QUASAR


@given(st.integers(0, 2**32 - 1))
def test_nothing_is_found_outside_the_data(seed: int) -> None:
    rng = np.random.default_rng(seed)
    error = np.where(rng.random(PIXELS) < 0.2, 0.0, 0.3)[None].astype("f4")
    hole = np.sort(rng.integers(0, PIXELS, 2))
    error[:, hole[0] : hole[1]] = 0.0
    nothing = np.full((1, 1), np.nan)
    one = Sightlines(np.ones((1, PIXELS), "f4"), error, np.array([3.0]), nothing, nothing)
    values = {name: rng.normal(0, 30, (1, PIXELS)) for name in ("offset", "log_nhi")}
    values |= {
        "offset_sd": np.ones((1, PIXELS)),
        "log_nhi_sd": np.ones((1, PIXELS)),
        "presence": rng.random((1, PIXELS)),
    }
    curve = votes(values, np.arange(PIXELS), one.searched())
    assert (curve[~one.searched()] == 0).all()
    for place in peaks(curve[0]):
        assert one.error[0, place] > 0


def test_peaks_are_apart() -> None:
    curve = np.zeros(PIXELS)
    curve[[100, 108, 300]] = 0.5, 0.4, 0.3
    assert peaks(curve).tolist() == [100, 300]


# scores


def table(z: list[float], **more: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({"sightline": 0, "z": z, "snr": 5.0, **more})
    for name, offset in (("025", -0.2), ("16", -0.1), ("84", 0.1), ("975", 0.2)):
        frame[f"log_nhi_{name}"] = frame["log_nhi"] + offset
    return frame


def test_matches_are_one_to_one_within_800_km_s() -> None:
    truth = pd.DataFrame({"sightline": [0, 0, 1], "z": [2.5, 2.51, 2.5]})
    step = 1000 / lines.LIGHT * 3.5
    found = pd.DataFrame({"sightline": [0, 0, 0, 2], "z": [2.5005, 2.5001, 2.51 + step, 2.5]})
    assert match(found, truth).tolist() == [-1, 0, -1, -1]
    assert match(found[:0], truth).tolist() == []


def test_scores_have_closed_forms() -> None:
    truth = pd.DataFrame({"sightline": 0, "z": [2.2, 2.4, 2.6, 2.8], "log_nhi": [20.5, 20.5, 20.1, 21.0], "snr": 5.0})
    found = table(
        [2.2, 2.4, 2.6, 2.9], log_nhi=[20.65, 20.45, 20.4, 20.6], probability=[0.9, 0.9, 0.9, 0.6], match=[0, 1, 2, -1]
    )
    one = score(found, truth, 0.5)
    assert one["completeness"] == pytest.approx(2 / 3)
    assert one["purity"] == pytest.approx(3 / 4)  # 20.1 excuses a detection of 20.4
    assert one["purity_strict"] == pytest.approx(2 / 4)
    assert one["log_nhi_bias"] == pytest.approx(0.05)
    assert one["log_nhi_sd"] == pytest.approx(0.1)
    assert one["coverage_68"] == pytest.approx(0.5)
    assert one["coverage_95"] == pytest.approx(1.0)
    assert score(found, truth, 0.7)["purity"] == pytest.approx(1.0)
    assert 0.6 < best_threshold(found, truth) < 0.9
    dim = truth.assign(snr=2.0)
    assert np.isnan(score(found, dim, 0.5)["completeness"])
    assert best_threshold(found, dim) == 0.5


def test_the_corrected_distribution_is_the_mocks_own() -> None:
    """Detections that miss a third, and add some, in the validation set as in the test set."""
    rng = np.random.default_rng(4)
    pair = []
    for number in (3000, 2000):
        columns = population.draw_log_n(rng, number, 20.3)
        truth = pd.DataFrame({"sightline": range(number), "log_nhi": columns, "snr": rng.uniform(3, 10, number)})
        seen = rng.random(number) < 0.67
        found = truth[seen].assign(probability=1.0)
        found["log_nhi"] += rng.normal(0, 0.1, len(found))
        pair.append((found, truth))
    factor, error = correction(*pair[0], 0.5)
    searched = np.full(2000, 1 / population.expected_number(20.3))  # one damped absorber on each
    measured = distribution(pair[1][0], 0.5, searched, np.full(2000, 5.0), factor, error)
    expected = true_distribution()
    assert np.abs(np.array(measured["f"]) - expected["f"]).max() / max(expected["f"]) < 0.2
    assert (np.abs(np.array(measured["f"]) - expected["f"]) < 3.5 * np.array(measured["f_error"])).all()
    assert measured["l"] == pytest.approx(expected["l"], rel=0.1)
    assert expected["l"] == pytest.approx(population.expected_number(20.3, COLUMN_EDGES[-1]), rel=0.01)


def test_the_searched_path_is_that_of_the_data(plain: Sightlines) -> None:
    rest = plain.rest()
    half = replace(plain, error=np.where(rest > 1100, plain.error, 0.0).astype("f4"))
    long, short = path(plain), path(half)
    assert (short <= long + 1e-9).all()
    one = int(np.argmax(plain.redshift))
    z = (1 + plain.redshift[one]) * np.array([1100.0, 1215.67]) / 1215.67 - 1
    expected = np.diff(population.absorption_distance(z))[0]
    assert short[one] == pytest.approx(expected, rel=0.01)
    assert path(replace(plain, error=0 * plain.error)).sum() == 0


# real files


def spec(to: Path, sightlines: Sightlines, number: int = 0, **changes: object) -> Path:
    """A spec-PLATE-MJD-FIBER file of a mock sightline."""
    one = sightlines[[number]]
    loglam = LATTICE * (one.first[0] + np.arange(PIXELS))
    there = one.error[0] > 0
    columns = {
        "flux": 3.0 * one.flux[0],
        "loglam": loglam.astype("f4"),
        "ivar": np.divide(1 / 9.0, one.error[0] ** 2, out=np.zeros(PIXELS), where=there).astype("f4"),
        "and_mask": np.zeros(PIXELS, "i4"),
    }
    columns |= {name: value for name, value in changes.items() if name in columns and value is not None}
    for name in [name for name, value in changes.items() if value is None]:
        columns.pop(name, None)
    head = fits.PrimaryHDU()
    head.header.update(PLATEID=3655, MJD=55240, FIBERID=number + 1)
    keys = {"Z": float(one.redshift[0]), "CLASS": "QSO", "ZWARNING": 0, "PLUG_RA": 110.0, "PLUG_DEC": 39.0}
    keys |= {name: value for name, value in changes.items() if name in keys}
    row = Table({name: [value] for name, value in keys.items() if value is not None})
    path = to / f"spec-3655-55240-{number + 1:04d}.fits"
    fits.HDUList([head, fits.table_to_hdu(Table(columns)), fits.table_to_hdu(row)]).writeto(path, overwrite=True)
    return path


@pytest.fixture
def bright(hard: Sightlines) -> Sightlines:
    return hard[hard.snr() > 4]


def test_a_spec_file_is_the_sightline_that_it_was_made_of(tmp_path: Path, bright: Sightlines) -> None:
    read, rows = read_sightlines([str(spec(tmp_path, bright))], {})
    assert rows.iloc[0][["name", "quality"]].tolist() == ["3655-55240-1", 0]
    there = read.error[0] > 0
    assert np.array_equal(there, bright.error[0] > 0)
    assert read.flux[0] == pytest.approx(bright.flux[0], abs=1e-4)
    assert read.error[0] == pytest.approx(bright.error[0], abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"CLASS": "STAR", "Z": 0.0}, "found a STAR, as the pipeline says; expected a QSO"),
        ({"CLASS": "GALAXY", "Z": 0.05}, "found a GALAXY"),
        ({"Z": 0.53}, "found a redshift of 0.5300; expected 1.9 or more"),
        ({"Z": 9.0}, "found a redshift of 9.0000; expected 7 at most"),
        ({"Z": None}, "found no redshift; expected one in the file, or name it with --redshifts"),
        ({"Z": float("nan")}, "found no redshift"),
    ],
)
def test_what_cannot_be_searched_is_said(
    tmp_path: Path, bright: Sightlines, caplog: pytest.LogCaptureFixture, changes: dict[str, object], said: str
) -> None:
    good, bad = spec(tmp_path, bright, 0), spec(tmp_path, bright, 1, **changes)
    with caplog.at_level(logging.WARNING):
        read, rows = read_sightlines([str(good), str(bad)], {})
    assert said in caplog.text
    assert rows["quality"].tolist() == [0, NOT_SEARCHED | HIGH_REDSHIFT * (changes.get("Z") == 9.0)]
    assert read.searched().any(axis=1).tolist() == [True, False]


def test_redshifts_of_a_catalogue_take_the_place_of_the_files(tmp_path: Path, bright: Sightlines) -> None:
    path = spec(tmp_path, bright, 0, Z=None, CLASS="STAR")
    z = float(bright.redshift[0])
    pd.DataFrame({"plate": [3655], "mjd": [55240], "fiber": [1], "z": [z]}).to_csv(tmp_path / "z.csv", index=False)
    read, rows = read_sightlines([str(path)], redshift_table(str(tmp_path / "z.csv")))
    assert rows["quality"].tolist() == [0]
    assert read.redshift[0] == pytest.approx(z)
    pd.DataFrame({"name": ["a"], "redshift": [z]}).to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(UserError, match="found the columns name, redshift; expected z and name"):
        redshift_table(str(tmp_path / "other.csv"))


def test_half_a_spectrum_without_inverse_variance_is_not_searched_there(tmp_path: Path, bright: Sightlines) -> None:
    ivar = np.where(np.arange(PIXELS) < PIXELS // 2, 0.0, 1.0).astype("f4")
    read, _ = read_sightlines([str(spec(tmp_path, bright, ivar=ivar))], {})
    assert not read.searched()[0, : PIXELS // 2].any()
    assert read.searched()[0, PIXELS // 2 :].any()


def test_without_errors_the_scatter_stands_in(tmp_path: Path, bright: Sightlines) -> None:
    read, rows = read_sightlines([str(spec(tmp_path, bright, ivar=None))], {})
    assert rows["quality"].tolist() == [ERRORS_ESTIMATED]
    red = (bright.rest()[0] > 1280) & (bright.rest()[0] < 1340) & (bright.error[0] > 0)
    assert np.median(read.error[0][red]) == pytest.approx(np.median(bright.error[0][red]), rel=0.25)


def test_masked_sky_lines_nan_and_doubtful_redshifts(tmp_path: Path, bright: Sightlines) -> None:
    mask = np.zeros(PIXELS, "i4")
    mask[700:720] = 1 << 23
    flux = 3.0 * bright.flux[0]
    flux[800:810] = np.nan
    read, rows = read_sightlines([str(spec(tmp_path, bright, and_mask=mask, flux=flux, ZWARNING=4))], {})
    assert rows["quality"].tolist() == [REDSHIFT_DOUBTFUL]
    assert (read.error[0][700:720] == 0).all()
    assert (read.error[0][800:810] == 0).all()
    assert np.isfinite(read.flux).all()


def test_a_cut_file_is_told_and_the_others_are_read(
    tmp_path: Path, bright: Sightlines, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = spec(tmp_path, bright, 0), spec(tmp_path, bright, 1)
    bad.write_bytes(bad.read_bytes()[:20_000])
    with caplog.at_level(logging.WARNING):
        read, rows = read_sightlines([str(tmp_path)], {})
    assert len(read) == len(rows) == 1
    assert "cannot be read" in caplog.text
    good.unlink()
    with pytest.raises(UserError, match="found no spectrum that can be read"):
        read_sightlines([str(tmp_path)], {})
    with pytest.raises(UserError, match="not found; expected a spectrum or a folder"):
        read_sightlines([str(tmp_path / "absent")], {})


def test_a_quasar_beyond_the_mocks_is_flagged(tmp_path: Path, bright: Sightlines) -> None:
    far = replace(bright[:1], redshift=np.array([5.5]))
    read, rows = read_sightlines([str(spec(tmp_path, far))], {})
    assert rows["quality"].tolist() == [HIGH_REDSHIFT]
    assert read.searched().any()


@pytest.mark.parametrize("unit", ["Angstrom", "nm", "um"])
@pytest.mark.parametrize("form", ["csv", "ecsv", "fits"])
def test_tables_of_any_grid_and_unit(tmp_path: Path, bright: Sightlines, form: str, unit: str) -> None:
    wavelength = np.arange(3600.0, 6000.0, 1.0)
    z = float(bright.redshift[0])
    columns = Table({"wavelength": wavelength, "flux": 5.0 + 0 * wavelength, "error": 0.5 + 0 * wavelength})
    columns["wavelength"] /= {"Angstrom": 1, "nm": 10, "um": 1e4}[unit]
    path = tmp_path / f"mine.{form}"
    if form != "csv":
        columns["wavelength"].unit = unit
    columns.write(path)
    if form == "csv" and unit != "Angstrom":
        with pytest.raises(SightlineError, match="without a unit; expected Angstrom"):
            read_spectrum(path)
    spectrum = read_spectrum(path, unit if form == "csv" else "")
    assert spectrum.wavelength[[0, -1]] == pytest.approx([3600, 5999])
    flux, error, estimated = on_lattice(spectrum, z)
    assert not estimated
    inside = error > 0
    assert inside.sum() > 500
    assert flux[inside] == pytest.approx(5.0)
    assert (error[inside] <= 0.5 + 1e-9).all()
    read, rows = read_sightlines([str(path)], {"mine": z}, unit if form == "csv" else "")
    assert rows["quality"].tolist() == [0]
    assert read.flux[0][inside] == pytest.approx(1.0)


def test_a_coarse_grid_is_interpolated_and_holes_stay() -> None:
    from galcarto.absorbers.read import Spectrum

    wavelength = np.arange(3700.0, 4800.0, 4.0)
    keep = (wavelength < 4000) | (wavelength > 4100)
    spectrum = Spectrum(wavelength[keep], wavelength[keep] * 0.001, np.full(keep.sum(), 0.1), 2.6, "a")
    flux, error, _ = on_lattice(spectrum, 2.6)
    place = 10 ** (LATTICE * (first_pixel(np.array(2.6)) + np.arange(PIXELS)))
    there = error > 0
    assert flux[there] == pytest.approx(place[there] * 0.001, rel=1e-4)
    assert not there[(place > 4010) & (place < 4090)].any()


def test_tables_without_what_is_needed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    with pytest.raises(SightlineError, match=r"found the columns x, y; expected .* a table of wavelength, flux"):
        read_spectrum(tmp_path / "a.csv")
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress(b"no FITS"))
    with pytest.raises(SightlineError, match="cannot be read"):
        read_spectrum(tmp_path / "b.fits.gz")


@pytest.mark.real
def test_real_spectra_of_every_kind(observations: Path) -> None:
    folder = observations / "dla"
    read, rows = read_sightlines([str(folder / "spectra")], {"UM184_nF": 3.02, "SDSSJ220248.31+123656.3": 2.5})
    boss = rows["name"].str.match(r"^\d+-\d+-\d+$")
    assert boss.sum() == 19
    assert (rows.loc[boss, "quality"] == 0).all()
    assert read.searched()[boss.to_numpy()].any(axis=1).all()
    # the error of UM 184 lies in the file beside
    assert rows.set_index("name").loc["UM184_nF", "quality"] == 0
    _, bad = read_sightlines([str(folder / "bad_input")], {})
    assert (bad["quality"] == NOT_SEARCHED).all()


def test_known_absorbers_are_looked_up(tmp_path: Path) -> None:
    absorbers = pd.DataFrame(
        {
            "name": ["3655-55240-638"],
            "z": [2.306],
            "z_sd": 0.001,
            "log_nhi": 20.3,
            "log_nhi_sd": 0.1,
            "probability": 0.9,
        }
    ).assign(flag=0)
    sightlines = pd.DataFrame({"name": ["3655-55240-638", "3655-55240-990"], "quality": 0})
    known = {"plate": 3655, "mjd": 55240, "fiber": [638, 990, 1], "z_dla": [2.3051, 2.1707, 2.0]}
    pd.DataFrame(known).assign(log_nhi=20.32).to_csv(tmp_path / "known.csv", index=False)
    found = compare_known(absorbers, sightlines, str(tmp_path / "known.csv"))
    assert found["searched"] == 2
    assert [row["name"] for row in found["known"]] == ["3655-55240-638", "3655-55240-990"]
    assert found["known"][0]["z"] - found["known"][0]["z_known"] == pytest.approx(0.0009)
    assert np.isnan(found["known"][1]["z"])
    assert compare_known(absorbers, sightlines, None)["known"] == []


def test_numbers_of_spectra_are_those_of_eboss() -> None:
    assert target_id(pd.Series(["3655-55240-638", "mine"])).tolist() == [3655_552400638, -2]


class Knows:
    """Stands for a network: it finds what it was told."""

    def __init__(self, found: pd.DataFrame) -> None:
        self.found = found

    def find(self, sightlines: Sightlines) -> tuple[pd.DataFrame, np.ndarray]:
        return self.found, np.zeros(len(sightlines))


def test_finders_are_compared_at_equal_purity(hard: Sightlines, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = truth_table(hard)
    thick = truth[(truth["log_nhi"] >= 20.3) & (truth["snr"] > 3)].reset_index(drop=True)
    assert len(thick) >= 6
    right = thick.assign(probability=np.linspace(0.9, 0.6, len(thick)))
    false = thick[:4].assign(z=thick["z"][:4] + 0.05, probability=[0.99, 0.3, 0.2, 0.1])
    # theirs: half of the absorbers, and one that is none
    theirs = pd.concat([right[: len(thick) // 2], false[:1]], ignore_index=True)
    monkeypatch.setattr(bayesian, "search", lambda _: (theirs, 2.0))
    ours = pd.concat([right, false], ignore_index=True)
    result = bayesian.compare(Knows(ours), hard)  # type: ignore[arg-type]
    assert result["finder"]["completeness"] == pytest.approx((len(thick) // 2) / len(thick))
    assert result["finder"]["purity"] == pytest.approx((len(thick) // 2) / (len(thick) // 2 + 1))
    assert result["ours"]["purity"] >= result["finder"]["purity"]
    assert result["ours"]["completeness"] == pytest.approx(1.0)
    assert result["ours"]["times_faster"] > 10


def test_the_bayesian_finder_sees_a_thick_absorber(plain: Sightlines) -> None:
    pytest.importorskip("gp_dla_finder")
    bright = plain[plain.snr() > 5]
    one = bright[[int(np.argmax(np.nan_to_num(bright.absorber_log_n[:, 0])))]]
    assert one.absorber_log_n[0, 0] > 20.5
    found, seconds = bayesian.search(one)
    assert found["z"][0] == pytest.approx(one.absorber_z[0, 0], abs=0.005)
    assert found["log_nhi"][0] == pytest.approx(one.absorber_log_n[0, 0], abs=0.4)
    assert 0.1 < seconds < 300


def test_faint_spectra_have_a_calibration_of_their_own(plain: Sightlines) -> None:
    finder = build("dilated", 8, 1, 8, 0.0, "gaussian").eval()
    none = Calibration.none(2)
    extra = {
        "score": torch.tensor([0.0, 1.0]),
        "probability": torch.tensor([0.0, 0.8]),
        "dim_shift": torch.tensor([0.0, 1.0]),
        "dim_stretch": 2.0 * none.stretch,
    }
    trained = AbsorberTrained(finder, {}, none, None, extra)
    rows = {"sightline": [0, 0], "pixel": 900.0, "score": 0.5, "log_nhi": 20.5, "pixel_sd": 1.0, "log_nhi_sd": 0.1}
    found = trained.calibrated(pd.DataFrame(rows).assign(flag=[0, 8], z=2.5, snr=[5.0, 1.0]), plain)
    assert found["probability"].tolist() == pytest.approx([0.4, 0.0])  # the second is an echo
    width = (found["log_nhi_84"] - found["log_nhi_16"]).tolist()
    assert width == pytest.approx([0.2, 0.4], rel=0.02)
    assert found["log_nhi_50"].tolist() == pytest.approx([20.5, 20.6], abs=0.002)
    assert found["z_sd"][0] == pytest.approx(np.log(10) * LATTICE * (1 + found["z"][0]), rel=0.05)


@pytest.mark.parametrize("number", [20, 400])
def test_errors_are_calibrated_where_there_are_enough_absorbers(number: int, rng: np.random.Generator) -> None:
    """Errors that are stated as half of what they are; lg N that is 0.1 too high."""
    truth = rng.normal(20.8, 0.2, number)
    sd = np.full(number, 0.1)
    frame = pd.DataFrame(
        {"log_nhi": truth + 0.1 + 2 * sd * rng.standard_normal(number), "log_nhi_sd": sd, "pixel_sd": 1.0}
    )
    values = torch.from_numpy(np.stack([2 * rng.standard_normal(number), truth], axis=1).astype("f4"))
    every = np.ones(number, bool)
    found = _calibration(torch.from_numpy(normal_samples(frame)), values, every, every)
    assert found.shift.shape == (2,)
    if number < 40:
        assert (found.stretch == 1).all()
    else:
        assert found.shift[1] == pytest.approx(-1.0, abs=0.25)
        assert found.stretch[:, 1] == pytest.approx(2.0, rel=0.15)


def test_the_bayesian_finders_quasars_are_scaled_as_a_whole() -> None:
    package = pytest.importorskip("gp_dla_finder")
    model, ours = package.load_model("eboss_dr16q_minus_dr12q"), bayesian.quasars()
    band = (ours.rest_wavelengths > 1270) & (ours.rest_wavelengths < 1350)
    assert np.median(ours.mu[band]) == pytest.approx(1.0)
    level = model.mu[0] / ours.mu[0]
    assert pytest.approx(level * ours.M) == model.M
    assert np.exp(model.log_omega) == pytest.approx(level * np.exp(ours.log_omega))


def test_a_wrong_redshift_of_the_quasar_moves_no_absorber(plain: Sightlines) -> None:
    off = replace(plain, redshift=plain.redshift + 0.03)
    found, truth = candidates(perfect(off), np.arange(PIXELS), off), truth_table(off)
    matched = match(found, truth)
    assert (matched >= 0).sum() > 20
    theirs = truth["z"].to_numpy()[matched[matched >= 0]]
    assert np.median(np.abs(found["z"].to_numpy()[matched >= 0] - theirs)) < 1e-4


def test_broad_lines_take_light_blueward_of_their_ions_and_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mock, "BROAD_SHARE", 1.0)
    quiet = PLAIN.model_copy(update={"forest": False, "snr": (30.0, 40.0), "redshift": (2.9, 3.0)})
    with_them = mock.draw(np.random.default_rng(11), 60, quiet.model_copy(update={"broad_lines": True}), SMOOTH)
    rest = with_them.rest()
    dark = [(with_them.flux[(rest > low) & (rest < high)] < 0.6).mean() for low, high in ((1150, 1235), (1245, 1265))]
    assert dark[0] > dark[1] + 0.02  # below N V, and between it and Si IV's winds of less than 22 000 km/s
    read, rows = read_sightlines([str(spec(tmp_path, with_them))], {})
    assert rows["quality"].tolist() == [0]
    assert read.searched().any()
