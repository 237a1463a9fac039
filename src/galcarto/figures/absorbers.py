"""Absorbers in quasar spectra: sightlines, completeness, purity, errors, calibration and numbers in the sky."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, GREEN, GREY, ORANGE, PAGE, PINK, STYLE

ALPHA = 1215.67  # Angstrom
DAMPED = 20.3
BRIGHT = 3.0
FEWEST = 8  # absorbers in a bin of redshift that is drawn
SNR = np.array([1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 12.0])
COLUMNS = np.array([19.5, 19.9, 20.3, 20.7, 21.1, 21.6, 22.0])
NHI = r"$\lg(N_{\rm HI}\,/\,{\rm cm}^{-2})$"


def _sightline(ax: Axes, one: xr.Dataset, truth: bool) -> None:
    """One sightline with its votes, profiles and marks."""
    wavelength, searched = one.wavelength.values, one.wavelength.values < 1222.0 * (1 + float(one.z_qso))
    top = (
        float(np.nanquantile(np.where(searched, one.flux, np.nan), 0.96)) * 1.5 if np.isfinite(one.flux).any() else 1.0
    )
    ax.plot(wavelength, one.flux, color="0.45", lw=0.4, drawstyle="steps-mid")
    ax.plot(wavelength, one.error, color="0.75", lw=0.4)
    ax.plot(wavelength, one.profile, color=ORANGE, lw=1.0)
    ax.fill_between(wavelength, 0, one.votes * top, color=BLUE, alpha=0.35, lw=0)
    for z, column, probability in zip(one.z.values, one.log_nhi.values, one.probability.values, strict=True):
        if np.isfinite(z):
            text = f"{column:.2f} ({probability:.2f})"
            ax.text(ALPHA * (1 + z), top * 0.98, text, ha="center", va="top", fontsize=6, color=ORANGE)
    for z, column in zip(one.true_z.values, one.true_log_nhi.values, strict=True) if truth else ():
        if np.isfinite(z):
            ax.plot(ALPHA * (1 + z), -0.06 * top, marker="^", color=GREEN, ms=4, clip_on=False)
            ax.text(ALPHA * (1 + z), -0.1 * top, f"{column:.2f}", ha="left", va="top", fontsize=5.5, color=GREEN)
    there = np.flatnonzero(np.isfinite(one.flux.values) & searched)
    ends = wavelength[there[[0, -1]]] if len(there) else wavelength[[0, -1]]
    ax.set_xlim(*ends)
    ax.set_ylim(-0.25 * top if truth else -0.1 * top, top)
    name = str(one.sightline.values)
    ax.set_title(f"{name}:  $z$ = {float(one.z_qso):.3f},  S/N {float(one.snr):.1f}", fontsize=7, loc="left", pad=2)
    ax.tick_params(labelsize=6)


def _page(dataset: xr.Dataset, truth: bool) -> Figure:
    number = dataset.sizes["sightline"]
    figure = Figure(figsize=(PAGE, 1.05 * number + 0.4), layout="constrained")
    axes = np.ravel(figure.subplots(number, 1))
    for at, ax in enumerate(axes):
        _sightline(ax, dataset.isel(sightline=at), truth)
    figure.supxlabel("Observed wavelength (Å)", fontsize=8)
    figure.supylabel("Relative flux", fontsize=8)
    return figure


@STYLE
def sightlines(dataset: xr.Dataset) -> Figure:
    """Mock sightlines: flux and error, votes (blue), profiles of what was found (orange), true absorbers (green).

    Parameters
    ----------
    dataset : Dataset
        Of `galcarto.absorbers.drawn.drawn`.
    """
    return _page(dataset, True)


@STYLE
def real(dataset: xr.Dataset) -> Figure:
    """Spectra that were searched; as `sightlines`, without the truth."""
    return _page(dataset, False)


def _share(values: np.ndarray, hits: np.ndarray, *axes: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Share of the hits, and the numbers, in bins of one or two quantities."""
    samples, edges = [np.asarray(one) for one, _ in axes], [two for _, two in axes]
    number = np.histogramdd(np.stack(samples, axis=1), edges)[0]
    hit = np.histogramdd(np.stack(samples, axis=1)[hits], edges)[0]
    return np.divide(hit, number, out=np.full(number.shape, np.nan), where=number > 0), number


