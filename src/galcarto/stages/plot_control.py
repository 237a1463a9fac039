"""Draw the diagrams of the control field: observed, mock before the fit, and fitted mock.

Example:
  galcarto plot_control --comparison results/orion/comparisons/control.nc --output results/orion/figures/control.png
"""

import xarray as xr
from matplotlib.figure import Figure

from galcarto.dustmap.control_field import summary
from galcarto.figures import control
from galcarto.figures.stage import plot


def _fits(comparison: xr.Dataset) -> Figure:
    return control.fits(
        comparison, {name: summary(comparison.sel(survey=name)) for name in comparison["survey"].values}
    )


configure, run = plot(_fits, comparison="diagrams of the control field (netCDF)")
