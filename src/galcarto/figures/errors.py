"""Error against distance."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, ORANGE, PAGE, STYLE, plain_decades

WIDE = 5.0  # a largest value this many times the median makes an axis logarithmic
PANELS = (
    ("median_relative_error", 100.0, "Median relative error (%)"),
    ("valid_share", 100.0, "Sightlines with data (%)"),
    ("bias", 1.0, "Bias in $A_V$ (mag)"),
    ("rmse", 1.0, "RMS error in $A_V$ (mag)"),
)


@STYLE
def against_distance(heldout: xr.Dataset, sky: xr.Dataset | None = None) -> Figure:
    """Error of the cumulative extinction for held-out mocks and, where the truth is known, for the sky.

    Parameters
    ----------
    heldout : Dataset
        median_relative_error and valid_share, 0 to 1, bias and rmse, mag, all (distance,), kpc.
    sky : Dataset, optional
        The same for the sky.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 4.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    series = [(heldout, BLUE, "-", "held-out mocks")]
    if sky is not None:
        series.append((sky, ORANGE, "--", "sky against its truth"))
    for ax, (name, scale, label) in zip(axes.flat, PANELS, strict=True):
        for data, colour, line, legend in series:
            ax.plot(data.distance, scale * data[name], color=colour, ls=line, label=legend)
        ax.set_ylabel(label)
        if name == "bias":
            ax.axhline(0, color="black", ls=":", lw=1)
        elif name != "valid_share":
            _from_zero_or_logarithmic(ax, np.concatenate([scale * data[name].values for data, *_ in series]))
    axes[0, 1].set_ylim(0, 105)
    axes[0, 0].set_xlim(0, max(float(data.distance[-1]) for data, *_ in series))
    for ax in axes[1]:
        ax.set_xlabel("Distance (kpc)")
    axes[0, 0].legend()
    figure.align_ylabels()
    return figure


def _from_zero_or_logarithmic(ax: Axes, values: np.ndarray) -> None:
    """Begin an axis at zero, or make it logarithmic, and say so, where one peak would flatten all else."""
    positive = values[values > 0]
    if positive.size and positive.max() > WIDE * np.median(positive):
        ax.set(yscale="log", ylabel=ax.get_ylabel().replace(" (", ", log ("))
        plain_decades(ax.yaxis)
    else:
        ax.set_ylim(bottom=0)
