"""Check that a file follows the format of the cube.

Each check is a function that yields findings. The checks in `STRUCTURE` and `DESCRIPTION` get the whole cube but read
no large variable; those in `VALUES` get one strip of sightlines in memory. `needs` names the variables that a check
requires; it is skipped if one is missing or failed a structure check.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import wraps
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import astropy.units as u
import numpy as np
import xarray as xr
from mocpy import MOC
from tqdm import tqdm

from galcarto.core.errors import UserError
from galcarto.core.sky import to_icrs
from galcarto.maps.bands import bands_of
from galcarto.maps.cube import VARIABLES
from galcarto.maps.reader import open_cube

STRIP = 1 << 21  # values of a variable in memory at once
ROUNDINGS = 4  # tolerance of values, in roundings of the stored type
CLOSE = 1e-6  # tolerance of cell edges, as a fraction of a cell, and of pixel centres, in degree
DIAGNOSTICS = ("fit_p_value", "fit_chi2", "out_of_distribution", "stars", "area")  # a map is usable without these
MAY_BE_NAN = ("distance_min",)  # NaN in observed sightlines where the prior dominates everywhere
POSITION = ("l", "b", "distance")
ABOUT = ("title", "band", "extinction_law", "survey")
NOT_OBSERVED = "not_observed"
STARS_RUN_OUT = "stars_run_out_before_the_last_bin"
LIMIT = re.compile(r"\S+ < -?[0-9.]+ mag")


@dataclass(frozen=True)
class Finding:
    """One fault of a file.

    Attributes
    ----------
    severity : str
        ``error``: numbers or their meaning cannot be trusted; ``warning``: they can, but some software may fail.
    variable : str
        Variable or global attribute; empty for the file itself.
    found, expected : str
    check : str
        Name of the check.
    index : dict of str to int
        Position of the first fault: dimensions and indices.
    position : dict of str to float
        The same as coordinates, in degree and kpc, if the file has them.
    sightlines : int
        Number of sightlines with this fault; 0 if it does not concern sightlines.
    """

    severity: Literal["error", "warning"]
    variable: str
    found: str
    expected: str
    check: str = ""
    index: dict[str, int] = field(default_factory=dict)
    position: dict[str, float] = field(default_factory=dict)
    sightlines: int = 0

    def __str__(self) -> str:
        text = f"{self.severity}: {self.variable or 'file'}: found {self.found}; expected {self.expected}"
        if self.index:
            position = ", ".join(f"{name} = {value:.6g}" for name, value in self.position.items())
            text += f"; first at [{', '.join(f'{name}={i}' for name, i in self.index.items())}]"
            text += f" ({position})" if position else ""
        if self.sightlines:
            text += f"; {self.sightlines} sightline{'s' if self.sightlines > 1 else ''}"
        return f"{text} [{self.check}]"


class Fault(NamedTuple):
    """Result of a check of values: where a variable is bad, its values and the expected ones."""

    variable: str
    bad: xr.DataArray
    found: xr.DataArray
    expected: str  # {} is replaced by the value of `against`
    against: xr.DataArray | None = None
    severity: Literal["error", "warning"] = "error"


def error(variable: str, found: str, expected: str, **where: Any) -> Finding:
    """A finding that makes the file unusable."""
    return Finding("error", variable, found, expected, **where)


def warning(variable: str, found: str, expected: str, **where: Any) -> Finding:
    """A finding that does not make the file unusable."""
    return Finding("warning", variable, found, expected, **where)


def needs(*names: str) -> Callable[[Callable[..., Iterator[Any]]], Callable[..., Iterator[Any]]]:
    """Skip a check if one of the variables is missing."""

    def decorate(check: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        @wraps(check)
        def checked(cube: xr.Dataset) -> Iterator[Any]:
            if all(name in cube.variables for name in names):
                yield from check(cube)

        return checked

    return decorate


# --- the format


def is_healpix(cube: xr.Dataset) -> bool:
    """Whether sightlines are HEALPix cells rather than a grid in l and b."""
    return "cell" in cube.dims


def sky(cube: xr.Dataset) -> tuple[str, ...]:
    """Dimensions of the sightlines."""
    return ("cell",) if is_healpix(cube) else ("l", "b")


def bounded(cube: xr.Dataset) -> tuple[str, ...]:
    """Coordinates with bounds."""
    return ("distance",) if is_healpix(cube) else ("l", "b", "distance")


def contract(cube: xr.Dataset) -> dict[str, tuple[tuple[str, ...], str, str | None]]:
    """Dimensions, type and unit of each variable, for tiles or HEALPix cells."""
    listed: dict[str, tuple[tuple[str, ...], str, str | None]] = {}
    for name in bounded(cube):
        listed[name] = ((name,), "f8", "kiloparsec" if name == "distance" else "degree")
        listed[f"{name}_bounds"] = ((name, "bounds"), "f8", None)
    if is_healpix(cube):
        listed |= {name: (("cell",), "f8", "degree") for name in ("l", "b")}
        listed |= {"healpix_index": (("cell",), "i8", None), "crs": ((), "i4", None)}
    for name, (dimensions, kind, attributes) in VARIABLES.items():
        if is_healpix(cube):
            dimensions = tuple("cell" if one == "l" else one for one in dimensions if one != "b")
        listed[name] = (dimensions, kind, attributes.get("units"))
    return listed


def described(variable: xr.DataArray) -> dict[str, Any]:
    """Attributes of a variable, including those that xarray has moved to the encoding."""
    return {**variable.encoding, **variable.attrs}


def shown(attribute: Any) -> str:
    """The repr of an attribute, without numpy's type."""
    return repr(attribute.item() if isinstance(attribute, np.generic) else attribute)


