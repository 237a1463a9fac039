"""Predicted labels of stars, and the maps of metallicity."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter

from galcarto.figures.style import BLUE, GREEN, GREY, ORANGE, PAGE, STYLE, direction, plain_decades, say

NAMES = {"teff": "$T_{eff}$", "feh": "[Fe/H]", "logg": "log $g$"}
COLOURS = {"teff": (BLUE, "o"), "feh": (ORANGE, "s"), "logg": (GREEN, "d")}
BANDS = {"u_cfis": "u (CFIS)", "gP1": "g (PS1)", "rP1": "r (PS1)", "iP1": "i (PS1)", "zP1": "z (PS1)"}
HALO: dict[str, Any] = {"path_effects": (withStroke(linewidth=2.6, foreground="white"),)}


def _of(dataset: xr.Dataset) -> tuple[str, str]:
    """Name of the label, and its unit in brackets."""
    label, unit = dataset.attrs["label"], dataset.attrs["unit"]
    return NAMES[label], f" ({unit})"


def _cloud(ax: Axes, dataset: xr.Dataset, name: str, cmap: str = "Greys") -> Any:
    """Density of stars, with the running median and 68 % on top."""
    density = dataset[f"{name}_density"]
    top = max(float(density.max()), 2.0)
    x, y = dataset[f"{name}_x"], dataset[f"{name}_y"]
    image = ax.pcolormesh(x, y, density.where(density > 0), norm=LogNorm(0.7, top), cmap=cmap, shading="nearest")
    low, middle, high = dataset[f"{name}_running"].to_numpy()
    part = dataset[f"{name}_part"]
    for values in (low, high):
        ax.plot(part, values, color=ORANGE, ls="--", lw=1.1, **HALO)
    ax.plot(part, middle, color=ORANGE, lw=1.6, **HALO)
    step = float(x[1] - x[0])
    ax.set(xlim=(float(x[0]) - step / 2, float(x[-1]) + step / 2))
    return image


@STYLE
def truth(*datasets: xr.Dataset) -> Figure:
    """Predicted against true labels: density, running median and 68 %.

    Parameters
    ----------
    datasets : Dataset
        From `galcarto.labels.diagnostics.diagnostics`, one for each label.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 2.75 if len(datasets) > 1 else 3.6), layout="constrained")
    axes = figure.subplots(1, len(datasets), squeeze=False)[0]
    for ax, dataset in zip(axes, datasets, strict=True):
        name, unit = _of(dataset)
        image = _cloud(ax, dataset, "truth")
        span = ax.get_xlim()
        ax.plot(span, span, color=BLUE, ls=":", lw=1.2, zorder=3)
        ax.set(xlim=span, ylim=span, xlabel=f"True {name}{unit}", ylabel=f"Predicted {name}{unit}")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(4))
        ax.set_box_aspect(1)
        bar = figure.colorbar(image, ax=ax, location="top", aspect=24, pad=0.02)
        bar.set_label("Stars in a cell", fontsize=8)
        plain_decades(bar.long_axis)
        bar.long_axis.set_major_locator(LogLocator(subs=(1, 3)))  # the bar is short
    median = axes[0].plot([], [], color=ORANGE, lw=1.6, label="running median")[0]
    width = axes[0].plot([], [], color=ORANGE, ls="--", lw=1.1, label="16 and 84 %")[0]
    same = axes[0].plot([], [], color=BLUE, ls=":", lw=1.2, label="predicted = true")[0]
    figure.legend(handles=[median, width, same], loc="outside lower center", ncols=3)
    return figure


