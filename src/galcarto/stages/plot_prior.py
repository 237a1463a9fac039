"""Draw the prior over profiles beside published statistics of the nearby dust.

Example:
  galcarto plot_prior --prior results/orion/comparisons/prior.nc --output results/orion/figures/prior.png
"""

from galcarto.figures import prior
from galcarto.figures.stage import plot

configure, run = plot(prior.samples, prior="statistics of the prior (netCDF)")
