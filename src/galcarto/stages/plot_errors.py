"""Draw the error of the extinction against distance.

Example:
  galcarto plot_errors --heldout results/demo/comparisons/heldout.nc \\
      --truth results/demo/comparisons/truth.nc --output results/demo/figures/errors.png
"""

from galcarto.figures import errors
from galcarto.figures.stage import plot

configure, run = plot(
    errors.against_distance,
    heldout="scores of the held-out mocks (netCDF)",
    truth="scores of the sky against its truth (netCDF)",
)
