"""Errors and completeness of surveys, measured from catalogues, with residuals of the fits."""

from collections.abc import Callable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from galcarto.figures.style import BLUE, GREEN, ORANGE, PAGE, STYLE

NAMES = {
    "J": "$J$",
    "H": "$H$",
    "Ks": "$K_s$",
    "G": "$G$",
    "cloud": "Orion A",
    "field": "control field",
    "cone": "NGC 188",
    "plane": "$l$ = 120°, $b$ = −1°",
    "deep": "$l$ = 250°, $b$ = −7°",
}
MARKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"))


def _panels(number: int) -> tuple[Figure, list[Axes], list[Axes]]:
    """A row of panels with their residuals below."""
    figure = Figure(figsize=(PAGE, 3.7), layout="constrained")
    axes = figure.subplots(2, number, sharex="col", height_ratios=[2.2, 1], squeeze=False)
    return figure, list(axes[0]), list(axes[1])


def _errors(measured: xr.Dataset, name: str, top: Axes, bottom: Axes) -> None:
    """Median errors of a quantity by catalogue, the fitted curve, and their ratio."""
    place = measured[f"{name}_bin"]
    curve = measured[f"{name}_curve"]
    known = measured[f"{name}_error"].notnull().any(f"{name}_catalogue")
    bottom.axhline(0.0, color="black", lw=0.8)
    for (colour, mark), catalogue in zip(MARKS, measured[f"{name}_catalogue"].values, strict=False):
        error, low, high = (
            measured[f"{name}_{part}"].sel({f"{name}_catalogue": catalogue}) for part in ("error", "low", "high")
        )
        top.errorbar(place, error, [error - low, high - error], fmt=mark, color=colour, ms=2.4, lw=0.6,
                     label=NAMES[str(catalogue)])  # fmt: skip
        bottom.plot(place, 100.0 * np.log(error / curve), mark, color=colour, ms=2.4)
    top.plot(place[known], curve[known], color="black", lw=1.1, label="table", zorder=5)
    top.set(yscale="log")
    top.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


@STYLE
def twomass_errors(measured: xr.Dataset) -> Figure:
    """Errors of J, H and Ks.

    Parameters
    ----------
    measured : Dataset
        For each band: ``BAND_error``, ``_low`` and ``_high`` (catalogue, bin), mag, ``BAND_curve`` (bin,), mag, and
        ``BAND_bin``, mag.

    Returns
    -------
    Figure
    """
    figure, tops, bottoms = _panels(3)
    for band, top, bottom in zip(("J", "H", "Ks"), tops, bottoms, strict=True):
        _errors(measured, band, top, bottom)
        top.set(ylim=(0.014, 0.45), xlim=(6, 18))
        top.set_yticks([0.02, 0.05, 0.1, 0.2])
        top.yaxis.set_minor_formatter("")
        bottom.set(xlabel=f"{NAMES[band]} (mag)", ylim=(-65, 65))
    tops[0].set_ylabel("Error (mag)")
    bottoms[0].set_ylabel("ln(found/table)\n× 100")
    tops[0].legend(loc="upper left")
    return figure


@STYLE
def gaia_errors(measured: xr.Dataset) -> Figure:
    """Errors of G, of BP-RP (the quadratic sum of those of BP and RP) and of the parallax.

    Parameters
    ----------
    measured : Dataset
        ``G_error`` and so on and ``parallax_error`` and so on, as in `twomass_errors`; ``cell_g``, ``cell_colour``,
        ``cell_found`` and ``cell_fitted`` (cell,), mag.

    Returns
    -------
    Figure
    """
    figure, tops, bottoms = _panels(3)
    for name, top, bottom in zip(("G", "parallax"), tops[::2], bottoms[::2], strict=True):
        _errors(measured, name, top, bottom)
        top.set(xlim=(11, 21.2))
        bottom.set(xlabel="$G$ (mag)", ylim=(-18, 18) if name == "parallax" else (-4, 4))
    tops[0].set(ylabel="Error of $G$ (mag)", ylim=(0.0024, 0.02))
    tops[0].set_yticks([0.003, 0.005, 0.01, 0.02])
    tops[0].yaxis.set_minor_formatter("")
    tops[2].set_ylabel("Error of the parallax (mas)")
    tops[0].legend(loc="upper left")
    bottoms[0].set_ylabel("ln(found/table)\n× 100")
    colours = tops[1]
    bottoms[1].axhline(0.0, color="black", lw=0.8)
    hues = ((0.0, 1.1, BLUE, "o", "< 1.1"), (1.1, 1.6, GREEN, "^", "1.1 to 1.6"), (1.6, 9.0, ORANGE, "s", "> 1.6"))
    for low, high, colour, mark, label in hues:
        one = measured.isel(cell=((measured.cell_colour >= low) & (measured.cell_colour < high)).values)
        colours.plot(one.cell_g, one.cell_found, mark, color=colour, ms=2.8, label=f"BP−RP {label}")
        colours.plot(one.cell_g, one.cell_fitted, "_", color="black", ms=4, mew=0.8)
        bottoms[1].plot(one.cell_g, 100.0 * np.log(one.cell_found / one.cell_fitted), mark, color=colour, ms=2.8)
    colours.plot([], [], "_", color="black", ms=4, mew=0.8, label="from BP and RP")
    colours.set(yscale="log", xlim=(11, 21.2), ylim=(0.004, 0.2), ylabel="Error of BP−RP (mag)")
    colours.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    colours.legend(loc="upper left", handletextpad=0.2)
    bottoms[1].set(xlabel="$G$ (mag)", ylim=(-25, 25))
    return figure


