"""Forward model: from bare stars and extinction profiles to the diagrams of surveys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from galcarto.core.errors import UserError
from galcarto.dustmap.diagrams import kernel
from galcarto.dustmap.diagrams.integration import EXTINCTION_GRID, Diagram
from galcarto.dustmap.diagrams.nuisances import Nuisances, Populations
from galcarto.surveys.survey import Survey

TABLE_START, TABLE_STEP, TABLE_SIZE = 0.0, 0.02, 1250  # mag; of errors and completeness
LAW_STEP = 0.25  # mag
LAW_GRID = np.arange(0.0, 60.0 + LAW_STEP / 2, LAW_STEP)  # A_V, mag; no survey detects stars behind more
PARALLAX = "parallax"
NO_LIMIT = 1e9  # for parallaxes; finite, since the kernel is compiled with fastmath


@dataclass(frozen=True)
class Stars:
    """Bare stars of a sightline, packed for the kernel."""

    packed: np.ndarray  # float32, shape (star, 3 + band): see `stars` of `kernel.render`
    populations: Populations
    area: float  # deg2: solid angle in which this many stars are expected


@dataclass(frozen=True)
class View:
    """Limits and diagrams of one survey in a region."""

    survey: Survey
    limits: Mapping[str, float]  # mag: faint limits; a star must be detected in all of these bands
    bright: float  # mag
    coefficients: Mapping[str, float]  # A_band / A_V of a typical star
    magnitude_band: str
    colour_bands: tuple[str, str]
    # mag
    magnitude_range: tuple[float, float]
    colour_range: tuple[float, float]
    pixels: int  # along each side of a diagram
    # mas: rows of a second diagram, parallax against colour; None for no such diagram
    parallax_range: tuple[float, float] | None = None
    # observed minus mock magnitude in a band: at magnitude 13 (mag), and per magnitude
    offsets: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    normalisation: float = 1.0  # observed over mock number of stars

    @property
    def bands(self) -> list[str]:
        """Bands in which a star must be detected."""
        return list(self.limits)

    @property
    def channels(self) -> list[str]:
        """Names of the diagrams."""
        first = f"{self.survey.name}:{'-'.join(self.colour_bands)},{self.magnitude_band}"
        if self.parallax_range is None:
            return [first]
        return [first, f"{self.survey.name}:{'-'.join(self.colour_bands)},{PARALLAX}"]

    def axis_edges(self, channel: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Pixel edges of a diagram's rows (mag, or mas of parallax) and columns (mag)."""
        rows = self.magnitude_range if channel == 0 else self.parallax_range
        assert rows is not None
        return np.linspace(*rows, self.pixels + 1), np.linspace(*self.colour_range, self.pixels + 1)

    def tables(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Error and completeness of a band or of the parallax (mas) against magnitude, shape (table,)."""
        table = TABLE_START + TABLE_STEP * (np.arange(TABLE_SIZE) + 0.5)
        if name == PARALLAX:
            assert self.survey.parallax is not None
            return self.survey.parallax.error(table), np.ones(TABLE_SIZE)
        band = self.survey.bands[name]
        return band.error(table), band.completeness(table)

    def diagram(self) -> Diagram:
        """Describe the survey and its first diagram for the integrals."""
        names = tuple(dict.fromkeys([self.magnitude_band, *self.colour_bands, *self.bands]))
        errors, completeness = zip(*(self.tables(name) for name in names), strict=True)
        magnitude_edges, colour_edges = self.axis_edges()
        return Diagram(
            bands=names,
            colour=(names.index(self.colour_bands[0]), names.index(self.colour_bands[1])),
            limits=np.array([self.limits[name] for name in names]),
            coefficients=np.array([self.coefficients[name] for name in names]),
            bright=self.bright,
            table_start=TABLE_START,
            table_step=TABLE_STEP,
            errors=np.stack(errors),
            completeness=np.stack(completeness),
            magnitude_edges=magnitude_edges,
            colour_edges=colour_edges,
            offsets=np.array([self.offsets.get(name, (0.0, 0.0)) for name in names]),
            normalisation=self.normalisation,
        )

    def images(self, stars: Mapping[str, np.ndarray]) -> np.ndarray:
        """Bin an observed catalogue, whose rows pass the limits, into the diagrams, shape (channel, row, column).

        Parameters
        ----------
        stars : mapping of str to ndarray, shape (star,)
            Bands, and the parallax (mas) if there is a diagram of it, where stars without a parallax are left out.
        """
        counts = np.zeros((1, len(self.channels), self.pixels, self.pixels), np.int64)
        self.add(stars, np.zeros(len(stars[self.magnitude_band]), np.int64), counts)
        return counts[0]

    def add(self, stars: Mapping[str, np.ndarray], tile: np.ndarray, counts: np.ndarray, first: int = 0) -> None:
        """Add an observed catalogue to the diagrams of its tiles.

        Parameters
        ----------
        stars
            As `images` takes them.
        tile : ndarray of int, shape (star,)
        counts : ndarray of int, shape (tile, channel, row, column)
            Contiguous; changed in place. May be a memory map: each channel is accessed once, in storage order.
        first : int
            Channel of the first diagram of this survey.

        Raises
        ------
        UserError
            If a pixel overflows.
        """
        colour = np.asarray(stars[self.colour_bands[0]]) - np.asarray(stars[self.colour_bands[1]])
        for channel in range(len(self.channels)):
            rows = np.asarray(stars[self.magnitude_band if channel == 0 else PARALLAX])
            places, inside = [], np.ones(len(tile), bool)
            for values, edges in zip((rows, colour), self.axis_edges(channel), strict=True):
                # the last pixel includes its upper edge; NaN lies beyond it
                place = np.searchsorted(edges, values, side="right") - 1 - (values == edges[-1])
                inside &= (place >= 0) & (place < len(edges) - 1)
                places.append(place)
            place = np.ravel_multi_index(
                (tile[inside], np.full(inside.sum(), first + channel), *(p[inside] for p in places)), counts.shape
            )
            cells, number = np.unique(place, return_counts=True)
            total = counts.reshape(-1)[cells] + number
            most = np.iinfo(counts.dtype).max
            if total.max(initial=0) > most:
                raise UserError(
                    f"found {total.max()} stars in a pixel of {self.survey.name}; expected at most {most}: choose "
                    "smaller tiles"
                )
            counts.reshape(-1)[cells] = total


@dataclass(frozen=True)
class ForwardModel:
    """How surveys observe stars behind dust, as diagrams."""

    views: Sequence[View]  # one for each survey
    edges: np.ndarray  # shape (distance + 1,), kpc: equal steps from 0
    # shape (class, band, grid), mag: extinction of the views' bands on `LAW_GRID`, for classes of intrinsic BP-RP
    law: np.ndarray
    colours: np.ndarray  # shape (class - 1,), mag: borders of the classes; empty if one law holds for all stars

    def __post_init__(self) -> None:
        names = [band for view in self.views for band in view.bands]
        if self.law.shape != (len(self.colours) + 1, len(names), len(LAW_GRID)):
            raise ValueError(
                f"found an extinction law of shape {self.law.shape}; "
                f"expected {(len(self.colours) + 1, len(names), len(LAW_GRID))}"
            )

    @property
    def channels(self) -> list[str]:
        """Names of all diagrams, survey after survey."""
        return [name for view in self.views for name in view.channels]

    @property
    def surveys(self) -> list[int]:
        """Number of the survey of each channel."""
        return [number for number, view in enumerate(self.views) for _ in view.channels]

    @property
    def bands(self) -> list[tuple[int, str]]:
        """Measured quantities: number of the survey, and band or parallax."""
        return [
            (number, band)
            for number, view in enumerate(self.views)
            for band in [*view.bands, *([PARALLAX] if view.parallax_range else [])]
        ]

    @property
    def pixels(self) -> int:
        """Pixels along each side of a diagram."""
        return self.views[0].pixels

    def photometry(self, survey: int) -> list[int]:
        """Places in `bands` of the magnitudes of a survey."""
        return [at for at, (owner, name) in enumerate(self.bands) if owner == survey and name != PARALLAX]

    def blue_band(self, survey: int) -> int:
        """Place in `bands` of the first band of a survey's colour, which carries the colour's zero point."""
        return self.bands.index((survey, self.views[survey].colour_bands[0]))

    def pack(
        self,
        distance: np.ndarray,
        magnitudes: Mapping[str, np.ndarray],
        area: float,
        populations: tuple[Populations, np.ndarray] | None = None,
    ) -> Stars:
        """Pack bare stars for the kernel.

        Parameters
        ----------
        distance : ndarray, shape (star,), kpc
            Infinite for galaxies. Extinction is constant beyond the last edge.
        magnitudes : mapping of str to ndarray, shape (star,), mag
        area : float, deg2
        populations : (Populations, ndarray of int, shape (star,)), optional
            Groups whose numbers vary together, and the group of each star; None for a single group.
        """
        groups, group = populations or (Populations.single(len(distance)), np.zeros(len(distance)))
        colour = np.zeros(len(distance))
        if len(self.colours):
            colour = np.searchsorted(self.colours, magnitudes["BP"] - magnitudes["RP"])
        columns = [np.interp(distance, self.edges, np.arange(len(self.edges))), group, colour]
        for _, band in self.bands:
            columns.append(1.0 / distance if band == PARALLAX else magnitudes[band])
        packed = np.stack(columns, axis=1).astype(np.float32)
        # sorted by magnitude, so that consecutive stars fall on neighbouring pixels
        order = np.argsort(magnitudes[self.views[0].magnitude_band], kind="stable")
        return Stars(np.ascontiguousarray(packed[order]), groups, area)

    def render(
        self,
        stars: Stars,
        extinction: np.ndarray,
        area: np.ndarray,
        rng: np.random.Generator,
        nuisances: Nuisances | None = None,
    ) -> np.ndarray:
        """Render the diagrams of each profile, each with its own Poisson realisation of the stars.

        Parameters
        ----------
        stars : Stars
        extinction : ndarray, shape (profile, distance), mag
            Cumulative A_V at the outer edge of each bin.
        area : ndarray, shape (profile,), deg2
        rng : numpy Generator
        nuisances : Nuisances, optional
            None for the unperturbed mock.

        Returns
        -------
        ndarray of uint16, shape (profile, channel, row, column)

        Raises
        ------
        UserError
            If a pixel overflows.
        """
        number = len(extinction)
        nuisances = nuisances or Nuisances.none(number, len(stars.populations.number), len(self.bands))
        views = [self.views[survey] for survey, _ in self.bands]
        names = [name for _, name in self.bands]
        largest = nuisances.weights.max(axis=1)
        normalisation = self.views[0].normalisation  # of the stars, the same for all surveys
        profiles = np.pad(extinction, ((0, 0), (1, 0)))
        profiles = np.concatenate([profiles, profiles[:, -1:]], axis=1)
        tables = [view.tables(name) for view, name in zip(views, names, strict=True)]
        own = np.array([view.offsets.get(name, (0.0, 0.0)) for view, name in zip(views, names, strict=True)])
        is_band = [name != PARALLAX for name in names]
        law = np.zeros((len(self.law), len(names), len(LAW_GRID)), np.float32)
        law[:, is_band] = self.law
        sources, axes, origin, pixel = [], [], [], []
        for at, (survey, name) in enumerate(self.bands):
            sources.append(self.bands.index((survey, self.views[survey].magnitude_band)) if name == PARALLAX else at)
        for survey, view in enumerate(self.views):
            columns = [self.bands.index((survey, band)) for band in view.colour_bands]
            for channel, name in enumerate([view.magnitude_band, PARALLAX][: len(view.channels)]):
                axes.append([self.bands.index((survey, name)), *columns])
                edges = view.axis_edges(channel)
                origin.append([edge[0] for edge in edges])
                pixel.append([edge[1] - edge[0] for edge in edges])
        out = np.zeros((number, len(axes), self.pixels, self.pixels), np.uint32)
        tiles = kernel.Tiles(
            profiles=np.ascontiguousarray(profiles, np.float32),
            gaps=(stars.area / (area * largest * normalisation)).astype(np.float64),
            seeds=rng.integers(0, 2**64, number, dtype=np.uint64),
            weights=(nuisances.weights / largest[:, None]).astype(np.float32),
            factors=nuisances.differential_extinction.astype(np.float32),
            scales=nuisances.scales.astype(np.float32),
            offsets=(nuisances.offsets + own).astype(np.float32),
        )
        detection = kernel.Detection(
            law=law,
            law_step=np.float32(LAW_STEP),
            limits=np.array(
                [view.limits.get(name, NO_LIMIT) for view, name in zip(views, names, strict=True)], np.float32
            ),
            bright=np.array(
                [view.bright if name != PARALLAX else -NO_LIMIT for view, name in zip(views, names, strict=True)],
                np.float32,
            ),
            flags=np.array([1 << survey for survey, _ in self.bands], np.uint32),
            sources=np.array(sources),
            errors=np.stack([errors for errors, _ in tables]).astype(np.float32),
            completeness=np.stack([completeness for _, completeness in tables]).astype(np.float32),
            table_start=np.float32(TABLE_START),
            table_step=np.float32(TABLE_STEP),
            axes=np.array(axes),
            origin=np.array(origin, np.float32),
            pixel=np.array(pixel, np.float32),
        )
        kernel.render(stars.packed, tiles, detection, out)
        if out.max(initial=0) > np.iinfo(np.uint16).max:
            raise UserError(f"found {out.max()} stars in a pixel; expected at most 65535: choose smaller tiles")
        return out.astype(np.uint16)


def stars_beyond(detectable: np.ndarray, extinction: np.ndarray) -> np.ndarray:
    """Expected detectable stars in and beyond each bin, behind a profile, shape (..., distance), per deg2.

    Parameters
    ----------
    detectable : ndarray, shape (..., distance, grid), per deg2
        From `Integrator.detectable`.
    extinction : ndarray, shape (..., distance), mag
    """
    at = np.clip(np.searchsorted(EXTINCTION_GRID, extinction, side="right") - 1, 0, len(EXTINCTION_GRID) - 2)
    fraction = np.clip((extinction - EXTINCTION_GRID[at]) / (EXTINCTION_GRID[at + 1] - EXTINCTION_GRID[at]), 0, 1)
    detectable = np.broadcast_to(detectable, (*extinction.shape, len(EXTINCTION_GRID)))
    low = np.take_along_axis(detectable, at[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(detectable, at[..., None] + 1, axis=-1)[..., 0]
    here = low + fraction * (high - low)
    return np.cumsum(here[..., ::-1], axis=-1)[..., ::-1]
