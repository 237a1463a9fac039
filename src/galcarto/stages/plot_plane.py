"""Draw the extinction in the plane of the sky beside a map of dust emission.

Example:
  galcarto plot_plane --comparison results/demo/comparisons/planck_synthetic.nc \\
      --output results/demo/figures/planck_synthetic.png
"""

from galcarto.figures import plane
from galcarto.figures.stage import plot

configure, run = plot(
    plane.comparison,
    comparison="both maps and the scores (netCDF)",
    excess="A_V of the mean colour excess on the same tiles (netCDF)",
)
