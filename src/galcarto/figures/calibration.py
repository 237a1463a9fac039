"""Calibration of the uncertainties."""

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from galcarto.figures.style import BLUE, GREY, ORANGE, PAGE, STYLE

LEVELS = ((0.68, BLUE, "-"), (0.95, ORANGE, "--"))


@STYLE
def coverage(heldout: xr.Dataset) -> Figure:
    """Coverage of central intervals, over all distances and against distance, and the PIT histogram.

    Parameters
    ----------
    heldout : Dataset
        coverage (level, distance) and coverage_all (level,): fraction of the truths inside the central
        interval of nominal `level`, 0 to 1; pit_density (pit,): density of the probability integral
        transform, 1 where calibrated; distance, kpc.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 2.4), layout="constrained")
    nominal, distance, pit = figure.subplots(1, 3, gridspec_kw={"wspace": 0.08})

    nominal.plot([0, 1], [0, 1], color="black", ls=":", lw=1, label="exact")
    nominal.plot(heldout.level, heldout.coverage_all, color=BLUE, marker="o", ms=3, label="held-out")
    nominal.set(xlim=(0, 1), ylim=(0, 1))
    nominal.set(xlabel="Nominal level (%)", ylabel="Observed coverage (%)")
    nominal.legend(loc="upper left")

    for level, colour, line in LEVELS:
        one = heldout.coverage.sel(level=level, method="nearest")
        label = f"{100 * float(one.level):.0f} %"
        distance.plot(heldout.distance, one, color=colour, ls=line, label=label)
        distance.axhline(float(one.level), color=colour, ls=":", lw=1)
    distance.set(ylim=(0, 1.02), xlim=(0, float(heldout.distance[-1])))
    distance.set(xlabel="Distance (kpc)", ylabel="Observed coverage (%)")
    distance.legend(title="Nominal level", loc="lower left", title_fontsize=8)

    for ax in (nominal, distance, pit):
        ax.set_box_aspect(1)
    for axis in (nominal.xaxis, nominal.yaxis, distance.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, symbol=""))

    pit.bar(heldout.pit, heldout.pit_density, width=1 / heldout.sizes["pit"], color=GREY, edgecolor=BLUE, lw=0.8)
    pit.axhline(1.0, color="black", ls=":", lw=1)
    pit.set(xlim=(0, 1), xlabel="PIT (dimensionless)", ylabel="Density (dimensionless)")
    return figure
