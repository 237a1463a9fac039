"""From bare stars and extinction profiles to colour-magnitude images of a survey."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from galcarto.cmd import kernel
from galcarto.cmd.integration import EXTINCTION_GRID, Diagram
from galcarto.errors import UserError
from galcarto.surveys.survey import Survey

TABLE_START, TABLE_STEP, TABLE_SIZE = 0.0, 0.02, 1250  # mag; errors and completeness against magnitude


@dataclass(frozen=True)
class Stars:
    """Bare stars of a sightline, packed for the kernel.

    Attributes
    ----------
    packed : ndarray of float32, shape (star, 1 + band)
        See `kernel.render`.
    area : float, deg2
        Solid angle that holds that many stars.
    """

    packed: np.ndarray
    area: float


@dataclass(frozen=True)
class ForwardModel:
    """How a survey sees stars behind dust, as images.

    Attributes
    ----------
    survey : Survey
    limits : dict of str to float, mag
        Faint limits; its bands are all needed for a star to count.
    bright : float, mag
    coefficients : dict of str to float
        A_band / A_V.
    magnitude_band : str
    colour_bands : (str, str)
    magnitude_range, colour_range : (float, float), mag
    pixels : int
    edges : ndarray, shape (distance + 1,), kpc
        Equal steps from 0.
    """

    survey: Survey
    limits: Mapping[str, float]
    bright: float
    coefficients: Mapping[str, float]
    magnitude_band: str
    colour_bands: tuple[str, str]
    magnitude_range: tuple[float, float]
    colour_range: tuple[float, float]
    pixels: int
    edges: np.ndarray

    def __post_init__(self) -> None:
        if len(self.limits) > kernel.MAX_BANDS:
            raise UserError(
                f"survey.limits: found {', '.join(self.limits)}; at most {kernel.MAX_BANDS} bands make a diagram"
            )

    @property
    def bands(self) -> list[str]:
        """The bands a star needs, in the kernel's order."""
        return list(self.limits)

    def axis_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixel edges of magnitude and colour, mag."""
        return np.linspace(*self.magnitude_range, self.pixels + 1), np.linspace(*self.colour_range, self.pixels + 1)

    def pack(self, distance: np.ndarray, magnitudes: Mapping[str, np.ndarray], area: float) -> Stars:
        """Bare stars in the kernel's form.

        Parameters
        ----------
        distance : ndarray, shape (star,), kpc
            Beyond the last edge the extinction stays what it is there.
        magnitudes : mapping of str to ndarray, shape (star,), mag
        area : float, deg2
        """
        position = np.interp(distance, self.edges, np.arange(len(self.edges)))
        columns = [position, *(magnitudes[band] for band in self.bands)]
        packed = np.stack(columns, axis=1).astype(np.float32)
        # by magnitude: neighbours then share the kernel's decisions
        order = np.argsort(magnitudes[self.magnitude_band], kind="stable")
        return Stars(np.ascontiguousarray(packed[order]), area)

    def render(self, stars: Stars, extinction: np.ndarray, area: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One image per profile, each with a fresh Poisson realisation of the stars.

        Parameters
        ----------
        stars : Stars
        extinction : ndarray, shape (profile, distance), mag
            Cumulative A_V at the outer edge of each bin.
        area : ndarray, shape (profile,), deg2
        rng : numpy Generator

        Returns
        -------
        ndarray of uint16, shape (profile, magnitude, colour)
        """
        images = self._images(stars, extinction, stars.area / area, rng)
        if images.max(initial=0) > np.iinfo(np.uint16).max:
            raise UserError(f"found a pixel of {images.max()} stars; at most 65535 can be stored: choose smaller tiles")
        return images.astype(np.uint16)

    def _images(self, stars: Stars, extinction: np.ndarray, gaps: np.ndarray, rng: np.random.Generator):
        table = TABLE_START + TABLE_STEP * (np.arange(TABLE_SIZE) + 0.5)
        bands = [self.survey.bands[band] for band in self.bands]
        profiles = np.pad(extinction, ((0, 0), (1, 0)))
        profiles = np.concatenate([profiles, profiles[:, -1:]], axis=1)
        out = np.zeros((len(extinction), self.pixels, self.pixels), np.uint32)
        (m_low, m_high), (c_low, c_high) = self.magnitude_range, self.colour_range
        kernel.render(
            stars.packed,
            np.ascontiguousarray(profiles, np.float32),
            gaps.astype(np.float64),
            rng.integers(0, 2**64, len(extinction), dtype=np.uint64),
            np.array([self.coefficients[band] for band in self.bands], np.float32),
            np.array([self.limits[band] for band in self.bands], np.float32),
            np.float32(self.bright),
            np.stack([band.error(table) for band in bands]).astype(np.float32),
            np.stack([band.completeness(table) for band in bands]).astype(np.float32),
            np.float32(TABLE_START),
            np.float32(TABLE_STEP),
            (
                self.bands.index(self.magnitude_band),
                self.bands.index(self.colour_bands[0]),
                self.bands.index(self.colour_bands[1]),
            ),
            (np.float32(m_low), np.float32(c_low)),
            (np.float32((m_high - m_low) / self.pixels), np.float32((c_high - c_low) / self.pixels)),
            kernel.NORMALS,
            kernel.GAPS,
            out,
        )
        return out

    def diagram(self) -> Diagram:
        """The survey and the diagram as the integrals need them."""
        names = tuple(dict.fromkeys([self.magnitude_band, *self.colour_bands, *self.bands]))
        table = TABLE_START + TABLE_STEP * (np.arange(TABLE_SIZE) + 0.5)
        bands = [self.survey.bands[name] for name in names]
        magnitude_edges, colour_edges = self.axis_edges()
        return Diagram(
            bands=names,
            colour=(names.index(self.colour_bands[0]), names.index(self.colour_bands[1])),
            limits=np.array([self.limits[name] for name in names]),
            coefficients=np.array([self.coefficients[name] for name in names]),
            bright=self.bright,
            table_start=TABLE_START,
            table_step=TABLE_STEP,
            errors=np.stack([band.error(table) for band in bands]),
            completeness=np.stack([band.completeness(table) for band in bands]),
            magnitude_edges=magnitude_edges,
            colour_edges=colour_edges,
        )

    def image(self, magnitudes: Mapping[str, np.ndarray]) -> np.ndarray:
        """The diagram of an observed catalogue whose rows pass the limits.

        Returns
        -------
        ndarray of int64, shape (magnitude, colour)
        """
        colour = magnitudes[self.colour_bands[0]] - magnitudes[self.colour_bands[1]]
        counts, *_ = np.histogram2d(magnitudes[self.magnitude_band], colour, bins=self.axis_edges())
        return counts.astype(np.int64)


def stars_beyond(detectable: np.ndarray, extinction: np.ndarray) -> np.ndarray:
    """Expected detectable stars per deg2 in or beyond each bin, behind a profile.

    Parameters
    ----------
    detectable : ndarray, shape (..., distance, grid), per deg2
        From `Integrator.detectable`.
    extinction : ndarray, shape (..., distance), mag

    Returns
    -------
    ndarray, shape (..., distance), per deg2
    """
    at = np.clip(np.searchsorted(EXTINCTION_GRID, extinction, side="right") - 1, 0, len(EXTINCTION_GRID) - 2)
    fraction = np.clip((extinction - EXTINCTION_GRID[at]) / (EXTINCTION_GRID[at + 1] - EXTINCTION_GRID[at]), 0, 1)
    detectable = np.broadcast_to(detectable, (*extinction.shape, len(EXTINCTION_GRID)))
    low = np.take_along_axis(detectable, at[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(detectable, at[..., None] + 1, axis=-1)[..., 0]
    here = low + fraction * (high - low)
    return np.cumsum(here[..., ::-1], axis=-1)[..., ::-1]
