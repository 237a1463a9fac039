"""Draw extinction against distance for sightlines spread over the map.

Example:
  galcarto plot_profiles --cube results/demo/cube.nc --truth results/demo/sky/truth.nc \\
      --output results/demo/figures/profiles.png
"""

from galcarto.figures import profiles
from galcarto.figures.stage import plot
from galcarto.maps.reader import open_cube

configure, run = plot(
    profiles.sightlines, cube=("cube (netCDF)", open_cube), truth="true extinction of a synthetic sky (netCDF)"
)
