"""Networks on emulated spectra, and how near they come to the best possible errors.

A spectrum of thousands of pixels with the same noise in each loses next to nothing when it is projected on the
principal components of noiseless spectra: they span what labels change. Their basis is orthonormal, so that the noise
of each component is that of a pixel, and training adds it afresh each time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from galcarto.core.seeds import generator
from galcarto.labels.scores import rms
from galcarto.learning.settings import Training
from galcarto.spectra.bound import cramer_rao
from galcarto.spectra.emulator import PART, Emulator, noisy, polynomials, read_emulator
from galcarto.spectra.predict import SpectraTrained, describe
from galcarto.spectra.settings import Emulation, Network
from galcarto.spectra.spectra import Spectra
from galcarto.spectra.table import TEST, TRAIN, VALID, Labelled
from galcarto.spectra.train import learn

HELD = 2000  # stars that validate, and as many that test
FIRST = 1500  # noiseless spectra whose components are the basis
BOUNDS = 200  # test stars whose bound is computed
REAL = "apogee_real_2M13012770+5754582.npz"


@dataclass(frozen=True)
class Basis:
    """Principal components: mean, shape (pixel,), and rows of shape (component, pixel)."""

    mean: np.ndarray
    rows: np.ndarray

    @classmethod
    def learn(cls, flux: np.ndarray, number: int) -> "Basis":
        """Of noiseless spectra, shape (star, pixel)."""
        mean = flux.mean(axis=0)
        off = (flux - mean).astype(float)
        # of the smaller of the two products, whose eigenvectors give the components
        values, vectors = np.linalg.eigh(off @ off.T)
        keep = np.argsort(-values)[: min(number, len(flux) - 1)]
        rows = (vectors[:, keep].T @ off) / np.sqrt(values[keep])[:, None]
        return cls(mean, rows.astype("f4"))

    def project(self, flux: np.ndarray) -> np.ndarray:
        """Components of spectra, shape (star, component)."""
        return (flux - self.mean) @ self.rows.T


def emulate(options: Emulation, seed: int) -> tuple[Emulator, Basis, Labelled]:
    """Draw labels, emulate spectra, project them; those of validation and test stars are noisy."""
    rng = generator(seed, "emulate")
    emulator = read_emulator(options.emulator)
    if options.resolution is not None:
        emulator.at_resolution(options.resolution)
    basis = Basis.learn(emulator.flux(emulator.draw(FIRST, rng)), options.components)
    numbers = {TRAIN: options.stars, VALID: HELD, TEST: HELD}
    split = np.repeat(list(numbers), list(numbers.values()))
    labels = emulator.draw(len(split), rng)
    parts = []
    for start in range(0, len(split), PART):
        flux = emulator.flux(labels[start : start + PART])
        held = split[start : start + PART] != TRAIN
        flux[held] = noisy(flux[held], options.snr, rng)
        parts.append(basis.project(flux))
    return emulator, basis, held_as(np.concatenate(parts), labels, split, options.snr)


def held_as(components: np.ndarray, labels: np.ndarray, split: np.ndarray, snr: float) -> Labelled:
    """Components as a table of spectra, whose S/N is that of a pixel."""
    size = np.abs(components).astype("f4") + 1e-6
    stars = pd.DataFrame({"id": np.arange(len(components)).astype(str), "repeated": False})
    flux = components.astype("f4")
    spectra = Spectra(np.arange(flux.shape[1], dtype=float), flux, size / np.float32(snr), stars)
    nothing = np.full(labels.shape, np.nan)
    return Labelled(spectra, np.empty((len(flux), 0)), labels, nothing, split, np.ones(len(flux), bool), {})


@dataclass(frozen=True)
class Tried:
    """A network on emulated spectra."""

    labels: dict[str, dict[str, float]]  # of each: rms, bound (root of the mean square over stars), ratio, median_sd
    trained: SpectraTrained
    emulator: Emulator
    basis: Basis
    data: Labelled  # test stars


def tried(options: Emulation, network: Network, training: Training, checkpoints: Path, seed: int) -> Tried:
    """Train on emulated spectra; rms over the Cramér-Rao bound of each label, on test stars."""
    emulator, basis, data = emulate(options, seed)
    # its noise is drawn afresh each time: nothing to regularise, and the loss falls to the end
    network = network.model_copy(update={"hide": 0.0, "whiten": 0, "dropout": 0.0, "members": 1})
    training = training.model_copy(update={"epochs": options.epochs, "patience": options.epochs})
    units = emulator.units()
    trained, _ = learn(data, [], units, checkpoints, network, training, seed, soft=0.0, noise=1.0 / options.snr)
    test = data.part(TEST, -np.inf)
    found = describe(trained, test.spectra, test.magnitudes)
    bounds = bounds_of(emulator, test.labels[:BOUNDS], options.snr)
    labels = {}
    for at, name in enumerate(emulator.labels):
        bound = float(np.sqrt((bounds[:, at] ** 2).mean()))
        error = rms(found[name].to_numpy() - test.labels[:, at])
        spread = float(found[f"{name}_sd"].median())
        labels[name] = {"rms": error, "bound": bound, "ratio": error / bound, "median_sd": spread}
    return Tried(labels, trained, emulator, basis, test)


def bounds_of(emulator: Emulator, labels: np.ndarray, snr: float, degree: int | None = None) -> np.ndarray:
    """Cramér-Rao bound of each label of each star, shape (star, label).

    Parameters
    ----------
    emulator : Emulator
    labels : ndarray, shape (star, label)
    snr : float
        Of a pixel.
    degree : int, optional
        Of the polynomial with which the continuum is fitted along; by default it is known.
    """
    error = np.full(len(emulator.wavelength), 1.0 / snr)
    if degree is None:
        return np.stack([cramer_rao(emulator.derivatives(one), error) for one in labels])
    series = polynomials(emulator.wavelength, degree)
    pairs = zip(labels, emulator.flux(labels), strict=True)
    return np.stack([cramer_rao(emulator.derivatives(one), error, flux * series) for one, flux in pairs])


def real_dwarf(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Normalised flux and error of the real spectrum that stands beside the emulator of APOGEE's dwarfs."""
    with np.load(Path(path).with_name(REAL), allow_pickle=False) as file:
        flux, error = file["spectrum"].astype(float), file["spec_err"].astype(float)
    bad = ~(np.isfinite(flux) & (error > 0) & (error < 0.1))
    return np.where(bad, np.nan, flux), np.where(bad, np.nan, error)