def flags(quality: xr.DataArray) -> dict[str, int]:
    """Bit of each meaning of the quality; empty if its attributes are invalid."""
    masks, meanings = quality.attrs.get("flag_masks", []), str(quality.attrs.get("flag_meanings", "")).split()
    masks = np.atleast_1d(masks)
    if masks.dtype.kind not in "iu" or len(masks) != len(meanings):
        return {}
    return dict(zip(meanings, map(int, masks), strict=True))


def healpix(cube: xr.Dataset) -> tuple[int, bool] | None:
    """nside, and whether the order is nested; None if the file does not state them."""
    stated = cube["crs"].attrs
    level, scheme = stated.get("refinement_level"), stated.get("indexing_scheme")
    if not isinstance(level, (int, np.integer)) or not 0 <= level <= 29 or str(scheme) not in ("nested", "ring"):
        return None
    return 2 ** int(level), str(scheme) == "nested"


def rounding(*variables: xr.DataArray) -> float:
    """Relative tolerance of stored values: a few roundings of their type, plus those of a sum in double precision."""
    stored = max(np.finfo(variable.dtype).eps for variable in variables)
    return float(ROUNDINGS * stored + variables[0].sizes["distance"] * np.finfo(float).eps)


# --- checks of the structure: variables that fail are left out of all other checks


def variables_are_there(cube: xr.Dataset) -> Iterator[Finding]:
    """Every variable of the format is present."""
    for name in contract(cube):
        if name not in cube.variables:
            kind = warning if name in DIAGNOSTICS else error
            yield kind(name, "no such variable", "all variables of the format")


def dimensions_are_those_of_the_format(cube: xr.Dataset) -> Iterator[Finding]:
    """Dimensions have the right names and order, bounds are pairs, and no variable is empty."""
    for name, (dimensions, *_) in contract(cube).items():
        if name not in cube.variables:
            continue
        variable = cube[name]
        if variable.dims != dimensions:
            yield error(name, f"dimensions ({', '.join(map(str, variable.dims))})", f"({', '.join(dimensions)})")
        elif "bounds" in dimensions and variable.sizes["bounds"] != 2:
            yield error(name, f"{variable.sizes['bounds']} bounds", "2 bounds of each cell")
        elif variable.size == 0:
            yield error(name, "no values", "at least one")


def types_are_those_of_the_format(cube: xr.Dataset) -> Iterator[Finding]:
    """Types are floats or integers as in the format, and not less precise."""
    for name, (_, kind, _) in contract(cube).items():
        if name not in cube.variables:
            continue
        found, expected = cube[name].dtype, np.dtype(kind)
        same = found.kind in ("iuf" if name == "stars" else "f" if expected.kind == "f" else "iu")
        if not same:
            yield error(name, f"type {found}", f"{expected}")
        elif found.itemsize < expected.itemsize:
            kind_of = warning if expected.kind == "f" else error
            yield kind_of(name, f"type {found}", f"{expected}, or more precise")


