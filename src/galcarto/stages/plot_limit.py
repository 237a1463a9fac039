"""Draw the error of the network beside the information limit and colour excesses.

Example:
  galcarto plot_limit --comparison results/orion/comparisons/limit.nc --output results/orion/figures/limit.png
"""

from galcarto.figures import limit
from galcarto.figures.stage import plot

configure, run = plot(limit.against_distance, comparison="errors of the three methods (netCDF)")
