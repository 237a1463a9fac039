"""Draw the extinction from each survey alone and from both together.

Example:
  galcarto plot_surveys --comparison results/cone/comparisons/surveys.nc --output results/cone/figures/surveys.png
"""

from galcarto.figures import together
from galcarto.figures.stage import plot

configure, run = plot(together.surveys, comparison="extinction by survey (netCDF)")
