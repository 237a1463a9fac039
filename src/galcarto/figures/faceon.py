"""The dust of the Galactic plane seen from the north Galactic pole."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from galcarto.figures.style import GREY, ORANGE, OUTLINE, PAGE, STYLE, plain_decades
from galcarto.galaxy.arms import REID2019, Spirals, trace

MARGIN = 0.05  # of the longer side
LEAST_SHAPE = 0.5  # smallest ratio of the sides of the view, to leave room for labels
SIDE = 6.0  # inches, the longer side of the view
ROOM = 0.4  # inches kept free around a label
FINE = 8  # subdivisions of a pixel for the outline of the footprint
DYNAMIC_RANGE = 300.0


def _view(points: np.ndarray) -> np.ndarray:
    """Limits, kpc, shape (axis, 2), that hold the Sun and all points of shape (axis, point); not too narrow."""
    low, high = np.minimum(points.min(axis=1), 0.0), np.maximum(points.max(axis=1), 0.0)
    side = (high - low).max()
    half = np.maximum(0.5 * (high - low) + MARGIN * side, 0.5 * LEAST_SHAPE * side)
    middle = 0.5 * (low + high)
    return np.stack([middle - half, middle + half], axis=1)


class _Labels:
    """Place labels of lines away from one another, from other lines and, as far as possible, from the data."""

    def __init__(self, ax: Axes, view: np.ndarray, room: float, data: np.ndarray) -> None:
        self.ax, self.view, self.room = ax, view, room
        self.data = data[:, :: 1 + data.shape[1] // 4000]
        self.taken = np.zeros((2, 1))  # the Sun

    def _clear(self, points: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Distance of points to the nearest of others, limited to the size of a label."""
        between = np.hypot(*(points[:, :, None] - of[:, None, :])).min(axis=1)
        return np.minimum(between, self.room)

    def put(self, line: np.ndarray, text: str, colour: str) -> None:
        """Label a line of shape (axis, point), if enough of it is in view."""
        low, high = self.view[:, :1] + 0.75 * self.room, self.view[:, 1:] - 0.75 * self.room
        line = line[:, ((line > low) & (line < high)).all(axis=0)]
        if line.size:
            clear = 10 * self._clear(line, self.taken) + self._clear(line, self.data)
            at = line[:, np.argmax(clear)]
            self.ax.text(at[0], at[1], text, fontsize=8, color=colour, ha="center", va="center", path_effects=OUTLINE)
            self.taken = np.column_stack([self.taken, at])


def _arms(ax: Axes, labels: _Labels, spirals: Spirals) -> None:
    """Ridges of the arms: solid where masers define them, dashed where extrapolated."""
    ridges = []
    for arm in spirals.arms:
        azimuth = np.arange(*arm.extent(), 0.5)
        ridge = np.stack(trace(arm, azimuth, spirals.centre))
        placed = (azimuth >= arm.azimuth[0]) & (azimuth <= arm.azimuth[1])
        for part, line in ((placed, "-"), (~placed, "--")):
            ax.plot(*np.where(part, ridge, np.nan), color="black", lw=1.1, ls=line, path_effects=OUTLINE)
        ridges.append(ridge)
    for arm, ridge in zip(spirals.arms, ridges, strict=True):
        labels.put(ridge, arm.name, "black")
    labels.taken = np.column_stack([labels.taken, *ridges])


def _young(ax: Axes, labels: _Labels, tracers: xr.Dataset) -> None:
    """Masers, with errors of their distances, and HII regions in view."""
    for kind, colour, mark, size in (("HII region", "white", "o", 3.0), ("maser", ORANGE, "^", 5.0)):
        of = tracers.isel(tracer=np.flatnonzero(tracers.kind == kind))
        l, b = np.radians(of.l.values), np.radians(of.b.values)
        towards = np.stack([np.cos(b) * np.cos(l), np.cos(b) * np.sin(l)])
        points = of.distance.values * towards
        seen = ((points > labels.view[:, :1]) & (points < labels.view[:, 1:])).all(axis=0)
        if seen.any():
            for end in (-1, 1):
                far = (of.distance.values + end * of.distance_error.values) * towards
                ax.plot(*np.stack([points, far])[..., seen].swapaxes(0, 1), color=colour, lw=0.6, alpha=0.8, zorder=3)
            label = f"{kind}s ({seen.sum()})"
            ax.plot(*points[:, seen], mark, color=colour, mec="black", mew=0.6, ms=size, label=label, zorder=4)
            labels.taken = np.column_stack([labels.taken, points[:, seen]])


def _rings(ax: Axes, labels: _Labels, farthest: float) -> None:
    """Labelled circles around the Sun."""
    azimuth = np.radians(np.arange(0, 360, 3))
    circle = np.stack([np.cos(azimuth), np.sin(azimuth)])
    for radius in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(0, farthest)[1:]:
        ax.add_patch(Circle((0, 0), radius, fill=False, color="0.35", lw=0.6, ls=":"))
        labels.put(radius * circle, f"{radius:g} kpc", "0.25")


