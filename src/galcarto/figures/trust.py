"""Where the map can be trusted: goodness of fit, out-of-distribution score, trusted distances and flags."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from galcarto.figures.style import BLUE, GREY, ORANGE, PAGE, STYLE, plain_decades

PANELS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("fit_p_value", "Fit: p-value", "p (number)", {"vmin": 0, "vmax": 1, "cmap": "cividis"}),
    ("fit_chi2", "Fit: $\\chi^2$ over expected", "ratio, log (number)", {"norm": "log", "cmap": "viridis"}),
    ("out_of_distribution", "Out of distribution", "fraction (number)", {"vmin": 0, "vmax": 1, "cmap": "cividis_r"}),
    ("distance_min", "Trusted from", "distance_min (kpc)", {"vmin": 0, "cmap": "viridis"}),
    ("distance_max", "Trusted to", "distance_max (kpc)", {"vmin": 0, "cmap": "viridis"}),
)
MARGIN = 1.25  # beyond the values, at either end of a logarithmic scale
# position in the tile (fractions of its sides), marker and colour of each flag, in the order of the bits
MARKS = (
    (0.0, 0.0, "x", "0.4"),
    (-0.25, 0.22, "s", "0.55"),
    (0.25, 0.22, "v", BLUE),
    (-0.25, -0.22, "o", ORANGE),
    (0.25, -0.22, "D", "black"),
)


@STYLE
def maps(cube: xr.Dataset) -> Figure:
    """Maps of the quality of the tiles.

    Parameters
    ----------
    cube : Dataset
        fit_p_value, fit_chi2, out_of_distribution, distance_min and distance_max, kpc (l, b); quality (l, b) with the
        attributes flag_masks and flag_meanings.

    Returns
    -------
    Figure
    """
    cube = cube.transpose("b", "l", ...)
    shape = cube.sizes["b"] / cube.sizes["l"]  # tiles are as wide as they are high
    tall = shape > 0.6
    rows, columns = (2, 3) if tall else (3, 2)
    height = min(PAGE / columns * 0.75 * shape, 3.0) + 0.9
    flagged = bool((cube.quality > 0).any())
    figure = Figure(figsize=(PAGE, rows * height + 0.7 * flagged), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True).ravel()
    for ax, (name, title, label, scale) in zip(axes, PANELS, strict=False):
        if scale.get("norm") == "log":  # from 1, the ideal, with room around it for more than one tick
            known = cube[name].values[cube[name].values > 0]
            scale = scale | {"norm": LogNorm(min([1.0, *known]) / MARGIN, max([1.0, *known]) * MARGIN)}
        image = ax.pcolormesh(cube.l, cube.b, cube[name], shading="nearest", **scale)
        ax.set(facecolor=GREY, title=title)
        bar = figure.colorbar(image, ax=ax, label=label, location="bottom", shrink=0.9)
        if "norm" in scale:
            plain_decades(bar.long_axis)
    flags = axes[-1]
    width = float(np.median(np.diff(cube.l))) if cube.sizes["l"] > 1 else 1.0
    quality = cube.quality
    meanings = quality.attrs["flag_meanings"].split()
    for mask, meaning, (x, y, mark, colour) in zip(np.ravel(quality.attrs["flag_masks"]), meanings, MARKS, strict=True):
        j, i = np.nonzero(quality.values.astype(int) & int(mask))
        if len(j) == 0:
            continue
        label = f"{meaning.replace('_', ' ')} ({len(j)})"
        flags.plot(cube.l.values[i] + x * width, cube.b.values[j] + y * width, mark, color=colour, ms=3.5, label=label)
    flags.set(facecolor="white", title="Quality flags")
    if not flagged:
        flags.text(0.5, 0.5, "no flag is raised\nin any tile", transform=flags.transAxes, ha="center", va="center")
    else:
        figure.legend(*flags.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        ax.set_aspect("equal", anchor="N")  # the flags have no colour bar below
        ax.set_xlim(float(cube.l.max()) + 0.5 * width, float(cube.l.min()) - 0.5 * width)
        ax.set_ylim(float(cube.b.min()) - 0.5 * width, float(cube.b.max()) + 0.5 * width)
    grid = axes.reshape(rows, columns)
    for ax in grid[-1]:
        ax.set_xlabel("Galactic longitude $l$ (deg)")
    for ax in grid[:, 0]:
        ax.set_ylabel("Latitude $b$ (deg)")
    return figure
