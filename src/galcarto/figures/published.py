"""Difference of the cube from a published map: on the sky at some distances, and scores against distance."""

import textwrap

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, ORANGE, PAGE, STYLE, tile_map

KINDS = (("extinction", BLUE, "-", "$A_V$"), ("density", ORANGE, "--", "density"))


@STYLE
def differences(comparison: xr.Dataset) -> Figure:
    """Maps of the difference at up to three distances, and its scores by distance.

    Parameters
    ----------
    comparison : Dataset
        difference, mag, and used (l, b, distance); extinction_SCORE and density_SCORE (distance); attributes title,
        status, extinction_errors, and shown, the bins to draw. Without a comparison only title and status.

    Returns
    -------
    Figure
    """
    title = comparison.attrs["title"]
    if "distance" not in comparison.coords:
        figure = Figure(figsize=(PAGE, 1.2))
        text = textwrap.fill(f"{title}: {comparison.attrs['status']}", 100)
        figure.text(0.5, 0.5, text, ha="center", va="center", parse_math=False)
        return figure
    shown = list(dict.fromkeys(np.atleast_1d(comparison.attrs["shown"]).tolist()))
    outer = comparison["distance_bounds"][:, 1].values
    maps = comparison["difference"].where(comparison["used"].astype(bool)).transpose("b", "l", "distance")
    shape = maps.sizes["b"] / maps.sizes["l"]  # tiles are as wide as they are high
    height = min(PAGE / 3 * shape, 3.5) + 0.9  # inches
    figure = Figure(figsize=(PAGE, height + 4.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(height, 4.2), squeeze=False)[:, 0]

    spread = float(np.nanpercentile(np.abs(maps.isel(distance=shown)), 98)) or 1.0
    axes = above.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for ax, k in zip(axes, shown, strict=True):
        title = f"to {outer[k]:.2f} kpc"
        image = tile_map(ax, maps.isel(distance=k), title, vmin=-spread, vmax=spread, cmap="RdBu_r")
    axes[0].set_ylabel("Latitude $b$ (deg)")
    axes[0].invert_xaxis()
    scale = axes[-1].inset_axes((1.06, 0, 0.06, 1))
    figure.colorbar(image, cax=scale, label=r"$\Delta A_V$ (mag)", extend="both")
    above.suptitle(f"This work less {title}", parse_math=False, fontsize=9)

    panels = below.subplots(2, 3, sharex=True)
    for ax, (kind, colour, line, _) in zip(panels[0], KINDS, strict=False):
        bias, scatter = comparison[f"{kind}_bias"], comparison[f"{kind}_scatter"]
        ax.fill_between(outer, bias - scatter, bias + scatter, color=colour, alpha=0.25, lw=0, label="scatter")
        ax.plot(outer, bias, color=colour, ls=line, label="bias")
        ax.axhline(0, color="black", ls=":", lw=1)
        ax.legend()
    panels[0, 0].set_ylabel(r"$\Delta A_V$ (mag)")
    panels[0, 1].set_ylabel(r"$\Delta\,\mathrm{d}A_V/\mathrm{d}r$ (mag kpc$^{-1}$)")
    for ax, score in zip((panels[0, 2], *panels[1]), ("ratio", "spearman", "chi2", "n"), strict=True):
        for kind, colour, line, name in KINDS:
            ax.plot(outer, comparison[f"{kind}_{score}"], color=colour, ls=line, label=name)
        if score in ("ratio", "chi2"):
            ax.axhline(1, color="black", ls=":", lw=1)
    panels[0, 2].set_ylabel("Ratio (dimensionless)")
    panels[0, 2].legend()
    panels[1, 0].set(ylabel="Spearman (dimensionless)", ylim=(min(0, panels[1, 0].get_ylim()[0]), 1.03))
    panels[1, 1].set(ylabel=r"$\chi^2$ per tile (dimensionless)", yscale="log")
    panels[1, 2].set(ylabel="Tiles (number)", ylim=(0, None))
    for ax in panels[1]:
        ax.set(xlabel="Distance (kpc)", xlim=(0, outer[comparison["extinction_n"] > 0].max()))
    below.align_ylabels()
    return figure
