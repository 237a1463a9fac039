"""Draw fingers of God, tiling, stripes and steps at the ends of the grid.

Example:
  galcarto plot_artefacts --comparison results/demo/comparisons/artefacts.nc \\
      --output results/demo/figures/artefacts.png
"""

from galcarto.figures import artefacts
from galcarto.figures.stage import plot

configure, run = plot(artefacts.artefacts, comparison="curves from measure_artefacts (netCDF)")
