"""Draw mean [Fe/H] against R and |Z|, with the number of stars and the error of the mean beside it.

Example:
  galcarto plot_metallicity_map --map results/metallicity/map.nc \\
      --output results/metallicity/figures/metallicity_map.png
"""

from galcarto.figures import labels
from galcarto.figures.stage import plot

configure, run = plot(labels.galactic, map="maps of map_metallicity (netCDF)")