@STYLE
def completeness(table: pd.DataFrame, metrics: Mapping[str, Any]) -> Figure:
    """Completeness and purity over S/N and column density, and over redshift.

    Parameters
    ----------
    table : DataFrame
        Of `galcarto.absorbers.evaluate.evaluate`.
    metrics : mapping
        Of the same.
    """
    truth = table[table["kind"] == "true"]
    found = table[(table["kind"] == "found") & (table["probability"] >= metrics["threshold"])]
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    parts = (
        (left, "Completeness", truth, truth["seen"].to_numpy(bool)),
        (middle, "Purity", found, found["match"].to_numpy() >= 0),
    )
    for ax, title, rows, hits in parts:
        share, number = _share(
            np.ones(len(rows)), hits, (rows["log_nhi"].to_numpy(), COLUMNS), (rows["snr"].to_numpy().clip(1, 11.9), SNR)
        )
        image = ax.pcolormesh(np.arange(len(SNR)), np.arange(len(COLUMNS)), share, cmap="cividis", vmin=0.4, vmax=1)
        for (i, j), value in np.ndenumerate(share):
            if np.isfinite(value):
                text = f"{value:.2f}\n({number[i, j]:.0f})"
                ax.text(
                    j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=4.5, color="w" if value < 0.75 else "k"
                )
        ax.set_facecolor(GREY)
        ax.set_xticks(np.arange(len(SNR)), [f"{one:g}" for one in SNR])
        ax.set_yticks(np.arange(len(COLUMNS)), [f"{one:g}" for one in COLUMNS])
        ax.set(xlabel="S/N of a pixel", ylabel=NHI, title=f"{title} (number)")
    figure.colorbar(image, ax=[left, middle], shrink=0.9, label="Share")
    bins = np.arange(2.0, 4.3, 0.3)
    chosen = truth[(truth["log_nhi"] >= DAMPED) & (truth["snr"] > BRIGHT)]
    claimed = found[(found["log_nhi"] >= DAMPED) & (found["snr"] > BRIGHT)]
    for rows, hits, colour, label in (
        (chosen, chosen["seen"].to_numpy(bool), BLUE, "completeness"),
        (claimed, claimed["match"].to_numpy() >= 0, ORANGE, "purity"),
    ):
        share, number = _share(np.ones(len(rows)), hits, (rows["z"].to_numpy(), bins))
        # Wilson's interval of a share
        centre = (share + 0.5 / np.maximum(number, 1)) / (1 + 1 / np.maximum(number, 1))
        half = np.sqrt(share * (1 - share) / np.maximum(number, 1) + 0.25 / np.maximum(number, 1) ** 2)
        half /= 1 + 1 / np.maximum(number, 1)
        below, above = np.maximum(share - centre + half, 0), np.maximum(centre + half - share, 0)
        some = number >= FEWEST
        place, shown = 0.5 * (bins[1:] + bins[:-1])[some], share[some]
        right.errorbar(place, shown, (below[some], above[some]), fmt="o-", ms=3, lw=1, color=colour, label=label)
    right.set(xlabel="Redshift of the absorber", ylabel=f"Share, lg N ≥ {DAMPED}, S/N > {BRIGHT:g}", ylim=(None, 1.01))
    right.legend()
    return figure


@STYLE
def columns(table: pd.DataFrame, metrics: Mapping[str, Any]) -> Figure:
    """Column densities and velocities that were found, against the true ones; parameters as of `completeness`."""
    truth = table[table["kind"] == "true"].reset_index(drop=True)
    found = table[(table["kind"] == "found") & (table["probability"] >= metrics["threshold"]) & (table["match"] >= 0)]
    found = found[found["snr"] > BRIGHT]
    theirs = truth.iloc[found["match"].astype(int)]
    true, measured = theirs["log_nhi"].to_numpy(), found["log_nhi"].to_numpy()
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    *_, image = left.hist2d(true, measured, bins=50, range=[(19.4, 22), (19.4, 22)], cmap="Greys", norm=LogNorm())
    image.set_rasterized(True)
    left.plot([19.4, 22], [19.4, 22], color=ORANGE, lw=0.8)
    left.set(xlabel=f"True {NHI}", ylabel=f"Found {NHI}")
    ends = np.arange(19.5, 22.01, 0.25)
    for share, style in ((0.16, "--"), (0.5, "-"), (0.84, "--")):
        line = [np.quantile(part, share) if len(part) > 9 else np.nan for part in _parts(true, measured - true, ends)]
        middle.plot(0.5 * (ends[1:] + ends[:-1]), line, color=BLUE, ls=style, lw=1)
    middle.axhline(0, color="k", lw=0.6)
    middle.set(xlabel=f"True {NHI}", ylabel="Found minus true (dex)", ylim=(-0.6, 0.6))
    velocity = 299_792.458 * (found["z"].to_numpy() - theirs["z"].to_numpy()) / (1 + theirs["z"].to_numpy())
    for low, high, colour in ((19.5, DAMPED, PINK), (DAMPED, 23, BLUE)):
        rows = (true >= low) & (true < high)
        label = f"lg N ≥ {low:g}" if high > 22 else f"{low:g} to {high:g}"
        right.hist(velocity[rows], np.linspace(-800, 800, 41), histtype="step", color=colour, label=label, density=True)
    right.set(xlabel="Velocity, found minus true (km/s)", ylabel="Density (s/km)")
    right.legend()
    return figure


