"""Draw the prior over profiles beside published statistics of the nearby dust.

Example:
  galcarto plot_prior --prior results/demo/comparisons/prior.nc --output results/demo/figures/prior.png
"""

from galcarto.figures import prior
from galcarto.figures.stage import plot

configure, run = plot(prior.samples, prior="statistics of the prior (netCDF)")
