"""Mock sightlines: quasars, forest, absorbers and all that is in the way of finding them, as a spectrograph sees them.

Every part can be switched off; see `galcarto.absorbers.settings.Mock`.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
from dust_extinction.parameter_averages import G23
from scipy.ndimage import gaussian_filter1d

from galcarto.absorbers import forest, lines, population
from galcarto.absorbers.settings import Mock
from galcarto.absorbers.sightlines import FOREST, LATTICE, MOST, PIXELS, REST, Sightlines, first_pixel, joined, scaled
from galcarto.core.errors import UserError

LEAST = 17.2  # lg N from which an absorber is opaque at the Lyman limit, and no part of the forest
LOOKED_FOR = 19.5  # lg N from which the network looks for absorbers
BLUEST = 3600.0  # Angstrom, where BOSS' spectra begin (Smee et al. 2013, arXiv:1208.2233)
RESOLUTION = 65.0  # km/s: standard deviation of BOSS' line spread at 4500 Angstrom (the same)
CLOUD_WIDTH = (30.0, 0.3)  # km/s and scatter of ln: Doppler parameters
ENRICHED = 4.0  # times as many absorbers as in nature in training sightlines
EVEN = 0.5  # share of the training's absorbers whose lg N is even from `LOOKED_FOR` on
CHUNK = 500  # sightlines made at once

# lg of the optical depth of Si II 1260 of a damped absorber, and its scatter; less per decade of lg N below 20.3
METALS, METAL_SCATTER, METAL_SLOPE = 0.7, 0.5, 0.4
METAL_WIDTH = (80.0, 0.5)  # km/s and scatter of ln
CLOUDS = 2.5  # other clouds with metals on a sightline
CLOUD_STRENGTH = (0.0, 0.5)  # lg of their optical depth, and scatter

BROAD_SHARE = 0.12  # of the quasars have broad absorption lines (Paris et al. 2017, arXiv:1608.06483)
BROAD = {  # Angstrom, and typical share of the light that is absorbed, by ion
    977.02: 0.5,
    1034.0: 0.8,
    1062.7: 0.15,
    1121.0: 0.2,
    1215.67: 0.5,
    1240.1: 0.8,
    1397.0: 0.5,
    1549.0: 0.8,
}
# sky lines (Angstrom): mercury, oxygen, sodium; hydroxyl beyond
SKY = np.array([4046.6, 4358.3, 5460.7, 5577.3, 5891.9, 6300.3, 6363.8, 6863.9, 7276.4, 7340.9, 7750.6, 7913.7])
SKY_WIDTH = 150.0  # km/s to either side
SKY_NOISE = 3.0  # residuals over the stated error, at most
# noise of the sky, relative to that at 5000 Angstrom: median of 19 spectra of BOSS' plates 3655 and 9367
NOISE_AT = np.array([3600, 3750, 4050, 4350, 4650, 4950, 5250, 5550, 6150, 6450, 6750, 7200, 9000.0])
NOISE = np.array([4.5, 3.6, 2.0, 1.46, 1.21, 1.09, 0.99, 1.0, 1.0, 0.84, 0.72, 0.66, 0.72])
PHOTONS = 0.1  # variance of the light's own noise over the sky's, times S/N: 1 at a S/N of 10


@dataclass(frozen=True)
class Continuum:
    """Quasars without absorption: a mean and components, over the flux at 1425 to 1475 Angstrom."""

    rest: np.ndarray  # (wavelength,), Angstrom
    mean: np.ndarray  # (wavelength,)
    components: np.ndarray  # (wavelength, component): amplitudes are normal

    @classmethod
    def read(cls, path: str) -> "Continuum":
        """Read a model.

        Parameters
        ----------
        path : str
            Of a .npz file with rest_wavelengths, mu and M; ``gp_dla_finder``: the eBOSS quasars of that package (Ho et
            al. 2020, arXiv:2003.11036).

        Raises
        ------
        UserError
            If there is no such model.
        """
        file = model_path(path)
        if not file.is_file():
            raise UserError(f"continuum.path: {file}: not found; expected a .npz file that learn_continuum wrote")
        try:
            with np.load(file, allow_pickle=False) as content:
                return cls(*(content[name].astype(float) for name in ("rest_wavelengths", "mu", "M")))
        except (OSError, KeyError, ValueError) as error:
            raise UserError(
                f"continuum.path: {file}: not a model of quasars ({error}); expected rest_wavelengths, mu and M"
            ) from error

    def draw(self, rng: np.random.Generator, rest: np.ndarray) -> np.ndarray:
        """Random continua at wavelengths at rest of shape (sightline, pixel)."""
        amplitudes = rng.standard_normal((len(rest), self.components.shape[1]))
        curves = self.mean + amplitudes @ self.components.T
        curves = np.maximum(curves, 0.2 * self.mean)  # normal amplitudes may take a line below zero
        return np.array([np.interp(at, self.rest, curve) for at, curve in zip(rest, curves, strict=True)])


def model_path(path: str) -> Path:
    """File of a model of quasars; of an installed package where the path is the name of that.

    Raises
    ------
    UserError
        If the package is not installed.
    """
    if path != "gp_dla_finder":
        return Path(path)
    found = importlib.util.find_spec(path)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            "continuum.path: the package gp-dla-finder, whose table of quasars is read, is not installed: 'make "
            "absorbers' installs it, or 'pip install --no-deps gp-dla-finder==0.1.0'; or name a file of learn_continuum"
        )
    return Path(found.submodule_search_locations[0], "data", "models", "eboss_dr16q_minus_dr12q.npz")


def draw(
    rng: np.random.Generator, number: int, mock: Mock, source: Continuum | Sightlines, enriched: bool = False
) -> Sightlines:
    """Make mock sightlines.

    Parameters
    ----------
    rng : Generator
    number : int
    mock : Mock
    source : Continuum or Sightlines
        Quasars to draw; or absorber-free spectra, with their forest and noise, into which absorbers are injected.
    enriched : bool
        More absorbers than in nature, and more of the thick ones, for training.
    """
    parts = [_chunk(rng, min(CHUNK, number - at), mock, source, enriched) for at in range(0, number, CHUNK)]
    return joined(parts)


def _chunk(
    rng: np.random.Generator, number: int, mock: Mock, source: Continuum | Sightlines, enriched: bool
) -> Sightlines:
    if isinstance(source, Sightlines):
        source = source[rng.integers(len(source), size=number)]
        redshift, catalogued = source.redshift, source.redshift
    else:
        fall = 1 - np.exp(-(mock.redshift[1] - mock.redshift[0]) / mock.redshift_scale)
        redshift = mock.redshift[0] - mock.redshift_scale * np.log1p(-fall * rng.random(number))
        catalogued = redshift * 1.0
        if mock.redshift_errors:  # Student's t of three degrees of freedom has the tail of catalogues
            catalogued = (1 + redshift) * (1 + 400.0 / lines.LIGHT * rng.standard_t(3, number).clip(-10, 10)) - 1
    first = first_pixel(catalogued)
    # two steps in each pixel
    place = first[:, None] + (np.arange(2 * PIXELS) - 0.5) / 2
    wavelength = 10 ** (LATTICE * place)
    absorber_z, absorber_log_n, through = _absorb(rng, wavelength, redshift, mock, enriched)
    if isinstance(source, Sightlines):
        flux, error = source.flux * _observed(through), source.error
        return Sightlines(flux.astype("f4"), error, catalogued, absorber_z, absorber_log_n)
    light = source.draw(rng, wavelength / (1 + redshift[:, None]))
    if mock.forest:
        alpha = wavelength / lines.LYMAN_ALPHA.wavelength - 1
        depth = np.where(alpha < redshift[:, None], forest.draw(rng, alpha), 0.0)
        light *= np.exp(-forest.with_beta(depth))
    if mock.broad_lines:
        light *= _broad_lines(rng, wavelength, redshift)
    flux = _observed(light * through)
    if mock.reddening:
        flux *= _dust(10 ** (LATTICE * (first[:, None] + np.arange(PIXELS))), mock.reddening)
    noisy, error = _noise(rng, flux, first, redshift, mock)
    flux, error, _ = scaled(noisy, error, catalogued)
    return Sightlines(flux, error, catalogued, absorber_z, absorber_log_n)


def _observed(light: np.ndarray) -> np.ndarray:
    """At the instrument's resolution, in its pixels; from two steps a pixel."""
    smooth = gaussian_filter1d(light, RESOLUTION / forest.VELOCITY, axis=1, mode="nearest")
    return smooth.reshape(len(light), PIXELS, 2).mean(axis=2)


