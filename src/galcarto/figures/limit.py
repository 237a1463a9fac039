"""Error of the network compared with those of other methods on the same diagrams."""

import xarray as xr
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, ORANGE, PAGE, STYLE

SERIES = (
    ("network", BLUE, "-", "network"),
    ("solver", "black", "--", "likelihood, same prior"),
    ("colour_excess", ORANGE, "-.", "colour excess"),
)
PANELS = (
    ("rmse", "RMS error in $A_V$ (mag)"),
    ("median_error", "Median absolute error (mag)"),
    ("many_rmse", "RMS error in $A_V$ (mag)"),
)


@STYLE
def against_distance(comparison: xr.Dataset) -> Figure:
    """Errors of the three methods.

    Parameters
    ----------
    comparison : Dataset
        rmse and median_error (method, distance), mag, of the diagrams that all methods solved; many_rmse (quick_method,
        distance), of many more; their 68 % intervals, NAME_interval (..., end, distance).

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
    axes = figure.subplots(1, 3, sharex=True)
    numbers = comparison.sizes["example"], comparison.sizes["example"], int(comparison["many_valid"].max())
    for ax, (name, label), number in zip(axes, PANELS, numbers, strict=True):
        of = comparison[name].dims[0]
        for method, colour, line, legend in SERIES:
            if method not in comparison[of]:
                continue
            data = comparison.sel({of: method})  # sel has an argument "method"
            ax.plot(data.distance, data[name], color=colour, ls=line, label=legend)
            low, high = data[f"{name}_interval"]
            ax.fill_between(data.distance, low, high, color=colour, alpha=0.15, lw=0)
        ax.set(xlabel="Distance (kpc)", ylabel=label, title=f"{number} diagrams")
        ax.set_ylim(bottom=0)
    axes[0].set_xlim(0, float(comparison.distance[-1]))
    axes[1].legend()
    return figure
