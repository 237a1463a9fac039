"""Style shared by all figures: page width, fonts, colours, common panels, and reproducible files."""

import logging
from pathlib import Path
from typing import Any

import matplotlib.style
import xarray as xr
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from galcarto.core.files import Output

PAGE = 7.1  # inches: the width of a two-column page, so that fonts keep their size in print

# Okabe & Ito (2008): distinguishable with any colour vision
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
PINK = "#CC79A7"
SKY = "#56B4E9"
CYCLE = (BLUE, ORANGE, GREEN, PINK, SKY, "black")
GREY = "0.88"  # background for missing values
OUTLINE = (withStroke(linewidth=2.2, foreground="white"),)  # for marks on an image

# "default" first, so that the user's matplotlibrc does not change the figures
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
            "xtick.major.pad": 5,  # separates the two tick labels in the corner
            "axes.prop_cycle": cycler(color=CYCLE),
            "pdf.fonttype": 42,  # TrueType: journals reject type 3
        },
    ]
)
"""Decorator that applies the style. `save` needs it too, as ticks are created when drawing."""


def plain_decades(axis: Axis) -> None:
    """Label a logarithmic axis at 1, 2, 5, 10, ... in plain numbers, and more densely where it spans less than 1:5."""
    low, high = sorted(axis.get_view_interval())
    if high > 5 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        axis.set_major_locator(MaxNLocator(4))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def direction(l: float, b: float) -> str:
    """A direction as the title of a panel."""
    return f"$l$ = {l:.2f}°, $b$ = {b:.2f}°".replace("-", "−")


def diagram(ax: Axes, colour: Any, magnitude: Any, counts: Any, norm: Normalize) -> QuadMesh:
    """Draw a colour-magnitude diagram of counts on a logarithmic scale, with empty pixels dark and white ticks."""
    image = ax.pcolormesh(colour, magnitude, counts, norm=norm, cmap="magma", shading="nearest")
    ax.set_facecolor(image.cmap(0))  # empty pixels have no logarithm
    ax.tick_params(color="white")
    return image


def tile_map(ax: Axes, values: xr.DataArray, title: str, **scale: Any) -> QuadMesh:
    """Draw a map of tiles, shape (b, l), with missing tiles in grey."""
    image = ax.pcolormesh(values.l, values.b, values, shading="nearest", **scale)
    ax.set(facecolor=GREY, aspect="equal", xlabel="Longitude $l$ (deg)")
    ax.set_title(title, parse_math=False)
    return image


def say(ax: Axes, text: str) -> None:
    """Replace the contents of a panel by a text."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center")
    ax.set(xticks=[], yticks=[])


logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs about each glyph

# dates and versions would change the bytes of a file
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
}


@STYLE
def save(figure: Figure, *paths: str | Path) -> None:
    """Write a figure as ``png`` (150 dpi) or ``pdf``, by the suffix of each path, with reproducible bytes.

    Images in a PDF are rasterised at 300 dpi, as vector pixels would show seams; all else is vectors.
    """
    for image in figure.findobj(QuadMesh):
        image.set_rasterized(True)
    for path in paths:
        form = Path(path.final if isinstance(path, Output) else path).suffix[1:]
        dpi = 150 if form == "png" else 300
        figure.savefig(path, format=form, dpi=dpi, bbox_inches="tight", pad_inches=0.06, metadata=METADATA[form])
