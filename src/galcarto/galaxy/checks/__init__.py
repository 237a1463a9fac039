"""Checks of the mock Galaxy against star counts and the literature, by integrals over its populations."""

from typing import Any

import xarray as xr

from galcarto.galaxy.checks.evolution import lifetimes, sun, turn_off
from galcarto.galaxy.checks.fields import ends, field_diagrams
from galcarto.galaxy.checks.neighbourhood import clump, densities, dwarfs
from galcarto.galaxy.checks.star_counts import Counts, counts
from galcarto.galaxy.checks.white_dwarfs import missing_white_dwarfs
from galcarto.galaxy.integrals import Segments
from galcarto.galaxy.synthesis import StarModel

BANDS = ("Ks", "J", "G", "BP", "RP", "g", "r")  # of the models to check


def measure(model: StarModel, single: StarModel, table: Counts | None) -> tuple[dict[str, Any], xr.Dataset]:
    """Run all checks of a model.

    Parameters
    ----------
    model, single : StarModel
        With `BANDS`; as configured, and without binaries.
    table : Counts or None
        Star counts to compare with; without them the block ``counts`` is left out.

    Returns
    -------
    metrics : dict
        One dictionary for each check, in which ``literature`` holds the published values.
    dataset : Dataset
        Data of the figures.
    """
    stars, alone = Segments.near(model), Segments.near(single)
    checks: dict[str, tuple[dict[str, Any], xr.Dataset]] = (
        {} if table is None else {"counts": counts(model, single, table)}
    )
    checks |= {
        "clump": clump(model),
        "dwarfs": dwarfs(alone),
        "densities": densities(model, single, stars, alone),
        "fields": field_diagrams(model),
        "lifetimes": lifetimes(),
    }
    metrics = {name: check[0] for name, check in checks.items()}
    metrics |= {
        "sun": sun(),
        "turn_off": turn_off(model.galaxy),
        "ends": ends(model),
        "white_dwarfs": missing_white_dwarfs(model),
    }
    return metrics, xr.merge([check[1] for check in checks.values()])
