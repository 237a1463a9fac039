"""Scores of ablation variants."""

import pandas as pd
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, ORANGE, PAGE, STYLE

HELD_OUT = (
    ("median_relative_error", "Mocks: median\nrelative error", None),
    ("coverage_68", "Mocks: truths in\nthe 68 % interval", 0.68),
    ("coverage_95", "Mocks: truths in\nthe 95 % interval", 0.95),
)
WINDOW = ("half_rise_fraction", "Sky: half-rises\nin the window", 1.0)


@STYLE
def against_full(table: pd.DataFrame) -> Figure:
    """Scores of all variants, with those of the full mock and the ideal values.

    Parameters
    ----------
    table : DataFrame
        ``left_out``; ``median_relative_error``, ``coverage_68``, ``coverage_95``; for each map ``NAME_slope``; and
        ``half_rise_fraction`` if present. The full variant first.

    Returns
    -------
    Figure
    """
    maps = [name.removesuffix("_slope") for name in map(str, table) if name.endswith("_slope")]
    panels = [*HELD_OUT, *((f"{name}_slope", f"Sky: slope\nto {name}", 1.0) for name in maps)]
    panels += [WINDOW] if WINDOW[0] in table else []
    figure = Figure(figsize=(PAGE, 0.9 + 0.24 * len(table)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    rows = range(len(table))
    for ax, (name, label, ideal) in zip(axes, panels, strict=True):
        values = table[name]
        ax.axvline(values.iloc[0], color=BLUE, lw=0.7)
        if ideal is not None:
            ax.axvline(ideal, color="black", ls=":", lw=1)
        ax.scatter(values, rows, s=14, color=[BLUE, *[ORANGE] * (len(table) - 1)], zorder=3)
        ax.set_xlabel(label)
        ax.locator_params(axis="x", nbins=3)
    axes[0].set_yticks(list(rows), [f"without {text}" if i else "full" for i, text in enumerate(table["left_out"])])
    axes[0].tick_params(axis="y", length=0)
    axes[0].invert_yaxis()
    return figure
