"""White dwarfs, which the mock Galaxy lacks: expected counts from their local density and cooling."""

from typing import Any

import numpy as np

from galcarto.galaxy.checks.fields import FIELDS
from galcarto.galaxy.integrals import brighter_than, moduli
from galcarto.galaxy.synthesis import StarModel

# M_G (Gaia EDR3), M_Ks in mag and age in yr of a pure-hydrogen white dwarf of 0.6 Msun: cooling models of P. Bergeron
# and colleagues (Bédard et al. 2020, ApJ 901, 93)
COOLING = np.array(
    [
        (7.454, 8.526, 1.029e5),
        (8.006, 9.069, 4.625e5),
        (8.490, 9.540, 1.145e6),
        (9.192, 10.202, 3.732e6),
        (9.813, 10.741, 8.900e6),
        (10.256, 11.060, 1.818e7),
        (10.722, 11.368, 5.866e7),
        (11.282, 11.711, 1.954e8),
        (11.681, 11.916, 3.874e8),
        (12.173, 12.117, 6.328e8),
        (12.951, 12.413, 1.128e9),
        (13.436, 12.592, 1.599e9),
        (14.039, 12.824, 2.418e9),
        (14.427, 12.986, 3.367e9),
        (14.898, 13.226, 6.390e9),
        (15.400, 13.713, 8.517e9),
        (15.856, 14.633, 9.886e9),
    ]
)
WHITE_DWARFS = 4.9e-3  # pc-3: Jiménez-Esteban et al. 2018, MNRAS 480, 4505
FORMATION = 10.0e9  # yr, of formation at a constant rate
WHITE_DWARF_LIMITS = {"Ks": (14.8, 15.5), "G": (18.5, 20.0, 21.0)}  # mag


def _cooling(band: str, absolute: np.ndarray) -> np.ndarray:
    """Fraction of the white dwarfs that are brighter than absolute magnitudes."""
    column = COOLING[:, ("G", "Ks").index(band)]
    # the youngest are as bright as the first row; fainter than the last row all are counted
    age = np.exp(np.interp(absolute, column, np.log(COOLING[:, 2]), left=-np.inf, right=np.log(FORMATION)))
    return np.minimum(age / FORMATION, 1.0)


def white_dwarf_counts(band: str, limit: float, modulus: np.ndarray, density: np.ndarray) -> float:
    """Expected white dwarfs per deg2 brighter than a limit (mag) in ``G`` or ``Ks``, without dust.

    `modulus` holds distance moduli in equal steps, `density` the density there in pc-3, both of shape (distance,).
    """
    step = modulus[1] - modulus[0]
    volume = np.radians(1.0) ** 2 * 0.2 * np.log(10.0) * step * 10.0 ** (0.6 * modulus + 3.0)  # pc3 per deg2
    return float((volume * density * _cooling(band, limit - modulus)).sum())


def missing_white_dwarfs(model: StarModel) -> dict[str, Any]:
    """Missing white dwarfs per deg2 and relative to the model's stars, both without dust.

    ``upper_limit`` assumes the local density everywhere, ``like_stars`` a density in proportion to the mass in stars.
    """
    modulus, galaxy = moduli(model), model.galaxy
    cases = [(band, limit) for band, limits in WHITE_DWARF_LIMITS.items() for limit in limits]
    names = [f"{band}_{limit:g}" for band, limit in cases]
    parts = [brighter_than(model, band, np.array(limits)) for band, limits in WHITE_DWARF_LIMITS.items()]
    within = np.concatenate(parts, axis=-1)  # (population, distance, case)

    def missing(density: np.ndarray) -> np.ndarray:
        return np.array([white_dwarf_counts(*case, modulus, density) for case in cases])

    def by_case(values: np.ndarray) -> dict[str, float]:
        return dict(zip(names, values, strict=True))

    upper = missing(np.full(len(modulus), WHITE_DWARFS))
    metrics: dict[str, Any] = {"upper_limit": by_case(upper)}
    for field in ("plane", "pole"):
        at = FIELDS[field]
        place = galaxy.position(*at, np.append(0.0, 10.0 ** (0.2 * modulus - 2.0)))
        massive = [component for component in galaxy.components if component.normalisation == "mass"]
        mass = np.sum([galaxy.density(component, *place) for component in massive], axis=0)
        like_stars = missing(WHITE_DWARFS * mass[1:] / mass[0])
        stars = np.tensordot(np.concatenate(model.content(*at)), within, 2)
        metrics[field] = {
            "like_stars": by_case(like_stars),
            "share_upper_limit": by_case(upper / stars),
            "share_like_stars": by_case(like_stars / stars),
        }
    return metrics
