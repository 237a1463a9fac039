"""Extinction from each survey alone and from both together."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, ORANGE, PAGE, STYLE, direction

SHOWN = 5  # tiles
OFFSET = 0.015  # kpc between the marks of the surveys at one distance


@STYLE
def surveys(found: xr.Dataset) -> Figure:
    """A_V against distance of some tiles by survey, and the ratio of the errors.

    Parameters
    ----------
    found : Dataset
        extinction and extinction_sd (survey, tile, distance), mag, the last survey being both together; sd_ratio
        (distance,), of both over the better one alone; l and b (tile,), deg.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 4.4), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True).ravel()
    names = [str(name) for name in found.survey.values]
    marks = list(zip(names, (BLUE, ORANGE, "black"), ("s", "D", "o"), strict=True))
    last = found.extinction.isel(distance=-1, survey=-1)
    order = np.argsort(last.values, kind="stable")
    chosen = order[np.unique(np.round(np.linspace(0, len(order) - 1, SHOWN)).astype(int))] if len(order) else order
    for ax, at in zip(axes, chosen, strict=False):
        one = found.isel(tile=at)
        for i, (name, colour, mark) in enumerate(marks):
            values, errors = one.extinction.sel(survey=name), one.extinction_sd.sel(survey=name)
            place = found.distance + (i - 1) * OFFSET
            ax.errorbar(place, values, errors, fmt=mark, color=colour, ms=3.5, lw=0.9, capsize=1.5, label=name)
        ax.set_ylim(bottom=0)
        ax.set_title(direction(float(one.l), float(one.b)), fontsize=8)
    for ax in axes[len(chosen) : -1]:
        ax.set_visible(False)
    if len(chosen):
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(marks))
    ratio = axes[-1]
    ratio.plot(found.distance, found.sd_ratio, "o-", color="black", ms=3.5)
    ratio.axhline(1.0, color="black", ls=":", lw=1)
    ratio.set(ylim=(0, 1.1 * max(1.0, float(found.sd_ratio.max()))), ylabel="Ratio of errors (number)")
    ratio.set_title("Both over the better one, median", fontsize=8)
    for ax in (axes[0], axes[3]):
        ax.set_ylabel("$A_V$ (mag)")
    for ax in axes:
        ax.set_xlabel("Distance (kpc)")
        ax.tick_params(labelbottom=True)
    return figure
