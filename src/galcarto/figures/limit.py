"""The network's error beside those of other solutions of the same diagrams."""

import xarray as xr
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, ORANGE, PAGE, STYLE

SERIES = (
    ("network", BLUE, "-", "network"),
    ("solver", "black", "--", "likelihood, same prior"),
    ("colour_excess", ORANGE, "-.", "colour excess"),
)
PANELS = (("rmse", "RMS error in $A_V$ (mag)"), ("median_error", "Median absolute error in $A_V$ (mag)"))


@STYLE
def against_distance(comparison: xr.Dataset) -> Figure:
    """Errors of the three methods.

    Parameters
    ----------
    comparison : Dataset
        rmse and median_error (method, distance), mag, and their 68 % intervals rmse_interval and
        median_error_interval (method, end, distance).

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 2.8), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    for ax, (name, label) in zip(axes, PANELS, strict=True):
        for method, colour, line, legend in SERIES:
            data = comparison.sel({"method": method})  # sel has an argument of that name
            ax.plot(data.distance, data[name], color=colour, ls=line, label=legend)
            low, high = data[f"{name}_interval"]
            ax.fill_between(data.distance, low, high, color=colour, alpha=0.15, lw=0)
        ax.set(xlabel="Distance (kpc)", ylabel=label)
        ax.set_ylim(bottom=0)
    axes[0].set_xlim(0, float(comparison.distance[-1]))
    axes[1].legend()
    return figure
