"""How the network learnt."""

import pandas as pd
from matplotlib.figure import Figure

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
    top.plot(train.examples, train.train_loss, color=BLUE, lw=1, label="training")
    top.plot(valid.examples, valid.valid_loss, color=ORANGE, marker="o", ms=4, label="validation")
    if min(train.train_loss.min(), valid.valid_loss.min()) > 0:
        top.set_yscale("log")
    top.set_ylabel("Loss (dimensionless)")
    top.legend()
    bottom.plot(rate.examples, rate.learning_rate, color="black")
    bottom.set(yscale="log", ylabel="Learning rate", xlabel="Examples seen (number)")
    bottom.set_xlim(left=0)
    figure.align_ylabels()
    return figure