# --- checks of the description


def conventions_name_cf(cube: xr.Dataset) -> Iterator[Finding]:
    """The attribute Conventions includes CF."""
    found = cube.attrs.get("Conventions")
    if not re.search(r"\bCF-\d", str(found)):
        yield error("Conventions", repr(found), "a version of CF, such as 'CF-1.13'")


def units_are_those_of_the_format(cube: xr.Dataset) -> Iterator[Finding]:
    """Units can be read by astropy and equal those of the format."""
    for name, (_, _, expected) in contract(cube).items():
        if expected is None or name not in cube.variables:
            continue
        found = described(cube[name]).get("units")
        try:
            same = u.Unit(found) == u.Unit(expected)
        except (ValueError, TypeError):
            yield error(name, f"units {found!r}, which astropy cannot read", repr(expected))
            continue
        if not same:
            yield error(name, f"units {found!r}", repr(expected))
        elif str(found) != expected:
            yield warning(name, f"units {found!r}", f"{expected!r}: the same unit, spelt as CF's software reads it")


def quantity_is_described(cube: xr.Dataset) -> Iterator[Finding]:
    """Band, law, survey, limits and frame are stated."""
    for name in ABOUT:
        if not str(cube.attrs.get(name, "")).strip():
            yield error(name, "no such attribute of the file", "text")
    ratio = cube.attrs.get("r_v")
    if not isinstance(ratio, (int, float, np.number)) or not 1 < ratio < 10:
        yield error("r_v", shown(ratio), "the law's R_V, a number between 1 and 10")
    frame, limits = (str(cube.attrs.get(name)) for name in ("frame", "survey_limits"))
    if frame != "galactic":
        yield error("frame", repr(frame), "'galactic'")
    if not all(LIMIT.fullmatch(one) for one in limits.split(", ")):
        yield error("survey_limits", repr(limits), "limits such as 'J < 16.3 mag, Ks < 14.8 mag'")
    try:
        bands_of(cube.attrs)  # older files do not state them
    except UserError as fault:
        found, _, expected = str(fault).removeprefix("bands: found ").partition("; expected ")
        yield error("bands", found, expected)


def provenance_is_stated(cube: xr.Dataset) -> Iterator[Finding]:
    """Version, seed and settings are stated, and the sha256 of the settings agrees."""
    if not str(cube.attrs.get("galcarto_version", "")).strip():
        yield error("galcarto_version", "no such attribute of the file", "the version of what wrote it")
    seed = cube.attrs.get("galcarto_seed")
    if not isinstance(seed, (int, np.integer)):
        yield error("galcarto_seed", shown(seed), "the seed, an integer")
    text = cube.attrs.get("galcarto_config")
    if text is None:
        yield error("galcarto_config", "no such attribute of the file", "the settings as JSON")
        return
    try:
        json.loads(text)
    except (TypeError, ValueError) as fault:
        yield error("galcarto_config", f"no JSON ({fault})", "the settings as JSON")
    digest = hashlib.sha256(str(text).encode()).hexdigest()
    stated = str(cube.attrs.get("galcarto_config_sha256"))
    if stated != digest:
        yield error("galcarto_config_sha256", repr(stated), f"{digest!r}, that of galcarto_config")


@needs("quality")
def flags_are_explained(cube: xr.Dataset) -> Iterator[Finding]:
    """Flag masks are single bits that fit the variable's type, with one meaning each."""
    quality = cube["quality"]
    masks = np.atleast_1d(quality.attrs.get("flag_masks", []))
    meanings = str(quality.attrs.get("flag_meanings", "")).split()
    if masks.dtype.kind not in "iu":
        yield error("quality", f"flag_masks {quality.attrs.get('flag_masks')!r}", "integers, one for each flag")
        return
    bits = [int(mask) for mask in masks]
    if any(bit <= 0 or bit & (bit - 1) for bit in bits) or len(set(bits)) < len(bits):
        yield error("quality", f"flag_masks {bits}", "different powers of two")
    if max(bits, default=0) > np.iinfo(quality.dtype).max:
        yield error("quality", f"flag_masks {bits}", f"bits that fit into {quality.dtype}")
    if len(meanings) != len(bits) or len(set(meanings)) < len(meanings):
        yield error("quality", f"{len(meanings)} flag_meanings {meanings}", f"one for each of {len(bits)} flag_masks")
    elif NOT_OBSERVED not in meanings:
        yield error("quality", f"flag_meanings {meanings}", f"{NOT_OBSERVED} among them")


