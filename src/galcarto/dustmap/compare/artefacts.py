"""Quantify map artefacts: fingers of God, tiling, stripes, and steps at the ends of the grid.

All statistics are of the published map, without smoothing. Each has an error and, for a synthetic sky, the value of the
true sky for comparison. Docstrings give the value expected for a perfect map.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from astropy.stats import binom_conf_interval
from tqdm import tqdm

PATCHES = 4  # jackknife patches along each of l and b
LAGS = 10  # largest separation of cells, in distance bins
TILES_APART = 4  # largest separation of tiles
APART = 4  # columns beyond which tiles of a row have only stripes in common
COLUMNS = 3  # neighbouring columns that the null shifts together, to keep their structure
NULLS = 499
MODES = 200
SLOPE = 3.1  # of the power spectrum of ln(density): Leike & Enßlin 2019, A&A 631, A32
OUTER_SCALE = 1.0  # kpc
SKIES = 8  # isotropic skies for comparison


def patches(observed: np.ndarray) -> np.ndarray:
    """Jackknife patch of each tile, -1 where it is not observed; shape (l, b)."""
    rows, columns = (PATCHES * np.arange(n) // n for n in observed.shape)
    return np.where(observed, PATCHES * rows[:, None] + columns, -1)


def jackknife(
    statistic: Callable[..., np.ndarray], patch: np.ndarray, *fields: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics and their jackknife errors, leaving out one patch of tiles in turn; shape (statistic,).

    `statistic` maps the fields, of shape (l, b, distance) and NaN where unknown, to the statistics. `patch`, of shape
    (l, b), is -1 for tiles that are not observed. Undefined statistics are NaN, and so are errors if fewer than two
    patches define the statistic.
    """
    parts = np.array(
        [
            statistic(*(np.where((patch == left_out)[..., None], np.nan, one) for one in fields))
            for left_out in np.unique(patch[patch >= 0])
        ]
    )
    values = statistic(*fields)
    if not len(parts):
        return values, np.full(values.shape, np.nan)
    known = np.isfinite(parts)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, parts, 0.0).sum(axis=0) / count
        variance = (np.where(known, parts - mean, 0.0) ** 2).sum(axis=0) * (count - 1) / count
    return values, np.where(count > 1, np.sqrt(variance), np.nan)