@STYLE
def residuals(dataset: xr.Dataset) -> Figure:
    """Residual of a label against colour, magnitude and the true label.

    Parameters
    ----------
    dataset : Dataset
        From `galcarto.labels.diagnostics.diagnostics`.

    Returns
    -------
    Figure
    """
    name, unit = _of(dataset)
    titles = {
        "colour": f"${dataset.attrs.get('colour', '').replace('BP', 'G_{BP}').replace('RP', 'G_{RP}')}$ (mag)",
        "magnitude": f"${dataset.attrs.get('magnitude', '')}$ (mag)",
        "label": f"True {name}{unit}",
    }
    shown = [key for key in titles if f"{key}_density" in dataset]
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    top = max(float(dataset[f"{key}_density"].max()) for key in shown)
    for ax, key in zip(axes, shown, strict=True):
        image = _cloud(ax, dataset, key)
        image.set_norm(LogNorm(0.7, max(top, 2.0)))
        ax.axhline(0.0, color=BLUE, ls=":", lw=1.2)
        ax.set(xlabel=titles[key], ylim=(float(dataset[f"{key}_y"][0]), float(dataset[f"{key}_y"][-1])))
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[0].set_ylabel(f"Predicted − true {name}{unit}")
    bar = figure.colorbar(image, ax=list(axes), label="Stars in a cell", aspect=22, pad=0.01)
    plain_decades(bar.long_axis)
    return figure


@STYLE
def calibration(*datasets: xr.Dataset) -> Figure:
    """Coverage of central intervals against their level, and the PIT histogram of each label.

    Parameters
    ----------
    datasets : Dataset
        From `galcarto.labels.diagnostics.diagnostics`, one for each label.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, 6, height_ratios=[1.25, 1.0])
    nominal, offset = figure.add_subplot(grid[0, :3]), figure.add_subplot(grid[0, 3:])
    nominal.plot([0, 1], [0, 1], color="black", ls=":", lw=1, label="exact")
    offset.axhline(0.0, color="black", ls=":", lw=1)
    highest = max(1.6, *(1.1 * float(dataset.pit_density.max()) for dataset in datasets))
    widest = 5.0
    for number, dataset in enumerate(datasets):
        label = dataset.attrs["label"]
        colour, mark = COLOURS[label]
        style: dict[str, Any] = {"color": colour, "marker": mark, "ms": 3, "lw": 1}
        nominal.plot(dataset.level, dataset.coverage, label=NAMES[label], **style)
        excess = 100.0 * (dataset.coverage - dataset.level)
        offset.plot(dataset.level, excess, **style)
        widest = max(widest, 1.15 * float(np.abs(excess).max()))
        pit = figure.add_subplot(grid[1, 2 * number : 2 * number + 2])
        width = 1.0 / dataset.sizes["pit"]
        pit.bar(dataset.pit, dataset.pit_density, width=width, color=GREY, edgecolor=colour, lw=0.8)
        pit.axhline(1.0, color="black", ls=":", lw=1)
        pit.set(xlim=(0, 1), ylim=(0, highest), xlabel=f"PIT of {NAMES[label]}")
        pit.tick_params(labelleft=number == 0)
        if number == 0:
            pit.set_ylabel("Density")
    nominal.set(xlim=(0, 1), ylim=(0, 1), xlabel="Nominal level (%)", ylabel="Observed coverage (%)")
    nominal.legend(loc="lower right")
    offset.set(xlim=(0, 1), ylim=(-widest, widest), xlabel="Nominal level (%)", ylabel="Observed − nominal (%)")
    for axis in (nominal.xaxis, nominal.yaxis, offset.xaxis):
        axis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    return figure


@STYLE
def missing(metrics: Mapping[str, Any]) -> Figure:
    """Error of [Fe/H] when each band is missing: one network for all sets, and one trained for that set.

    Parameters
    ----------
    metrics : mapping
        ``missing``: by band, ``rms`` and, of a network trained without it, ``alone`` (dex); ``labels.feh.all.rms``.

    Returns
    -------
    Figure
    """
    metrics = metrics.get("labels", metrics)
    bands = {name: one for name, one in metrics["missing"].items() if one.get("rms") is not None}
    place = np.arange(len(bands))
    whole = metrics["labels"]["feh"]["all"]["rms"]
    figure = Figure(figsize=(0.6 * PAGE, 2.7), layout="constrained")
    ax = figure.subplots()
    ax.axhline(whole, color="black", ls=":", lw=1.2, label="all bands")
    ours = [one["rms"] for one in bands.values()]
    alone = [one.get("alone") for one in bands.values()]
    alone = [np.nan if value is None else value for value in alone]
    ax.plot(place - 0.08, ours, "o", color=BLUE, ms=5, label="one network for all sets of bands")
    if np.isfinite(alone).any():
        ax.plot(place + 0.08, alone, "^", color=ORANGE, ms=5, label="network trained without the band")
    ax.set_xticks(place, [BANDS.get(name, name.replace("-", " − ")) for name in bands])
    top = float(np.nanmax([whole, *ours, *alone]))
    ax.set(xlim=(-0.5, len(bands) - 0.5), ylim=(0, 1.45 * top))
    ax.set(xlabel="Missing band", ylabel="rms of predicted [Fe/H] (dex)")
    ax.tick_params(axis="x", which="both", top=False)
    ax.legend(loc="upper right")
    return figure


@STYLE
def gravity(dataset: xr.Dataset | None) -> Figure:
    """Median [Fe/H] over colour and gravity: known and predicted labels.

    Parameters
    ----------
    dataset : Dataset or None
        From `galcarto.labels.diagnostics.gravities`; None for a table without g-r or log g, which the figure says.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 3.1), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    if dataset is None:
        for ax in axes:
            say(ax, "No $g - r$ or no log $g$\nin this table of stars")
        return figure
    values = [dataset[name].to_numpy() for name in ("known", "predicted")]
    low, high = np.nanpercentile(np.concatenate([one[np.isfinite(one)] for one in values]), (2, 98))
    for ax, name, text in zip(axes, ("known", "predicted"), ("Known labels", "Predicted labels"), strict=True):
        image = ax.pcolormesh(
            dataset.colour, dataset.logg, dataset[name], cmap="viridis", vmin=low, vmax=high, shading="nearest"
        )
        ax.set(facecolor=GREY, xlabel="$g - r$ (mag)", title=text)
    filled = np.any([np.isfinite(one) for one in values], axis=0)
    rows, columns = dataset.logg[filled.any(axis=1)], dataset.colour[filled.any(axis=0)]
    axes[0].set(ylabel="log $g$ (dex)", ylim=(float(rows.max()) + 0.3, float(rows.min()) - 0.3))
    for ax in axes:
        ax.set_xlim(float(columns.min()) - 0.08, float(columns.max()) + 0.08)
    figure.colorbar(image, ax=list(axes), label="Median [Fe/H] (dex)", extend="both", aspect=24, pad=0.01)
    return figure


