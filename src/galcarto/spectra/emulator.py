"""Emulated spectra: small networks that give a normalised spectrum from labels, and what a spectrograph does to it.

The giants are those of BOSS (Nidever's bossbrain: Synspec models, LTE), 22 labels, 350-1050 nm; the dwarfs those of
APOGEE, learnt from real spectra (Ting et al. 2019, arXiv:1804.01530; El-Badry et al. 2018, arXiv:1711.08793), five
labels. Both have derivatives by the labels, from which the best possible errors follow; see `galcarto.spectra.bound`.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.polynomial import legendre
from scipy import sparse
from torch import Tensor
from torch.nn.functional import leaky_relu

from galcarto.spectra.spectra import SpectraError

LIGHT = 299_792.458  # km s-1
FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))  # of a Gaussian, over its standard deviation
REACH = 4.0  # standard deviations of a resolution kernel
SLOPE = 0.01  # of the leaky rectifier of BOSS' emulator
DWARFS = ("teff", "logg", "fe_h", "alpha_fe", "v_macro")
PART = 1000  # spectra at once
NAMES = {"mh": "m_h"} | {f"{element}m": f"{element}_m" for element in ("c", "n", "o")}


class Emulator:
    """A spectrum from labels.

    Attributes
    ----------
    wavelength : ndarray, shape (pixel,), nm
    labels : list of str
        Abundances are [X/M], dex; ``teff`` in K, ``logg`` in dex, ``v_macro`` in km s-1.
    low, high : ndarray, shape (label,)
        Range that the emulator was trained in.
    """

    wavelength: np.ndarray
    labels: list[str]
    low: np.ndarray
    high: np.ndarray

    def __init__(self, smoothing: sparse.csr_array | None = None) -> None:
        self.smoothing = smoothing

    def raw(self, scaled: Tensor) -> Tensor:
        """Flux, shape (star, pixel), of labels scaled to -0.5 ... 0.5."""
        raise NotImplementedError

    def slopes(self, scaled: Tensor) -> Tensor:
        """Derivative of `raw` by each scaled label of one star, shape (label, pixel)."""
        raise NotImplementedError

    def flux(self, labels: np.ndarray) -> np.ndarray:
        """Flux over the continuum, shape (star, pixel), of labels of shape (star, label)."""
        scaled = torch.from_numpy((labels - self.low) / (self.high - self.low) - 0.5).float()
        with torch.no_grad():
            found = np.concatenate([self.raw(part).numpy() for part in scaled.split(PART)])
        return found if self.smoothing is None else (self.smoothing @ found.T).T

    def derivatives(self, labels: np.ndarray) -> np.ndarray:
        """Derivative of the flux by each label, shape (label, pixel), at labels of shape (label,)."""
        scaled = torch.from_numpy((labels - self.low) / (self.high - self.low) - 0.5).float()
        found = self.slopes(scaled).numpy() / (self.high - self.low)[:, None]
        return found if self.smoothing is None else (self.smoothing @ found.T).T

    def at_resolution(self, resolution: float, native: float = np.inf) -> "Emulator":
        """The same at a lower resolution, lambda / FWHM, from a native one."""
        self.smoothing = smoothing(self.wavelength, resolution, native)
        return self

    def units(self) -> dict[str, str]:
        """Labels and their units."""
        return {name: {"teff": "K", "v_macro": "km s-1"}.get(name, "dex") for name in self.labels}

    def draw(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """Labels drawn evenly from the emulator's range, shape (star, label)."""
        return rng.uniform(self.low, self.high, (number, len(self.labels)))