def _contrast2(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared contrast ((a - b) / (a + b))^2, bounded by 0 and 1 so that no cell dominates a mean."""
    total = first + second
    return np.divide(first - second, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0) ** 2


class Pairs(NamedTuple):
    """Mean squared contrast of pairs of cells, and their weight; shape (distance, lag)."""

    along: np.ndarray
    across: np.ndarray
    weight: np.ndarray

    def by_separation(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean squared contrast along and across at each separation; NaN if either is missing."""
        weight = self.weight.sum(axis=0)
        along, across = (
            np.divide((part * self.weight).sum(axis=0), weight, out=np.full(weight.shape, np.nan), where=weight > 0)
            for part in (self.along, self.across)
        )
        return along, across

    def elongation(self) -> float:
        """Ratio of the contrast across the line of sight to that along it, over all separations.

        A perfect map has the value of the true sky, which is 1 for resolved isotropic dust. Larger values mean that
        structures are elongated along the line of sight, like fingers of God.
        """
        along = (self.along * self.weight).sum()
        return float((self.across * self.weight).sum() / along) if along > 0 else np.nan


def pair_contrasts(density: np.ndarray, l: np.ndarray, b: np.ndarray, edges: np.ndarray) -> Pairs:
    """Contrast of cells along a line of sight and across it, at the same separations and distances.

    Across means tiles of the same latitude: pairs at different latitudes would measure the stratification of the disc.

    Parameters
    ----------
    density : ndarray, shape (l, b, distance)
        NaN where unknown.
    l, b : ndarray, deg
        Centres of the tiles, in equal steps of l.
    edges : ndarray, shape (distance + 1,), kpc
        In equal steps.

    Returns
    -------
    Pairs
        By distance of the pair and separation in bins, from 1 to `LAGS`.
    """
    step, middle = edges[1] - edges[0], 0.5 * (edges[1:] + edges[:-1])
    bins = len(middle)
    total, number = np.zeros((2, 2, bins, LAGS))
    for lag in range(1, min(LAGS, bins - 1) + 1):
        value = _contrast2(density[..., lag:], density[..., :-lag])
        at = slice(lag // 2, lag // 2 + bins - lag)
        total[0, at, lag - 1] = np.nansum(value, axis=(0, 1))
        number[0, at, lag - 1] = np.isfinite(value).sum(axis=(0, 1))
    cell = np.arange(bins) * LAGS
    for apart in range(1, len(l)):
        chord = 2 * np.sin(np.radians(0.5 * (l[apart] - l[0]))) * np.cos(np.radians(b))[:, None] * middle
        lag = np.rint(chord / step).astype(int)
        near = (lag >= 1) & (lag <= LAGS)
        if near.any():
            value = _contrast2(density[apart:], density[:-apart])
            index = (cell + lag - 1)[near]
            for sums, part in ((total, np.nansum(value, axis=0)), (number, np.isfinite(value).sum(axis=0))):
                sums[1] += np.bincount(index, part[near], bins * LAGS).reshape(bins, LAGS)
    both = (number > 0).all(axis=0)
    # the optimal weight for the ratio of two means over these numbers of pairs
    weight = np.divide(number.prod(axis=0), number.sum(axis=0), out=np.zeros(both.shape), where=both)
    along, across = np.divide(total, number, out=np.zeros(total.shape), where=both)
    return Pairs(along, across, weight)


def isotropic(rng: np.random.Generator, l: np.ndarray, b: np.ndarray, edges: np.ndarray, spread: float) -> np.ndarray:
    """Density of isotropic dust averaged over the map's cells, which are not isotropic themselves.

    ln(density) is a Gaussian random field with power spectrum k^-`SLOPE` between half a bin and `OUTER_SCALE`, averaged
    over each cell.

    Parameters
    ----------
    rng : numpy Generator
    l, b : ndarray, deg
        Centres of the tiles, in equal steps.
    edges : ndarray, shape (distance + 1,), kpc
    spread : float
        Standard deviation of ln(density) among the cells.

    Returns
    -------
    ndarray, shape (l, b, distance)
    """
    step, middle = edges[1] - edges[0], 0.5 * (edges[1:] + edges[:-1])
    low, high = 2 * np.pi / OUTER_SCALE, 4 * np.pi / step
    power = 3.0 - SLOPE
    length = (low**power + rng.random(MODES) * (high**power - low**power)) ** (1 / power)
    direction = rng.standard_normal((MODES, 3))
    waves = (length / np.linalg.norm(direction, axis=1))[:, None] * direction
    phases = rng.uniform(0, 2 * np.pi, MODES)

    longitude, latitude = np.meshgrid(np.radians(l), np.radians(b), indexing="ij")
    zero = np.zeros_like(longitude)
    outwards = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)
    eastwards = -np.sin(longitude), np.cos(longitude), zero
    northwards = -np.sin(latitude) * np.cos(longitude), -np.sin(latitude) * np.sin(longitude), np.cos(latitude)
    wide = np.radians(np.diff(l).mean()) * np.cos(latitude)[..., None] * middle if len(l) > 1 else 0.0
    high_cell = np.radians(np.diff(b).mean()) * middle if len(b) > 1 else 0.0
    total = np.zeros((len(l), len(b), len(middle)))
    for wave, phase in zip(waves, phases, strict=True):
        along, east, north = (
            sum(k * part for k, part in zip(wave, axes, strict=True))[..., None]
            for axes in (outwards, eastwards, northwards)
        )
        # mean of a wave over a box; numpy's sinc includes the pi
        seen = np.sinc(along * step / (2 * np.pi)) * np.sinc(east * wide / (2 * np.pi))
        total += seen * np.sinc(north * high_cell / (2 * np.pi)) * np.cos(along * middle + phase)
    return np.exp(spread * total / total.std())


def jumps(value: np.ndarray) -> np.ndarray:
    """Mean squared difference of tiles that are 1, 2, ... `TILES_APART` tiles apart in l or b, shape (TILES_APART,).

    `value` has the shape (l, b, distance) and is NaN where unknown. NaN if no two tiles are that far apart.
    """
    result = np.full(TILES_APART, np.nan)
    for apart in range(1, TILES_APART + 1):
        squares = [((value[apart:] - value[:-apart]) ** 2), ((value[:, apart:] - value[:, :-apart]) ** 2)]
        number = sum(np.isfinite(part).sum() for part in squares)
        if number:
            result[apart - 1] = sum(np.nansum(part) for part in squares) / number
    return result


def jump_ratio(value: np.ndarray) -> float:
    """Rms difference of adjacent tiles over that of tiles two apart.

    A perfect map has the value of the true sky: 2^(-p/2) if the variance grows as separation^p, 0.79 for p = 2/3.
    Independent tiles have 1.
    """
    by_separation = jumps(value)
    return float(np.sqrt(by_separation[0] / by_separation[1])) if by_separation[1] > 0 else np.nan


def jump_over_noise(value: np.ndarray, sd: np.ndarray) -> float:
    """Rms difference of adjacent tiles over that expected from their stated errors, both of shape (l, b, distance).

    With independent, correct errors it is 1 for a smooth sky and larger otherwise. Below 1 the errors of neighbours are
    correlated, or overestimated.
    """
    expected = 0.0
    pairs = 0
    for first, second in ((sd[1:], sd[:-1]), (sd[:, 1:], sd[:, :-1])):
        variance = first**2 + second**2
        expected += np.nansum(variance)
        pairs += np.isfinite(variance).sum()
    return float(np.sqrt(jumps(value)[0] * pairs / expected)) if expected > 0 else np.nan


def shared(error: np.ndarray) -> float:
    """Correlation of the errors of adjacent tiles, after subtracting the mean error at each distance.

    0 for independent errors, 1 for equal errors; undefined for a perfect map, which has none. `error` has the shape
    (l, b, distance) and is NaN where unknown.
    """
    known = np.isfinite(error)
    number = known.sum(axis=(0, 1))
    mean = np.divide(np.where(known, error, 0.0).sum(axis=(0, 1)), number, out=np.zeros(number.shape), where=number > 0)
    apart = error - mean
    product = scale = 0.0
    for first, second in ((apart[1:], apart[:-1]), (apart[:, 1:], apart[:, :-1])):
        product += np.nansum(first * second)
        scale += 0.5 * np.nansum(first**2 + second**2)
    return float(product / scale) if scale > 0 else np.nan


class Stripes(NamedTuple):
    """Rows that differ from their neighbours."""

    # correlation of the local values of distant tiles of a row: the fraction of the local variance that whole rows have
    # in common. A perfect map has the value of the true sky: 0 if rows have no physical meaning
    correlation: float
    error: float  # standard deviation of the null
    p_value: float  # fraction of the shifted maps with at least this correlation
    amplitude: float  # standard deviation of the stripes, in the unit of the map; 0 if the correlation is not positive
    # shape (row,): contribution of each row times the number of rows, and the standard deviation of the null; NaN at
    # the ends
    rows: np.ndarray
    rows_error: np.ndarray


def stripes(value: np.ndarray, rng: np.random.Generator) -> Stripes:
    """Measure stripes along the first axis: rows of the second axis that differ from their neighbours as a whole.

    The local value of a tile is its difference from a cubic through the tiles of the two rows on either side. Structure
    on the sky correlates nearby tiles; only stripes correlate tiles of a row that are at least `APART` columns apart.
    The null keeps the structure of the field: groups of `COLUMNS` neighbouring columns are shifted along the second
    axis, each by a random number of rows.

    Parameters
    ----------
    value : ndarray, shape (column, row, distance)
        NaN where unknown.
    rng : numpy Generator

    Returns
    -------
    Stripes
        NaN with fewer than seven rows or `APART` + 2 columns.
    """
    columns, rows = value.shape[:2]
    ends = np.full(rows, np.nan)
    nothing = Stripes(np.nan, np.nan, np.nan, np.nan, ends, ends)
    if rows < 7 or columns < APART + 2:
        return nothing
    beside, beyond = value[:, 1:-3] + value[:, 3:-1], value[:, :-4] + value[:, 4:]
    local = value[:, 2:-2] - (4 * beside - beyond) / 6
    rows -= 4
    known = np.isfinite(local)
    local = np.where(known, local, 0.0)

    def far(part: np.ndarray) -> np.ndarray:
        """Sum of products over all pairs of distant tiles, by row; part has shape (column, row, distance)."""
        others = np.cumsum(part[::-1], axis=0)[::-1]
        return np.einsum("crd,crd->r", part[:-APART], others[APART:])

    pairs, variance = far(known.astype(float)).sum(), (local**2).sum() / max(known.sum(), 1)
    if not (pairs and variance):
        return nothing
    group = np.arange(columns) // COLUMNS
    products = np.empty((1 + NULLS, rows))
    for i in range(1 + NULLS):
        shift = rng.integers(0, rows, group[-1] + 1) if i else np.zeros(group[-1] + 1, int)
        at = (np.arange(rows) + shift[group][:, None]) % rows  # (column, row)
        products[i] = far(np.take_along_axis(local, at[..., None], axis=1))
    correlation = products.sum(axis=1) / pairs / variance
    row, row_error = ends.copy(), ends.copy()
    row[2:-2], row_error[2:-2] = rows / pairs / variance * np.stack([products[0], products[1:].std(axis=0)])
    return Stripes(
        correlation=float(correlation[0]),
        error=float(correlation[1:].std()),
        p_value=float((correlation >= correlation[0]).mean()),
        # subtracting the cubic multiplies the variance by 35 / 18
        amplitude=float(np.sqrt(max(correlation[0] * variance, 0.0) * 18 / 35)),
        rows=row,
        rows_error=row_error,
    )


def largest_step(density: np.ndarray) -> np.ndarray:
    """Bin of each sightline's largest density, shape (sightline,).

    `density` has the shape (sightline, distance) and is NaN in bins that are ignored, which must not be all.
    """
    return np.where(np.isnan(density), -np.inf, density).argmax(axis=1)


def fraction(hits: np.ndarray) -> tuple[float, float]:
    """Fraction of `hits` and its error: half of Wilson's 68 % interval, which is not 0 even without hits.

    A perfect map has the value of the true sky.
    """
    if not len(hits):
        return np.nan, np.nan
    low, high = binom_conf_interval(hits.sum(), len(hits), confidence_level=0.6827, interval="wilson")
    return float(hits.mean()), float(0.5 * (high - low))


@dataclass(frozen=True)
class Map:
    """A map within its trusted distances, and the true sky if it is known."""

    # deg: centres of the tiles, in equal steps
    l: np.ndarray
    b: np.ndarray
    edges: np.ndarray  # shape (distance + 1,), kpc: in equal steps from 0
    # shape (l, b, distance): posterior means (mag/kpc, mag) and standard deviation (mag)
    density: np.ndarray
    extinction: np.ndarray
    extinction_sd: np.ndarray
    samples: np.ndarray  # shape (sample, l, b, distance), mag/kpc: some samples of the density
    # shape (l, b), kpc: trusted distances; NaN where not observed
    distance_min: np.ndarray
    distance_max: np.ndarray
    truth: np.ndarray | None = None  # shape (l, b, distance), mag: true cumulative extinction
    trusted: np.ndarray = field(init=False)
    patch: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        outer, near, far = self.edges[1:], self.distance_min[..., None], self.distance_max[..., None]
        trusted = (outer >= near - 1e-6) & (outer <= far + 1e-6) & (self.extinction > 0)
        object.__setattr__(self, "trusted", trusted)
        object.__setattr__(self, "patch", patches(np.isfinite(self.distance_max)))

    def within(self, values: np.ndarray) -> np.ndarray:
        """Values within the trusted distances, NaN elsewhere; shape (l, b, distance)."""
        return np.where(self.trusted, values, np.nan)

    def true_density(self) -> np.ndarray | None:
        """Density of the true sky, mag/kpc."""
        return None if self.truth is None else np.diff(self.truth, axis=2, prepend=0.0) / np.diff(self.edges)

    def logarithms(self) -> dict[str, np.ndarray]:
        """ln(extinction) within the trusted distances: map, truth, and map minus truth."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ours = self.within(np.log(self.extinction))
            if self.truth is None:
                return {"map": ours}
            truth = self.within(np.log(self.truth))
        return {"map": ours, "truth": truth, "residual": ours - truth}


Metrics = dict[str, float]
Curves = dict[str, tuple[str, np.ndarray]]  # name: dimension, values


def measure_elongation(found: Map, rng: np.random.Generator) -> tuple[Metrics, Curves]:
    """Fingers of God, by `Pairs.elongation`.

    Returns
    -------
    metrics : dict
        ``map``, that of the posterior mean; ``of_samples``, mean and standard deviation over posterior samples;
        ``isotropic``, mean and standard deviation over skies of `isotropic`, the expectation for an isotropic sky; with
        a truth also ``truth`` and ``map_over_truth``, 1 for a perfect map. Errors are ``*_error``.
    curves : dict
        Mean squared contrast along and across against separation, and their ratio, with errors.
    """

    def numbers(density: np.ndarray) -> np.ndarray:
        pairs = pair_contrasts(density, found.l, found.b, found.edges)
        along, across = pairs.by_separation()
        ratio = np.divide(across, along, out=np.full(LAGS, np.nan), where=along > 0)
        return np.concatenate([along, across, ratio, [pairs.elongation()]])

    metrics: Metrics = {}
    curves: Curves = {}

    def keep(name: str, found: np.ndarray, errors: np.ndarray) -> None:
        metrics[name], metrics[f"{name}_error"] = float(found[-1]), float(errors[-1])
        for kind, part in (("", found), ("_error", errors)):
            for curve, values in zip(("along", "across", "elongation"), np.split(part[:-1], 3), strict=True):
                curves[f"{curve}_{name}{kind}"] = "separation", values

    ours = found.within(found.density)
    keep("map", *jackknife(numbers, found.patch, ours))
    drawn = np.array([numbers(found.within(sample))[-1] for sample in found.samples])
    metrics |= {"of_samples": float(drawn.mean()), "of_samples_error": float(drawn.std(ddof=1))}
    positive = ours[ours > 0]
    spread = float(np.log(positive).std()) if positive.size else 1.0
    skies = np.array(
        [
            numbers(found.within(isotropic(rng, found.l, found.b, found.edges, spread)))
            for _ in tqdm(range(SKIES), desc="isotropic skies", mininterval=5)
        ]
    )
    keep("isotropic", skies.mean(axis=0), skies.std(axis=0, ddof=1))
    true = found.true_density()
    if true is not None:
        true = found.within(true)
        keep("truth", *jackknife(numbers, found.patch, true))
        ratio, error = jackknife(
            lambda first, second: numbers(first)[-1:] / numbers(second)[-1:], found.patch, ours, true
        )
        metrics |= {"map_over_truth": float(ratio[0]), "map_over_truth_error": float(error[0])}
    return metrics, curves


def measure_tiling(found: Map) -> tuple[Metrics, Curves]:
    """Tiling of ln(extinction), over all trusted distances.

    Returns
    -------
    metrics : dict
        ``jump_ratio`` and ``jump_over_noise``; with a truth also ``truth_jump_ratio``, ``map_over_truth`` (the ratio of
        the two, 1 for a perfect map) and ``shared``. See the functions of these names. Errors are ``*_error``.
    curves : dict
        Mean squared difference against the separation of tiles, with errors.
    """
    fields = found.logarithms()
    noise = found.within(found.extinction_sd / np.where(found.trusted, found.extinction, 1.0))

    def numbers(ours: np.ndarray, sd: np.ndarray, *truth: np.ndarray) -> np.ndarray:
        ratio = jump_ratio(ours)
        if not truth:
            return np.array([ratio, jump_over_noise(ours, sd)])
        true = jump_ratio(truth[0])
        return np.array([ratio, jump_over_noise(ours, sd), true, ratio / true, shared(ours - truth[0])])

    known = [fields["truth"]] if "truth" in fields else []
    values, errors = jackknife(numbers, found.patch, fields["map"], noise, *known)
    names = ("jump_ratio", "jump_over_noise", "truth_jump_ratio", "map_over_truth", "shared")
    metrics: Metrics = {}
    for name, value, error in zip(names, values, errors, strict=False):
        metrics |= {name: float(value), f"{name}_error": float(error)}
    curves: Curves = {}
    for name in ("map", "truth"):
        if name in fields:
            values, errors = jackknife(jumps, found.patch, fields[name])
            curves |= {f"jump_{name}": ("tiles_apart", values), f"jump_{name}_error": ("tiles_apart", errors)}
    return metrics, curves


def measure_stripes(found: Map, rng: np.random.Generator) -> tuple[dict[str, Metrics], Curves]:
    """Stripes of constant latitude and of constant longitude in ln(extinction); see `Stripes`.

    Returns
    -------
    metrics : dict of dict
        ``latitude_stripes`` and ``longitude_stripes``: correlation of the ``map`` and, with a truth, of the ``truth``
        and of the ``residual`` (map minus truth, 0 for a perfect map); ``*_error``, ``*_p_value``, ``*_amplitude``.
    curves : dict
        The contributions of the rows.
    """
    metrics: dict[str, Metrics] = {"latitude_stripes": {}, "longitude_stripes": {}}
    curves: Curves = {}
    for name, values in found.logarithms().items():
        for axis, block in (("b", "latitude_stripes"), ("l", "longitude_stripes")):
            one = stripes(values if axis == "b" else values.swapaxes(0, 1), rng)
            metrics[block] |= {
                name: one.correlation,
                f"{name}_error": one.error,
                f"{name}_p_value": one.p_value,
                f"{name}_amplitude": one.amplitude,
            }
            curves |= {f"{axis}_rows_{name}": (axis, one.rows), f"{axis}_rows_{name}_error": (axis, one.rows_error)}
    return metrics, curves


def measure_ends(found: Map) -> tuple[Metrics, Curves]:
    """Fraction of the observed sightlines whose largest step is at an end of the grid or of the trusted distances.

    Returns
    -------
    metrics : dict
        ``first_bin_share`` and ``last_bin_share`` of the grid, and those of the truth (``truth_*``);
        ``distance_max_share``, the fraction whose largest step within distance_max is in the last bin there. Errors are
        ``*_error``.
    curves : dict
        Fraction of sightlines by the bin of their largest step.
    """
    observed = found.patch >= 0
    metrics: Metrics = {}
    curves: Curves = {}
    bins = len(found.edges) - 1

    def keep(name: str, hits: np.ndarray) -> None:
        metrics[name], metrics[f"{name}_error"] = fraction(hits)

    for name, density in (("", found.density), ("truth_", found.true_density())):
        if density is not None:
            largest = largest_step(density[observed])
            keep(f"{name}first_bin_share", largest == 0)
            keep(f"{name}last_bin_share", largest == bins - 1)
            curves[f"{name}largest_step"] = "distance", np.bincount(largest, minlength=bins) / max(len(largest), 1)
    within = np.where(found.edges[1:] <= found.distance_max[..., None] + 1e-6, found.density, np.nan)[observed]
    last = np.isfinite(within).sum(axis=1) - 1
    keep("distance_max_share", (largest_step(within) == last)[last > 0])
    return metrics, curves


def measure(found: Map, rng: np.random.Generator) -> tuple[dict[str, Any], Curves]:
    """All statistics of this module, and the curves behind them.

    Returns
    -------
    metrics : dict
        ``smoothing``: none; ``tiles``, the number observed; ``elongation``, ``tiling``, ``latitude_stripes``,
        ``longitude_stripes``, ``ends``. NaN if the map is too small.
    curves : dict of (dimension, ndarray)
    """
    elongation, pairs = measure_elongation(found, rng)
    tiling, apart = measure_tiling(found)
    rows, profiles = measure_stripes(found, rng)
    ends, steps = measure_ends(found)
    metrics = {
        "smoothing": "none",
        "tiles": int((found.patch >= 0).sum()),
        "elongation": elongation,
        "tiling": tiling,
        **rows,
        "ends": ends,
    }
    return metrics, pairs | apart | profiles | steps
