"""Hess diagrams: numbers of stars of each population in cells of absolute magnitude and colour."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PIECES = 1000  # largest number of pieces of an isochrone segment that is longer than a cell
BITS, ORIGIN = 13, 4096  # encoding of a cell's index along an axis


@dataclass(frozen=True)
class Hess:
    """Stars per unit of density, by population."""

    step: np.ndarray  # shape (axis,), mag: width of the cells
    # int, shape (cell, axis): a cell spans ``cell * step`` to ``(cell + 1) * step``; sorted, the first axis first. Only
    # cells with stars
    cell: np.ndarray
    # int, shape (population + 1,): first entry of each population; a population is a component at one metallicity
    first: np.ndarray
    entry: np.ndarray  # int, shape (entry,): row of `cell`, ascending within a population
    number: np.ndarray  # shape (entry,): stars per unit of the component's density

    @classmethod
    def fold(
        cls, step: np.ndarray, components: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
    ) -> "Hess":
        """Bin segments of isochrones that are uniformly filled with stars.

        Parameters
        ----------
        step : ndarray, shape (axis,), mag
        components : sequence of (number, low, high, metallicity)
            Stars in each segment, shape (segment,); coordinates of its ends, shape (segment, axis), mag; index of its
            metallicity.
        """
        axes = len(step)
        keys, numbers, owners, offset = [], [], [], 0
        for number, low, high, metallicity in components:
            pieces = np.clip(np.ceil(np.abs((high - low) / step).max(axis=1)), 1, PIECES).astype(int)
            segment = np.repeat(np.arange(len(number)), pieces)
            place = (np.arange(len(segment)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 0.5) / pieces[segment]
            where = low[segment] + place[:, None] * (high - low)[segment]
            key = metallicity[segment].astype(np.int64)
            for column in np.floor(where / step).astype(np.int64).T:
                key = (key << BITS) + (column + ORIGIN)
            cells, inverse = np.unique(key, return_inverse=True)
            keys.append(cells & ((1 << (BITS * axes)) - 1))
            owners.append(offset + (cells >> (BITS * axes)))
            numbers.append(np.bincount(inverse, (number / pieces)[segment]))
            offset += int(metallicity.max()) + 1
        held, entry = np.unique(np.concatenate(keys), return_inverse=True)
        columns = [((held >> (BITS * i)) & ((1 << BITS) - 1)) - ORIGIN for i in reversed(range(axes))]
        return cls(
            step=step,
            cell=np.stack(columns, axis=-1),
            first=np.searchsorted(np.concatenate(owners), np.arange(offset + 1)),
            entry=entry,
            number=np.concatenate(numbers),
        )