def coordinates_are_in_range(cube: xr.Dataset) -> Iterator[Finding]:
    """Longitudes (which may exceed 360 degrees on a grid), latitudes and distances are in range."""
    ranges = {"l": (0.0, 360.0) if is_healpix(cube) else (-360.0, 720.0), "b": (-90.0, 90.0), "distance": (0.0, np.inf)}
    for name, (low, high) in ranges.items():
        if name not in cube.variables:
            continue
        found = cube[name].to_numpy()
        bad = ~((found >= low) & (found <= high) & np.isfinite(found))
        if bad.any():
            first = int(bad.argmax())
            index = {str(cube[name].dims[0]): first}
            yield error(name, f"{found[first]:g}", f"{low:g} to {high:g}", index=index)


def coordinates_increase(cube: xr.Dataset) -> Iterator[Finding]:
    """Coordinates increase strictly."""
    for name in bounded(cube):
        if name not in cube.variables:
            continue
        found = cube[name].to_numpy()
        bad = ~(np.diff(found) > 0)
        if bad.any():
            first = int(bad.argmax()) + 1
            yield error(name, f"{found[first]:g} after {found[first - 1]:g}", "increasing values", index={name: first})


def bounds_are_named(cube: xr.Dataset) -> Iterator[Finding]:
    """Each coordinate names the variable with its bounds."""
    for name in bounded(cube):
        if name in cube.variables:
            found = str(described(cube[name]).get("bounds"))
            if found != f"{name}_bounds":
                yield error(name, f"attribute bounds {found!r}", f"'{name}_bounds'")


def bounds_make_cells(cube: xr.Dataset) -> Iterator[Finding]:
    """Cells have a positive width, are contiguous and contain their centres."""
    for name in bounded(cube):
        if not {name, f"{name}_bounds"} <= set(cube.variables):
            continue
        centre, (low, high) = cube[name].to_numpy(), cube[f"{name}_bounds"].to_numpy().T
        slack = CLOSE * np.abs(high - low)
        for bad, found, expected in (
            (~(high > low), "not increasing", "lower bound first, then a higher one"),
            (
                np.append(False, ~(np.abs(low[1:] - high[:-1]) <= slack[1:])),
                "not contiguous",
                "each cell to begin where the one before ends",
            ),
            (~((centre >= low - slack) & (centre <= high + slack)), "not around the centre", "the centre inside"),
        ):
            if bad.any():
                i = int(bad.argmax())
                values = f"bounds {low[i]:.9g}, {high[i]:.9g} of {centre[i]:.9g}"
                yield error(f"{name}_bounds", f"{values}: {found}", expected, index={name: i})


@needs("distance_bounds")
def distances_begin_at_the_sun(cube: xr.Dataset) -> Iterator[Finding]:
    """The first distance bin starts at the Sun, as the sum of densities is the extinction from there."""
    first = float(cube["distance_bounds"][0, 0])
    if first != 0:
        yield error("distance_bounds", f"{first:g} kpc as the first edge", "0, the Sun", index={"distance": 0})


@needs("l_bounds")
def longitudes_are_met_once(cube: xr.Dataset) -> Iterator[Finding]:
    """The window spans at most 360 degrees of longitude."""
    edges = cube["l_bounds"].to_numpy()
    if edges.max() - edges.min() > 360 + CLOSE:
        yield error("l_bounds", f"{edges.max() - edges.min():g} degree from end to end", "at most 360")


def footprint(cube: xr.Dataset) -> MOC | None:
    """The footprint in the file's attributes, or None if it cannot be read."""
    try:
        return MOC.from_string(str(cube.attrs["footprint_moc"]))
    except (KeyError, ValueError, OSError):
        return None


