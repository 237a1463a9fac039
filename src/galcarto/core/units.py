"""Units of Galcarto's arrays, and types of settings with a unit.

Inside the package numbers are plain floats in one unit per kind: distances in kpc, angles in
degrees, parallaxes in mas, magnitudes and extinctions in mag, masses in solar masses, ages in Gyr, wavelengths in
micrometres, and computing times in s. Quantities appear only at the edges (settings, `open_cube`).
"""

import math
import re
from contextlib import suppress
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

# settings in common units are read without astropy's, which take a third of a second to load
COMMON = {"deg": ("deg", 1.0), "arcmin": ("deg", 1 / 60), "arcsec": ("deg", 1 / 3600), "mag": ("mag", 1.0)}
COMMON |= {"kpc": ("kpc", 1.0), "pc": ("kpc", 1e-3)}
NUMBER = re.compile(r"([+-]?\d{1,15}\.?\d*) ([a-z]+)")


def parse(value: Any, unit: str) -> float:
    """Read a setting such as ``"100 pc"`` into a float in `unit`.

    Parameters
    ----------
    value : str or float
        Text with a number and a unit.
    unit : str
        The astropy unit to convert to.

    Raises
    ------
    ValueError
        If `value` has no unit, an unknown unit, or one of another kind.
    """
    expected = f"expected a number with a unit, such as '1 {unit}'"
    if not isinstance(value, str):
        raise ValueError(f"found {value!r}; {expected}")
    if (plain := NUMBER.fullmatch(value)) and COMMON.get(plain[2], ("",))[0] == unit:
        return float(plain[1]) * COMMON[plain[2]][1]
    import astropy.units as u

    try:
        quantity = u.Quantity(value)
    except (TypeError, ValueError):
        raise ValueError(f"found {value!r}; {expected}") from None
    if quantity.unit == u.dimensionless_unscaled:
        raise ValueError(f"found {value!r} without a unit; {expected}")
    try:
        number = float(quantity.to_value(u.Unit(unit)))
    except u.UnitConversionError:
        raise ValueError(f"found {value!r}, which is not convertible to {unit}; {expected}") from None
    if not math.isfinite(number):
        raise ValueError(f"found {value!r}; expected a finite number")
    return number


# units as people write them in files, and words for none; lower case
WRITINGS = {"degrees": "deg", "degs": "deg", "decimal degrees": "deg", "hours": "h", "hrs": "h"}
WRITINGS |= dict.fromkeys(("mags", "magnitude", "magnitudes"), "mag")
NO_UNIT = ("", "none", "unitless", "dimensionless", "unknown", "undef", "n/a", "-", "---", "1", "tau", "optical depth")
# astropy's frames of stars' positions; others need a time, a place or a distance
FRAMES = (
    "galactic",
    "icrs",
    "fk5",
    "fk4",
    "fk4noeterms",
    "supergalactic",
    "barycentricmeanecliptic",
    "barycentrictrueecliptic",
)


def factor(text: str | None, expected: str, hours: bool = False) -> float:
    """Factor from the unit that a file states to ours; 1 where it states none.

    Parameters
    ----------
    text : str or None
        In any case, in plain words such as ``degrees``, and with an equinox after it.
    expected : str
        The astropy unit to convert to.
    hours : bool
        Whether ``h`` is an angle of 15 deg, as in a right ascension.

    Raises
    ------
    ValueError
        If the unit is unknown or of another kind.
    """
    words = re.sub(r"[\s,(]*(J2000|B1950|ICRS)(\.0)?\)?\s*$", "", (text or "").strip(), flags=re.IGNORECASE)
    if words.lower() in NO_UNIT:
        return 1.0
    import astropy.units as u

    for word in (words, words.lower(), WRITINGS.get(words.lower(), words)):
        with suppress(ValueError, TypeError, AttributeError):
            unit = u.Unit(word)
            return float((u.hourangle if hours and unit == u.hour else unit).to(expected))
    if expected == "mag" and re.search(r"mag\b", words, re.IGNORECASE) and "/" not in words:
        return 1.0  # of a system, such as mag(AB)
    raise ValueError(f"found the unit {words!r}; expected {expected or 'none'}, or one that converts to it")


def _quantity(unit: str) -> Any:
    return Annotated[
        float,
        BeforeValidator(lambda value: parse(value, unit)),
        PlainSerializer(lambda value: f"{value!r} {unit}", return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "description": f"a number with a unit, e.g. '1 {unit}'"}),
    ]


def _frame(value: str) -> str:
    if value not in FRAMES:
        raise ValueError(f"found {value!r}; expected one of {', '.join(FRAMES)}")
    return value


Frame = Annotated[str, AfterValidator(_frame), WithJsonSchema({"enum": list(FRAMES), "type": "string"})]
Kiloparsec = _quantity("kpc")
Degree = _quantity("deg")
Magnitude = _quantity("mag")
Milliarcsecond = _quantity("mas")
Second = _quantity("s")
