"""Draw the loss and the learning rate over the training.

Example:
  galcarto plot_training --history results/demo/network/history.csv --output results/demo/figures/training.png
"""

import pandas as pd

from galcarto.figures import training
from galcarto.figures.stage import plot

configure, run = plot(training.history, history=("training history (CSV)", pd.read_csv))
