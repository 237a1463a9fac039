"""Asking a cube: ``cube.dust.query(SkyCoord)`` and its companions, an accessor of the Dataset that `open_cube` gives.

What is true of all answers:

* The dust of a bin is even within it: the cumulative extinction runs straight from 0 at the Sun to its value at the
  outer edge of the first bin, and so on from edge to edge.
* ``interpolation="nearest"`` answers with the sightline whose tile (or HEALPix pixel) holds the point: a tile holds its
  lower edges. ``"linear"`` weighs the answers of the four sightlines around the point bilinearly between their centres
  (on HEALPix pixels as healpy does). A sightline that is not there or not observed leaves its weight to the others, and
  the one that holds the point must be observed, so that both know the same sky.
* Where there is no answer it is NaN, and `DustAccessor.reason` says why.
"""

import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

import astropy.units as u
import numpy as np
import xarray as xr
from astropy.coordinates import BaseCoordinateFrame, Galactic, SkyCoord

from galcarto.core.errors import UserError
from galcarto.maps import quality
from galcarto.maps.lookup import Bins, Sightlines, sightlines, touching_edges

Coordinates: TypeAlias = SkyCoord | BaseCoordinateFrame
SUMMARIES = ("mean", "best", "median", "percentile", "samples")
RANDOM = ("random_sample", "random_sample_per_pix")
MODES = (*SUMMARIES, "sd", *RANDOM)
INTERPOLATIONS = ("nearest", "linear")
COLOUR = 1.0  # mag, (BP-RP)_0 of a K dwarf: the star that Gaia's wide bands are converted for unless one is named
WIDE_GRID = np.append(np.linspace(0.0, 20.0, 401), 1000.0)  # A_V, mag: the relation is straight beyond 20
MEMORY = 1 << 26  # bytes of sightlines that are read at once
POINTS = 1 << 18  # values that are worked on at once: a few arrays of them fit the caches
HALVINGS = 53  # of a bin: as many as a double has bits


class Reason(enum.IntFlag):
    """Why there is no answer, or how far to trust it: the cube's flags of `quality`, and those of the question."""

    NOT_OBSERVED = quality.NOT_OBSERVED
    PARTLY_OBSERVED = quality.PARTLY_OBSERVED
    STARS_RUN_OUT = quality.STARS_RUN_OUT
    POOR_FIT = quality.POOR_FIT
    UNLIKE_TRAINING = quality.UNLIKE_TRAINING
    OUTSIDE = 1 << 8  # no tile holds the point
    BEYOND_GRID = 1 << 9  # farther than the last bin
    NO_DISTANCE = 1 << 10  # not a number, or negative
    BEFORE_DATA = 1 << 11  # nearer than distance_min: the prior speaks
    BEYOND_DATA = 1 << 12  # farther than distance_max: the prior speaks

    @property
    def text(self) -> str:
        """The flags as words."""
        return ", ".join(flag.name.lower().replace("_", " ") for flag in Reason if flag in self and flag.name)


MISSING = Reason.NOT_OBSERVED | Reason.OUTSIDE | Reason.BEYOND_GRID | Reason.NO_DISTANCE


@dataclass(frozen=True)
class _Points:
    """Points of the sky, flat, and the sightlines that answer for them.

    Attributes
    ----------
    shape : tuple of int
        Of the coordinates.
    distance : ndarray, shape (point,), kpc, or None
    rows : ndarray, shape (point, corner)
        The first is that of the sightline that holds the point; -1 outside.
    weights : ndarray, shape (point, corner)
    known : ndarray of bool, shape (point,)
        Whether that sightline is observed.
    """

    shape: tuple[int, ...]
    distance: np.ndarray | None
    rows: np.ndarray
    weights: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class _Answer:
    """How a mode is read off sightlines.

    Attributes
    ----------
    variable : str
        Of the cube.
    reduce : callable
        From values of shape (sample, ...) to (..., tail).
    tail : tuple of int
        What it adds to the shape of the points.
    sample : ndarray, shape (point,), or None
        The one sample that each point is answered from.
    """

    variable: str
    reduce: Callable[[np.ndarray], np.ndarray]
    tail: tuple[int, ...] = ()
    sample: np.ndarray | None = None

    def of(self, part: np.ndarray) -> np.ndarray | None:
        """The sample of some points."""
        return None if self.sample is None else self.sample[part]


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=0, dtype=float)


