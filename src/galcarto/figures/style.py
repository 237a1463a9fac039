"""One look for every figure: page widths, fonts, colours, and files whose bytes do not change between runs."""

from pathlib import Path

import matplotlib.style
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

PAGE = 7.1  # inches: a page of two columns, so that fonts keep their size in print

# Okabe & Ito (2008): told apart by readers of any colour vision
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREY = "0.88"  # where there is nothing to show
OUTLINE = (withStroke(linewidth=2.2, foreground="white"),)  # for marks on top of an image

# "default" first: a reader's own matplotlibrc must not change the figures
STYLE = matplotlib.style.context(
    [
        "default",
        {
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.labelsize": 9,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "axes.linewidth": 0.7,
            "lines.linewidth": 1.3,
            "xtick.direction": "in",
            "ytick.direction": "in",
            "xtick.top": True,
            "ytick.right": True,
            "xtick.major.pad": 5,  # keeps the corner's two tick labels apart
        },
    ]
)
"""Decorator: draw under the project's look. Ticks are made late, so `save` draws under it too."""


def plain_decades(bar: Colorbar) -> None:
    """Label a logarithmic colour bar at 1, 2, 5, 10, ... in plain numbers."""
    axis = bar.long_axis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def direction(l: float, b: float) -> str:
    """A direction as a panel's title: l and b in degrees to two decimals."""
    return f"$l$ = {l:.2f}°, $b$ = {b:.2f}°".replace("-", "−")


@STYLE
def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG at 150 dpi, the same bytes on every run."""
    figure.savefig(path, format="png", dpi=150, bbox_inches="tight", pad_inches=0.06, metadata={"Software": None})