def gap(made: Tried, flux: np.ndarray, error: np.ndarray, snr: float) -> tuple[dict[str, Any], xr.Dataset]:
    """How far a real spectrum is from the emulated ones.

    Parameters
    ----------
    made : Tried
    flux, error : ndarray, shape (pixel,)
        Normalised; where it is NaN the mean of the emulated spectra stands for it.
    snr : float
        Of the emulated spectra.

    Returns
    -------
    metrics : dict
        Its labels; its out-of-distribution score; the shift of each label, in standard deviations, when the spectrum
        that the emulator gives for these labels is put in its place; ``reduced_chi2`` of that spectrum.
    pictures : Dataset
        The real and the emulated spectrum; two principal components of the network's features.
    """
    names = made.trained.estimator.first.labels

    def seen(one: np.ndarray) -> tuple[pd.Series, np.ndarray]:
        real = held_as(made.basis.project(one[None]), np.full((1, len(names)), np.nan), np.array([TEST]), snr)
        inputs = next(made.trained.batches(real.spectra, real.magnitudes))
        features = made.trained.pooled(inputs, 1)[1].numpy()
        return describe(made.trained, real.spectra, real.magnitudes).iloc[0], features

    whole = np.where(np.isfinite(flux), flux, made.basis.mean)
    found, feature = seen(whole)
    labels = np.clip(found[names].to_numpy(float), made.emulator.low, made.emulator.high)
    model = made.emulator.flux(labels[None])[0]
    again, _ = seen(np.where(np.isfinite(flux), model, made.basis.mean))
    emulated = np.concatenate(
        [
            made.trained.pooled(one, 1)[1].numpy()
            for one in made.trained.batches(made.data.spectra, made.data.magnitudes)
        ]
    )
    middle = emulated.mean(axis=0)
    _, _, axes = np.linalg.svd(emulated - middle, full_matrices=False)
    metrics = {
        "labels": {name: {"value": float(found[name]), "sd": float(found[f"{name}_sd"])} for name in names},
        "shift": {name: float((found[name] - again[name]) / found[f"{name}_sd"]) for name in names},
        "out_of_distribution": float(found["out_of_distribution"]),
        "reduced_chi2": float(np.nanmean(((flux - model) / error) ** 2)),
    }
    pictures = xr.Dataset(
        {
            "real": ("wavelength", flux),
            "model": ("wavelength", model),
            "emulated_features": (("star", "component"), (emulated - middle) @ axes[:2].T),
            "real_features": ("component", ((feature - middle) @ axes[:2].T)[0]),
        },
        coords={"wavelength": ("wavelength", made.emulator.wavelength, {"units": "nm"})},
    )
    return metrics, pictures