def _sd(values: np.ndarray) -> np.ndarray:
    return values.std(axis=0, dtype=float)


@xr.register_dataset_accessor("dust")
class DustAccessor:
    """Answers to questions about the dust in a cube: ``cube.dust``.

    Parameters
    ----------
    cube : Dataset
        Of `galcarto.open_cube`, on tiles or HEALPix pixels, or a part of one that is cut in l, b or cell. It stays as
        lazy as it is: a question reads the sightlines that it needs. ``cube.extinction.load()`` keeps the means in
        memory for many questions.

    Raises
    ------
    UserError
        If the Dataset is not a cube of extinction, its bins leave gaps, or it begins behind the Sun.
    """

    def __init__(self, cube: xr.Dataset) -> None:
        missing = {"extinction", "distance_bounds", "quality"} - set(cube.variables)
        if missing:
            raise UserError(f"found no {', '.join(sorted(missing))}; expected a cube of galcarto.open_cube")
        self._cube = cube
        self._edges = touching_edges(cube, "distance")
        if self._edges[0] != 0.0:
            raise UserError(
                f"distance: found bins from {self._edges[0]:g} kpc on; expected them from the Sun on: ask an uncut cube"
            )
        self._bins = Bins(self._edges)
        self._sightlines: Sightlines = sightlines(cube)

    # --- questions

    def query(
        self,
        coords: Coordinates,
        mode: str = "mean",
        band: str | u.Quantity = "V",
        *,
        interpolation: str = "nearest",
        beyond: str = "nan",
        pct: Any = None,
        colour: Any = COLOUR,
        rng: np.random.Generator | int = 0,
    ) -> u.Quantity:
        """Extinction from the Sun to points.

        Parameters
        ----------
        coords : SkyCoord
            With distances, of any shape, in any frame that astropy turns into the galactic one.
        mode : str
            ``mean`` (or ``best``: it has the least expected square error), ``median`` or ``percentile`` of the
            posterior; ``sd``, its standard deviation; all its ``samples``, each a whole run of dust along the
            sightline; ``random_sample``, one of them for each point, or ``random_sample_per_pix``, for each sightline.
            The sd runs straight between the edges of bins, where it is exact; in between that is an upper bound. With
            ``interpolation="linear"`` each answer is weighed as such. Neighbouring sightlines were inferred one by one:
            their weighed samples scatter too little, their weighed sd is that of errors that go together.
        band : str or Quantity
            ``V``, ``J``, ``H``, ``Ks``, ``G``, ``BP``, ``RP``, ``E(B-V)``, or a wavelength, by the law and the R_V of
            the cube (`galcarto.dust.law`). Gaia's bands are so wide that they do not follow A_V in proportion: they are
            converted sample by sample, for the mean and the sd too.
        interpolation : str
            Across the sky: ``nearest`` or ``linear``.
        beyond : str
            Farther than the last bin: ``nan``, or ``last``, the extinction at its outer edge, which is a lower limit.
        pct : float or sequence of float
            Percentiles, 0 to 100, of the mode ``percentile``.
        colour : float or Quantity, mag
            Intrinsic BP-RP of the star behind the dust; for Gaia's bands only.
        rng : Generator or int
            Random generator, or its seed, of the random modes.

        Returns
        -------
        Quantity, mag
            Of the coordinates' shape. ``samples``, and ``percentile`` with a sequence of percentiles, add a last axis.

        Raises
        ------
        TypeError
            If `coords` is not a SkyCoord.
        UserError
            If it has no distances, or the cube cannot answer in that mode or band.
        """
        return self.integrated(
            _with_distance(coords),
            mode=mode,
            band=band,
            interpolation=interpolation,
            beyond=beyond,
            pct=pct,
            colour=colour,
            rng=rng,
        )

    def integrated(
        self,
        coords: Coordinates,
        start: u.Quantity | None = None,
        mode: str = "mean",
        band: str | u.Quantity = "V",
        *,
        interpolation: str = "nearest",
        beyond: str = "nan",
        pct: Any = None,
        colour: Any = COLOUR,
        rng: np.random.Generator | int = 0,
    ) -> u.Quantity:
        """Extinction between two distances along sightlines.

        Parameters
        ----------
        coords : SkyCoord
            To its distances; without any, to the outer edge of the last bin.
        start : Quantity, optional
            From this distance on; from the Sun on by default. It broadcasts with the coordinates. A `start` behind the
            end gives a negative extinction.
        mode, band, interpolation, beyond, pct, colour, rng
            As for `query`. The sd of the dust behind `start` is that of the samples.

        Returns
        -------
        Quantity, mag
            Shapes as for `query`.
        """
        _check("beyond", beyond, ("nan", "last"))
        points, (near,) = self._locate(coords, interpolation, None if start is None else _in(start, u.kpc, "start"))
        end = self._edges[-1]
        far = np.full(len(points.known), end) if points.distance is None else points.distance
        convert, wide = self._conversion(band, colour)
        answer = self._answer("extinction", mode, pct, rng, points, wide or (mode == "sd" and near is not None))
        known = points.known & (far >= 0.0)
        if beyond == "nan":
            known &= far <= end
        if near is not None:
            known &= (near >= 0.0) & (near <= end)

        def value(profiles: np.ndarray, rows: np.ndarray, part: np.ndarray) -> np.ndarray:
            found = convert(self._along(profiles, rows, far[part], answer.of(part)))
            if near is not None:
                found = found - convert(self._along(profiles, rows, near[part], answer.of(part)))
            return found

        return self._weighed(points, known, answer, value) * u.mag

    def profile(
        self,
        coords: Coordinates,
        mode: str = "mean",
        band: str | u.Quantity = "V",
        *,
        interpolation: str = "nearest",
        pct: Any = None,
        colour: Any = COLOUR,
        rng: np.random.Generator | int = 0,
    ) -> u.Quantity:
        """Extinction from the Sun to the outer edge of every bin, which are the second of ``cube.distance_bounds``.

        Parameters
        ----------
        coords : SkyCoord
            Its distances, if any, do not matter.
        mode, band, interpolation, pct, colour, rng
            As for `query`. A random sample is the same one all along the sightline.

        Returns
        -------
        Quantity, mag
            Shape (coordinates, distance), and what the mode adds as a last axis.
        """
        points, _ = self._locate(coords, interpolation)
        convert, wide = self._conversion(band, colour)
        answer = self._answer("extinction", mode, pct, rng, points, wide)

        def value(profiles: np.ndarray, rows: np.ndarray, part: np.ndarray) -> np.ndarray:
            sample = answer.of(part)
            found = profiles[:, rows] if sample is None else profiles[sample[:, None], rows][None]
            return convert(found[..., 1:-1])

        return self._weighed(points, points.known, answer, value, (len(self._edges) - 1,)) * u.mag

    def density(
        self,
        coords: Coordinates,
        mode: str = "mean",
        band: str | u.Quantity = "V",
        *,
        interpolation: str = "nearest",
        pct: Any = None,
        rng: np.random.Generator | int = 0,
    ) -> u.Quantity:
        """Extinction per unit of distance at points: even within a bin; an edge belongs to the bin behind it.

        Integrated along a sightline it gives what `integrated` says.

        Parameters
        ----------
        coords : SkyCoord
            With distances.
        mode, interpolation, pct, rng
            As for `query`.
        band : str or Quantity
            As for `query`, but for Gaia's: what a bit of dust adds there depends on that in front of it.

        Returns
        -------
        Quantity, mag/kpc
            Shapes as for `query`.

        Raises
        ------
        UserError
            As `query`, and for Gaia's bands.
        """
        points, _ = self._locate(_with_distance(coords), interpolation)
        assert points.distance is not None
        convert, wide = self._conversion(band, COLOUR)
        if wide:
            raise UserError(
                f"band: found {band}; expected another for a density: what a bit of dust adds in Gaia's wide bands "
                "depends on that in front of it; take the difference of two 'integrated'"
            )
        answer = self._answer("extinction_density", mode, pct, rng, points, False)
        distance = points.distance

        def value(profiles: np.ndarray, rows: np.ndarray, part: np.ndarray) -> np.ndarray:
            edge, _ = self._position(distance[part])
            return convert(_taken(profiles, rows, edge + 1, answer.of(part)))

        known = points.known & (distance >= 0.0) & (distance <= self._edges[-1])
        return self._weighed(points, known, answer, value) * (u.mag / u.kpc)

    def distance_at(
        self,
        coords: Coordinates,
        extinction: u.Quantity,
        mode: str = "mean",
        band: str | u.Quantity = "V",
        *,
        interpolation: str = "nearest",
        pct: Any = None,
        colour: Any = COLOUR,
    ) -> u.Quantity:
        """Distance at which the extinction from the Sun first reaches a value.

        Parameters
        ----------
        coords : SkyCoord
            Its distances, if any, do not matter.
        extinction : Quantity, mag
            In the band, not negative. It broadcasts with the coordinates.
        mode : str
            Of `query`, without the sd and the random ones. ``mean`` is the distance in the mean run of A_V. The others
            are of the distances in the samples; a percentile is that of one of the samples, as some may never reach it.
        band, interpolation, pct, colour
            As for `query`; ``linear`` looks in the run of A_V that is weighed from those around.

        Returns
        -------
        Quantity, kpc
            Shapes as for `query`; inf where it is not reached within the grid, NaN where nothing is known.
        """
        target = _in(extinction, u.mag, "extinction")
        if not (target >= 0.0).all():
            raise UserError(f"extinction: found {np.min(target):g} mag; expected 0 or more")
        convert, _ = self._conversion(band, colour)
        return self._first(coords, lambda distance, a_v: convert(a_v), target, mode, interpolation, pct)

    def limit(
        self,
        coords: Coordinates,
        band: str,
        magnitude: Any,
        faint: Any = None,
        mode: str = "mean",
        *,
        interpolation: str = "nearest",
        pct: Any = None,
        colour: Any = COLOUR,
    ) -> u.Quantity:
        """Distance at which a star of some absolute magnitude fades beyond a survey's limit.

        There ``magnitude + 5 log10(distance / 10 pc) + extinction(distance)`` in the band equals ``faint``. Of several
        bands the nearest distance holds.

        Parameters
        ----------
        coords : SkyCoord
            Its distances, if any, do not matter.
        band : str
            As for `query`.
        magnitude : float or Quantity, mag
            Absolute magnitude of the star in the band. It broadcasts with the coordinates.
        faint : float or Quantity, mag, optional
            Limiting apparent magnitude in the band; by default that of the cube's survey, which is in its attribute
            ``survey_limits``.
        mode, interpolation, pct
            As for `distance_at`.
        colour : float or Quantity, mag
            Intrinsic BP-RP of the star; for Gaia's bands only.

        Returns
        -------
        Quantity, kpc
            Shapes as for `query`; inf where the star is still seen at the end of the grid, NaN where nothing is known.

        Raises
        ------
        UserError
            As `query`, and if the cube's survey has no limit in the band and none is given.
        """
        limit = self._survey_limit(band) if faint is None else _in(faint, u.mag, "faint")
        convert, _ = self._conversion(band, colour)

        def apparent(distance: np.ndarray, a_v: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore"):  # at the Sun
                return convert(a_v) + 5.0 * np.log10(distance) + 10.0

        target = limit - _in(magnitude, u.mag, "magnitude")
        return self._first(coords, apparent, target, mode, interpolation, pct)

    def reason(self, coords: Coordinates) -> np.ndarray:
        """Why there is no answer at points, or how far to trust it.

        Parameters
        ----------
        coords : SkyCoord
            With or without distances.

        Returns
        -------
        ndarray of int
            Sums of flags `Reason`, of the coordinates' shape: those of the quality of the sightline that holds the
            point, and those of the question. Where one of `MISSING` is among them the answers are NaN.
        """
        points, _ = self._locate(coords, "nearest")
        held = points.rows[:, 0]
        row = np.maximum(held, 0)
        found = np.where(held < 0, int(Reason.OUTSIDE), self._flat("quality")[row].astype(int))
        if points.distance is not None:
            real = points.distance >= 0.0
            seen = points.known & real
            flags = (
                (Reason.NO_DISTANCE, ~real),
                (Reason.BEYOND_GRID, points.distance > self._edges[-1]),
                (Reason.BEFORE_DATA, seen & ~(points.distance >= self._flat("distance_min")[row])),
                (Reason.BEYOND_DATA, seen & ~(points.distance <= self._flat("distance_max")[row])),
            )
            for flag, where in flags:
                found |= np.where(where, int(flag), 0)
        return found.reshape(points.shape)[()]

    def reach(self, coords: Coordinates) -> tuple[u.Quantity, u.Quantity]:
        """Distances between which stars, not the prior, speak: ``distance_min`` and ``distance_max`` of the sightlines.

        Returns
        -------
        near, far : Quantity, kpc
            Of the coordinates' shape. NaN where nothing is known; where the prior alone speaks NaN and 0.
        """
        points, _ = self._locate(coords, "nearest")
        near, far = (
            np.where(points.known, self._flat(name)[points.rows[:, 0]], np.nan).reshape(points.shape) * u.kpc
            for name in ("distance_min", "distance_max")
        )
        return near, far

    # --- how they are answered

    def _locate(
        self, coords: Coordinates, interpolation: str, *others: np.ndarray | None
    ) -> tuple[_Points, list[np.ndarray | None]]:
        """The points, and other values broadcast with them and made flat."""
        _check("interpolation", interpolation, INTERPOLATIONS)
        angles = _galactic(coords)
        shape = np.broadcast_shapes(coords.shape, *(np.shape(one) for one in others if one is not None))
        l, b, distance, *flat = (
            None if one is None else np.broadcast_to(one, shape).ravel() for one in (*angles, *others)
        )
        assert l is not None
        assert b is not None
        observed = (self._flat("quality") & quality.NOT_OBSERVED) == 0
        nearest = interpolation == "nearest"
        rows = np.empty((len(l), 1 if nearest else 5), np.int32)
        weights = np.ones((1, 1)) if nearest else np.empty(rows.shape)
        for at in range(0, len(l), POINTS):
            part = slice(at, at + POINTS)
            holding = self._sightlines.holding(l[part], b[part])
            rows[part, 0] = holding
            if nearest:
                continue
            around, weight = self._sightlines.around(l[part], b[part])
            weight = np.where((around >= 0) & observed[around], weight, 0.0)
            total = weight.sum(axis=1)
            rows[part, 1:] = np.where(weight > 0.0, around, holding[:, None])
            # healpy does not promise to name the pixel that holds the point: then this one answers alone
            weights[part, 0] = total == 0.0
            weights[part, 1:] = weight / np.where(total > 0.0, total, 1.0)[:, None]
        known = (rows[:, 0] >= 0) & observed[rows[:, 0]]
        return _Points(shape, distance, rows, weights, known), flat

    @cached_property
    def _law(self) -> tuple[str, float]:
        missing = [name for name in ("extinction_law", "r_v") if name not in self._cube.attrs]
        if missing:
            raise UserError(f"found no attribute {', '.join(missing)} in the cube; expected them: only V can be asked")
        return str(self._cube.attrs["extinction_law"]), float(self._cube.attrs["r_v"])

    def _conversion(self, band: str | u.Quantity, colour: Any) -> tuple[Callable[[np.ndarray], np.ndarray], bool]:
        """From A_V to the extinction in a band, and whether that is not in proportion."""
        if isinstance(band, str) and band == "V":
            return (lambda a_v: a_v), False
        # imported on demand, as they take a second: most questions are about V
        from galcarto.dust.law import WIDE, band_extinction
        from galcarto.surveys import SURVEYS

        law, r_v = self._law
        wavelengths = {name: one.wavelength for survey in SURVEYS.values() for name, one in survey.bands.items()}
        if isinstance(band, str) and band == "E(B-V)":
            factor = 1.0 / r_v
        elif isinstance(band, str) and band in WIDE:
            of = _in(colour, u.mag, "colour")
            table = band_extinction(law, r_v, {band: wavelengths[band]}, of, WIDE_GRID)[..., 0]
            return (lambda a_v: np.interp(a_v, WIDE_GRID, table)), True
        elif isinstance(band, str) and band not in wavelengths:
            raise UserError(f"band: found {band}; expected V, {', '.join(wavelengths)}, E(B-V) or a wavelength")
        else:
            wavelength = wavelengths[band] if isinstance(band, str) else float(_in(band, u.um, "band"))
            try:
                factor = band_extinction(law, r_v, {"": wavelength}, np.array(COLOUR), np.array(1.0)).item()
            except ValueError as error:
                raise UserError(f"band: found {band}; expected a wavelength of the law {law} ({error})") from None
        return (lambda a_v: factor * a_v), False

    def _survey_limit(self, band: str) -> float:
        text = str(self._cube.attrs.get("survey_limits", ""))
        limits = {name: float(value) for name, value in re.findall(r"(\w+) < (-?[\d.]+) mag", text)}
        if band not in limits:
            raise UserError(f"faint: found no limit in {band} in the cube ({text or 'none'}); expected one to be given")
        return limits[band]

    def _answer(
        self, quantity: str, mode: str, pct: Any, rng: np.random.Generator | int, points: _Points, sampled: bool
    ) -> _Answer:
        """How to answer in a mode, from the samples where the file has no summary."""
        _check("mode", mode, MODES)
        samples = f"{quantity}_samples"
        if mode in ("mean", "best"):
            return _Answer(samples if sampled else quantity, _mean)
        if mode == "sd":
            # the file's sd is a single value, whose mean it is
            return _Answer(samples, _sd) if sampled else _Answer(f"{quantity}_sd", _mean)
        number = self._variable(samples).sizes["sample"]
        if mode == "samples":
            return _Answer(samples, lambda values: np.moveaxis(values, 0, -1), (number,))
        if mode == "median":
            return _Answer(samples, lambda values: np.median(values, axis=0))
        if mode == "percentile":
            share = _percentiles(pct)
            return _Answer(samples, partial(_percentile, share=share), share.shape)
        generator = np.random.default_rng(rng)
        held = points.rows[:, 0]
        if mode == "random_sample":
            chosen = generator.integers(number, size=len(held))
        else:
            chosen = generator.integers(number, size=self._sightlines.number)[held]
        return _Answer(samples, _mean, (), chosen)

    def _variable(self, name: str) -> xr.DataArray:
        if name not in self._cube.variables:
            raise UserError(f"found no {name} in the cube; expected it for this mode and band")
        return self._cube[name]

    def _flat(self, name: str) -> np.ndarray:
        """A variable of the sky alone, by row."""
        variable = self._variable(name)
        return variable.transpose(*(d for d in ("l", "b", "cell") if d in variable.dims)).to_numpy().ravel()

    def _position(self, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The edge before each distance, the last one at and beyond the end, and the share of the bin behind it."""
        distance = np.minimum(distance, self._edges[-1])
        edge = self._bins(distance)
        widths = np.append(np.diff(self._edges), 1.0)
        return edge, (distance - self._edges[edge]) / widths[edge]

    def _along(
        self, profiles: np.ndarray, rows: np.ndarray, distance: np.ndarray, sample: np.ndarray | None
    ) -> np.ndarray:
        """Cumulative A_V at distances, straight between the edges, shape (sample, point, corner)."""
        edge, share = self._position(distance)
        low = _taken(profiles, rows, edge, sample)
        return low + share[:, None] * (_taken(profiles, rows, edge + 1, sample) - low)

    def _gathered(
        self, points: _Points, known: np.ndarray, name: str, depth: int = 1
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """The known points in parts, with the sightlines that they need: what is in memory at once is bounded.

        `depth` is how many values of each sample a point takes.

        Yields
        ------
        part : ndarray of int
            Some of the points.
        profiles : ndarray, shape (sample, row, edge)
            Of the sightlines that they need, with 0 at the Sun before, and the last value once more behind.
        rows : ndarray, shape (part, corner)
            Their rows of `profiles`.
        weights : ndarray, shape (part or 1, corner)
        """
        variable = self._variable(name)
        samples, edges = variable.sizes.get("sample", 1), len(self._edges)
        step = max(1, POINTS // (samples * depth))
        most = MEMORY // (8 * samples * edges)
        for needed, parts in _groups(points.rows, known, self._sightlines.number, most, step):
            found = self._sightlines.read(variable, np.flatnonzero(needed))
            profiles = np.empty((samples, found.shape[-2], edges + 1), found.dtype)
            profiles[..., 0], profiles[..., 1:-1], profiles[..., -1] = 0.0, found, found[..., -1]
            place = np.cumsum(needed) - 1
            for part in parts:
                weights = points.weights[part] if len(points.weights) > 1 else points.weights
                yield part, profiles, place[points.rows[part]], weights

    def _weighed(
        self,
        points: _Points,
        known: np.ndarray,
        answer: _Answer,
        value: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
        depth: tuple[int, ...] = (),
    ) -> np.ndarray:
        """Answers of the sightlines around each point, weighed; NaN where nothing is known."""
        tail = depth + answer.tail
        out = np.full((len(known), *tail), np.nan)
        for part, profiles, rows, weights in self._gathered(points, known, answer.variable, *depth):
            found = answer.reduce(value(profiles, rows, part))  # (part, corner, ...)
            out[part] = (weights.reshape(weights.shape + (1,) * len(tail)) * found).sum(axis=1)
        return out.reshape(points.shape + tail)

    def _first(
        self,
        coords: Coordinates,
        level: Callable[[np.ndarray, np.ndarray], np.ndarray],
        target: np.ndarray,
        mode: str,
        interpolation: str,
        pct: Any,
    ) -> u.Quantity:
        """Distance at which a quantity that grows with distance and A_V first reaches a value."""
        _check("mode", mode, SUMMARIES)
        points, (goal,) = self._locate(coords, interpolation, target)
        assert goal is not None
        answer = self._answer("extinction", mode, pct, 0, points, False)
        reduce = answer.reduce
        if mode in ("median", "percentile"):
            share = _percentiles(50.0 if mode == "median" else pct)
            reduce = partial(_percentile, share=share, method="inverted_cdf")
        out = np.full((len(goal), *answer.tail), np.nan)
        known = points.known & np.isfinite(goal)
        for part, profiles, rows, weights in self._gathered(points, known, answer.variable, len(self._edges)):
            nodes = (weights[..., None] * profiles[:, rows, :-1]).sum(axis=2)
            out[part] = reduce(self._crossing(nodes, level, goal[part]))
        return out.reshape(points.shape + answer.tail) * u.kpc

    def _crossing(
        self, nodes: np.ndarray, level: Callable[[np.ndarray, np.ndarray], np.ndarray], target: np.ndarray
    ) -> np.ndarray:
        """Where profiles, shape (sample, point, edge), first reach their targets: distances, shape (sample, point)."""
        after = (level(self._edges, nodes) < target[:, None]).sum(axis=-1)
        before = np.clip(after - 1, 0, len(self._edges) - 2)
        near, width = self._edges[before], np.diff(self._edges)[before]
        low, high = (np.take_along_axis(nodes, one[..., None], axis=-1)[..., 0] for one in (before, before + 1))
        left, right = np.zeros(after.shape), np.ones(after.shape)
        for _ in range(HALVINGS):
            middle = 0.5 * (left + right)
            short = level(near + middle * width, low + middle * (high - low)) < target
            left, right = np.where(short, middle, left), np.where(short, right, middle)
        found = np.where(after == 0, 0.0, near + right * width)
        return np.where(after == len(self._edges), np.inf, found)


def _galactic(coords: Coordinates) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Galactic longitude and latitude, deg, and distance, kpc, if there is one."""
    points = has_distance(coords)
    sphere = coords.transform_to(Galactic()).spherical
    # what is masked is not a number
    l, b = (np.ma.filled(angle.to_value(u.deg), np.nan) for angle in (sphere.lon, sphere.lat))
    return l, b, np.ma.filled(sphere.distance.to_value(u.kpc), np.nan) if points else None


def has_distance(coords: Coordinates) -> bool:
    """Whether coordinates are points, not directions.

    Raises
    ------
    TypeError
        If they are no SkyCoord.
    """
    if not isinstance(coords, Coordinates):
        raise TypeError(
            f"found {type(coords).__name__}; expected a SkyCoord: SkyCoord(l=285 * u.deg, b=0.5 * u.deg, "
            "distance=2 * u.kpc, frame='galactic')"
        )
    return coords.spherical.distance.unit.is_equivalent(u.kpc)


def _with_distance(coords: Coordinates) -> Coordinates:
    if not has_distance(coords):
        raise UserError(
            "found coordinates without distances; expected SkyCoord(..., distance=2 * u.kpc): "
            "'integrated' gives the extinction of whole sightlines, 'profile' their run"
        )
    return coords


def _in(value: Any, unit: u.Unit, name: str) -> np.ndarray:
    """A value in a unit; one without a unit is in magnitudes."""
    if not isinstance(value, u.Quantity) and unit != u.mag:
        raise UserError(f"{name}: found {value!r}; expected a Quantity, such as 2 * u.{unit}")
    try:
        return u.Quantity(value, unit).value
    except u.UnitConversionError:
        raise UserError(f"{name}: found {value!r}; expected something in {unit}") from None


def _check(name: str, found: str, expected: tuple[str, ...]) -> None:
    if found not in expected:
        raise UserError(f"{name}: found {found!r}; expected {', '.join(expected)}")


def _percentiles(pct: Any) -> np.ndarray:
    try:
        share = np.asarray(pct, float)
    except (TypeError, ValueError):
        share = np.array(np.nan)
    if share.ndim > 1 or not ((share >= 0.0) & (share <= 100.0)).all():
        raise UserError(f"pct: found {pct!r}; expected percentiles between 0 and 100 for the mode percentile")
    return share


def _percentile(values: np.ndarray, share: np.ndarray, method: Any = "linear") -> np.ndarray:
    """Percentiles of samples, on the last axis if there are several."""
    found = np.percentile(values, share, axis=0, method=method)
    return np.moveaxis(found, 0, -1) if share.ndim else found


def _taken(profiles: np.ndarray, rows: np.ndarray, edge: np.ndarray, sample: np.ndarray | None) -> np.ndarray:
    """Values of profiles at the corners' rows and the points' edges, of all samples or of one for each point.

    Returns
    -------
    ndarray, shape (sample, point, corner)
    """
    samples, number, edges = profiles.shape
    place = rows * edges + edge[:, None]
    if sample is None:
        return profiles.reshape(samples, number * edges).take(place, axis=1)
    return profiles.ravel().take(sample[:, None] * (number * edges) + place)[None]


def _groups(
    rows: np.ndarray, known: np.ndarray, number: int, most: int, step: int
) -> Iterator[tuple[np.ndarray, Iterator[np.ndarray]]]:
    """Known points in groups of at most so many sightlines that hold them, in parts of at most so many points.

    Yields
    ------
    needed : ndarray of bool, shape (number,)
        Sightlines that answer for the group.
    parts : iterator of ndarray of int
        Points of the group.
    """

    def needed(parts: Iterator[np.ndarray]) -> np.ndarray:
        found = np.zeros(number, bool)
        for part in parts:
            found[rows[part]] = True
        return found

    def in_order() -> Iterator[np.ndarray]:
        for at in range(0, len(known), step):
            part = at + np.flatnonzero(known[at : at + step])
            if len(part):
                yield part

    def cut(group: np.ndarray) -> Iterator[np.ndarray]:
        return (group[at : at + step] for at in range(0, len(group), step))

    asked = needed(in_order())
    if not asked.any():
        return
    if asked.sum() <= most:
        yield asked, in_order()
        return
    chosen = np.flatnonzero(known)
    chosen = chosen[np.argsort(rows[chosen, 0], kind="stable")]
    count = np.cumsum(np.diff(rows[chosen, 0], prepend=-1) != 0) - 1
    for group in np.split(chosen, np.flatnonzero(np.diff(count // max(1, most))) + 1):
        yield needed(cut(group)), cut(group)
