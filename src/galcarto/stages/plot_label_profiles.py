"""Draw the colour excess of labelled stars over a cube's profiles of extinction.

Example:
  galcarto plot_label_profiles --comparison labels_cube.nc --output label_profiles.png
"""

from galcarto.figures import labels
from galcarto.figures.stage import plot

configure, run = plot(labels.profiles, comparison="output of compare_labels (netCDF)")
