"""Units of Galcarto's arrays, and types of settings with a unit.

Inside the package numbers are plain floats in one unit per kind: distances in kpc, angles in
degrees, parallaxes in mas, magnitudes and extinctions in mag, masses in solar masses, ages in Gyr, wavelengths in
micrometres, and computing times in s. Quantities appear only at the edges (settings, `open_cube`).
"""

import math
import re
from contextlib import suppress
from typing import Annotated, Any

import astropy.units as u
from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema


def parse(value: Any, unit: str) -> float:
    """Read a setting such as ``"100 pc"`` into a float in `unit`.

    Parameters
    ----------
    value : str or float
        Text with a number and a unit.
    unit : str
        The astropy unit to convert to.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `value` has no unit, an unknown unit, or one of another kind.
    """
    expected = f"expected a number with a unit, such as '1 {unit}'"
    if not isinstance(value, str):
        raise ValueError(f"found {value!r}; {expected}")
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


# units as people write them in files; lower case
WRITINGS = {"degrees": "deg", "decimal degrees": "deg", "mags": "mag", "magnitude": "mag", "magnitudes": "mag"}


def unit_of(text: str) -> u.UnitBase | None:
    """Unit that a file states, in any case and with an equinox after it; None if it is unknown.

    Without this, astropy takes ``degrees`` and ``DEG`` for units that it does not know, and ``h`` of a right ascension
    for a time.
    """
    words = re.sub(r"[\s,(]*(J2000|B1950|ICRS)(\.0)?\)?\s*$", "", text.strip(), flags=re.IGNORECASE)
    for word in (words, words.lower(), WRITINGS.get(words.lower(), "")):
        if word:
            with suppress(ValueError, TypeError):
                return u.Unit(word)
    return None


def _quantity(unit: str) -> Any:
    return Annotated[
        float,
        BeforeValidator(lambda value: parse(value, unit)),
        PlainSerializer(lambda value: f"{value!r} {unit}", return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "description": f"a number with a unit, e.g. '1 {unit}'"}),
    ]


Kiloparsec = _quantity("kpc")
Degree = _quantity("deg")
Magnitude = _quantity("mag")
Milliarcsecond = _quantity("mas")
Second = _quantity("s")
