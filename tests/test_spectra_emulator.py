"""Emulated spectra, what a spectrograph does to them, and the best errors that they allow."""

from pathlib import Path

import numpy as np
import pytest

from galcarto.spectra.bound import cramer_rao, element_mask
from galcarto.spectra.emulator import (
    FWHM,
    Emulator,
    misplaced,
    noisy,
    polynomials,
    read_emulator,
    shifted,
    smoothing,
)
from galcarto.spectra.spectra import SpectraError

GRID = np.arange(500.0, 520.0, 0.05)  # nm


def line(centre: float, sd: float) -> np.ndarray:
    """A Gaussian absorption line of depth 0.5."""
    return 1.0 - 0.5 * np.exp(-0.5 * ((GRID - centre) / sd) ** 2)


def test_resolution_widens_a_line_and_keeps_its_area() -> None:
    narrow = line(510.0, 0.1)
    wide = smoothing(GRID, 2000.0) @ narrow
    sd = np.hypot(0.1, 510.0 / 2000.0 / FWHM)
    np.testing.assert_allclose(1.0 - wide, 0.5 * 0.1 / sd * np.exp(-0.5 * ((GRID - 510.0) / sd) ** 2), atol=2e-4)
    # from 4000 to 2000 is what is left of the widths in quadrature
    twice = smoothing(GRID, 2000.0, 4000.0) @ (smoothing(GRID, 4000.0) @ narrow)
    np.testing.assert_allclose(twice, wide, atol=5e-4)
    for resolution in (3000.0, 2000.0):
        with pytest.raises(SpectraError, match="less than the native 2000"):
            smoothing(GRID, resolution, 2000.0)


def test_a_receding_stars_lines_are_red() -> None:
    moved = shifted(GRID, np.stack([line(510.0, 0.1)] * 2), np.array([0.0, 300.0]))
    assert GRID[moved[0].argmin()] == pytest.approx(510.0)
    assert GRID[moved[1].argmin()] == pytest.approx(510.0 * (1 + 300.0 / 299792.458), abs=0.03)


def test_continuum_errors_and_noise(rng: np.random.Generator) -> None:
    flux = np.ones((1, len(GRID)))
    wrong = misplaced(GRID, flux, np.array([[0.01, 0.02, 0.0]]))
    assert wrong[0, [0, -1]] == pytest.approx([0.99, 1.03])  # 1 + 0.01 -+ 0.02
    assert noisy(np.ones((50, 400)), 20.0, rng).std() == pytest.approx(0.05, rel=0.02)


def test_the_bound_is_that_of_least_squares(rng: np.random.Generator) -> None:
    """In a linear model, least squares reaches it."""
    derivatives = rng.normal(size=(3, 200)) * np.array([[1e-3], [1.0], [10.0]])
    error = rng.uniform(0.5, 2.0, 200)
    matrix = (derivatives / error).T
    draws = rng.normal(size=(200, 20000))
    fitted = np.linalg.lstsq(matrix, draws, rcond=None)[0]
    np.testing.assert_allclose(cramer_rao(derivatives, error), fitted.std(axis=1), rtol=0.03)
    np.testing.assert_allclose(cramer_rao(derivatives, 2 * error), 2 * cramer_rao(derivatives, error))


def test_the_bound_of_one_label_has_a_closed_form() -> None:
    assert cramer_rao(np.full((1, 100), 2.0), np.full(100, 0.5)) == pytest.approx([0.025])  # 0.5 / 2 / sqrt(100)
    # a masked pixel tells nothing
    half = np.where(np.arange(100) < 50, 0.5, np.inf)
    assert cramer_rao(np.full((1, 100), 2.0), half) == pytest.approx([0.025 * np.sqrt(2)])


def test_a_continuum_that_is_fitted_along_takes_the_part_of_a_label_that_looks_like_it() -> None:
    x = polynomials(GRID, 2)
    wave = np.sin(40 * x[1])
    error = np.full(len(GRID), 0.01)
    alone = cramer_rao(wave[None], error)
    assert cramer_rao(wave[None], error, x) == pytest.approx(alone, rel=0.01)  # orthogonal: nothing is lost
    mixed = (wave + 3 * x[1])[None]
    assert cramer_rao(mixed, error, x) == pytest.approx(alone, rel=0.01)
    assert cramer_rao(mixed, error)[0] < 0.5 * alone[0]


def test_a_mask_has_the_fewest_pixels_of_a_share() -> None:
    derivative = np.array([[3.0, 0.0, 1.0, 0.0], [3.0, 1.0, 1.0, 0.0]])  # squares summed: 18, 1, 2, 0
    assert element_mask(derivative, 0.85).tolist() == [True, False, False, False]
    assert element_mask(derivative, 0.90).tolist() == [True, False, True, False]
    assert element_mask(derivative, 0.99).tolist() == [True, True, True, False]


@pytest.mark.real
@pytest.mark.parametrize("name", ["apogee_normalized_spectra.npz", "boss_4000-5000.npz"])
def test_derivatives_are_those_of_the_flux(observations: Path, name: str) -> None:
    emulator = read_emulator(observations / "emulators" / name)
    middle = 0.5 * (emulator.low + emulator.high) + 0.01 * (emulator.high - emulator.low)
    step = 0.004 * (emulator.high - emulator.low)
    numeric = np.stack([
        (emulator.flux((middle + one)[None]) - emulator.flux((middle - one)[None]))[0] / 2 / one.sum()
        for one in np.diag(step)
    ])  # fmt: skip
    found = emulator.derivatives(middle)
    scale = np.abs(numeric).max(axis=1, keepdims=True)
    assert np.abs(found - numeric).max(axis=1) / scale.ravel() == pytest.approx(
        0.0, abs=0.2
    )  # its rectifiers have kinks
    np.testing.assert_allclose(np.median(np.abs(found - numeric) / scale), 0.0, atol=1e-3)


@pytest.mark.real
def test_emulated_lines_are_where_nature_has_them(observations: Path) -> None:
    """The Ca II triplet (air: NIST) of a giant, and its growth with [Ca/M]."""
    emulator = read_emulator(observations / "emulators" / "boss_4000-5000.npz")
    middle = 0.5 * (emulator.low + emulator.high)
    flux = emulator.flux(middle[None])[0]
    for centre in (849.802, 854.209, 866.214):
        near = np.abs(emulator.wavelength - centre) < 0.8
        assert emulator.wavelength[near][flux[near].argmin()] == pytest.approx(centre, abs=0.11)
    derivative = emulator.derivatives(middle)[emulator.labels.index("ca_m")]
    assert derivative[np.abs(emulator.wavelength - 854.2) < 0.3].min() < -0.05
    blurred = read_emulator(observations / "emulators" / "boss_4000-5000.npz").at_resolution(2000.0)
    assert isinstance(blurred, Emulator)
    core = np.abs(emulator.wavelength - 854.2).argmin()
    assert blurred.flux(middle[None])[0, core] > flux[core] + 0.05


def test_other_files_are_no_emulators(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    with pytest.raises(SpectraError, match="found x; expected the weights"):
        read_emulator(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"no")
    with pytest.raises(SpectraError, match="no weights of an emulator"):
        read_emulator(tmp_path / "b.npz")
