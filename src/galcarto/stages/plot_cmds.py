"""Draw colour-magnitude diagrams: without dust, behind dust, and observed.

Example:
  galcarto plot_cmds --examples results/demo/cmds/test/l292.500_b+00.200.nc --sky results/demo/sky/cmds.nc \\
      --output results/demo/figures/cmds.png
"""

from galcarto.figures import diagrams
from galcarto.figures.stage import plot

configure, run = plot(
    diagrams.gallery, examples="mock diagrams of one sightline (netCDF)", sky="observed diagrams (netCDF)"
)
