"""Draw maps of the quantities that show how far each tile can be trusted.

Example:
  galcarto plot_trust --cube results/demo/cube.nc --output results/demo/figures/trust.png
"""

from galcarto.figures import trust
from galcarto.figures.stage import plot
from galcarto.maps.reader import open_cube

configure, run = plot(trust.maps, cube=("cube (netCDF)", open_cube))
