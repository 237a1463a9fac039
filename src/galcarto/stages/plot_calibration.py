"""Draw how often the truth lies inside the credible intervals.

Example:
  galcarto plot_calibration --heldout results/demo/comparisons/heldout.nc \\
      --output results/demo/figures/calibration.png
"""

from galcarto.figures import calibration
from galcarto.figures.stage import plot

configure, run = plot(calibration.coverage, heldout="scores of the held-out mocks (netCDF)")
