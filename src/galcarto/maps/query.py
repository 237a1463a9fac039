"""Query a cube: ``cube.dust.query(SkyCoord)`` and its companions, an accessor of the Dataset that `open_cube` returns.

Conventions of all methods:

* Dust is spread evenly within a distance bin. The cumulative extinction is therefore linear in distance between bin
  edges, starting from 0 at the Sun.
* ``interpolation="nearest"`` uses the sightline whose tile or HEALPix pixel contains the point; a tile contains its
  lower edges. ``"linear"`` weights the results of the four surrounding sightlines bilinearly between their centres
  (for HEALPix pixels as healpy does). The weight of missing or unobserved sightlines goes to the others. The sightline
  that contains the point must be observed, so both methods have results for the same points.
* Points without a result are NaN; `DustAccessor.reason` says why.
"""

import enum
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import astropy.units as u
import numpy as np
import xarray as xr
from astropy.coordinates import BaseCoordinateFrame, Galactic, SkyCoord

from galcarto.core.errors import UserError
from galcarto.core.units import parse
from galcarto.maps import quality
from galcarto.maps.bands import bands_of
from galcarto.maps.lookup import Bins, Sightlines, sightlines, touching_edges

Coordinates: TypeAlias = SkyCoord | BaseCoordinateFrame
Band: TypeAlias = str | u.Quantity
# from A_V of shape (sample, point, ...) to the extinction in a band, given which points these are
Conversion: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]
Query = TypeVar("Query", bound=Callable[..., u.Quantity])
SUMMARIES = ("mean", "best", "median", "percentile", "samples")
RANDOM = ("random_sample", "random_sample_per_pix")
MODES = (*SUMMARIES, "sd", *RANDOM)
INTERPOLATIONS = ("nearest", "linear")
COLOUR = 1.0  # mag, (BP-RP)_0 of a K dwarf: the default star for Gaia's wide bands
MOST_COLOURS = 257  # values of the colour that wide bands are tabulated for; others are interpolated, to 1e-4 mag
WIDE_GRID = np.append(np.linspace(0.0, 20.0, 401), 1000.0)  # A_V, mag: the relation is linear beyond 20
MEMORY = 1 << 26  # bytes of sightlines read at once
POINTS = 1 << 18  # values processed at once: a few arrays of this size fit in the caches
HALVINGS = 53  # bisection steps within a bin: the bits of a double


class Reason(enum.IntFlag):
    """Why a value is missing or doubtful: the flags of the cube's ``quality`` and those of the queried point."""

    NOT_OBSERVED = quality.NOT_OBSERVED
    PARTLY_OBSERVED = quality.PARTLY_OBSERVED
    STARS_RUN_OUT = quality.STARS_RUN_OUT
    POOR_FIT = quality.POOR_FIT
    UNLIKE_TRAINING = quality.UNLIKE_TRAINING
    OUTSIDE = 1 << 8  # no tile contains the point
    BEYOND_GRID = 1 << 9  # farther than the last bin
    NO_DISTANCE = 1 << 10  # the distance is NaN or negative
    BEFORE_DATA = 1 << 11  # nearer than distance_min, where A_V is uncertain
    BEYOND_DATA = 1 << 12  # farther than distance_max, where the prior dominates
    NO_COLOUR = 1 << 13  # the star's colour is NaN, in a wide band
    COLOUR_OUT_OF_RANGE = 1 << 14  # the star's colour is outside the relation's range, in a wide band

    @property
    def text(self) -> str:
        """The names of the flags, in lower case."""
        return ", ".join(flag.name.lower().replace("_", " ") for flag in Reason if flag in self and flag.name)


