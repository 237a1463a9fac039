"""Dust on spiral arms and at their tracers, compared with that elsewhere."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, GREY, ORANGE, PAGE, STYLE

SKIES = {"truth": ("true sky", "black"), "map": ("map", BLUE)}
YOUNG = {"masers": "masers", "hii": "HII regions"}


def _null(ax: Axes, moved: xr.DataArray, found: float, label: str, colour: str, what: str) -> None:
    """The distribution of a null, and the measured value."""
    known = moved.values[np.isfinite(moved.values)]
    if len(known):
        ax.hist(known, bins=30, color=GREY, ec="0.6", lw=0.5, label=what)
    if np.isfinite(found):
        ax.axvline(found, color=colour, label=label)
    ax.axvline(1.0, color="0.5", lw=0.7, ls=":")
    ax.set(ylabel="Number", ylim=(0, 1.5 * ax.get_ylim()[1]))


@STYLE
def arms(found: xr.Dataset) -> Figure:
    """Density against distance to the nearest arm, and density ratios of arms and tracers against their nulls.

    Parameters
    ----------
    found : Dataset
        density_map and density_map_error (across,), relative to an exponential disc, across in kpc; moved_map (moved,),
        ratios of moved arms; ratio_map and p_value_map; optionally the same for the truth, and ratio_*, ratio_*_error,
        n_* and moved_* for masers and hii; attributes arms and arm_width_kpc.

    Returns
    -------
    Figure
    """
    young = [name for name in YOUNG if f"n_{name}" in found]
    figure = Figure(figsize=(PAGE, 2.7 * (1 + bool(young))), layout="constrained")
    axes = figure.subplots(1 + bool(young), 2, squeeze=False)
    near, null = axes[0]
    width = found.attrs["arm_width_kpc"]
    near.axvspan(0, width, color=GREY, lw=0)
    near.axhline(1.0, color="0.5", lw=0.7, ls=":")
    for name, (label, colour) in SKIES.items():
        if f"density_{name}" in found:
            near.errorbar(
                found.across,
                found[f"density_{name}"],
                found[f"density_{name}_error"],
                color=colour,
                marker="o",
                ms=3.5,
                lw=1.1,
                elinewidth=0.7,
                label=label,
            )
    near.set(xlabel="Distance to the nearest arm (kpc)", ylabel="Density / exponential disc")
    near.set(xlim=(0, None), ylim=(0, 1.2 * near.get_ylim()[1]))
    near.text(0.5 * width, 0.03, "on the arm", transform=near.get_xaxis_transform(), ha="center", fontsize=8)
    near.legend(ncols=2, columnspacing=1.0, handlelength=1.5)

    ratio, p_value = float(found.ratio_map), float(found.p_value_map)
    label = f"map: {ratio:.2f}, $p$ = {p_value:.3f}"
    _null(null, found.moved_map, ratio, label, BLUE, "map, arms moved")
    if not np.isfinite(ratio):
        null.set_title("the map lies all on an arm, or all between arms")
    if "ratio_truth" in found and np.isfinite(found.ratio_truth):
        true = float(found.ratio_truth)
        null.axvline(true, color="black", ls="--", label=f"true sky: {true:.2f}")
    null.set(xlabel="Density on the arms / between them")
    if null.get_legend_handles_labels()[0]:
        null.legend()

    for ax, name in zip(axes[1:].ravel(), young, strict=False):
        count, ratio, error = (float(found[key]) for key in (f"n_{name}", f"ratio_{name}", f"ratio_{name}_error"))
        if np.isfinite(ratio):
            label = f"{count:.0f} {YOUNG[name]}: {ratio:.2f} ± {error:.2f}"
            _null(ax, found[f"moved_{name}"], ratio, label, ORANGE, "random directions")
            ax.axvspan(ratio - error, ratio + error, color=ORANGE, alpha=0.2, lw=0)
            ax.legend()
        else:
            ax.text(0.5, 0.5, f"{count:.0f} {YOUNG[name]} in the map: too few", transform=ax.transAxes, ha="center")
            ax.set(xticks=[], yticks=[])
        ax.set(xlabel=f"Density at {YOUNG[name]} / elsewhere")
    return figure
