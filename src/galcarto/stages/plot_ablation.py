"""Draw the scores of the ablation's variants.

Example:
  galcarto plot_ablation --table results/orion/ablation.csv --output results/orion/figures/ablation.png
"""

import pandas as pd

from galcarto.figures import ablation
from galcarto.figures.stage import plot

configure, run = plot(ablation.against_full, table=("scores of the variants (CSV)", pd.read_csv))