def footprint_can_be_read(cube: xr.Dataset) -> Iterator[Finding]:
    """The footprint is a valid MOC string."""
    if footprint(cube) is None:
        found = repr(str(cube.attrs.get("footprint_moc"))[:40])
        yield warning("footprint_moc", found, "the observed sky as a MOC, such as '6/28831 7/115303'")


@needs("crs")
def healpix_order_is_stated(cube: xr.Dataset) -> Iterator[Finding]:
    """The order (nested or ring) and level are stated, and each variable names the grid mapping."""
    stated = cube["crs"].attrs
    if str(stated.get("grid_mapping_name")) != "healpix":
        yield error("crs", f"grid_mapping_name {stated.get('grid_mapping_name')!r}", "'healpix'")
    if healpix(cube) is None:
        scheme, level = (shown(stated.get(name)) for name in ("indexing_scheme", "refinement_level"))
        found = f"indexing_scheme {scheme}, refinement_level {level}"
        yield error("crs", found, "the scheme 'nested' or 'ring', and a level of 0 to 29")
    for name in VARIABLES:
        if name in cube.variables and str(mapping := described(cube[name]).get("grid_mapping")) != "crs":
            yield error(name, f"grid_mapping {mapping!r}", "'crs'")


@needs("crs", "healpix_index")
def healpix_indices_are_cells(cube: xr.Dataset) -> Iterator[Finding]:
    """Indices are valid for the level, and unique."""
    index = cube["healpix_index"].to_numpy()
    standard = str(cube["healpix_index"].attrs.get("standard_name"))
    if standard != "healpix_index":
        yield error("healpix_index", f"standard_name {standard!r}", "'healpix_index'")
    form = healpix(cube)
    if form is not None:
        cells = 12 * form[0] ** 2
        bad = (index < 0) | (index >= cells)
        if bad.any():
            first = int(bad.argmax())
            yield error("healpix_index", str(index[first]), f"0 to {cells - 1}", index={"cell": first})
    once = np.zeros(len(index), bool)
    once[np.unique(index, return_index=True)[1]] = True
    if not once.all():
        first = int((~once).argmax())
        yield error("healpix_index", f"{index[first]} again", "each cell once", index={"cell": first})


# --- checks of the values


@needs("quality")
def quality_has_known_bits(strip: xr.Dataset) -> Iterator[Fault]:
    """All flags have a meaning."""
    known = sum(set(flags(strip["quality"]).values()))
    if known:
        quality = strip["quality"].astype("i8")
        yield Fault("quality", (quality & ~known) != 0, quality, f"only bits of {known}")


def _flagged(strip: xr.Dataset, meaning: str) -> xr.DataArray | None:
    """Sightlines with a flag, by its meaning; None if there is no such flag."""
    bit = flags(strip["quality"]).get(meaning)
    return None if bit is None else (strip["quality"].astype("i8") & bit) != 0


def _floats(strip: xr.Dataset) -> list[str]:
    return [name for name in VARIABLES if name in strip and strip[name].dtype.kind == "f" and name != "area"]


@needs("quality")
def observed_sightlines_have_values(strip: xr.Dataset) -> Iterator[Fault]:
    """Values are finite unless the quality flags say otherwise."""
    missing = _flagged(strip, NOT_OBSERVED)
    if missing is None:
        return
    for name in _floats(strip):
        finite = abs(strip[name]) < np.inf
        if name in MAY_BE_NAN:
            finite |= strip[name].isnull()
        yield Fault(name, ~finite & ~missing, strip[name], f"a number, as quality does not say {NOT_OBSERVED}")


@needs("quality")
def other_sightlines_have_none(strip: xr.Dataset) -> Iterator[Fault]:
    """Values of sightlines that were not observed are NaN."""
    missing = _flagged(strip, NOT_OBSERVED)
    if missing is None:
        return
    for name in _floats(strip):
        yield Fault(name, strip[name].notnull() & missing, strip[name], f"NaN, as quality says {NOT_OBSERVED}")


