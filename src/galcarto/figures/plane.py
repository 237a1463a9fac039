"""Total extinction on the plane of the sky, compared with a map of dust emission."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from galcarto.figures.style import BLUE, ORANGE, PAGE, STYLE, tile_map

STRIP = 0.15  # height of the window over its width below which the maps lie one above another, stretched in latitude
FAR = 4.0  # mean squared difference over our variance above which the figure says why
WHY_FAR = """The maps differ by far more than our errors:
the emission map's own are not known, and
it holds dust behind the stars."""
CROSS: dict[str, Any] = {  # a tile left out, legible on any colour
    **{"marker": "x", "ls": "none", "color": "white", "ms": 4},
    "path_effects": [withStroke(linewidth=2.4, foreground="black")],
}


@STYLE
def comparison(maps: xr.Dataset, excess: xr.Dataset | None = None) -> Figure:
    """Both maps on one colour scale, their difference, and a scatter plot of the tiles.

    Parameters
    ----------
    maps : Dataset
        extinction, extinction_sd, planck and difference (l, b), mag; used (l, b), whether a tile enters the numbers;
        attributes name, spearman, n, and slope, offset_mag, scatter_mag of extinction = slope * planck + offset;
        bias_mag, difference_scatter_mag and chi2 of the difference; reach, how far the extinction is counted, unless as
        far as stars reach.
    excess : Dataset, optional
        extinction (l, b), mag: A_V of the mean colour excess of the same tiles, drawn beside ours in the scatter plot.

    Returns
    -------
    Figure
    """
    maps = maps.transpose("b", "l")
    used = maps.used.values.astype(bool)
    ours, planck = maps.extinction.where(used), maps.planck.where(used)
    ceiling = float(np.nan_to_num(np.fmax(ours.max(), planck.max()))) or 1.0
    higher = bool((np.fmax(maps.extinction, maps.planck) > ceiling).any())

    shape = maps.sizes["b"] / maps.sizes["l"]  # tiles are as wide as they are high
    strip = shape < STRIP
    if strip:
        heights = [0.55, 0.55, 0.55, 3.5]  # inches
        figure = Figure(figsize=(PAGE, sum(heights) + 1.2), layout="constrained")
        grid = figure.add_gridspec(4, 1, height_ratios=heights)
        places, below = [grid[row, 0] for row in range(3)], grid[3, 0]
    else:
        heights = [min(1.7 * shape, 4.0) + 0.9, 3.5]
        figure = Figure(figsize=(PAGE, sum(heights)), layout="constrained")
        grid = figure.add_gridspec(2, 3, height_ratios=heights)
        places, below = [grid[0, column] for column in range(3)], grid[1, :]
    left = figure.add_subplot(places[0])
    right = figure.add_subplot(places[1], sharex=left, sharey=left)
    scatter = figure.add_subplot(below)
    third = figure.add_subplot(places[2], sharex=left, sharey=left)
    reach = maps.attrs.get("reach", "as far as stars reach")
    titles = (f"This work,\n{reach}", f"Dust emission ({maps.attrs['name']}),\nwhole sightline")
    for ax, title, values in zip((left, right), titles, (maps.extinction, maps.planck), strict=True):
        image = tile_map(ax, values, title, vmin=0, vmax=ceiling, cmap="viridis")
        row, column = np.nonzero(~used & np.isfinite(values.values))
        ax.plot(maps.l[column], maps.b[row], **CROSS)
    difference = maps.difference.where(used)
    spread = float(np.nan_to_num(np.abs(difference).max())) or 1.0
    changes = tile_map(third, difference, "Difference\n", vmin=-spread, vmax=spread, cmap="RdBu_r")
    left.xaxis.set_major_locator(MaxNLocator(8 if strip else 3, steps=[1, 2, 5, 10]))
    left.invert_xaxis()
    bars: tuple[dict[str, Any], ...]
    bars = {"label": "$A_V$ (mag)", "extend": "max" if higher else "neither"}, {"label": r"$\Delta A_V$ (mag)"}
    if strip:
        for ax in (left, right, third):
            ax.set_aspect("auto")
            ax.set_title(ax.get_title().strip().replace("\n", " "))
        for ax in (left, right):
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
        right.set_ylabel("Latitude $b$ (deg), stretched", y=0.4)
        figure.colorbar(image, ax=[left, right], aspect=12, pad=0.01, **bars[0])
        figure.colorbar(changes, ax=third, aspect=5, pad=0.01, **bars[1])
    else:
        left.set_ylabel("Latitude $b$ (deg)")
        for ax in (right, third):
            ax.tick_params(labelleft=False)
        figure.colorbar(image, cax=right.inset_axes((1.05, 0, 0.05, 1)), **bars[0])
        figure.colorbar(changes, cax=third.inset_axes((1.05, 0, 0.05, 1)), **bars[1])

    ends = np.array([0.0, 1.04 * ceiling])
    if excess is not None:
        theirs = excess["extinction"].transpose("b", "l").values[used]
        scatter.plot(planck.values[used], theirs, "o", mfc="none", mec="0.45", ms=4, mew=0.8, label="colour excess")
    label = "tile" if excess is None else "this work"
    sd = maps.extinction_sd.values[used]
    scatter.errorbar(
        planck.values[used], ours.values[used], sd, fmt=".", color=BLUE, ms=5, lw=0.6, alpha=0.6, mew=0,
        label=f"{label}, with our sd",
    )  # fmt: skip
    fit = maps.attrs["slope"] * ends + maps.attrs["offset_mag"]
    scatter.plot(ends, fit, color=ORANGE, label="fitted line")
    scatter.plot(ends, ends, color="black", ls="--", lw=1, label="1 : 1")
    scatter.set(xlim=ends, ylim=ends, aspect="equal", ylabel="$A_V$ from stars (mag)")
    scatter.set_xlabel(f"A(V) from dust emission, map {maps.attrs['name']} (mag)", parse_math=False)
    if not used.all():
        scatter.plot([], [], **CROSS, label="tile left out of the numbers")
    numbers = (
        ("Spearman", f"{maps.attrs['spearman']:.3f}"),
        ("slope", f"{maps.attrs['slope']:.3f}"),
        ("offset", f"{maps.attrs['offset_mag']:.2f} mag"),
        ("scatter about the line", f"{maps.attrs['scatter_mag']:.2f} mag"),
        ("median difference", f"{maps.attrs['bias_mag']:.2f} mag"),
        ("its scatter", f"{maps.attrs['difference_scatter_mag']:.2f} mag"),
        ("(difference / our sd)², mean", f"{maps.attrs['chi2']:.2f}"),
        ("tiles", f"{maps.attrs['n']:.0f}"),
    )
    text = "\n".join(f"{name}: {value}" for name, value in numbers).replace("-", "−")
    if maps.attrs["chi2"] > FAR:
        text += f"\n{WHY_FAR}"
    legend = scatter.legend(title=text, loc="upper left", bbox_to_anchor=(1.02, 1), alignment="left", title_fontsize=8)
    if strip:  # beside it there is room, which the maps would lose
        scatter.set_anchor("W")
        legend.set_in_layout(False)
    return figure