class Giants(Emulator):
    """BOSS' emulator: two layers of leaky rectifiers, and a linear one."""

    def __init__(self, content: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.wavelength = content["wavelength"].astype(float) / 10.0
        self.labels = [NAMES.get(name, f"{name[:-1]}_m" if name.endswith("m") else name) for name in content["labels"]]
        self.low, self.high = (content[name].astype(float) for name in ("low", "high"))
        names = ("w0", "b0", "w1", "b1", "w2", "b2")
        self._weights = [torch.from_numpy(content[name].astype("f4")) for name in names]

    def raw(self, scaled: Tensor) -> Tensor:
        """As of `Emulator`."""
        w0, b0, w1, b1, w2, b2 = self._weights
        return leaky_relu(leaky_relu(scaled @ w0.T + b0, SLOPE) @ w1.T + b1, SLOPE) @ w2.T + b2

    def slopes(self, scaled: Tensor) -> Tensor:
        """As of `Emulator`."""
        w0, b0, w1, b1, w2, _ = self._weights
        first = w0 @ scaled + b0
        second = w1 @ leaky_relu(first, SLOPE) + b1
        inner = torch.where(first > 0, 1.0, SLOPE)[:, None] * w0
        return (w2 @ (torch.where(second > 0, 1.0, SLOPE)[:, None] * (w1 @ inner))).T


class Dwarfs(Emulator):
    """APOGEE's emulator: a net of one layer for each pixel."""

    def __init__(self, content: dict[str, np.ndarray], wavelength: np.ndarray) -> None:
        super().__init__()
        self.wavelength = wavelength / 10.0
        self.labels = list(DWARFS)
        self.low, self.high = (content[name].astype(float) for name in ("x_min", "x_max"))
        self.low[4] = max(self.low[4], 0.0)  # broadening is not negative
        self._zero = content["x_min"].astype(float)
        self._span = content["x_max"].astype(float) - self._zero
        names = ("w_array_0", "b_array_0", "w_array_1", "b_array_1")
        self._weights = [torch.from_numpy(content[name].astype("f4")) for name in names]

    def _hidden(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden layer, shape (star, pixel, unit), and the stretch of the labels from `scaled` to the net's own."""
        low, high = (torch.from_numpy(part).float() for part in (self.low, self.high))
        zero, span = (torch.from_numpy(part).float() for part in (self._zero, self._span))
        stretch = (high - low) / span
        own = (low - zero) / span + (scaled + 0.5) * stretch - 0.5
        w0, b0, _, _ = self._weights
        return torch.sigmoid(torch.einsum("phl,sl->sph", w0, own) + b0), stretch

    def raw(self, scaled: Tensor) -> Tensor:
        """As of `Emulator`."""
        _, _, w1, b1 = self._weights
        return (w1 * self._hidden(scaled)[0]).sum(dim=-1) + b1

    def slopes(self, scaled: Tensor) -> Tensor:
        """As of `Emulator`."""
        w0, _, w1, _ = self._weights
        hidden, stretch = self._hidden(scaled[None])
        return torch.einsum("ph,phl->lp", w1 * hidden[0] * (1.0 - hidden[0]), w0) * stretch[:, None]


def read_emulator(path: str | Path) -> Emulator:
    """Read an emulator's weights (.npz): BOSS' giants, or APOGEE's dwarfs with apogee_wavelength.npz beside them.

    Raises
    ------
    SpectraError
        If the file holds neither.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            content = dict(file)
        if {"w0", "w2", "labels", "wavelength"} <= set(content):
            return Giants(content)
        if content.get("x_min", np.empty(0)).shape == (len(DWARFS),) and "w_array_1" in content:
            with np.load(path.with_name("apogee_wavelength.npz"), allow_pickle=False) as beside:
                return Dwarfs(content, beside["wavelength"].astype(float))
    except (OSError, ValueError, KeyError) as error:
        raise SpectraError(f"{path}: no weights of an emulator ({error}); expected an .npz file of them") from error
    found = ", ".join(content)
    raise SpectraError(f"{path}: found {found}; expected the weights of BOSS' giants or of APOGEE's dwarfs")


def smoothing(wavelength: np.ndarray, resolution: float, native: float = np.inf) -> sparse.csr_array:
    """Matrix that takes a spectrum from a native resolution to a lower one, shape (pixel, pixel).

    Raises
    ------
    SpectraError
        If the resolution is not lower than the native one.
    """
    if resolution >= native:
        raise SpectraError(f"found resolution {resolution:g}; expected less than the native {native:g}")
    width = wavelength * np.sqrt(resolution**-2 - native**-2) / FWHM
    first = np.searchsorted(wavelength, wavelength - REACH * width)
    last = np.searchsorted(wavelength, wavelength + REACH * width, side="right")
    step = np.gradient(wavelength)
    rows = [
        step[a:b] * np.exp(-0.5 * ((wavelength[a:b] - centre) / sd) ** 2)
        for a, b, centre, sd in zip(first, last, wavelength, width, strict=True)
    ]
    columns = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    start = np.concatenate([[0], np.cumsum(last - first)])
    values = np.concatenate([row / row.sum() for row in rows])
    return sparse.csr_array((values.astype("f4"), columns, start), shape=(len(wavelength), len(wavelength)))


def shifted(wavelength: np.ndarray, flux: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Spectra of stars that recede at velocities of shape (star,), km s-1; the ends repeat the outermost pixel."""
    return np.stack(
        [np.interp(wavelength / (1.0 + v / LIGHT), wavelength, one) for v, one in zip(velocity, flux, strict=True)]
    )


def polynomials(wavelength: np.ndarray, degree: int) -> np.ndarray:
    """Legendre polynomials of the wavelength, scaled to -1 ... 1, shape (degree + 1, pixel)."""
    x = 2.0 * (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0]) - 1.0
    return legendre.legvander(x, degree).T


def misplaced(wavelength: np.ndarray, flux: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Spectra whose continuum is off by a factor 1 + a series of `polynomials`; coefficients: (star, degree + 1)."""
    return flux * (1.0 + coefficients @ polynomials(wavelength, coefficients.shape[1] - 1))


def noisy(flux: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """Spectra with independent noise of 1 / S/N of the continuum in each pixel."""
    return flux + rng.standard_normal(flux.shape, dtype="f4") / snr
