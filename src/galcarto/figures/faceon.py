"""The dust of the Galactic plane seen from its north pole."""

import matplotlib.patheffects as effects
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from galcarto.figures.arms import ARMS, trace
from galcarto.figures.style import GREY, PAGE, STYLE

MARGIN = 0.05  # of the longer side
LEAST_SHAPE = 0.45  # shorter side of the view over the longer: room for the labels
SIDE = 6.2  # inches, the longer side of the view
BEYOND = 90.0  # deg of azimuth by which an arm is drawn past the masers that place it
DYNAMIC_RANGE = 300.0
OUTLINE = (effects.withStroke(linewidth=2.2, foreground="white"),)


def _view(x: np.ndarray, y: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits in x and y, kpc, that hold the Sun and all points, not too narrow."""
    low, high = np.array([[min(v.min(), 0.0), max(v.max(), 0.0)] for v in (x, y)]).T
    side = (high - low).max()
    half = np.maximum(0.5 * (high - low) + MARGIN * side, 0.5 * LEAST_SHAPE * side)
    middle = 0.5 * (low + high)
    (left, bottom), (right, top) = middle - half, middle + half
    return (left, right), (bottom, top)


def _rings(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Circles around the Sun, each labelled in view where the label is farthest from the data."""
    view = np.array([ax.get_xlim(), ax.get_ylim()])
    inset = 0.04 * np.ptp(view, axis=1)
    azimuth = np.radians(np.arange(0, 360, 3))
    for radius in MaxNLocator(6).tick_values(0, np.hypot(x, y).max())[1:]:
        ax.add_patch(Circle((0, 0), radius, fill=False, color="0.35", lw=0.6, ls=":"))
        ring = radius * np.stack([np.cos(azimuth), np.sin(azimuth)])
        shown = ring[:, ((ring > (view[:, 0] + inset)[:, None]) & (ring < (view[:, 1] - inset)[:, None])).all(axis=0)]
        if shown.size:
            clear = np.hypot(shown[0][:, None] - x, shown[1][:, None] - y).min(axis=1)
            at = shown[:, np.argmax(np.minimum(clear, 0.08 * np.ptp(view, axis=1).max()))]
            ax.text(*at, f"{radius:g} kpc", fontsize=8, color="0.25", ha="center", va="center", path_effects=OUTLINE)


def _arms(ax: Axes) -> None:
    """The arms' ridges: whole lines where masers place them, dashed where extrapolated."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for arm in ARMS:
        azimuth = np.arange(arm.azimuth[0] - BEYOND, arm.azimuth[1] + BEYOND + 0.25, 0.5)
        x, y = trace(arm, azimuth)
        placed = (azimuth >= arm.azimuth[0]) & (azimuth <= arm.azimuth[1])
        for part, line in ((placed, "-"), (~placed, "--")):
            ridge = np.where(part, x, np.nan), np.where(part, y, np.nan)
            ax.plot(*ridge, color="black", lw=1.1, ls=line, path_effects=OUTLINE, scalex=False, scaley=False)
        pad = 0.12 * (right - left)
        shown = (x > left + pad) & (x < right - pad) & (y > bottom + pad) & (y < top - pad)
        if shown.any():
            at = np.flatnonzero(shown)[np.argmax(np.abs(x[shown]) + np.abs(y[shown]))]
            ax.text(x[at], y[at], arm.name, fontsize=8, ha="center", va="bottom", path_effects=OUTLINE)


@STYLE
def faceon(view: xr.Dataset) -> Figure:
    """Extinction density around the Sun, where the stars reach, with distance rings and spiral arms.

    Parameters
    ----------
    view : Dataset
        extinction_density (y, x), mag/kpc; within (y, x), whether nearer than distance_max; x and y,
        heliocentric, kpc; attribute sun_radius_kpc, from the Sun to the Galactic centre.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If no pixel holds a positive density within distance_max.
    """
    view = view.transpose("y", "x")
    density = view.extinction_density.where(view.within.astype(bool))
    positive = density.values[density.values > 0]
    if positive.size == 0:
        raise ValueError(
            "face-on view: found no positive extinction_density within distance_max; expected at least one "
            "pixel; look at 'quality' and 'distance_max' in the cube for sightlines with enough stars"
        )
    rows, columns = np.nonzero(np.isfinite(density.values))
    x, y = view.x.values[columns], view.y.values[rows]
    x_limits, y_limits = _view(x, y)
    width, height = x_limits[1] - x_limits[0], y_limits[1] - y_limits[0]
    scale = min(SIDE / max(width, height), (PAGE - 1.6) / width)

    figure = Figure(figsize=(scale * width + 1.5, scale * height + 0.7), layout="constrained")
    ax = figure.add_subplot(facecolor=GREY)
    ax.set(xlim=x_limits, ylim=y_limits, aspect="equal")
    ceiling = positive.max()
    norm = LogNorm(max(positive.min(), ceiling / DYNAMIC_RANGE), ceiling)
    image = ax.pcolormesh(view.x, view.y, density, norm=norm, cmap="viridis", shading="nearest")
    figure.colorbar(
        image,
        ax=ax,
        label="Extinction density d$A_V$/d$s$ (mag kpc$^{-1}$)",
        extend="min" if positive.min() < norm.vmin else "neither",
        aspect=35,
    )
    _rings(ax, x, y)
    _arms(ax)
    ax.plot(0, 0, "o", color="white", mec="black", ms=7)
    ax.plot(0, 0, ".", color="black", ms=2)
    ax.annotate("Sun", (0, 0), (6, 4), textcoords="offset points", fontsize=8, path_effects=OUTLINE)
    centre = view.attrs["sun_radius_kpc"]
    if x_limits[0] < centre < x_limits[1] and y_limits[0] < 0 < y_limits[1]:
        ax.plot(centre, 0, "+", color="black", ms=8, path_effects=OUTLINE)
        ax.annotate("Centre", (centre, 0), (6, 4), textcoords="offset points", fontsize=8, path_effects=OUTLINE)
    ax.set(xlabel="$x$, towards the Galactic centre (kpc)", ylabel="$y$, towards $l$ = 90° (kpc)")
    return figure