def _parts(values: np.ndarray, others: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
    at = np.digitize(values, ends) - 1
    return [others[at == k] for k in range(len(ends) - 1)]


@STYLE
def calibration(metrics: Mapping[str, Any]) -> Figure:
    """How often a detection of a stated probability is real, and how often lg N lies in its interval."""
    said = metrics["hard"]["reliability"]
    number, true = np.array(said["number"], float), np.array(said["true"], float)
    share = np.divide(true, number, out=np.full(len(number), np.nan), where=number > 0)
    error = np.sqrt(np.maximum(share * (1 - share), 0.25 / np.maximum(number, 1)) / np.maximum(number, 1))
    middle = (np.arange(len(number)) + 0.5) / len(number)
    figure = Figure(figsize=(0.55 * PAGE, 2.8), layout="constrained")
    ax = figure.subplots()
    ax.plot([0, 1], [0, 1], color="0.6", lw=0.8)
    ax.errorbar(middle, share, error, fmt="o", ms=3.5, color=BLUE, lw=1)
    ax.set(xlabel="Stated probability", ylabel="Share that is an absorber", xlim=(0, 1), ylim=(0, 1.02))
    return figure


@STYLE
def thresholds(metrics: Mapping[str, Any]) -> Figure:
    """Completeness against purity as the threshold moves, with the Bayesian finder's point."""
    figure = Figure(figsize=(0.62 * PAGE, 3.2), layout="constrained")
    ax = figure.subplots()
    rows = [("plain", metrics.get("plain"), GREEN), ("hard", metrics.get("hard"), BLUE)]
    rows += [(f"hard, {name}", one.get("hard"), PINK) for name, one in metrics.get("trials", {}).items()]
    for name, one, colour in rows:
        if one:
            curve = one["curve"]
            ax.plot(curve["purity"], curve["completeness"], "o-", ms=2.5, lw=1, color=colour, label=name)
            ax.plot(one["damped"]["purity"], one["damped"]["completeness"], "o", ms=6, mfc="none", color=colour)
    if finder := metrics.get("finder"):
        ax.plot(finder["finder"]["purity"], finder["finder"]["completeness"], "D", color=ORANGE, label="gp-dla-finder")
        ours = finder["ours"]
        ax.plot(ours["purity"], ours["completeness"], "s", color=BLUE, label="ours on its sightlines")
    ax.set(xlabel="Purity", ylabel="Completeness", title=f"lg N ≥ {DAMPED}, S/N > {BRIGHT:g}")
    ax.legend()
    return figure


@STYLE
def numbers(metrics: Mapping[str, Any]) -> Figure:
    """The column density distribution, found and true."""
    one = metrics["hard"]["distribution"]
    figure = Figure(figsize=(0.55 * PAGE, 3.0), layout="constrained")
    ax = figure.subplots()
    log_nhi, f, error = (np.array(one[name], float) for name in ("log_nhi", "f", "f_error"))
    ax.set_yscale("log")
    ax.plot(log_nhi, one["true_f"], "s", mfc="none", color="k", ms=6, label="mock's own")
    some = f > 0
    below = np.minimum(error, 0.9 * f)[some]
    ax.errorbar(log_nhi[some], f[some], (below, error[some]), fmt="o", ms=3.5, color=BLUE, label="found, corrected")
    ax.plot(log_nhi[~some], error[~some], "v", color=BLUE)  # an empty bin: one standard error
    text = f"$\\ell(X)$ = {one['l']:.4f} ± {one['l_error']:.4f}\nmock's own: {one['true_l']:.4f}"
    ax.text(0.04, 0.06, text, transform=ax.transAxes)
    ax.set(xlabel=NHI, ylabel=r"$f(N,X)$ (cm$^2$)")
    ax.legend()
    return figure


@STYLE
def ablation(metrics: Mapping[str, Any]) -> Figure:
    """What each part of the hard mock costs: completeness and purity without it."""
    names = [name for name in metrics if name.startswith("without_")]
    figure = Figure(figsize=(PAGE * 0.8, 0.32 * (len(names) + 2) + 0.9), layout="constrained")
    ax = figure.subplots()
    rows = [("hard", "hard mock"), *((name, name.replace("_", " ")) for name in names), ("plain", "plain mock")]
    for at, (name, _) in enumerate(rows):
        for kind, colour, marker in (("completeness", BLUE, "o"), ("purity", ORANGE, "s")):
            label = kind if at == 0 else None
            ax.plot(metrics[name]["damped"][kind], at, marker, color=colour, label=label, ms=5)
    ax.set_yticks(range(len(rows)), [label for _, label in rows])
    ax.invert_yaxis()
    ax.grid(axis="x", lw=0.4)
    ax.set(xlabel=f"Share, lg N ≥ {DAMPED}, S/N > {BRIGHT:g}")
    ax.legend(loc="lower left")
    return figure
