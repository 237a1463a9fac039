"""Map artefacts: fingers of God, tiling, stripes, and steps at the ends of the grid."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, GREY, ORANGE, PAGE, STYLE, say

SKIES = {"truth": ("true sky", "black", "s"), "map": ("map", BLUE, "o")}


def _curve(ax: Axes, found: xr.Dataset, name: str, x: xr.DataArray, curve: str, suffix: str = "", **style: Any) -> None:
    """A curve of the map or of the true sky, if there is one, with errors."""
    label, colour, mark = SKIES[name]
    if f"{curve}_{name}" in found:
        y, error = found[f"{curve}_{name}"], found[f"{curve}_{name}_error"]
        style = {"marker": mark, "ms": 4, "lw": 1.1, "elinewidth": 0.7, "label": label + suffix, **style}
        ax.errorbar(x, y, error, color=colour, **style)


def _undefined(ax: Axes, values: xr.DataArray) -> bool:
    """Whether a statistic is undefined, as the map is too small; then write so in its panel."""
    undefined = not np.isfinite(values).any()
    if undefined:
        say(ax, "too few tiles to tell")
    return undefined


def _contrasts(ax: Axes, found: xr.Dataset) -> None:
    """Contrast along and across against separation."""
    for name in SKIES:
        _curve(ax, found, name, found.separation, "across", ", across")
        _curve(ax, found, name, found.separation, "along", ", along", ls="--", mfc="white")
    ax.set(xlabel="Separation (kpc)", ylabel="Squared contrast of density")
    if not _undefined(ax, found.across_map):
        highest = max(float(found[f"across_{name}"].max()) for name in SKIES if f"across_{name}" in found)
        ax.set(xlim=(0, None), ylim=(0, 2 * highest))
    ax.set_title("a. Density of two cells", loc="left")


def _elongation(ax: Axes, found: xr.Dataset) -> None:
    """Ratio of the contrasts across and along."""
    ax.axhline(1.0, color="0.5", lw=0.7, ls=":")
    middle, error = found.elongation_isotropic, found.elongation_isotropic_error
    ax.fill_between(found.separation, middle - error, middle + error, color=GREY, lw=0, label="isotropic skies")
    for name in SKIES:
        _curve(ax, found, name, found.separation, "elongation")
    ax.set(xlabel="Separation (kpc)", ylabel="Contrast across / along")
    if not _undefined(ax, found.elongation_map):
        ax.set(xlim=(0, None), ylim=(0, 1.3 * ax.get_ylim()[1]))
    ax.set_title("b. Fingers of God", loc="left")


def _tiling(ax: Axes, found: xr.Dataset) -> None:
    """Differences between tiles."""
    for name in SKIES:
        _curve(ax, found, name, found.tiles_apart, "jump")
    ax.set(xlabel="Tiles apart", ylabel="Mean (difference of ln $A_V$)²")
    if not _undefined(ax, found.jump_map):
        ax.set(ylim=(0, None), xticks=found.tiles_apart)
    ax.set_title("c. Tiling", loc="left")


def _rows(ax: Axes, found: xr.Dataset, axis: str, title: str) -> None:
    """Contribution of each row to the correlation of distant tiles, and its standard deviation without stripes."""
    error = found[f"{axis}_rows_map_error"]
    if not _undefined(ax, error):
        ax.fill_between(found[axis], -error, error, step="mid", color=GREY, lw=0, label="no stripes, 68 %")
        ax.axhline(0.0, color="0.5", lw=0.7, ls=":")
        for name, (label, colour, mark) in {**SKIES, "residual": ("map less true sky", ORANGE, "D")}.items():
            if f"{axis}_rows_{name}" in found:
                row = found[f"{axis}_rows_{name}"]
                ax.plot(found[axis], row, color=colour, marker=mark, ms=3.5, lw=0.9, label=label)
        low, high = ax.get_ylim()
        ax.set(ylim=(low, high + 0.5 * (high - low)))
    ax.set(xlabel=f"Galactic {'latitude' if axis == 'b' else 'longitude'} ${axis}$ (deg)", ylabel="Shared variance")
    ax.set_title(title, loc="left")


def _ends(ax: Axes, found: xr.Dataset) -> None:
    """Distances of the largest steps of sightlines."""
    edges = np.append(found.distance_bounds[:, 0], found.distance_bounds[-1, 1])
    for prefix, name in (("truth_", "truth"), ("", "map")):
        if f"{prefix}largest_step" in found:
            label, colour, _ = SKIES[name]
            ax.stairs(100 * found[f"{prefix}largest_step"], edges, color=colour, lw=1.1, label=label)
    for end in (edges[0], edges[-2]):
        ax.axvspan(end, end + edges[1] - edges[0], color=ORANGE, alpha=0.35, lw=0)
    ax.set(xlabel="Distance of the largest step (kpc)", ylabel="Sightlines (%)", xlim=edges[[0, -1]], ylim=(0, None))
    ax.set_title("f. Largest steps", loc="left")


@STYLE
def artefacts(found: xr.Dataset) -> Figure:
    """Six panels: contrasts along and across, their ratio, tiling, stripes in latitude and longitude, largest steps.

    Parameters
    ----------
    found : Dataset
        Curves of `galcarto.dustmap.compare.artefacts.measure`, with coordinates separation (kpc), tiles_apart, l and b
        (deg), and distance_bounds (kpc). Those of the truth are drawn if present.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 5.2), layout="constrained")
    first, second, third, fourth, fifth, sixth = figure.subplots(2, 3).ravel()
    _contrasts(first, found)
    _elongation(second, found)
    _tiling(third, found)
    _rows(fourth, found, "b", "d. Stripes in latitude")
    _rows(fifth, found, "l", "e. Stripes in longitude")
    fifth.invert_xaxis()
    _ends(sixth, found)
    for ax in (first, second, third, fourth, sixth):
        if ax.get_legend_handles_labels()[0]:
            where = "upper left" if ax is third else "upper right"
            ax.legend(loc=where, fontsize=6.5, handlelength=2.2, labelspacing=0.25, frameon=True, edgecolor="none")
    return figure
