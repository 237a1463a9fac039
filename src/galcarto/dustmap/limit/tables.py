"""Inputs of the likelihood of a sightline: slices of its diagram, mix of its stars, widths of its nuisances."""

from dataclasses import dataclass

import numpy as np

from galcarto.dustmap.diagrams import nuisances
from galcarto.dustmap.diagrams.nuisances import Populations
from galcarto.dustmap.instrument import MARGIN, Instrument, band_coefficients
from galcarto.dustmap.limit.slices import Slices

MIX_STARS = 60_000  # mock stars that sample the effect of their mix on the diagram


@dataclass(frozen=True)
class Widths:
    """Standard deviations and ranges of the nuisances that the likelihood of a diagram marginalises.

    Attributes
    ----------
    normalisation, galaxies : float
        Of ln of the numbers of stars and of galaxies.
    differential_extinction, covering : (float, float)
        Ranges of sigma and of the covering fraction, see `nuisances.differential_extinction`.
    r_v : float
        Of ln of the colour excess at fixed A_V, due to R_V.
    zero_points : (float, float, float)
        Of the colour (mag), its slope (mag/mag) and the magnitude (mag).
    """

    normalisation: float = 0.0
    galaxies: float = 0.0
    differential_extinction: tuple[float, float] = (0.0, 0.0)
    covering: tuple[float, float] = (1.0, 1.0)
    r_v: float = 0.0
    zero_points: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Mix:
    """Mock stars that sample the change of the diagram with the mix of its stars.

    Attributes
    ----------
    position : ndarray, shape (star,)
        Distance as a fractional index into the bin edges.
    place : ndarray, shape (star, 2), mag
        Apparent magnitude and colour without dust and errors.
    tilt : ndarray, shape (variable, star)
        From `nuisances.tilts`.
    """

    position: np.ndarray
    place: np.ndarray
    tilt: np.ndarray


def tabulate(instrument: Instrument, l: float, b: float) -> tuple[Slices, Mix, Widths]:
    """Tabulate the first diagram of the first survey.

    Parameters
    ----------
    instrument : Instrument
    l, b : float, deg
    """
    density = instrument.galaxy_density if "Ks" in instrument.views[0].bands else 0.0
    galaxies = (density, instrument.galaxies.slope, instrument.galaxies.colour)
    slices = Slices.build(instrument.integrators[0], l, b, galaxies, MARGIN)
    return slices, _mix(instrument, l, b), _widths(instrument)


def _widths(instrument: Instrument) -> Widths:
    """Widths of the nuisances as `Instrument.draw_nuisances` draws them."""
    dust, realism, survey = instrument.dust, instrument.realism, instrument.surveys[0]
    blue, red = survey.colour.bands
    excess = []
    for r_v in (dust.r_v - realism.r_v, dust.r_v + realism.r_v):
        found = band_coefficients(survey, dust.model_copy(update={"r_v": r_v}))
        excess.append(found[blue] - found[red])
    return Widths(
        normalisation=realism.normalisation,
        galaxies=realism.galaxies,
        differential_extinction=realism.spread,
        covering=realism.covering,
        r_v=float(0.5 * np.log(excess[1] / excess[0])),
        zero_points=(*instrument.zero_point_sd(0), realism.magnitude),
    )


def _mix(instrument: Instrument, l: float, b: float) -> Mix:
    """Draw the stars that sample numbers and metallicities of components, and binaries."""
    model, view, realism, edges = instrument.star_model, instrument.views[0], instrument.realism, instrument.edges
    stars = model.draw(l, b, MIX_STARS / max(model.density(l, b), 1e-6), np.random.default_rng(1))
    populations, group = Populations.sort(
        stars["component"].cat.codes.to_numpy(), stars["metallicity"].to_numpy(), stars["mass_ratio"].to_numpy() > 0
    )
    tilts = nuisances.tilts(
        populations, components=realism.components, metallicity=realism.metallicity, binaries=realism.binaries
    )
    blue, red = view.colour_bands
    place = np.stack([stars[view.magnitude_band], stars[blue] - stars[red]], axis=1).astype(float)
    position = np.interp(stars["distance"].to_numpy(), edges, np.arange(len(edges)))
    return Mix(position, place, tilts[:, group])