def values_are_in_range(strip: xr.Dataset) -> Iterator[Fault]:
    """Extinctions and standard deviations are not negative, fractions within 0 to 1, distances within the grid."""
    end = float(strip["distance_bounds"].max()) if "distance_bounds" in strip.variables else np.inf
    highest = {"fit_p_value": 1.0, "out_of_distribution": 1.0, "distance_min": end, "distance_max": end}
    for name in VARIABLES:
        if name in strip and name != "quality":
            found = strip[name]
            high = highest.get(name, np.inf)
            bad = (found < 0) | (found > high * (1 + np.finfo("f4").eps))
            yield Fault(name, bad, found, f"0 to {high:g}" if np.isfinite(high) else "0 or more")


def cumulative_extinction_does_not_fall(strip: xr.Dataset) -> Iterator[Fault]:
    """The mean and every sample are non-decreasing with distance."""
    for name in ("extinction", "extinction_samples"):
        if name in strip:
            before = strip[name].shift(distance=1)
            yield Fault(name, strip[name] < before, strip[name], "a non-decreasing run, at least {}", before)


@needs("distance_bounds")
def extinction_is_the_sum_of_the_density(strip: xr.Dataset) -> Iterator[Fault]:
    """cumulative = sum(density * width), for the mean and for every sample, to the rounding of the stored type."""
    width = strip["distance_bounds"].diff("bounds").squeeze("bounds")
    for ending in ("", "_samples"):
        name, density = f"extinction{ending}", f"extinction_density{ending}"
        if name in strip and density in strip:
            part = strip[density] * width  # double
            total = part.cumsum("distance", skipna=False)
            slack = rounding(strip[name], strip[density]) * abs(part).cumsum("distance", skipna=False)
            bad = abs(strip[name] - total) > slack + np.finfo("f4").tiny
            yield Fault(name, bad, strip[name], f"{{}}, the sum of {density} times the width", total)


def _moments_agree(strip: xr.Dataset, moment: Literal["mean", "std"], ending: str, words: str) -> Iterator[Fault]:
    for quantity in ("extinction", "extinction_density"):
        name, of = f"{quantity}{ending}", f"{quantity}_samples"
        if name in strip and of in strip:
            samples = strip[of].astype(float)
            expected = getattr(samples, moment)("sample", skipna=False)
            slack = rounding(strip[name], strip[of]) * abs(samples).max("sample", skipna=False)
            bad = abs(strip[name] - expected) > slack + np.finfo("f4").tiny
            yield Fault(name, bad, strip[name], f"{{}}, the {words} of {of}", expected)


def means_are_those_of_the_samples(strip: xr.Dataset) -> Iterator[Fault]:
    """The means equal those of the samples, to the rounding of the largest sample."""
    yield from _moments_agree(strip, "mean", "", "mean")


def standard_deviations_are_those_of_the_samples(strip: xr.Dataset) -> Iterator[Fault]:
    """The standard deviations equal those of the samples (divided by their number), to rounding."""
    yield from _moments_agree(strip, "std", "_sd", "standard deviation")


@needs("distance_min", "distance_max")
def the_data_speak_somewhere(strip: xr.Dataset) -> Iterator[Fault]:
    """distance_min is at most distance_max: an empty range is valid, but software may use its length."""
    near, far = strip["distance_min"], strip["distance_max"]
    yield Fault("distance_min", near > far, near, "at most distance_max, {}", far, "warning")


@needs("quality", "distance_max", "distance_bounds")
def the_flag_tells_where_stars_run_out(strip: xr.Dataset) -> Iterator[Fault]:
    """The flag is set exactly where distance_max is before the end of the grid."""
    flagged = _flagged(strip, STARS_RUN_OUT)
    if flagged is None:
        return
    end = float(strip["distance_bounds"].max())
    short = strip["distance_max"] < end * (1 - np.finfo("f4").eps)
    bad = (flagged != short) & strip["distance_max"].notnull()
    expected = f"{STARS_RUN_OUT} exactly where distance_max, {{}}, is before {end:g} kpc"
    yield Fault("quality", bad, strip["quality"], expected, strip["distance_max"])