def _counted(measured: xr.Dataset, name: str, top: Axes, bottom: Axes) -> None:
    """Counts relative to the complete ones, the fit, and the residual."""
    place, found = measured[f"{name}_step"], measured[f"{name}_found"]
    fitted, complete = measured[f"{name}_fitted"], measured[f"{name}_complete"]
    noise = np.sqrt(found + 1.0)
    top.errorbar(place, found / complete, noise / complete, fmt="o", color=BLUE, ms=3, lw=0.7, label="counts")
    top.plot(place, fitted / complete, color="black", lw=1.1, label="fit", zorder=5)
    bottom.axhline(0.0, color="black", lw=0.8)
    bottom.errorbar(place, (found - fitted) / complete, noise / complete, fmt="o", color=BLUE, ms=3, lw=0.7)


@STYLE
def twomass_completeness(measured: xr.Dataset) -> Figure:
    """Star counts relative to the mock, with fitted normalisation and slope.

    Parameters
    ----------
    measured : Dataset
        For each band: ``BAND_found``, ``_fitted`` and ``_complete`` (step,), and ``BAND_step``, mag.

    Returns
    -------
    Figure
    """
    figure, tops, bottoms = _panels(3)
    for band, top, bottom in zip(("J", "H", "Ks"), tops, bottoms, strict=True):
        _counted(measured, band, top, bottom)
        top.set(ylim=(0, 1.3))
        top.axhline(1.0, color="0.6", lw=0.6)
        bottom.set(xlabel=f"{NAMES[band]} (mag)", ylim=(-0.25, 0.25))
    tops[0].set_ylabel("Found / complete")
    bottoms[0].set_ylabel("Found − fit")
    tops[0].legend(loc="lower left")
    return figure


@STYLE
def gaia_completeness(measured: xr.Dataset) -> Figure:
    """Star counts in G relative to the mock, and the fractions of stars with a colour and with a parallax.

    Parameters
    ----------
    measured : Dataset
        ``G_found`` and so on as in `twomass_completeness`; ``NAME_share``, ``_share_error``, ``_share_fit`` and
        ``NAME_share_bin`` of ``colour_plane``, ``colour_deep`` and ``parallax``.

    Returns
    -------
    Figure
    """
    figure, tops, bottoms = _panels(3)
    _counted(measured, "G", tops[0], bottoms[0])
    tops[0].set(ylim=(0, 1.3), ylabel="Found / mock, scaled")
    tops[0].legend(loc="lower left")
    bottoms[0].set(ylim=(-0.25, 0.25), ylabel="Found − fit")
    columns = ((1, ("colour_plane", "colour_deep")), (2, ("parallax",)))
    for column, names in columns:
        top, bottom = tops[column], bottoms[column]
        bottom.axhline(0.0, color="black", lw=0.8)
        for (colour, mark), name in zip(MARKS if len(names) > 1 else MARKS[1:], names, strict=False):
            place, found, error, fit = (measured[f"{name}_share{part}"] for part in ("_bin", "", "_error", "_fit"))
            label = NAMES["plane" if name == "colour_plane" else "deep"]
            top.errorbar(place, found, error, fmt=mark, color=colour, ms=3, lw=0.7, label=label)
            top.plot(place, fit, color=colour if len(names) > 1 else "black", lw=1.1)
            bottom.errorbar(place, found - fit, error, fmt=mark, color=colour, ms=3, lw=0.7)
        top.legend(loc="lower left")
    tops[1].set(ylim=(0.9, 1.005), ylabel="Share with BP−RP")
    bottoms[1].set(ylim=(-0.03, 0.03))
    tops[2].set(ylim=(0, 1.1), ylabel="Share with a parallax")
    bottoms[2].set(ylim=(-0.1, 0.1))
    for bottom in bottoms:
        bottom.set_xlabel("$G$ (mag)")
    return figure


FIGURES: dict[str, dict[str, Callable[[xr.Dataset], Figure]]] = {
    "2mass": {"errors": twomass_errors, "completeness": twomass_completeness},
    "gaia": {"errors": gaia_errors, "completeness": gaia_completeness},
}
