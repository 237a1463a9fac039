"""Draw the cube's differences from a published map of dust in three dimensions.

Example:
  galcarto plot_map --comparison results/orion/comparisons/map_bayestar19.nc \\
      --output results/orion/figures/map_bayestar19.png
"""

from galcarto.figures import published
from galcarto.figures.stage import plot

configure, run = plot(published.differences, comparison="both maps and the scores (netCDF)")