@needs("quality", "l", "b")
def footprint_is_that_of_the_observed_sightlines(strip: xr.Dataset) -> Iterator[Fault]:
    """The centres of observed tiles, and no others, are in the footprint. Pixels may be partly covered."""
    covered, missing = footprint(strip), _flagged(strip, NOT_OBSERVED)
    if covered is None or missing is None or is_healpix(strip):
        return
    l, b = xr.broadcast(strip["l"], strip["b"])
    known = np.isfinite(l.to_numpy()) & (abs(b.to_numpy()) <= 90)  # MOCPy crashes for other values
    inside = xr.zeros_like(l, bool)
    longitude, latitude = to_icrs(l.to_numpy()[known], b.to_numpy()[known])
    inside.to_numpy()[known] = covered.contains_lonlat(longitude * u.deg, latitude * u.deg)
    yield Fault(
        "footprint_moc",
        (inside == missing) & known,
        inside,
        f"sightlines inside where not {NOT_OBSERVED}, and no others",
    )


@needs("crs", "healpix_index", "l", "b")
def cells_are_where_their_index_says(strip: xr.Dataset) -> Iterator[Fault]:
    """l and b are the centres of the pixels, for the stated order and level."""
    form = healpix(strip)
    if form is None:
        return
    import healpy as hp  # on demand: a reader need not have it

    nside, nested = form
    index = strip["healpix_index"].to_numpy()
    valid = (index >= 0) & (index < hp.nside2npix(nside))
    l, b = hp.pix2ang(nside, np.where(valid, index, 0), nest=nested, lonlat=True)
    away = abs((strip["l"] - l + 180) % 360 - 180) * np.cos(np.radians(b))
    for name, bad, centre in (("l", away > CLOSE, l), ("b", abs(strip["b"] - b) > CLOSE, b)):
        order = "nested" if nested else "ring"
        expected = f"{{}}, the centre of its cell ({order}, nside {nside})"
        yield Fault(name, bad & valid, strip[name], expected, strip[name].copy(data=centre))


STRUCTURE = (variables_are_there, dimensions_are_those_of_the_format, types_are_those_of_the_format)
DESCRIPTION = (
    conventions_name_cf,
    units_are_those_of_the_format,
    quantity_is_described,
    provenance_is_stated,
    flags_are_explained,
    coordinates_are_in_range,
    coordinates_increase,
    bounds_are_named,
    bounds_make_cells,
    distances_begin_at_the_sun,
    longitudes_are_met_once,
    footprint_can_be_read,
    healpix_order_is_stated,
    healpix_indices_are_cells,
)
VALUES = (
    quality_has_known_bits,
    observed_sightlines_have_values,
    other_sightlines_have_none,
    values_are_in_range,
    cumulative_extinction_does_not_fall,
    extinction_is_the_sum_of_the_density,
    means_are_those_of_the_samples,
    standard_deviations_are_those_of_the_samples,
    the_data_speak_somewhere,
    the_flag_tells_where_stars_run_out,
    footprint_is_that_of_the_observed_sightlines,
    cells_are_where_their_index_says,
)


# --- running them


def check(path: str | Path) -> list[Finding]:
    """Check a cube in any of its forms, one strip of sightlines at a time.

    Parameters
    ----------
    path : path or URL
        As for `open_cube`.

    Returns
    -------
    list of Finding
        Errors first; empty for a valid cube. A file that cannot be read is also a finding.

    Examples
    --------
    >>> for finding in check("results/demo/cube.nc"):  # doctest: +SKIP
    ...     print(finding)
    """
    with ExitStack() as stack:
        try:
            cube = stack.enter_context(open_cube(path))
        except Exception as fault:  # libraries raise many kinds of errors for damaged files
            found, _, expected = _text(fault).partition("; expected ")
            return [error("", found, expected or "a cube that can be opened", check="file_opens")]
        return check_dataset(cube)


def check_dataset(cube: xr.Dataset) -> list[Finding]:
    """Check an open cube.

    Parameters
    ----------
    cube : Dataset
        From `open_cube`.

    Returns
    -------
    list of Finding
        Errors first.
    """
    findings = [replace(one, check=each.__name__) for each in STRUCTURE for one in each(cube)]
    unsound = {one.variable for one in findings if one.severity == "error"}
    # without indexes values are compared by position, even if coordinates are wrong
    sound = cube.drop_indexes(list(cube.indexes)).reset_coords()
    sound = sound[[name for name in contract(cube) if name in cube.variables and name not in unsound]]
    small = [name for name in sound.variables if name not in VARIABLES]
    loaded, damaged = _load(sound[small], {})
    sound = sound.drop_vars(small).merge(loaded)
    findings += damaged
    with np.errstate(invalid="ignore", over="ignore"):  # other checks find infinite values
        findings += [replace(one, check=each.__name__) for each in DESCRIPTION for one in each(sound)]
        findings += _check_values(sound)
    return sorted(findings, key=lambda one: (one.severity, one.variable, one.check))