MISSING = (
    Reason.NOT_OBSERVED
    | Reason.OUTSIDE
    | Reason.BEYOND_GRID
    | Reason.NO_DISTANCE
    | Reason.NO_COLOUR
    | Reason.COLOUR_OUT_OF_RANGE
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Keyword options of all queries.

    Parameters
    ----------
    interpolation : str
        Across the sky: ``nearest`` or ``linear``.
    pct : float or sequence of float
        Percentiles, 0 to 100, for the mode ``percentile``.
    colour : float or Quantity, mag
        Intrinsic BP-RP of the star behind the dust, or of each star: it broadcasts with the coordinates. Used for
        Gaia's wide bands only, whose relation holds from -0.06 to 2.5 mag: outside, and for NaN, the result is NaN.
    rng : Generator or int
        Random generator, or its seed, for the random modes.
    """

    interpolation: str = "nearest"
    pct: Any = None
    colour: Any = COLOUR
    rng: np.random.Generator | int = 0

    def __post_init__(self) -> None:
        _check("interpolation", self.interpolation, INTERPOLATIONS)


def _with_options(query: Query) -> Query:
    """Write out ``**options`` in the signature and documentation of a method, for ``help`` and tab completion."""
    signature = inspect.signature(query)
    *own, _ = signature.parameters.values()
    parameters = [*own, *inspect.signature(Options).parameters.values()]
    query.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    documented = inspect.getdoc(Options).partition("----------\n")[2]  # type: ignore[union-attr]
    reference = "**options\n    As for `Options`."
    query.__doc__ = inspect.getdoc(query).replace(reference, documented)  # type: ignore[union-attr]
    return query


@dataclass(frozen=True)
class _Points:
    """Points of the sky, flattened, and the sightlines that their values come from.

    Attributes
    ----------
    shape : tuple of int
        Shape of the coordinates.
    distance : ndarray, shape (point,), kpc, or None
    rows : ndarray, shape (point, corner)
        Sightlines; the first contains the point, or is -1 outside the map.
    weights : ndarray, shape (point, corner)
    known : ndarray of bool, shape (point,)
        Whether the sightline that contains the point is observed.
    """

    shape: tuple[int, ...]
    distance: np.ndarray | None
    rows: np.ndarray
    weights: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class _Summary:
    """How a mode is computed from the cube.

    Attributes
    ----------
    variable : str
        Variable of the cube.
    reduce : callable
        Maps values of shape (sample, ...) to (..., *tail).
    tail : tuple of int
        Axes that the mode adds to the shape of the points.
    sample : ndarray, shape (point,), or None
        Sample to use for each point, in the random modes.
    """

    variable: str
    reduce: Callable[[np.ndarray], np.ndarray]
    tail: tuple[int, ...] = ()
    sample: np.ndarray | None = None

    def samples_of(self, part: np.ndarray) -> np.ndarray | None:
        """Samples to use for some points."""
        return None if self.sample is None else self.sample[part]


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=0, dtype=float)


def _sd(values: np.ndarray) -> np.ndarray:
    return values.std(axis=0, dtype=float)


@xr.register_dataset_accessor("dust")
class DustAccessor:
    """Query the dust in a cube: ``cube.dust``.

    Parameters
    ----------
    cube : Dataset
        From `galcarto.open_cube`, on tiles or HEALPix pixels, or a selection of one in l, b or cell. Values are read
        only for the sightlines that a query needs. ``cube.extinction.load()`` keeps the means in memory, which is
        faster for many queries.

    Raises
    ------
    UserError
        If the Dataset is not a cube of extinction, its bins have gaps, or it does not start at the Sun.
    """

    def __init__(self, cube: xr.Dataset) -> None:
        missing = {"extinction", "distance_bounds", "quality"} - set(cube.variables)
        if missing:
            raise UserError(f"found no {', '.join(sorted(missing))}; expected a cube of galcarto.open_cube")
        self._cube = cube
        self._edges = touching_edges(cube, "distance")
        if self._edges[0] != 0.0:
            raise UserError(
                f"distance: found bins from {self._edges[0]:g} kpc on; expected them from the Sun on: query a cube "
                "that is not cut in distance"
            )
        self._bins = Bins(self._edges)
        self._sightlines: Sightlines = sightlines(cube)

    def _prepare(
        self, coords: Coordinates, quantity: str, mode: str, band: Band, options: Options, start: Any = None
    ) -> tuple[_Points, np.ndarray | None, Conversion, _Summary]:
        """The points, `start` for each of them, the conversion from A_V to the band, and the summary of the samples."""
        points, near, convert, wide = self._converted(coords, band, options, start)
        if wide and quantity == "extinction_density":
            raise UserError(
                f"band: found {band}; expected another for a density: in Gaia's wide bands the effect of dust depends "
                "on the dust in front of it; use the difference of two calls of 'integrated'"
            )
        # the mean and sd in the file are those of A_V from the Sun
        sampled = wide or (mode == "sd" and near is not None)
        return points, near, convert, self._summary(quantity, mode, options, points, sampled)

    # --- queries

    @_with_options
    def query(
        self, coords: Coordinates, mode: str = "mean", band: Band = "V", *, beyond: str = "nan", **options: Any
    ) -> u.Quantity:
        """Extinction from the Sun to points.

        Parameters
        ----------
        coords : SkyCoord
            Points with distances, of any shape, in any frame that astropy can transform to galactic coordinates.
        mode : str
            ``mean`` (or ``best``: it minimises the expected squared error), ``median``, ``percentile`` or ``sd``
            (standard deviation) of the posterior; all its ``samples``, each a full profile along the sightline;
            ``random_sample``, one sample drawn for each point, or ``random_sample_per_pix``, one for each sightline.
            The sd is interpolated linearly between bin edges: exact at the edges, an upper bound in between. With
            ``interpolation="linear"`` the mode is computed on each sightline, then averaged. Sightlines are inferred
            independently, so averaged samples scatter too little, and the averaged sd assumes fully correlated errors.
        band : str or Quantity
            ``V``, ``E(B-V)``, a band that the cube's attribute ``bands`` names, such as ``Ks`` or ``G``, or a
            wavelength, such as ``0.75 * u.um`` or ``"0.75um"``, with the extinction law and R_V of the cube
            (`galcarto.dust.law`). In Gaia's wide bands extinction is not proportional to A_V, so the samples are
            converted one by one, also for the mean and the sd.
        beyond : str
            Result for points beyond the last bin: ``nan``, or ``last``, the value at its outer edge, a lower limit.
        **options
            As for `Options`.

        Returns
        -------
        Quantity, mag
            Shape of the coordinates. ``samples``, and ``percentile`` with a sequence of percentiles, add a last axis.

        Raises
        ------
        TypeError
            If `coords` is not a SkyCoord.
        UserError
            If `coords` has no distances, or the cube lacks what the mode or band needs.
        """
        return self.integrated(_with_distance(coords), None, mode, band, beyond=beyond, **options)

    @_with_options
    def integrated(
        self,
        coords: Coordinates,
        start: u.Quantity | None = None,
        mode: str = "mean",
        band: Band = "V",
        *,
        beyond: str = "nan",
        **options: Any,
    ) -> u.Quantity:
        """Extinction between two distances along sightlines.

        Parameters
        ----------
        coords : SkyCoord
            End points; without distances, the outer edge of the last bin.
        start : Quantity, optional
            Distance to start from, by default the Sun. It broadcasts with the coordinates. If it is beyond the end
            point, the result is negative.
        mode, band, beyond
            As for `query`. With `start`, the sd is computed from the samples.
        **options
            As for `Options`.

        Returns
        -------
        Quantity, mag
            Shapes as for `query`.
        """
        _check("beyond", beyond, ("nan", "last"))
        first = None if start is None else _in(start, u.kpc, "start")
        points, near, convert, summary = self._prepare(coords, "extinction", mode, band, Options(**options), first)
        end = self._edges[-1]
        far = np.full(len(points.known), end) if points.distance is None else points.distance
        known = points.known & (far >= 0.0)
        if beyond == "nan":
            known &= far <= end
        if near is not None:
            known &= (near >= 0.0) & (near <= end)

        def value(profiles: np.ndarray, rows: np.ndarray, part: np.ndarray) -> np.ndarray:
            total = convert(self._along(profiles, rows, far[part], summary.samples_of(part)), part)
            if near is not None:
                total = total - convert(self._along(profiles, rows, near[part], summary.samples_of(part)), part)
            return total

        return self._weighted(points, known, summary, value) * u.mag

    @_with_options
    def profile(self, coords: Coordinates, mode: str = "mean", band: Band = "V", **options: Any) -> u.Quantity:
        """Extinction from the Sun to the outer edge of every bin (``cube.distance_bounds[:, 1]``).

        Parameters
        ----------
        coords : SkyCoord
            Directions; distances are ignored.
        mode, band
            As for `query`. A random sample is the same one at all distances.
        **options
            As for `Options`.

        Returns
        -------
        Quantity, mag
            Shape (coordinates, distance), followed by the axis that the mode adds.
        """
        points, _, convert, summary = self._prepare(coords, "extinction", mode, band, Options(**options))

        def value(profiles: np.ndarray, rows: np.ndarray, part: np.ndarray) -> np.ndarray:
            sample = summary.samples_of(part)
            values = profiles[:, rows] if sample is None else profiles[sample[:, None], rows][None]
            return convert(values[..., 1:-1], part)

        return self._weighted(points, points.known, summary, value, (len(self._edges) - 1,)) * u.mag

    @_with_options
    def density(self, coords: Coordinates, mode: str = "mean", band: Band = "V", **options: Any) -> u.Quantity:
        """Extinction per unit of distance at points. It is constant within a bin; a bin contains its inner edge.

        Its integral along a sightline equals `integrated`.

        Parameters
        ----------
        coords : SkyCoord
            Points with distances.
        mode : str
            As for `query`.
        band : str or Quantity
            As for `query`, except Gaia's bands, in which the effect of dust depends on the dust in front of it.
        **options
            As for `Options`.

        Returns
        -------
        Quantity, mag/kpc
            Shapes as for `query`.

        Raises
        ------
        UserError
            As `query`, and for Gaia's bands.
        """
        points, _, convert, summary = self._prepare(
            _with_distance(coords), "extinction_density", mode, band, Options(**options)
        )
        distance = points.distance
        assert distance is not None

        def value(profiles: np.ndarray, rows: np.ndarray, part: np.ndarray) -> np.ndarray:
            edge, _ = self._position(distance[part])
            return convert(_taken(profiles, rows, edge + 1, summary.samples_of(part)), part)

        known = points.known & (distance >= 0.0) & (distance <= self._edges[-1])
        return self._weighted(points, known, summary, value) * (u.mag / u.kpc)

    @_with_options
    def distance_at(
        self, coords: Coordinates, extinction: u.Quantity, mode: str = "mean", band: Band = "V", **options: Any
    ) -> u.Quantity:
        """Distance at which the extinction from the Sun first reaches a value.

        Parameters
        ----------
        coords : SkyCoord
            Directions; distances are ignored.
        extinction : Quantity, mag
            In the band, not negative. It broadcasts with the coordinates.
        mode : str
            A mode of `query` except ``sd`` and the random ones. ``mean`` is the distance in the mean profile of A_V,
            the others are statistics of the distances in the samples. A percentile is the distance of one sample, as
            some samples may never reach the value.
        band : str or Quantity
            As for `query`.
        **options
            As for `Options`.

        Returns
        -------
        Quantity, kpc
            Shapes as for `query`; inf if the value is not reached within the grid, NaN outside the observed sky.

        Notes
        -----
        ``linear`` uses the weighted mean profile of the surrounding sightlines.
        """
        target = _in(extinction, u.mag, "extinction")
        if not (target >= 0.0).all():
            raise UserError(f"extinction: found {np.min(target):g} mag; expected 0 or more")
        return self._first(coords, lambda distance, extinction: extinction, target, mode, band, Options(**options))

    @_with_options
    def limit(
        self, coords: Coordinates, band: str, magnitude: Any, faint: Any = None, mode: str = "mean", **options: Any
    ) -> u.Quantity:
        """Distance at which a star of given absolute magnitude reaches a survey's limiting magnitude.

        At this distance ``magnitude + 5 log10(distance / 10 pc) + extinction(distance)`` in the band equals ``faint``.
        With limits in several bands, the nearest of their distances applies.

        Parameters
        ----------
        coords : SkyCoord
            Directions; distances are ignored.
        band : str
            As for `query`.
        magnitude : float or Quantity, mag
            Absolute magnitude of the star in the band. It broadcasts with the coordinates.
        faint : float or Quantity, mag, optional
            Limiting apparent magnitude in the band; by default that of the cube's survey, from the attribute
            ``survey_limits``.
        mode : str
            As for `distance_at`.
        **options
            As for `Options`.

        Returns
        -------
        Quantity, kpc
            Shapes as for `query`; inf if the star is visible to the end of the grid, NaN outside the observed sky.

        Raises
        ------
        UserError
            As `query`, and if `faint` is not given and the cube's survey has no limit in the band.
        """
        limit = self._survey_limit(band) if faint is None else _in(faint, u.mag, "faint")

        def apparent(distance: np.ndarray, extinction: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore"):  # at the Sun
                return extinction + 5.0 * np.log10(distance) + 10.0

        target = limit - _in(magnitude, u.mag, "magnitude")
        return self._first(coords, apparent, target, mode, band, Options(**options))

    def reason(self, coords: Coordinates, band: Band = "V", colour: Any = COLOUR) -> np.ndarray:
        """Why values at points are missing or doubtful.

        Parameters
        ----------
        coords : SkyCoord
            With or without distances.
        band, colour
            As for `query`: a star without a colour, or of one outside the relation, has no value in a wide band.

        Returns
        -------
        ndarray of int
            Sums of `Reason` flags, of the coordinates' shape: the quality flags of the sightline that contains the
            point, and flags of the point itself. Queries return NaN where a flag of `MISSING` is set.
        """
        factor = self._factor(band)
        points, (stars,) = self._locate(coords, Options(), _in(colour, u.mag, "colour") if factor is None else None)
        held = points.rows[:, 0]
        row = np.maximum(held, 0)
        reasons = np.where(held < 0, int(Reason.OUTSIDE), self._quality()[row])
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
                reasons |= np.where(where, int(flag), 0)
        if stars is not None:
            reasons |= np.where(np.isnan(stars), int(Reason.NO_COLOUR), 0)
            reasons |= np.where(~(_has_relation(stars) | np.isnan(stars)), int(Reason.COLOUR_OUT_OF_RANGE), 0)
        return reasons.reshape(points.shape)[()]

    def reach(self, coords: Coordinates) -> tuple[u.Quantity, u.Quantity]:
        """Distances between which stars constrain the dust; outside, the prior dominates.

        Returns
        -------
        near, far : Quantity, kpc
            ``distance_min`` and ``distance_max`` of the sightlines, of the coordinates' shape. NaN outside the observed
            sky; NaN and 0 if the prior dominates everywhere.
        """
        points, _ = self._locate(coords, Options())
        near, far = (
            np.where(points.known, self._flat(name)[points.rows[:, 0]], np.nan).reshape(points.shape) * u.kpc
            for name in ("distance_min", "distance_max")
        )
        return near, far

    # --- implementation

    def _locate(
        self, coords: Coordinates, options: Options, *others: np.ndarray | None
    ) -> tuple[_Points, list[np.ndarray | None]]:
        """The points, and other values broadcast to their shape and flattened."""
        angles = _galactic(coords)
        shapes = [coords.shape, *(np.shape(one) for one in others if one is not None)]
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            raise UserError(
                f"found coordinates of shape {shapes[0]} and values of shape {', '.join(map(str, shapes[1:]))}; "
                "expected one value, or one for each point"
            ) from None
        l, b, distance, *flat = (
            None if one is None else np.broadcast_to(one, shape).ravel() for one in (*angles, *others)
        )
        assert l is not None
        assert b is not None
        observed = (self._quality() & quality.NOT_OBSERVED) == 0
        nearest = options.interpolation == "nearest"
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
            # healpy may omit the pixel that contains the point: if no other is observed, that pixel has all the weight
            weights[part, 0] = total == 0.0
            weights[part, 1:] = weight / np.where(total > 0.0, total, 1.0)[:, None]
        known = (rows[:, 0] >= 0) & observed[rows[:, 0]]
        return _Points(shape, distance, rows, weights, known), flat

    @cached_property
    def _law(self) -> tuple[str, float]:
        missing = [name for name in ("extinction_law", "r_v") if name not in self._cube.attrs]
        if missing:
            raise UserError(
                f"found no attribute {', '.join(missing)} in the cube; expected them: only band V is available"
            )
        return str(self._cube.attrs["extinction_law"]), float(self._cube.attrs["r_v"])

    def _factor(self, band: Band) -> float | None:
        """The extinction in a band over A_V; None in a wide band, where it is no constant."""
        if isinstance(band, str) and band == "V":
            return 1.0
        law, r_v = self._law
        if isinstance(band, str) and band == "E(B-V)":
            return 1.0 / r_v
        relations = _law()
        known = bands_of(self._cube.attrs)
        wavelength = known[band] if isinstance(band, str) and band in known else _wavelength(band, known)
        if wavelength is None:
            if band not in relations.WIDE:
                names = ", ".join(relations.WIDE)
                raise UserError(f"bands: found the relation of Gaia for {band}; expected it for {names}")
            return None
        try:
            return relations.band_extinction(law, r_v, {"": wavelength}, np.array(COLOUR), np.array(1.0)).item()
        except ValueError as error:
            raise UserError(f"band: found {band}; expected a wavelength of the law {law} ({error})") from None

    def _converted(
        self, coords: Coordinates, band: Band, options: Options, other: np.ndarray | None
    ) -> tuple[_Points, np.ndarray | None, Conversion, bool]:
        """The points, `other` for each of them, the conversion from A_V to a band, and whether it is non-linear."""
        factor = self._factor(band)
        if factor is not None:
            points, (each,) = self._locate(coords, options, other)
            return points, each, (lambda a_v, part: a_v) if factor == 1.0 else (lambda a_v, part: factor * a_v), False
        colour = _in(options.colour, u.mag, "colour")
        points, (each, stars) = self._locate(coords, options, other, colour)
        assert stars is not None
        points = replace(points, known=points.known & _has_relation(stars))
        return points, each, _wide(*self._law, str(band), colour, stars), True

    def _survey_limit(self, band: str) -> float:
        text = str(self._cube.attrs.get("survey_limits", ""))
        limits = {name: float(value) for name, value in re.findall(r"(\w+) < (-?[\d.]+) mag", text)}
        if band not in limits:
            raise UserError(f"faint: found no limit in {band} in the cube ({text or 'none'}); expected one to be given")
        return limits[band]

    def _summary(self, quantity: str, mode: str, options: Options, points: _Points, sampled: bool) -> _Summary:
        """How to compute a mode: from the means and sds in the file, or, if `sampled`, from the samples."""
        _check("mode", mode, MODES)
        samples = f"{quantity}_samples"
        if mode in ("mean", "best"):
            return _Summary(samples if sampled else quantity, _mean)
        if mode == "sd":
            # the sd in the file is a single value, so that its mean is itself
            return _Summary(samples, _sd) if sampled else _Summary(f"{quantity}_sd", _mean)
        number = self._variable(samples).sizes["sample"]
        if mode == "samples":
            return _Summary(samples, lambda values: np.moveaxis(values, 0, -1), (number,))
        if mode == "median":
            return _Summary(samples, lambda values: np.median(values, axis=0))
        if mode == "percentile":
            percent = _percentiles(options.pct)
            return _Summary(samples, partial(_percentile, percent=percent), percent.shape)
        generator = np.random.default_rng(options.rng)
        held = points.rows[:, 0]
        if mode == "random_sample":
            chosen = generator.integers(number, size=len(held))
        else:
            chosen = generator.integers(number, size=self._sightlines.number)[held]
        return _Summary(samples, _mean, (), chosen)

    def _variable(self, name: str) -> xr.DataArray:
        if name not in self._cube.variables:
            raise UserError(f"found no {name} in the cube; expected it for this mode and band")
        variable = self._cube[name]
        expected = ["cell"] if "cell" in self._cube.dims else ["l", "b"]
        expected += ["distance"] if name.startswith("extinction") else []
        expected += ["sample"] if name.endswith("_samples") else []
        if set(variable.dims) != set(expected):
            raise UserError(
                f"{name}: found dimensions {', '.join(map(str, variable.dims))}; expected {', '.join(expected)}: join "
                "cubes along l, b or cell, and mask them by sightline"
            )
        return variable

    def _flat(self, name: str) -> np.ndarray:
        """A variable without distances, by row."""
        return (
            self._variable(name).transpose(*(d for d in ("l", "b", "cell") if d in self._cube.dims)).to_numpy().ravel()
        )

    def _quality(self) -> np.ndarray:
        """Flags by row; a missing value, such as xarray's ``where`` and ``merge`` leave, counts as not observed."""
        found = self._flat("quality")
        if found.dtype.kind not in "iuf":
            raise UserError(f"quality: found type {found.dtype}; expected integers")
        known = np.where(np.isnan(found), quality.NOT_OBSERVED, found)
        bad = known[(known % 1 != 0) | (known < 0)]
        if len(bad):
            raise UserError(f"quality: found {bad[0]:g}; expected sums of flags, which are whole numbers")
        return known.astype(int)

    def _position(self, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The edge before each distance (the last edge at and beyond the end), and the fraction of the bin to there."""
        distance = np.minimum(distance, self._edges[-1])
        edge = self._bins(distance)
        widths = np.append(np.diff(self._edges), 1.0)
        return edge, (distance - self._edges[edge]) / widths[edge]

    def _along(
        self, profiles: np.ndarray, rows: np.ndarray, distance: np.ndarray, sample: np.ndarray | None
    ) -> np.ndarray:
        """Cumulative A_V at distances, linear between the edges, shape (sample, point, corner)."""
        edge, fraction = self._position(distance)
        low = _taken(profiles, rows, edge, sample)
        return low + fraction[:, None] * (_taken(profiles, rows, edge + 1, sample) - low)

    def _gathered(
        self, points: _Points, known: np.ndarray, name: str, depth: int = 1
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """The known points in parts of bounded memory, with the sightlines that each part needs.

        `depth` is the number of values that a point takes from each sample.

        Yields
        ------
        part : ndarray of int
            Indices of points.
        profiles : ndarray, shape (sample, row, edge)
            Profiles of the sightlines, padded with 0 at the Sun and a repeat of the last value.
        rows : ndarray, shape (part, corner)
            Rows of `profiles`.
        weights : ndarray, shape (part or 1, corner)
        """
        variable = self._variable(name)
        samples, edges = variable.sizes.get("sample", 1), len(self._edges)
        step = max(1, POINTS // (samples * depth))
        most = MEMORY // (8 * samples * edges)
        for needed, parts in _groups(points.rows, known, self._sightlines.number, most, step):
            read = self._sightlines.read(variable, np.flatnonzero(needed))
            profiles = np.empty((samples, read.shape[-2], edges + 1), read.dtype)
            profiles[..., 0], profiles[..., 1:-1], profiles[..., -1] = 0.0, read, read[..., -1]
            place = np.cumsum(needed) - 1
            for part in parts:
                weights = points.weights[part] if len(points.weights) > 1 else points.weights
                yield part, profiles, place[points.rows[part]], weights

    def _weighted(
        self,
        points: _Points,
        known: np.ndarray,
        summary: _Summary,
        value: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
        depth: tuple[int, ...] = (),
    ) -> np.ndarray:
        """Weighted means of the summaries of the sightlines around each point; NaN for points that are not known."""
        tail = depth + summary.tail
        out = np.full((len(known), *tail), np.nan)
        for part, profiles, rows, weights in self._gathered(points, known, summary.variable, *depth):
            reduced = summary.reduce(value(profiles, rows, part))  # (part, corner, ...)
            out[part] = (weights.reshape(weights.shape + (1,) * len(tail)) * reduced).sum(axis=1)
        return out.reshape(points.shape + tail)

    def _first(
        self,
        coords: Coordinates,
        level: Callable[[np.ndarray, np.ndarray], np.ndarray],
        target: np.ndarray,
        mode: str,
        band: Band,
        options: Options,
    ) -> u.Quantity:
        """Distance at which `level`, which grows with distance and extinction, first reaches a value."""
        _check("mode", mode, SUMMARIES)
        points, goal, convert, _ = self._converted(coords, band, options, target)
        assert goal is not None
        summary = self._summary("extinction", mode, options, points, False)
        reduce = summary.reduce
        if mode in ("median", "percentile"):
            percent = _percentiles(50.0 if mode == "median" else options.pct)
            reduce = partial(_percentile, percent=percent, method="inverted_cdf")
        out = np.full((len(goal), *summary.tail), np.nan)
        known = points.known & np.isfinite(goal)
        for part, profiles, rows, weights in self._gathered(points, known, summary.variable, len(self._edges)):
            nodes = (weights[..., None] * profiles[:, rows, :-1]).sum(axis=2)

            def reached(d: np.ndarray, a_v: np.ndarray, part: np.ndarray = part) -> np.ndarray:
                return level(d, convert(a_v, part))

            out[part] = reduce(self._crossing(nodes, reached, goal[part]))
        return out.reshape(points.shape + summary.tail) * u.kpc

    def _crossing(
        self, nodes: np.ndarray, level: Callable[[np.ndarray, np.ndarray], np.ndarray], target: np.ndarray
    ) -> np.ndarray:
        """Distances (sample, point) at which profiles (sample, point, edge) first reach their targets."""
        after = (level(self._edges, nodes) < target[:, None]).sum(axis=-1)
        before = np.clip(after - 1, 0, len(self._edges) - 2)
        near, width = self._edges[before], np.diff(self._edges)[before]
        low, high = (np.take_along_axis(nodes, one[..., None], axis=-1)[..., 0] for one in (before, before + 1))
        left, right = np.zeros(after.shape), np.ones(after.shape)
        for _ in range(HALVINGS):
            middle = 0.5 * (left + right)
            short = level(near + middle * width, low + middle * (high - low)) < target
            left, right = np.where(short, middle, left), np.where(short, right, middle)
        distance = np.where(after == 0, 0.0, near + right * width)
        return np.where(after == len(self._edges), np.inf, distance)


def _wavelength(band: Band, known: Iterable[str]) -> float:
    """A wavelength given as a Quantity or as text, micrometre; `known` are the bands that have names."""
    if isinstance(band, str):
        names = ", ".join(("V", *known, "E(B-V)"))
        try:
            return parse(band, "um")
        except ValueError:
            raise UserError(f"band: found {band}; expected {names} or a wavelength such as 0.75um") from None
    found = _in(band, u.um, "band")
    if found.ndim or not np.isfinite(found):
        raise UserError(f"band: found {band}; expected a single band or wavelength")
    return found.item()


def _law() -> ModuleType:
    """The extinction law; imported on demand, as that takes a second and libraries that a reader of A_V need not have.

    Raises
    ------
    UserError
        If they are not installed.
    """
    try:
        from galcarto.dust import law
    except ModuleNotFoundError as error:
        raise UserError(
            f"band: found no package {error.name}; expected it for bands other than V: pip install 'galcarto[pipeline]'"
        ) from error
    return law


def _has_relation(colour: np.ndarray) -> np.ndarray:
    """Whether the relation of the wide bands holds for stars of these colours; not for NaN."""
    first, last = _law().COLOURS
    return (colour >= first) & (colour <= last)


def _wide(law: str, r_v: float, band: str, colour: np.ndarray, stars: np.ndarray) -> Conversion:
    """The conversion from A_V to a wide band.

    Parameters
    ----------
    law, r_v, band
        As for `galcarto.dust.law.band_extinction`.
    colour : ndarray, mag
        The colours that occur.
    stars : ndarray, shape (point,), mag
        The colour of each point.
    """
    from scipy.interpolate import RegularGridInterpolator

    relations = _law()
    nodes = np.unique(colour[_has_relation(colour)])
    if len(nodes) > MOST_COLOURS:
        nodes = np.linspace(relations.COLOURS[0], relations.COLOURS[1], MOST_COLOURS)
    table = relations.band_extinction(law, r_v, {band: np.nan}, nodes[:, None], WIDE_GRID)[..., 0]
    if len(nodes) < 2:
        return lambda a_v, part: np.interp(a_v, WIDE_GRID, table[0])
    look = RegularGridInterpolator((nodes, WIDE_GRID), table, bounds_error=False, fill_value=None)

    def convert(a_v: np.ndarray, part: np.ndarray) -> np.ndarray:
        own = stars[part].reshape(-1, *(1,) * (a_v.ndim - 2))
        return look(np.stack(np.broadcast_arrays(own, a_v), axis=-1))

    return convert


def _galactic(coords: Coordinates) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Galactic longitude and latitude, deg, and distance, kpc, if there is one; masked values are NaN."""
    points = has_distance(coords)
    sphere = coords.transform_to(Galactic()).spherical
    l, b = (np.ma.filled(angle.to_value(u.deg), np.nan) for angle in (sphere.lon, sphere.lat))
    return l, b, np.ma.filled(sphere.distance.to_value(u.kpc), np.nan) if points else None


def has_distance(coords: Coordinates) -> bool:
    """Whether coordinates have distances.

    Raises
    ------
    TypeError
        If they are not a SkyCoord.
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
            "'integrated' gives the extinction of whole sightlines, 'profile' that at all distances"
        )
    return coords


def _in(value: Any, unit: u.Unit, name: str) -> np.ndarray:
    """A value in a unit, NaN where it is masked; plain numbers are accepted as magnitudes only."""
    if not isinstance(value, u.Quantity) and unit != u.mag:
        raise UserError(f"{name}: found {value!r}; expected a Quantity, such as 2 * u.{unit}")
    try:
        return u.Quantity(np.ma.filled(value, np.nan), unit).value
    except (TypeError, u.UnitConversionError):
        raise UserError(f"{name}: found {value!r}; expected something in {unit}") from None


def _check(name: str, value: str, expected: tuple[str, ...]) -> None:
    if value not in expected:
        raise UserError(f"{name}: found {value!r}; expected {', '.join(expected)}")


def _percentiles(pct: Any) -> np.ndarray:
    try:
        percent = np.asarray(pct, float)
    except (TypeError, ValueError):
        percent = np.array(np.nan)
    if percent.ndim > 1 or not ((percent >= 0.0) & (percent <= 100.0)).all():
        raise UserError(f"pct: found {pct!r}; expected percentiles between 0 and 100 for the mode percentile")
    return percent


def _percentile(values: np.ndarray, percent: np.ndarray, method: Any = "linear") -> np.ndarray:
    """Percentiles of samples; several are on the last axis."""
    result = np.percentile(values, percent, axis=0, method=method)
    return np.moveaxis(result, 0, -1) if percent.ndim else result


def _taken(profiles: np.ndarray, rows: np.ndarray, edge: np.ndarray, sample: np.ndarray | None) -> np.ndarray:
    """Values of profiles at rows of corners and edges of points, from all samples or from one for each point.

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
    """Known points in groups that lie in at most `most` sightlines, each in parts of at most `step` points.

    Yields
    ------
    needed : ndarray of bool, shape (number,)
        Sightlines that the group needs.
    parts : iterator of ndarray of int
        Points of the group.
    """

    def needed(parts: Iterator[np.ndarray]) -> np.ndarray:
        result = np.zeros(number, bool)
        for part in parts:
            result[rows[part]] = True
        return result

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