@STYLE
def galactic(found: xr.Dataset) -> Figure:
    """Mean [Fe/H] against galactocentric radius and distance from the plane, number of stars, and error of the mean.

    Parameters
    ----------
    found : Dataset
        From `galcarto.metallicity.map.metallicity_map`: ``feh_population``, its error and ``number`` (radius, height).

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 3.0), layout="constrained")
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    mean = found["feh_population"]
    number = found["number"].where(found["number"] > 0)
    error = found["feh_population_error"]
    known = mean.to_numpy()[np.isfinite(mean.to_numpy())]
    if known.size == 0:
        for ax in axes:
            say(ax, "No cell has enough stars")
        return figure
    low, high = np.percentile(known, (2, 98))
    top = float(np.nanmax(number))
    spread = error.to_numpy()[np.isfinite(error.to_numpy())]
    panels: tuple[tuple[xr.DataArray, str, dict[str, Any]], ...] = (
        (mean, "Mean [Fe/H] (dex)", {"cmap": "viridis", "vmin": low, "vmax": high}),
        (number, "Stars", {"cmap": "cividis", "norm": LogNorm(1.0, max(top, 10.0))}),
        (error, "Error of the mean (dex)", {"cmap": "magma_r", "vmin": 0.0, "vmax": float(np.percentile(spread, 98))}),
    )
    for ax, (values, title, scale) in zip(axes, panels, strict=True):
        image = ax.pcolormesh(
            found.radius, found.height, values.transpose("height", "radius"), shading="nearest", **scale
        )
        ax.plot(found.attrs["sun_radius_kpc"], 0.0, "o", color="white", mec="black", ms=6, clip_on=False, zorder=4)
        ax.plot(found.attrs["sun_radius_kpc"], 0.0, ".", color="black", ms=2, clip_on=False, zorder=5)
        ax.set(facecolor=GREY, xlabel="$R$ (kpc)")
        extend = {"Mean [Fe/H] (dex)": "both", "Stars": "neither"}.get(title, "max")
        bar = figure.colorbar(image, ax=ax, location="top", label=title, aspect=20, pad=0.02, extend=extend)
        if title == "Stars":
            plain_decades(bar.long_axis)
            bar.long_axis.set_major_locator(LogLocator())  # the bar is short
        else:
            bar.locator = MaxNLocator(4)
            bar.update_ticks()
    edges = found["height_bounds"].to_numpy(), found["radius_bounds"].to_numpy()
    filled = np.isfinite(number.to_numpy())
    heights, radii = filled.any(axis=0), filled.any(axis=1)
    axes[0].set(ylim=(0.0, edges[0][heights].max()), xlim=(edges[1][radii].min(), edges[1][radii].max()))
    axes[0].set_ylabel("$|Z|$ (kpc)")
    return figure


@STYLE
def profiles(comparison: xr.Dataset) -> Figure:
    """A_V of labelled stars from their colour excess, over a cube's profiles; too few stars are said so.

    Parameters
    ----------
    comparison : Dataset
        ``a_v``, ``a_v_error``, ``cube``, ``cube_sd`` (sightline, distance), mag; ``number``; ``l``, ``b`` (sightline,),
        deg; attribute ``verdict``.

    Returns
    -------
    Figure
    """
    known = np.isfinite(comparison["a_v"].to_numpy())
    shown = comparison.isel(sightline=np.flatnonzero(known.any(axis=1)))
    if shown.sizes["sightline"] == 0:
        figure = Figure(figsize=(PAGE, 1.6), layout="constrained")
        say(figure.subplots(), textwrap.fill(comparison.attrs["verdict"], 80))
        return figure
    columns = min(3, shown.sizes["sightline"])
    rows = -(-shown.sizes["sightline"] // columns)
    figure = Figure(figsize=(PAGE * max(columns, 1.5) / 3, 0.5 + 2.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    edges = np.append(shown["distance_bounds"].to_numpy()[:, 0], shown["distance_bounds"].to_numpy()[-1, 1])
    farthest = edges[1:][known.any(axis=0)].max()
    for number, ax in enumerate(axes.flat):
        if number >= shown.sizes["sightline"]:
            ax.set_axis_off()
            continue
        one = shown.isel(sightline=number)
        low, high = one.cube - one.cube_sd, one.cube + one.cube_sd
        band = ax.fill_between(one.distance, low, high, color=BLUE, alpha=0.25, lw=0, label="cube, 68 %")
        (line,) = ax.plot(one.distance, one.cube, color=BLUE, label="cube")
        bars = ax.errorbar(
            one.distance, one.a_v, one.a_v_error, fmt="o", color=ORANGE, ms=3.5, lw=1, capsize=2, label="stars"
        )
        ax.set_title(f"{direction(float(one.l), float(one.b))}: {int(one.stars)} stars", fontsize=8)
        if number // columns == rows - 1 or number + columns >= shown.sizes["sightline"]:
            ax.set_xlabel("Distance (kpc)")
            ax.tick_params(labelbottom=True)
        if number % columns == 0:
            ax.set_ylabel("$A_V$ (mag)")
    inside = shown["distance"] < farthest
    tops = [float(np.nanmax(shown[name].where(inside))) for name in ("a_v", "cube")]
    axes[0, 0].set(xlim=(0.0, farthest), ylim=(min(0.0, 1.2 * float(np.nanmin(shown["a_v"]))), 1.2 * max(tops)))
    figure.legend(handles=[line, band, bars], loc="outside upper center", ncols=3)
    return figure
