"""Find the sightlines of a cube, on tiles or HEALPix pixels, at points of the sky."""

from typing import Protocol

import numpy as np
import xarray as xr

from galcarto.core.errors import UserError
from galcarto.core.sky import Tiles
from galcarto.maps.grid import edges_of


class Sightlines(Protocol):
    """The sightlines of a cube, numbered by row in the order of its sky axes; row -1 means none."""

    number: int

    def holding(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Row of the sightline that contains each point (deg), shape (point,)."""
        ...

    def around(self, l: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the four sightlines around each point, and their bilinear weights, shape (point, 4)."""
        ...

    def read(self, variable: xr.DataArray, rows: np.ndarray) -> np.ndarray:
        """Read the values of some sightlines (ascending rows), shape (..., row, distance)."""
        ...


def sightlines(cube: xr.Dataset) -> Sightlines:
    """The sightlines of a cube on tiles or on HEALPix pixels.

    Raises
    ------
    UserError
        If the cube is on neither, or there are gaps between its tiles.
    """
    if "cell" in cube.dims:
        return PixelSightlines(cube)
    if not {"l", "b"} <= set(cube.dims):
        found = ", ".join(map(str, cube.dims))
        raise UserError(f"found a cube with dimensions {found}; expected l and b, or cell: select with slices or lists")
    return TileSightlines(cube)


def touching_edges(cube: xr.Dataset, name: str) -> np.ndarray:
    """Edges of a coordinate's bins, which must ascend without gaps.

    Raises
    ------
    UserError
        If they do not, for example after selecting every other bin, or the bounds have other dimensions.
    """
    dimensions = cube[f"{name}_bounds"].dims
    if dimensions != (name, "bounds"):
        raise UserError(
            f"{name}_bounds: found dimensions {', '.join(map(str, dimensions))}; expected {name}, bounds: select "
            "with slices or lists, and open cubes with galcarto.open_cube before they are joined or masked"
        )
    edges = edges_of(cube, name)
    if not (np.diff(edges) > 0).all() or not np.allclose(edges[1:], cube[f"{name}_bounds"][:, 1], rtol=0, atol=1e-9):
        raise UserError(f"{name}: found bins that leave gaps or do not ascend; expected a part without gaps")
    return edges


class Bins:
    """Find the bins that contain values: by arithmetic for even bins, several times faster than bisection.

    Parameters
    ----------
    edges : ndarray, shape (bin + 1,)
        Ascending.
    closed : bool
        The last bin contains all larger values.
    """

    def __init__(self, edges: np.ndarray, closed: bool = False) -> None:
        self._edges = np.concatenate([[-np.inf], edges[:-1], [np.inf] if closed else [edges[-1], np.inf]])
        self._first, self._step = edges[0], (edges[-1] - edges[0]) / (len(edges) - 1)
        self._even = np.allclose(np.diff(edges), self._step, rtol=1e-3, atol=0.0)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Index of the bin of each value: -1 below the first, the number of bins above the last.

        A bin contains its lower edge. NaN counts as below the first.
        """
        if not self._even:
            return np.where(np.isnan(values), -1, np.searchsorted(self._edges, values, side="right") - 2)
        place = (values - self._first) * (1.0 / self._step) + 1.0
        number = np.fmin(np.fmax(place, 0.0), len(self._edges) - 2.0).astype(np.intp)
        # rounding may have moved a value across an edge
        number += values >= self._edges[number + 1]
        number -= values < self._edges[number]
        return number - 1


class TileSightlines:
    """Sightlines of tiles in l and b, l-major."""

    def __init__(self, cube: xr.Dataset) -> None:
        l_edges, b_edges = touching_edges(cube, "l"), touching_edges(cube, "b")
        self.number = (len(l_edges) - 1) * (len(b_edges) - 1)
        self._widths = np.diff(l_edges), np.diff(b_edges)
        self._centres = tuple(0.5 * (edges[1:] + edges[:-1]) for edges in (l_edges, b_edges))
        # rounding must not lose a point between the last tile and the first, and the last tile contains the pole
        self._round = bool(np.isclose(l_edges[-1] - l_edges[0], 360.0))
        self._columns, self._rows = Bins(l_edges, self._round), Bins(b_edges, bool(np.isclose(b_edges[-1], 90.0)))
        self._unwrap = Tiles(l_edges, b_edges).unwrap

    def holding(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Row of the tile that contains each point; a tile contains its lower edges."""
        i, j = self._columns(self._unwrap(l)), self._rows(b)
        inside = (i >= 0) & (i < len(self._widths[0])) & (j >= 0) & (j < len(self._widths[1]))
        return np.where(inside, i * len(self._widths[1]) + j, -1)

    def around(self, l: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tile that contains each point and its three nearest neighbours, with bilinear weights."""
        row = self.holding(l, b)
        pairs = []
        for at, value, centres, widths, closed in zip(
            np.divmod(np.maximum(row, 0), len(self._widths[1])),
            (self._unwrap(l), b),
            self._centres,
            self._widths,
            (self._round, False),
            strict=True,
        ):
            offset = value - centres[at]
            other = at + np.where(offset < 0.0, -1, 1)
            if closed:
                other %= len(widths)
            inside = (other >= 0) & (other < len(widths))
            other = np.where(inside, other, -1)
            pairs.append((at, other, np.abs(offset) / (0.5 * (widths[at] + widths[other]))))
        (i, i_other, u), (j, j_other, v) = pairs
        rows, weights = np.empty((*row.shape, 4), int), np.empty((*row.shape, 4))
        corners = (
            (i, 1.0 - u, j, 1.0 - v),
            (i_other, u, j, 1.0 - v),
            (i, 1.0 - u, j_other, v),
            (i_other, u, j_other, v),
        )
        for corner, (column, weight_l, place, weight_b) in enumerate(corners):
            rows[:, corner] = np.where(
                (row < 0) | (column < 0) | (place < 0), -1, column * len(self._widths[1]) + place
            )
            weights[:, corner] = weight_l * weight_b
        return rows, weights

    def read(self, variable: xr.DataArray, rows: np.ndarray) -> np.ndarray:
        """Values of some tiles, read column by column, as a chunk never spans columns."""
        i, j = np.divmod(rows, len(self._widths[1]))
        columns = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(i)) + 1)
        parts = [variable.isel(l=int(i[one[0]]), b=j[one]).transpose(..., "b", "distance") for one in columns]
        return np.concatenate([part.to_numpy() for part in parts], axis=-2)


class PixelSightlines:
    """Sightlines of the HEALPix pixels in a cube."""

    def __init__(self, cube: xr.Dataset) -> None:
        grid = cube["crs"].attrs if "crs" in cube.variables else {}
        scheme, level = grid.get("indexing_scheme"), grid.get("refinement_level")
        if scheme not in ("nested", "ring") or level is None:
            raise UserError(
                f"crs: found indexing_scheme {scheme} and refinement_level {level}; "
                "expected 'nested' or 'ring', which is not guessed, and the level"
            )
        self._nside, self._nest = 2 ** int(level), scheme == "nested"
        index = cube["healpix_index"].to_numpy()
        self.number = len(index)
        self._order = np.argsort(index)
        self._sorted = index[self._order]

    def _rows(self, pixels: np.ndarray) -> np.ndarray:
        place = np.minimum(np.searchsorted(self._sorted, pixels), len(self._sorted) - 1)
        return np.where(self._sorted[place] == pixels, self._order[place], -1)

    def holding(self, l: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Row of the pixel that contains each point."""
        import healpy  # imported on demand here and below: it takes a second

        known = np.isfinite(l) & np.isfinite(b)
        pixels = healpy.ang2pix(self._nside, np.where(known, l, 0), np.where(known, b, 0), nest=self._nest, lonlat=True)
        return np.where(known, self._rows(pixels), -1)

    def around(self, l: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The four pixels around each point and their weights in healpy's bilinear interpolation."""
        import healpy

        known = np.isfinite(l) & np.isfinite(b)
        pixels, weights = healpy.get_interp_weights(
            self._nside, np.where(known, l, 0), np.where(known, b, 0), nest=self._nest, lonlat=True
        )
        return np.where(known, self._rows(pixels), -1).T, weights.T

    def read(self, variable: xr.DataArray, rows: np.ndarray) -> np.ndarray:
        """Values of some pixels."""
        return variable.isel(cell=rows).transpose(..., "cell", "distance").to_numpy()
