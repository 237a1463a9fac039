"""What the names of bands mean in a cube: its file says so, whatever surveys exist when it is asked."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from galcarto.core.errors import UserError

ATTRIBUTE = "bands"
# of files without the attribute, by the survey in their attributes
FORMER: dict[str, dict[str, float | str]] = {
    "2MASS": {"J": 1.235, "H": 1.662, "Ks": 2.159},
    "Gaia DR3": {"G": "Gaia EDR3", "BP": "Gaia EDR3", "RP": "Gaia EDR3"},
}
RELATION = "Gaia EDR3"  # DPAC's, of `galcarto.dust.law.WIDE`


def described(wavelengths: Mapping[str, float], wide: Mapping[str, Any]) -> dict[str, str]:
    """The global attribute ``bands``.

    Parameters
    ----------
    wavelengths : mapping of str to float
        Effective wavelength of each band, micrometre.
    wide : mapping
        `galcarto.dust.law.WIDE`: bands that follow DPAC's relation instead of the law at their wavelength.

    Returns
    -------
    dict of str to str
        JSON of each band's wavelength in micrometre, or the name of the relation.
    """
    return {ATTRIBUTE: json.dumps({name: RELATION if name in wide else one for name, one in wavelengths.items()})}


def bands_of(attributes: Mapping[str, Any]) -> dict[str, float | None]:
    """Bands of a cube, from its global attributes.

    A file without the attribute ``bands`` is older: its bands are 2MASS's and Gaia's, unless it is of another survey.

    Returns
    -------
    dict of str to (float or None)
        Effective wavelength of each band, micrometre; None for one that follows DPAC's relation for Gaia.

    Raises
    ------
    UserError
        If the attribute cannot be read.
    """
    stated: Any = {name: one for bands in FORMER.values() for name, one in bands.items()}
    if ATTRIBUTE in attributes:
        try:
            stated = json.loads(attributes[ATTRIBUTE])
        except (TypeError, ValueError):
            stated = None
    elif set(filter(None, str(attributes.get("survey", "")).split(", "))) - set(FORMER):
        stated = {}
    if not isinstance(stated, dict) or not all(_valid(one) for one in stated.values()):
        raise UserError(
            f"{ATTRIBUTE}: found {attributes[ATTRIBUTE]!r}; expected JSON of each band's wavelength in micrometre, or "
            f"'{RELATION}'"
        )
    return {name: None if one == RELATION else float(one) for name, one in stated.items()}


def _valid(one: Any) -> bool:
    number = isinstance(one, (int, float)) and not isinstance(one, bool)
    return one == RELATION or (number and bool(np.isfinite(one)) and one > 0)
