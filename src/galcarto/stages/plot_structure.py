"""Draw the distance of the dust in the tiles of highest extinction.

Example:
  galcarto plot_structure --comparison results/orion/comparisons/structure.nc \\
      --output results/orion/figures/structure.png
"""

from galcarto.figures import structure
from galcarto.figures.stage import plot

configure, run = plot(structure.distances, comparison="half-rises of the tiles (netCDF)")
