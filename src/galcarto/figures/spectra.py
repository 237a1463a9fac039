"""Labels from spectra: errors, calibration, what they come from, and how few stars or labels do."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, CYCLE, GREEN, GREY, ORANGE, PAGE, STYLE, say

NAMES = {  # name and unit of a label
    "teff": ("$T_\\mathrm{eff}$", "K"),
    "logg": ("log $g$", "dex"),
    "fe_h": ("[Fe/H]", "dex"),
    "alpha_m": ("[α/M]", "dex"),
    "a_k": ("$A_K$", "mag"),
}


def title(label: str) -> str:
    """A label with its unit."""
    name, unit = NAMES.get(label, (label, "its unit"))
    return f"{name} ({unit})"


def name_of(label: str) -> str:
    """A label without its unit."""
    return NAMES.get(label, (label,))[0]


@STYLE
def predictions(stars: pd.DataFrame, curves: xr.Dataset) -> Figure:
    """Predicted against known labels of the test stars, with running quantiles.

    Parameters
    ----------
    stars : DataFrame
        Of `galcarto.spectra.scores.predicted`.
    curves : Dataset
        Of `galcarto.spectra.curves.curves`.
    """
    labels = [str(one) for one in curves.label.values]
    figure = Figure(figsize=(PAGE, 4.8), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for ax, label in zip(axes, labels, strict=False):
        known, found = stars[f"{label}_known"].to_numpy(), stars[label].to_numpy()
        there = np.isfinite(known)
        ends = np.quantile(known[there], (0.002, 0.998))
        ends += 0.03 * np.diff(ends) * (-1, 1)
        *_, image = ax.hist2d(known[there], found[there], bins=80, range=(ends, ends), cmap="Greys", norm=LogNorm())
        image.set_rasterized(True)
        ax.plot(ends, ends, color=ORANGE, lw=0.8)
        own = curves.sel(label=label)
        for share, style in ((0.16, "--"), (0.5, "-"), (0.84, "--")):
            ax.plot(own.known, own.running.sel(quantile=share), color=BLUE, ls=style, lw=1.0)
        ax.set(xlabel=f"Known {title(label)}", ylabel=f"From spectra {title(label)}", xlim=ends, ylim=ends)
    for ax in axes[len(labels) :]:
        ax.set_axis_off()
        ax.plot([], [], color=BLUE, label="median")
        ax.plot([], [], color=BLUE, ls="--", label="16 and 84 %")
        ax.plot([], [], color=ORANGE, label="equal")
        ax.legend(loc="center")
    return figure


@STYLE
def calibration(curves: xr.Dataset) -> Figure:
    """Normal scores, coverage of intervals, and probability integral transform of every label."""
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    x = np.linspace(-5, 5, 201)
    first.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color="black", lw=0.8, ls=":", label="normal")
    second.plot([0, 1], [0, 1], color="black", lw=0.8, ls=":")
    third.axhline(1.0, color="black", lw=0.8, ls=":")
    for colour, label in zip(CYCLE, curves.label.values, strict=False):
        own = curves.sel(label=label)
        first.plot(own.score_middle, own.score, color=colour, drawstyle="steps-mid", lw=0.9, label=name_of(str(label)))
        second.plot(own.level, own.coverage, color=colour, marker="o", ms=2.5, lw=0.9)
        third.plot(own.bin, own.pit, color=colour, drawstyle="steps-mid", lw=0.9)
    first.set(xlabel="Normal score", ylabel="Density", yscale="log", ylim=(1e-4, 1), xlim=(-5, 5))
    second.set(xlabel="Stated level of the interval", ylabel="Share inside", xlim=(0, 1), ylim=(0, 1))
    third.set(xlabel="Probability integral transform", ylabel="Density", xlim=(0, 1), ylim=(0.5, 1.5))
    first.legend(fontsize=6, loc="lower center", handlelength=1.2)
    for ax, text in zip((first, second, third), ("a. Scores", "b. Coverage", "c. PIT"), strict=True):
        ax.set_title(text, loc="left")
    return figure


@STYLE
def errors(curves: xr.Dataset) -> Figure:
    """Errors against the S/N, and against the share of the stars that are rejected by their predicted error."""
    labels = [str(one) for one in curves.label.values]
    figure = Figure(figsize=(PAGE, 4.2), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for ax, label in zip(axes, labels, strict=False):
        own = curves.sel(label=label)
        ax.plot(own.snr, own.rms, color=BLUE, marker="o", ms=3, label="rms")
        ax.plot(own.snr, own.robust, color=ORANGE, marker="s", ms=3, label="robust")
        ax.set(xlabel="S/N of a pixel", ylabel=f"Error of {title(label)}", ylim=(0, None))
    axes[0].legend()
    last = axes[len(labels)]
    for colour, label in zip(CYCLE, labels, strict=False):
        own = curves.sel(label=label)
        last.plot(100 * own.rejected, own.rms_kept, color=colour, marker="o", ms=3, label=name_of(label))
    last.set(xlabel="Stars rejected (%)", ylabel="rms over that of all", ylim=(0, 1.05))
    last.legend(fontsize=6.5, ncols=2)
    for ax in axes[len(labels) + 1 :]:
        ax.set_axis_off()
    return figure


def _lines(ax: Axes, low: float, high: float, lines: Mapping[str, float]) -> None:
    """Names of lines above a panel."""
    for name, place in lines.items():
        if low < place < high:
            ax.axvline(place, color="0.75", lw=0.6, zorder=0)
            ax.text(place, 1.02, name, transform=ax.get_xaxis_transform(), rotation=60, fontsize=6, va="bottom")


@STYLE
def jacobian(explanation: xr.Dataset) -> Figure:
    """Derivatives of log g and of [Fe/H] by the flux, for a metal-poor and a metal-rich star, over their spectra.

    Parameters
    ----------
    explanation : Dataset
        Of `galcarto.spectra.explain.explain`, with the lines in its attributes.
    """
    lines = json.loads(explanation.attrs["lines"])
    shown = [one for one in ("logg", "fe_h") if one in explanation.label] or explanation.label.values[:2].tolist()
    figure = Figure(figsize=(PAGE, 4.6), layout="constrained")
    axes = figure.subplots(1 + len(shown), 1, sharex=True)
    x = explanation.wavelength
    by = "fe_h" if "fe_h" in explanation.label else str(explanation.label.values[0])
    for star, colour in zip(range(explanation.sizes["star"]), (BLUE, ORANGE), strict=True):
        own = explanation.isel(star=star)
        text = f"{name_of(by)} = {float(own.value.sel(label=by)):.2f}".replace("-", "−")
        axes[0].plot(x, own.flux, color=colour, lw=1.0, label=text)
        for ax, label in zip(axes[1:], shown, strict=True):
            ax.plot(x, own.jacobian.sel(label=label), color=colour, lw=0.9)
    for ax, label in zip(axes[1:], shown, strict=True):
        ax.axhline(0.0, color="0.6", lw=0.6)
        ax.set_ylabel(f"∂{name_of(label)} / ∂flux", fontsize=8)
    for ax in axes:
        for place in lines.values():
            if float(x[0]) < place < float(x[-1]):
                ax.axvline(place, color="0.8", lw=0.6, zorder=0)
    _lines(axes[0], float(x[0]), float(x[-1]), lines)
    axes[0].set(ylabel="Flux / median", xlim=(float(x[0]), float(x[-1])))
    axes[0].legend(loc="upper right")
    axes[-1].set(xlabel="Wavelength (nm)")
    return figure


@STYLE
def hidden(explanation: xr.Dataset) -> Figure:
    """How much each label changes when a stretch of pixels is hidden, over its largest change."""
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
    ax = figure.subplots()
    for colour, label in zip(CYCLE, explanation.label.values, strict=False):
        own = explanation.hidden.sel(label=label)
        ax.plot(explanation.stretch, own / own.max(), color=colour, marker="o", ms=2.5, label=name_of(str(label)))
    ax.set(xlabel="Middle of the hidden stretch (nm)", ylabel="Change of the label\nover its largest", ylim=(0, 1.05))
    ax.legend(ncols=2)
    return figure


@STYLE
def abundances(stars: pd.DataFrame) -> Figure:
    """[alpha/M] over [Fe/H] of the test stars, as known and from spectra."""
    figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    there = np.isfinite(stars["fe_h_known"]) & np.isfinite(stars["alpha_m_known"])
    for ax, end, text in zip(axes, ("_known", ""), ("a. APOGEE", "b. From XP spectra"), strict=True):
        x, y = stars.loc[there, f"fe_h{end}"], stars.loc[there, f"alpha_m{end}"]
        *_, image = ax.hist2d(x, y, bins=(90, 70), range=((-2.4, 0.6), (-0.25, 0.45)), cmap="magma", norm=LogNorm())
        image.set_rasterized(True)
        ax.set(xlabel="[Fe/H] (dex)", facecolor=GREY)
        ax.set_title(text, loc="left")
    axes[0].set(ylabel="[α/M] (dex)")
    return figure


@STYLE
def learning(metrics: Mapping[str, Any]) -> Figure:
    """rms of each label against the number of training stars: the network, boosted trees and ridge."""
    labels = list(metrics["network"]["labels"])
    figure = Figure(figsize=(PAGE, 4.2), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    sizes = sorted(int(name.removeprefix("stars_")) for name in metrics["trials"] if name.startswith("stars_"))
    for ax, label in zip(axes, labels, strict=False):
        whole = metrics["network"]["training_stars"]
        ours = [metrics["trials"][f"stars_{size}"]["labels"][label]["rms"] for size in sizes]
        ax.plot([*sizes, whole], [*ours, metrics["network"]["labels"][label]["rms"]], color=BLUE, marker="o", ms=3)
        for method, colour in (("trees", ORANGE), ("ridge", GREEN)):
            found = {int(size) or whole: one[method][label]["rms"] for size, one in metrics["baselines"].items()}
            x = sorted(found)
            ax.plot(x, [found[one] for one in x], color=colour, marker="s", ms=3)
        ax.set(xlabel="Training stars", ylabel=f"rms of {title(label)}", xscale="log", ylim=(0, None))
        ticks = [*sizes, whole]
        ax.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks], fontsize=6.5)
        ax.minorticks_off()
    for ax in axes[len(labels) :]:
        ax.set_axis_off()
        for text, colour in (("network", BLUE), ("trees", ORANGE), ("ridge", GREEN)):
            ax.plot([], [], color=colour, marker="o", ms=3, label=text)
        ax.legend(loc="center")
    return figure


@STYLE
def bounds(comparison: xr.Dataset) -> Figure:
    """Errors of a network on emulated spectra beside the Cramér-Rao bound of each label."""
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
    ax = figure.subplots()
    x = np.arange(comparison.sizes["label"])
    ax.bar(x, comparison.ratio, color=BLUE, width=0.6)
    ax.axhline(1.0, color="black", lw=0.8, ls=":")
    ax.set_xticks(x, [str(one) for one in comparison.label.values], rotation=60, fontsize=7)
    ax.set(ylabel="rms over the bound", ylim=(0, 1.1 * max(1.0, float(comparison.ratio.max()))))
    ax.tick_params(axis="x", top=False, length=0)
    return figure


@STYLE
def gap(comparison: xr.Dataset) -> Figure:
    """A real spectrum beside the emulated one of its labels, and both in the network's features."""
    figure = Figure(figsize=(PAGE, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    if "real" not in comparison:
        say(left, "no real spectrum")
        say(right, "")
        return figure
    part = slice(len(comparison.wavelength) // 3, len(comparison.wavelength) // 3 + 400)
    own = comparison.isel(wavelength=part)
    left.plot(own.wavelength, own["real"], color="black", lw=0.8, label="real")
    left.plot(own.wavelength, own["model"], color=ORANGE, lw=0.8, label="emulated")
    left.set(xlabel="Wavelength (nm)", ylabel="Normalised flux")
    left.legend(loc="lower right")
    features = comparison["emulated_features"]
    right.plot(features[:, 0], features[:, 1], ".", color=BLUE, ms=1.5, rasterized=True, label="emulated")
    right.plot(*comparison["real_features"].values, "*", color=ORANGE, ms=10, label="real")
    right.set(xlabel="Feature 1", ylabel="Feature 2")
    right.legend(loc="upper right", fontsize=7)
    return figure


@STYLE
def search(history: pd.DataFrame) -> Figure:
    """Validation loss of each trial of a search, the best until then, and the loss against each setting."""
    names = [name for name in history if str(name).startswith("params_")]
    figure = Figure(figsize=(PAGE, 4.2), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    axes[0].plot(history["number"], history["value"], "o", color=BLUE, ms=3)
    axes[0].plot(history["number"], history["value"].cummin(), color=ORANGE, drawstyle="steps-post")
    axes[0].set(xlabel="Trial", ylabel="Validation loss")
    for ax, name in zip(axes[1:], names, strict=False):
        ax.plot(history[name], history["value"], "o", color=BLUE, ms=3)
        ax.set(xlabel=str(name).removeprefix("params_").replace("_", " ").capitalize(), ylabel="Validation loss")
    for ax in axes[1 + len(names) :]:
        ax.set_axis_off()
    return figure
