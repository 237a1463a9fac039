"""The prior over profiles, and how the posterior contracts from it."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, GREY, ORANGE, PAGE, STYLE

LEAST = 1e-3  # mag/kpc: lower end of the axis
VARIANTS = (
    ("full", "black", "-", "prior"),
    ("no_clouds", BLUE, "--", "no clouds"),
    ("no_bubble", ORANGE, ":", "no bubble"),
)


def _band(ax: Axes, x: np.ndarray, quantiles: xr.DataArray, colour: str, label: str) -> None:
    """Draw the central 95 % and 68 %."""
    for low, high, alpha, level in ((0.025, 0.975, 0.15, "95 %"), (0.16, 0.84, 0.3, "68 %")):
        ends = quantiles.sel(quantile=low), quantiles.sel(quantile=high)
        ax.fill_between(x, *ends, color=colour, alpha=alpha, lw=0, label=f"{label}, {level}")


def _published(ax: Axes, x: float, bounds: xr.DataArray, label: str) -> None:
    value, low, high = (float(bounds.sel(bound=name)) for name in ("value", "low", "high"))
    ax.errorbar(x, value, [[value - low], [high - value]], fmt="D", color=ORANGE, ms=4, capsize=2, lw=1, label=label)


@STYLE
def samples(prior: xr.Dataset) -> Figure:
    """Profiles of the prior, A_V at some distances, density against distance, and published values.

    Parameters
    ----------
    prior : Dataset
        extinction (variant, quantile, distance), mag, and density, mag/kpc; examples (example, distance), mag;
        extinction_at (profile, at), mag; distance_bounds (distance, bounds), kpc; published statistics (bound,).

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 6.0), layout="constrained")
    (runs, spread), (density, table) = figure.subplots(2, 2)
    edges = prior.distance_bounds.isel(bounds=1).values
    _band(runs, edges, prior.extinction.sel(variant="full"), "0.4", "prior")
    for name, colour, style, label in VARIANTS:
        runs.plot(
            edges, prior.extinction.sel(variant=name, quantile=0.5), color=colour, ls=style, label=f"{label}, median"
        )
    for profile in prior.examples:
        runs.plot(edges, profile, color="0.25", lw=0.6, alpha=0.8)
    _published(runs, 0.055, prior.extinction_55pc_mag, "published")
    if "disc_extinction_mag" in prior:
        _published(runs, edges[-1], prior.disc_extinction_mag, "_disc")
    ceiling = float(prior.extinction.max())
    runs.set(yscale="log", ylim=(1e-3, 1.5 * ceiling), xscale="log", xlim=(min(0.05, 0.9 * edges[0]), edges[-1] * 1.08))
    runs.set(xlabel="Distance (kpc)", ylabel="$A_V$ (mag)")
    runs.set_title("Profiles of the prior")

    bins = np.geomspace(1e-4, max(ceiling, 1e-2), 60)
    shades = np.linspace(0.75, 0.0, prior.sizes["at"])
    for shade, at in zip(shades, prior["at"].values, strict=True):
        values = np.clip(prior.extinction_at.sel(at=at), bins[0], bins[-1])
        weights = np.full(len(values), 100.0 / len(values))
        spread.hist(values, bins, weights=weights, histtype="step", color=str(shade), lw=1.2, label=f"{at:g} kpc")
    spread.set(xscale="log", xlabel="$A_V$ (mag)", ylabel="Profiles in a bin (%)")
    spread.legend(title="$A_V$ to", loc="upper left", title_fontsize=8)
    spread.set_title("The first bin holds all below it")

    _band(density, prior.distance, prior.density.sel(variant="full"), "0.4", "prior")
    for name, colour, style, _ in VARIANTS:
        density.plot(prior.distance, prior.density.sel(variant=name, quantile=0.5), color=colour, ls=style)
    density.axvspan(*prior.attrs["bubble_kpc"], color=GREY, lw=0, zorder=0)
    value, low, high = prior.plane_density_mag_per_kpc.values
    density.axhspan(low, high, color=ORANGE, alpha=0.2, lw=0)
    density.axhline(value, color=ORANGE, lw=1)
    density.set(yscale="log", xscale="log", ylim=(1e-3, 1.5 * float(prior.density.max())))
    density.set(xlabel="Distance (kpc)", ylabel="$\\mathrm{d}A_V/\\mathrm{d}s$ (mag kpc$^{-1}$)")
    density.set_title("Local density (orange: published, in the plane)")

    table.set_axis_off()
    figure.legend(*runs.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    rows: list[tuple[str, ...]] = [
        ("", "prior", "published"),
        ("Bubble's wall (kpc)", _range(prior.attrs["bubble_kpc"]), _known(prior.bubble_wall_kpc)),
    ]
    if "envelope_kpc" in prior:
        rows.append(("Scale, sightline (kpc)", _range(prior.attrs["envelope_kpc"]), _known(prior.envelope_kpc)))
    rows.append(("Slope of ln(density)", f"{prior.attrs['slope']:.1f}", _known(prior.spectral_index)))
    rows += [
        ("Without published values:",),
        ("Clouds, mean number", f"{prior.attrs['clouds_mean']:g}"),
        ("Steepest 100 pc (mag)", f"{prior.attrs['steepest_mag']:.2f}"),
        ("their share of all $A_V$", f"{prior.attrs['steepest_share']:.2f}"),
        ("σ of ln(density), 1 line", f"{prior.attrs['ln_density_sd_along']:.2f}"),
    ]
    for i, row in enumerate(rows):
        weight = "bold" if "prior" in row or len(row) == 1 else "normal"
        for x, text, side in zip((0.0, 0.54, 1.0), row, ("left", "center", "right"), strict=False):
            table.text(
                x, 0.95 - 0.11 * i, text, ha=side, va="top", fontsize=8, weight=weight, transform=table.transAxes
            )
    return figure


def _range(ends: np.ndarray) -> str:
    return f"{ends[0]:g}–{ends[1]:g}"


def _known(bounds: xr.DataArray) -> str:
    value, low, high = bounds.values
    return f"{value:.2g}" if low == high else f"{value:.2g} ({low:.2g}–{high:.2g})"


@STYLE
def contraction(found: xr.Dataset, threshold: float) -> Figure:
    """Posterior contraction of the local density against distance, and the densities of posterior and prior.

    Parameters
    ----------
    found : Dataset
        quantiles (quantile, distance) over the tiles of the standard deviation of ln(density), posterior over prior;
        speaking (distance,), fraction of the tiles between whose distance_min and distance_max it lies; posterior and
        prior (quantile, distance), dA_V/ds, mag/kpc, of all tiles' samples and of the prior; nearest and farthest
        (tile,), kpc.
    threshold : float
        Contraction below which the data constrain the density.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 5.4), layout="constrained")
    spread, fraction, density = figure.subplots(3, 1, sharex=True, height_ratios=(1.2, 0.7, 1.2))
    _band(spread, found.distance, found.quantiles, BLUE, "tiles")
    spread.plot(found.distance, found.quantiles.sel(quantile=0.5), color=BLUE, label="tiles, median")
    spread.axhline(threshold, color="black", ls="--", lw=1, label=f"constrained below {threshold:g}")
    spread.axhline(1.0, color="black", ls=":", lw=1)
    spread.set(ylim=(0, None), ylabel="Spread / prior's (number)")
    spread.legend(loc="lower right", ncols=2)
    fraction.plot(found.distance, 100 * found.speaking, color="black")
    for values, colour, label in ((found.nearest, BLUE, "distance_min"), (found.farthest, ORANGE, "distance_max")):
        if np.isfinite(values).any():
            fraction.axvline(
                float(np.nanmedian(values)), color=colour, ls="--", label=f"{label}, median", clip_on=False
            )
    fraction.set(ylim=(0, 105), ylabel="Tiles (%)")
    fraction.legend(loc="upper right")
    for name, colour in (("prior", "0.4"), ("posterior", BLUE)):
        values = found[name].clip(LEAST)  # the axis is logarithmic
        _band(density, found.distance, values, colour, name)
        density.plot(found.distance, values.sel(quantile=0.5), color=colour, label=f"{name}, median")
    density.set(yscale="log", xlabel="Distance (kpc)", ylabel="$\\mathrm{d}A_V/\\mathrm{d}s$ (mag kpc$^{-1}$)")
    end = max(float(found.distance.max()), float(found.farthest.max()))
    density.set(xlim=(0, end), ylim=(LEAST, 1.5 * float(found.prior.max())))
    density.legend(loc="upper right", ncols=2)
    figure.align_ylabels()
    return figure
