"""Distances of stars from their colour and [Fe/H], and from their Teff, [Fe/H] and log g."""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import pandas as pd

from galcarto.core.jit import CACHE
from galcarto.galaxy import isochrones
from galcarto.galaxy.components import MassFunction

# --- the colour and [Fe/H]

# Ivezić et al. 2008, ApJ 684, 287: M_r of the main sequence as a polynomial in g-i (equation A7), and what [Fe/H] adds
# to it (A2, from globular clusters)
SEQUENCE = np.polynomial.Polynomial([-5.06, 14.32, -12.97, 6.127, -1.267, 0.0967])
SHIFT = np.polynomial.Polynomial([4.50, -1.11, -0.18])
COLOURS = (0.3, 4.0)  # mag: g-i for which it is used here; bluer stars have left the main sequence
METALLICITIES = (-2.5, 0.3)  # dex: likewise
SCATTER = 0.15  # mag: of single stars about the relation, taken here


def main_sequence(colour: np.ndarray, feh: np.ndarray) -> np.ndarray:
    """M_r of a star on the main sequence (Ivezić et al. 2008, equations A2 and A7).

    Parameters
    ----------
    colour : ndarray, mag
        g-i (SDSS), without dust.
    feh : ndarray, dex

    Returns
    -------
    ndarray, mag
        NaN outside the relation, 0.3 < g-i < 4 and -2.5 < [Fe/H] < 0.3. It is wrong for giants and for stars past the
        turn-off; an unresolved binary is brighter by up to 0.75 mag.
    """
    colour, feh = np.broadcast_arrays(np.asarray(colour, float), np.asarray(feh, float))
    inside = (colour > COLOURS[0]) & (colour < COLOURS[1]) & (feh > METALLICITIES[0]) & (feh < METALLICITIES[1])
    return np.where(inside, SEQUENCE(colour) + SHIFT(feh), np.nan)


