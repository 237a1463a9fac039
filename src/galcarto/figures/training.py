"""Training history."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from galcarto.figures.style import BLUE, ORANGE, PAGE, STYLE


@STYLE
def history(table: pd.DataFrame) -> Figure:
    """Training and validation loss, and the learning rate, against examples seen.

    Parameters
    ----------
    table : DataFrame
        Columns examples, train_loss, valid_loss, learning_rate; a row may lack any of the last three.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 4.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    train = table.dropna(subset="train_loss")
    valid = table.dropna(subset="valid_loss")
    rate = table.dropna(subset="learning_rate")
    top.plot(train.examples, train.train_loss, color=BLUE, marker="s", ms=3, label="training, mean of a round")
    top.plot(valid.examples, valid.valid_loss, color=ORANGE, marker="o", ms=4, label="validation, at its end")
    top.set_ylabel("Loss, −ln likelihood (nat)")
    top.legend()
    bottom.plot(rate.examples, rate.learning_rate, color="black", marker=".")
    bottom.set(
        ylim=(0, 1.1 * rate.learning_rate.max()),
        ylabel="Learning rate",
        xlabel="Examples seen (number)",
    )
    bottom.set_xlim(left=0)
    bottom.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.align_ylabels()
    return figure
