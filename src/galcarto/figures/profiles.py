"""Extinction against distance along sightlines."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, GREY, ORANGE, PAGE, STYLE, direction

ROWS = COLUMNS = 3


def _central(valid: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[int, int] | None:
    """Indices (l, b) of the valid tile nearest to the middle of a block; None if no tile is valid."""
    i, j = np.nonzero(valid[np.ix_(columns, rows)])
    if len(i) == 0:
        return None
    nearest = np.argmin((i - (len(columns) - 1) / 2) ** 2 + (j - (len(rows) - 1) / 2) ** 2)
    return int(columns[i[nearest]]), int(rows[j[nearest]])


@STYLE
def sightlines(cube: xr.Dataset, truth: xr.Dataset | None = None) -> Figure:
    """Up to nine sightlines spread over the map, laid out as on the sky.

    Parameters
    ----------
    cube : Dataset
        extinction (l, b, distance), mag, from the Sun to the outer edge of each bin;
        extinction_samples (sample, l, b, distance), mag; distance_max (l, b), kpc;
        distance_bounds (distance, bounds), kpc. Sightlines without data are NaN.
    truth : Dataset, optional
        extinction (l, b, distance), mag, on the same grid.

    Returns
    -------
    Figure
        The mean, the central 68 % and 95 % of the samples, and grey beyond distance_max.
    """
    valid = cube.extinction.notnull().all("distance").transpose("l", "b").values
    rows = np.array_split(np.arange(cube.sizes["b"])[::-1], min(ROWS, cube.sizes["b"]))
    columns = np.array_split(np.arange(cube.sizes["l"])[::-1], min(COLUMNS, cube.sizes["l"]))
    edges = np.append(0.0, cube.distance_bounds.isel(bounds=1).values)

    figure = Figure(figsize=(PAGE, 0.7 + 1.95 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), sharex=True, sharey="row", squeeze=False)
    handles: dict[str, object] = {}
    for row, b_block in zip(axes, rows, strict=True):
        for ax, l_block in zip(row, columns, strict=True):
            tile = _central(valid, b_block, l_block)
            if tile is None:
                ax.set_axis_off()
                continue
            one = cube.isel(l=tile[0], b=tile[1])
            bands = np.percentile(one.extinction_samples.transpose("sample", ...), [2.5, 16, 84, 97.5], axis=0)
            low95, low68, high68, high95 = np.column_stack([np.zeros(4), bands])
            for name, low, high, alpha in (("95 %", low95, high95, 0.2), ("68 %", low68, high68, 0.4)):
                handles[name] = ax.fill_between(edges, low, high, color=BLUE, alpha=alpha, lw=0, label=name)
            (handles["mean"],) = ax.plot(edges, np.append(0.0, one.extinction), color=BLUE, label="mean")
            if truth is not None:
                profile = np.append(0.0, truth.extinction.isel(l=tile[0], b=tile[1]))
                (handles["truth"],) = ax.plot(edges, profile, color=ORANGE, ls="--", label="truth")
            if (far := float(one.distance_max)) < edges[-1]:
                name = "beyond distance_max"
                handles[name] = ax.axvspan(far, edges[-1], color=GREY, lw=0, zorder=0, label=name)
            ax.set_title(direction(float(one.l), float(one.b)))
            ax.set_xlim(0, edges[-1])
    for row in axes:
        row[0].set_ylim(bottom=0)
        next((ax for ax in row if ax.axison), row[0]).tick_params(labelleft=True)
    for column in axes.T:
        next((ax for ax in column[::-1] if ax.axison), column[-1]).tick_params(labelbottom=True)
    figure.supxlabel("Distance (kpc)", fontsize=9)
    figure.supylabel("$A_V$ (mag)", fontsize=9)
    if handles:
        figure.legend(handles=list(handles.values()), loc="outside upper center", ncols=len(handles))
    return figure