def _absorb(
    rng: np.random.Generator, wavelength: np.ndarray, redshift: np.ndarray, mock: Mock, enriched: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Absorbers of each sightline, those that are looked for first, and the share of the light that passes."""
    number = len(redshift)
    lowest = np.minimum(np.maximum(wavelength[:, 0], BLUEST) / lines.LYMAN_ALPHA.wavelength - 1, redshift)
    ends = population.absorption_distance(np.stack([lowest, redshift]))
    least = LEAST if mock.all_columns else LOOKED_FOR
    strong = population.expected_number(LOOKED_FOR) * (ENRICHED if enriched else 1.0)
    weak = population.expected_number(least) - population.expected_number(LOOKED_FOR)
    z, log_n = np.full((2, number, MOST), np.nan)
    through = np.ones(wavelength.shape)
    for i in range(number):
        path = ends[1, i] - ends[0, i]
        many, few = rng.poisson(path * strong), rng.poisson(path * weak) if weak > 0 else 0
        columns = population.draw_log_n(rng, many, LOOKED_FOR)
        if enriched:
            even = rng.random(many) < EVEN
            columns = np.where(even, rng.uniform(LOOKED_FOR, population.LOG_N[-1], many), columns)
        columns = np.sort(columns)[::-1]
        if few:
            columns = np.append(columns, population.draw_log_n(rng, few, least, LOOKED_FOR))
        places = population.redshift_at(ends[0, i] + path * rng.random(len(columns)))
        kept = min(many, MOST)
        z[i, :kept], log_n[i, :kept] = places[:kept], columns[:kept]
        for at, column in zip(places, columns, strict=True):
            width = CLOUD_WIDTH[0] * np.exp(CLOUD_WIDTH[1] * rng.standard_normal())
            passed = lines.transmission(wavelength[i], at, column, width)
            if not mock.lyman_limit:
                passed = np.where(wavelength[i] < lines.LYMAN_LIMIT * (1 + at), 1.0, passed)
            if mock.metals:
                strength = METALS + METAL_SLOPE * min(column - population.DAMPED, 0.0)
                passed = passed * _metals(rng, wavelength[i], at, strength, METAL_SCATTER)
            through[i] *= passed
        if mock.metals:
            for at in rng.uniform(0.3, redshift[i], rng.poisson(CLOUDS)):
                through[i] *= _metals(rng, wavelength[i], at, *CLOUD_STRENGTH)
    return z, log_n, through


def _metals(
    rng: np.random.Generator, wavelength: np.ndarray, redshift: float, strength: float, scatter: float
) -> np.ndarray:
    """Share of the light that passes the metals of a cloud of random strength and width."""
    depth, width = rng.standard_normal(2)
    spread = METAL_WIDTH[0] * np.exp(METAL_WIDTH[1] * width)
    return lines.metal_transmission(wavelength, redshift, 10 ** (strength + scatter * depth), spread)


def _broad_lines(rng: np.random.Generator, wavelength: np.ndarray, redshift: np.ndarray) -> np.ndarray:
    """Share of the light that passes the winds of quasars: one profile in velocity, at several ions."""
    passed = np.ones(wavelength.shape)
    for i in np.flatnonzero(rng.random(len(redshift)) < BROAD_SHARE):
        for _ in range(1 + rng.poisson(0.7)):
            speed, width = rng.uniform(1000.0, 22_000.0), np.exp(rng.uniform(np.log(700.0), np.log(3000.0)))
            covered = rng.uniform(0.3, 1.0)
            for line, share in BROAD.items():
                depth = covered * min(share * np.exp(0.3 * rng.standard_normal()), 1.0)
                velocity = lines.LIGHT * (1 - wavelength[i] / (line * (1 + redshift[i])))
                passed[i] *= 1 - depth * np.exp(-(((velocity - speed) / width) ** 4))
    return passed


def _dust(wavelength: np.ndarray, a_v: float) -> np.ndarray:
    """Share of the light that passes the Galaxy's dust (Gordon et al. 2023, R_V = 3.1)."""
    curve = G23(Rv=3.1)(wavelength.ravel() * u.AA).reshape(wavelength.shape)
    return 10 ** (-0.4 * a_v * curve)


def _noise(
    rng: np.random.Generator, flux: np.ndarray, first: np.ndarray, redshift: np.ndarray, mock: Mock
) -> tuple[np.ndarray, np.ndarray]:
    """Noisy flux, and the error that the instrument states; 0 where it has no data."""
    wavelength = 10 ** (LATTICE * (first[:, None] + np.arange(PIXELS)))
    rest = wavelength / (1 + redshift[:, None])
    snr = np.exp(rng.uniform(np.log(mock.snr[0]), np.log(mock.snr[1]), len(flux)))
    there = wavelength > BLUEST
    inside = there & (rest > FOREST[0]) & (rest < FOREST[1])
    middle = np.nanmedian(np.where(inside, flux, np.nan), axis=1)[:, None]
    # over the light in the forest: the sky's part, and that of the light itself
    variance = np.interp(wavelength, NOISE_AT, NOISE) ** 2 + PHOTONS * snr[:, None] * np.maximum(flux, 0) / middle
    error = np.sqrt(variance) * middle
    ratio = np.nanmedian(np.where(inside, flux / error, np.nan), axis=1)[:, None]
    error = np.where(there, error * ratio / snr[:, None], 0.0)
    noisy = flux + error * rng.standard_normal(flux.shape)
    if mock.sky:
        left, right = (SKY * (1 + side * SKY_WIDTH / lines.LIGHT) for side in (-1, 1))
        near = np.searchsorted(left, wavelength) > np.searchsorted(right, wavelength)
        size = SKY_NOISE * rng.random((len(flux), 1))
        noisy += np.where(near, size * error * rng.standard_normal(flux.shape), 0.0)
        error = np.where(near & (rng.random((len(flux), 1)) < 0.5), 0.0, error)
        bad = rng.random(flux.shape) < 0.002  # pixels that the pipeline threw out
        error = np.where(bad, 0.0, error)
    return noisy, error


def learn_continuum(sightlines: Sightlines, components: int, rounds: int = 10) -> Continuum:
    """Mean and principal components of absorber-free spectra, the forest's mean absorption taken out.

    Pixels without data are filled in by the components of the round before.

    Parameters
    ----------
    sightlines : Sightlines
        At least twice as many as components.
    components : int
    rounds : int

    Raises
    ------
    UserError
        If there are too few.
    """
    if len(sightlines) < 2 * components:
        raise UserError(
            f"found {len(sightlines)} spectra; expected at least {2 * components} for {components} components"
        )
    rest = 10 ** (LATTICE * (REST + np.arange(PIXELS)))
    wavelength = rest * (1 + sightlines.redshift[:, None])
    alpha = wavelength / lines.LYMAN_ALPHA.wavelength - 1
    absorbed = np.where(alpha < sightlines.redshift[:, None], forest.mean_flux(alpha), 1.0)
    there = sightlines.error > 0
    values = np.where(there, sightlines.flux / absorbed, 0.0)
    mean = values.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    filled = np.where(there, values, mean)
    number = len(values)
    for _ in range(rounds):
        mean = filled.mean(axis=0)
        left, sizes, right = np.linalg.svd(filled - mean, full_matrices=False)
        model = mean + (left[:, :components] * sizes[:components]) @ right[:components]
        filled = np.where(there, values, model)
    return Continuum(rest, mean, right[:components].T * sizes[:components] / np.sqrt(number - 1))
