"""Draw the dust on spiral arms and at their tracers against the dust elsewhere.

Example:
  galcarto plot_arms --comparison results/demo/comparisons/arms.nc --output results/demo/figures/arms.png
"""

from galcarto.figures import tracers
from galcarto.figures.stage import plot

configure, run = plot(tracers.arms, comparison="density by distance to the nearest arm, and ratios (netCDF)")