def ivezic(
    magnitude: np.ndarray, colour: np.ndarray, colour_error: np.ndarray, feh: np.ndarray, feh_error: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distance by the main sequence's M_r, and its error.

    Parameters
    ----------
    magnitude : ndarray, shape (star,), mag
        r (SDSS), without dust; its own error is small beside the relation's scatter and left out.
    colour, colour_error : ndarray, shape (star,), mag
        g-i, without dust.
    feh, feh_error : ndarray, shape (star,), dex

    Returns
    -------
    distance, error : ndarray, shape (star,), kpc
        NaN outside the relation. The error holds those of colour and [Fe/H], and `SCATTER`.
    """
    absolute = main_sequence(colour, feh)
    error = np.sqrt((SEQUENCE.deriv()(colour) * colour_error) ** 2 + (SHIFT.deriv()(feh) * feh_error) ** 2 + SCATTER**2)
    return from_modulus(magnitude - absolute, error)


def from_modulus(modulus: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in kpc and its error from a distance modulus and its error in mag."""
    distance = 10.0 ** (0.2 * modulus - 2.0)
    return distance, 0.2 * np.log(10.0) * error * distance


# --- Teff, [Fe/H] and log g

IMF = MassFunction(slopes=(1.3, 2.3), breaks=(0.5,), range=(0.08, 120.0))  # Kroupa 2001, MNRAS 322, 231
AGES = np.arange(0.5, 13.5, 1.0)  # Gyr: stars form at a constant rate
NODES = np.arange(-2.2, 0.31, 0.1)  # dex: [M/H], all as likely
POOR, OLD = -0.6, 8.0  # dex, Gyr: poorer stars, of the thick disc and the halo, are older (e.g. Robin et al. 2003)
STEPS = (0.01, 0.1, 0.1)  # cells in log10 Teff (K), [M/H] and log g
STARTS = (3.3, -2.25, -1.0)
CELLS = (100, 26, 70)
REACH = 3.0  # standard deviations
# [alpha/Fe] against [Fe/H]: that of the mock Galaxy's thin disc, thick disc and halo (tables/robin2003.yaml)
ALPHA = ((-1.78, -0.78, 0.0), (0.35, 0.25, 0.0))


def overall(feh: np.ndarray) -> np.ndarray:
    """[M/H] of stars of some [Fe/H] with the usual [alpha/Fe] (Salaris et al. 1993, ApJ 414, 580), dex."""
    return feh + np.log10(0.638 * 10.0 ** np.interp(feh, *ALPHA) + 0.362)


@dataclass(frozen=True)
class IsochroneDistances:
    """Absolute magnitudes of stars of some Teff, [Fe/H] and log g."""

    bands: tuple[str, ...]
    # shape (Teff, [M/H], log g): stars in each cell: by the IMF along isochrones, at a constant rate of star formation
    # of the ages that are usual for [M/H], so that a phase counts as long as it lasts
    number: np.ndarray
    mean: np.ndarray  # shape (Teff, [M/H], log g, band), mag: mean of the absolute magnitude
    square: np.ndarray  # likewise, mag2: mean of its square

    @classmethod
    def build(cls, bands: Sequence[str]) -> "IsochroneDistances":
        """Fill the cells from the isochrones.

        Parameters
        ----------
        bands : sequence of str
            Of `galcarto.galaxy.isochrones.BANDS`.
        """
        grid = isochrones.load()
        columns = [isochrones.PROPERTIES.index(name) for name in (*bands, "logte", "logg")]
        number = np.zeros(CELLS)
        mean, square = np.zeros((2, *CELLS, len(bands)))
        for age in AGES:
            for log_mass, values in grid.at(NODES, float(age)):
                stars = IMF.integral(10.0 ** log_mass[:, :-1], 10.0 ** log_mass[:, 1:], 0)
                middle = 0.5 * (values[:, :-1] + values[:, 1:])[..., columns]
                node = np.broadcast_to(NODES[:, None], stars.shape)
                place = np.stack([middle[..., -2], node, middle[..., -1]], axis=-1)
                cell = np.floor((place - STARTS) / STEPS).astype(int)
                used = (
                    (stars > 0) & ((node > POOR) | (age > OLD)) & (cell >= 0).all(axis=-1) & (cell < CELLS).all(axis=-1)
                )
                at = tuple(cell[used].T)
                np.add.at(number, at, stars[used])
                np.add.at(mean, at, stars[used][:, None] * middle[used][:, :-2])
                np.add.at(square, at, stars[used][:, None] * middle[used][:, :-2] ** 2)
        filled = np.maximum(number, 1e-300)[..., None]
        return cls(tuple(bands), number, mean / filled, square / filled)

    def absolute(self, band: str, labels: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and standard deviation of an absolute magnitude.

        Parameters
        ----------
        band : str
        labels : ndarray, shape (star, 3)
            Teff (K), [Fe/H] and log g (dex).
        errors : ndarray, shape (star, 3)
            Their standard deviations, taken as independent.

        Returns
        -------
        mean, sd : ndarray, shape (star,), mag
            NaN where a label is missing, or no isochrone passes within 3 standard deviations.
        """
        column = self.bands.index(band)
        teff, feh, logg = np.asarray(labels, float).T
        with np.errstate(invalid="ignore", divide="ignore"):
            centre = np.stack([np.log10(teff), overall(feh), logg], axis=-1)
            width = np.array(errors, float)
            width[:, 0] /= np.log(10.0) * teff
        # cells are as wide as some errors
        width = np.sqrt(width**2 + np.array(STEPS) ** 2 / 12.0)
        found = np.full((len(centre), 2), np.nan)
        _absolute(centre, width, self.number, self.mean[..., column], self.square[..., column], found)
        return found[:, 0], found[:, 1]

    def distance(
        self, band: str, magnitude: np.ndarray, labels: np.ndarray, errors: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distance and its error, kpc.

        Parameters
        ----------
        band : str
        magnitude : ndarray, shape (star,), mag
            Without dust; its error is small beside that of the absolute magnitude and left out.
        labels, errors : ndarray, shape (star, 3)
            As for `absolute`.
        """
        mean, sd = self.absolute(band, labels, errors)
        return from_modulus(np.asarray(magnitude, float) - mean, sd)


BANDS = ("r", "G", "g", "i", "J", "Ks")  # of distances by isochrones


def distances(labels: pd.DataFrame, magnitudes: pd.DataFrame, grid: IsochroneDistances) -> pd.DataFrame:
    """Both distances of stars from their predicted labels.

    Parameters
    ----------
    labels : DataFrame
        ``teff`` (K), ``feh``, ``logg`` (dex) and their ``LABEL_sd``.
    magnitudes : DataFrame
        Of the same stars in the same order, without dust, mag: any bands of `grid`; for `ivezic` also g, r, i (SDSS)
        and the errors ``g_error`` and ``i_error``. A table of colours alone gives no distance.
    grid : IsochroneDistances
        Usually of `BANDS`; the first that a star has gives its distance.

    Returns
    -------
    DataFrame
        ``distance``, ``distance_error`` (by isochrones), ``distance_ivezic``, ``distance_ivezic_error`` (kpc, float32);
        NaN where unknown. The index is that of `labels`.
    """
    unknown = np.full(len(labels), np.nan)
    found = {
        name: unknown.copy() for name in ("distance", "distance_error", "distance_ivezic", "distance_ivezic_error")
    }
    names = ("teff", "feh", "logg")
    if {*names, *(f"{name}_sd" for name in names)} <= set(labels):
        value = labels[list(names)].to_numpy(float)
        error = labels[[f"{name}_sd" for name in names]].to_numpy(float)
        for band in grid.bands:
            there = np.isnan(found["distance"])
            there &= np.isfinite(magnitudes[band].to_numpy(float)) if band in magnitudes else False
            if there.any():
                found["distance"][there], found["distance_error"][there] = grid.distance(
                    band, magnitudes.loc[there, band].to_numpy(float), value[there], error[there]
                )
    if {"g", "r", "i", "g_error", "i_error"} <= set(magnitudes) and {"feh", "feh_sd"} <= set(labels):
        g, r, i, g_error, i_error = (magnitudes[name].to_numpy(float) for name in ("g", "r", "i", "g_error", "i_error"))
        found["distance_ivezic"], found["distance_ivezic_error"] = ivezic(
            r, g - i, np.hypot(g_error, i_error), labels["feh"].to_numpy(float), labels["feh_sd"].to_numpy(float)
        )
    return pd.DataFrame({name: values.astype(np.float32) for name, values in found.items()}, index=labels.index)


@numba.njit(cache=CACHE)
def _absolute(centre, width, number, mean, square, found):
    """Average the cells' magnitudes, weighted by their stars and by a normal distribution around each star."""
    first, last = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for i in range(len(centre)):
        if np.isnan(centre[i]).any() or np.isnan(width[i]).any():
            continue
        for k in range(3):
            low = (centre[i, k] - REACH * width[i, k] - STARTS[k]) / STEPS[k]
            high = (centre[i, k] + REACH * width[i, k] - STARTS[k]) / STEPS[k]
            first[k] = int(min(max(low, 0.0), number.shape[k]))
            last[k] = int(min(max(high + 1.0, 0.0), number.shape[k]))
        # the outermost metallicity cells stand for what lies beyond the isochrones
        first[1] = min(first[1], number.shape[1] - 1)
        last[1] = max(last[1], 1)
        logg = np.empty(last[2] - first[2] if last[2] > first[2] else 0)
        for c in range(len(logg)):
            logg[c] = np.exp(-0.5 * ((STARTS[2] + (first[2] + c + 0.5) * STEPS[2] - centre[i, 2]) / width[i, 2]) ** 2)
        total = one = two = 0.0
        for a in range(first[0], last[0]):
            teff = np.exp(-0.5 * ((STARTS[0] + (a + 0.5) * STEPS[0] - centre[i, 0]) / width[i, 0]) ** 2)
            for b in range(first[1], last[1]):
                feh = np.exp(-0.5 * ((STARTS[1] + (b + 0.5) * STEPS[1] - centre[i, 1]) / width[i, 1]) ** 2)
                for c in range(len(logg)):
                    stars = number[a, b, first[2] + c]
                    if stars > 0.0:
                        weight = teff * feh * logg[c] * stars
                        total += weight
                        one += weight * mean[a, b, first[2] + c]
                        two += weight * square[a, b, first[2] + c]
        if total > 0.0:
            found[i, 0] = one / total
            found[i, 1] = np.sqrt(max(two / total - (one / total) ** 2, 0.0))
