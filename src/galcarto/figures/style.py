"""One look for every figure: page widths, fonts, colours, and files whose bytes do not change between runs."""

import logging
from pathlib import Path
from typing import Any

import matplotlib.style
from cycler import cycler
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from galcarto.core.files import Output

PAGE = 7.1  # inches: a page of two columns, so that fonts keep their size in print

# Okabe & Ito (2008): told apart by readers of any colour vision
BLUE = "#0072B2"
ORANGE = "#D55E00"
CYCLE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "black")
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
            "axes.prop_cycle": cycler(color=CYCLE),
            "pdf.fonttype": 42,  # TrueType: journals refuse type 3, and the letters stay text
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


logging.getLogger("fontTools").setLevel(logging.WARNING)  # a hundred lines about each figure's letters

# dates and versions would change a file's bytes
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
}


@STYLE
def save(figure: Figure, *paths: str | Path) -> None:
    """Write a figure in the format of each path's name, ``png`` at 150 dpi or ``pdf``: the same bytes on every run.

    Letters and lines of a PDF are vectors. Images in it are of 300 dpi: as vectors, each of their pixels would be drawn
    with a seam around it.
    """
    for image in figure.findobj(QuadMesh):
        image.set_rasterized(True)
    for path in paths:
        form = Path(path.final if isinstance(path, Output) else path).suffix[1:]
        dpi = 150 if form == "png" else 300
        figure.savefig(path, format=form, dpi=dpi, bbox_inches="tight", pad_inches=0.06, metadata=METADATA[form])