def _outline(ax: Axes, view: xr.Dataset) -> None:
    """Outline of the footprint, untrusted distances included, on a finer grid for sharp corners."""
    mapped = np.pad(np.isfinite(view.extinction_density.values), 1)
    if mapped.any():
        fine = mapped.repeat(FINE, axis=0).repeat(FINE, axis=1)
        inner = [(np.arange(n) + 0.5) / FINE - 1.5 for n in fine.shape[::-1]]  # in pixels from the first one's centre
        x, y = (view[axis].values[0] + n * np.diff(view[axis].values[:2]) for axis, n in zip("xy", inner, strict=True))
        ax.contour(x, y, fine, [0.5], colors="black", linewidths=0.6)


def _places(ax: Axes, limits: np.ndarray, centre: float) -> None:
    """The Sun, the Galactic centre if it is in view, and the axes."""
    ax.plot(0, 0, "o", color="white", mec="black", ms=7)
    ax.plot(0, 0, ".", color="black", ms=2)
    ax.annotate("Sun", (0, 0), (6, 4), textcoords="offset points", fontsize=8, path_effects=OUTLINE)
    if limits[0, 0] < centre < limits[0, 1]:
        ax.plot(centre, 0, "+", color="black", ms=8, path_effects=OUTLINE)
        ax.annotate("Centre", (centre, 0), (6, 4), textcoords="offset points", fontsize=8, path_effects=OUTLINE)
    ax.set(xlim=limits[0], ylim=limits[1], aspect="equal", xlabel="$x$, towards the Galactic centre (kpc)")


@STYLE
def faceon(view: xr.Dataset, spirals: Spirals = REID2019, tracers: xr.Dataset | None = None) -> Figure:
    """Extinction density around the Sun within the trusted distances, with distance rings, spiral arms and tracers.

    Parameters
    ----------
    view : Dataset
        extinction_density (y, x), mag/kpc; within (y, x), whether nearer than distance_max; x and y,
        heliocentric, kpc; attribute sun_radius_kpc, from the Sun to the Galactic centre. With
        true_extinction_density (y, x), mag/kpc, the truth is drawn beside it on the same scale.
    spirals : Spirals
        The arms to draw.
    tracers : Dataset, optional
        kind (tracer,), maser or HII region; l, b (deg), distance and distance_error (kpc) (tracer,).

    Returns
    -------
    Figure
        Empty, with an explanation, if no pixel has a positive density within distance_max.
    """
    view = view.transpose("y", "x")
    shown = {"Map": view.extinction_density.where(view.within.astype(bool))}
    positive = shown["Map"].values[shown["Map"].values > 0]
    nothing = positive.size == 0
    if nothing:
        positive = np.array([1.0])  # for the scale of an empty figure
    elif "true_extinction_density" in view:
        shown = {"Truth": view.true_extinction_density, **shown}
        positive = np.concatenate([each.values[each.values > 0] for each in shown.values()])
    seen = np.any([np.isfinite(density.values) for density in shown.values()], axis=0)
    rows, columns = np.nonzero(seen | nothing)
    data = np.stack([view.x.values[columns], view.y.values[rows]])
    limits = _view(data)
    size = np.diff(limits)[:, 0]
    scale = min(SIDE / size.max(), (PAGE - 1.5) / (len(shown) * size[0]))  # inches per kpc

    figure = Figure(figsize=(len(shown) * scale * size[0] + 1.5, scale * size[1] + 0.85), layout="constrained")
    axes = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False, subplot_kw={"facecolor": GREY})[0]
    ceiling = positive.max()
    norm = LogNorm(max(positive.min() * (1.0 - 1e-6), ceiling / DYNAMIC_RANGE), ceiling)
    for ax, (name, density) in zip(axes, shown.items(), strict=True):
        image = ax.pcolormesh(view.x, view.y, density, norm=norm, cmap="viridis", shading="nearest")
        _outline(ax, view)
        labels = _Labels(ax, limits, ROOM / scale, data)
        if tracers is not None:
            _young(ax, labels, tracers)
        _arms(ax, labels, spirals)
        _rings(ax, labels, np.hypot(*data).max())
        _places(ax, limits, view.attrs["sun_radius_kpc"])
        if len(shown) > 1:
            ax.set_title(name)
    if nothing:
        ax.set_title("No density within the trusted distances:\nsee quality and distance_max in the cube", fontsize=9)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, handletextpad=0.2)
    axes[0].set_ylabel("$y$, towards $l$ = 90° (kpc)")
    bar = figure.colorbar(
        image,
        cax=ax.inset_axes((1 + 0.1 / (scale * size[0]), 0, 0.16 / (scale * size[0]), 1)),
        label="Extinction density d$A_V$/d$s$ (mag kpc$^{-1}$)",
        extend="min" if positive.min() < norm.vmin else "neither",
    )
    plain_decades(bar.long_axis)
    return figure