def _text(fault: Exception) -> str:
    """The message of an error, with the class for errors of other libraries, whose messages may be one word."""
    return str(fault) if isinstance(fault, (UserError, OSError)) else f"{type(fault).__name__}: {fault}"


def _load(part: xr.Dataset, start: dict[str, int]) -> tuple[xr.Dataset, list[Finding]]:
    """Load a part of the cube that begins at `start`; return what can be read, and findings for the rest."""
    loaded, damaged = {}, []
    for name in map(str, part.variables):
        try:
            loaded[name] = part[name].load()
        except Exception as fault:  # libraries raise many kinds of errors for damaged files
            damaged.append(
                error(name, _text(fault), "values that can be read", check="values_can_be_read", index=start)
            )
    return xr.Dataset(loaded, attrs=part.attrs), damaged


def _strips(cube: xr.Dataset) -> list[dict[str, slice]]:
    """Blocks of sightlines whose samples fit into a strip, made of whole chunks if these are small enough."""
    large = max((cube[name] for name in VARIABLES if name in cube), key=lambda one: one.size)
    chunks = large.encoding.get("preferred_chunks", {})
    sightlines = math.prod(cube.sizes[name] for name in sky(cube))
    room = max(1, STRIP * sightlines // large.size)
    parts: list[list[slice]] = []
    for name in reversed(sky(cube)):
        chunk = chunks.get(name, 1)
        step = min(room // chunk * chunk or room, cube.sizes[name])
        parts.insert(0, [slice(start, start + step) for start in range(0, cube.sizes[name], step)])
        room = max(1, room // step)
    return [dict(zip(sky(cube), block, strict=True)) for block in product(*parts)]


def _check_values(cube: xr.Dataset) -> list[Finding]:
    """Check all strips; the findings are the first of each kind, with the number of sightlines concerned."""
    findings: dict[tuple[str, str, str], Finding] = {}
    readable = [str(name) for name in cube.variables]
    if not any(name in VARIABLES for name in readable):
        return []
    for block in tqdm(_strips(cube), desc="checking", unit="strip", mininterval=5, delay=5):
        start = {name: part.start for name, part in block.items()}
        strip, found = _load(cube[readable].isel(block, missing_dims="ignore"), start)
        readable = [str(name) for name in strip.variables]
        for each in VALUES:
            found += [_locate(one, each.__name__, strip, start) for one in each(strip) if bool(one.bad.any())]
        for one in found:
            key = one.check, one.variable, one.severity
            first = findings.setdefault(key, one)
            if first is not one:
                findings[key] = replace(first, sightlines=first.sightlines + one.sightlines)
    return list(findings.values())


def _locate(fault: Fault, check: str, strip: xr.Dataset, start: dict[str, int]) -> Finding:
    """Make a finding of a fault in a strip that begins at `start`."""
    bad = fault.bad.transpose(*sky(strip), ...)
    place = dict(zip(map(str, bad.dims), map(int, np.unravel_index(int(bad.values.argmax()), bad.shape)), strict=True))

    def value(array: xr.DataArray) -> Any:
        return array.isel(place, missing_dims="ignore").values[()]

    position = {
        name: float(value(strip[name])) for name in POSITION if name in strip and set(strip[name].dims) <= set(place)
    }
    return Finding(
        fault.severity,
        fault.variable,
        str(value(fault.found)),
        fault.expected if fault.against is None else fault.expected.format(str(value(fault.against))),
        check,
        {name: i + start.get(name, 0) for name, i in place.items()},
        {name: one for name, one in position.items() if math.isfinite(one)},
        int(bad.any([name for name in bad.dims if name not in sky(strip)]).sum()),
    )
