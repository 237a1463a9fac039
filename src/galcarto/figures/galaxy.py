"""Comparison of the mock Galaxy with the Besançon model and the literature."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MultipleLocator, NullFormatter, NullLocator, StrMethodFormatter

from galcarto.figures.style import BLUE, GREEN, GREY, ORANGE, PAGE, PINK, SKY, STYLE, diagram

LIMITS = (10, 12, 14, 16)  # mag: limits of the panels
MAP_LIMIT = 14  # mag: limit of the map
FLAT = 8.0  # deg: latitudes are stretched below this
LATITUDES = (0, 5, 10, 20, 40, 80)  # deg
# colour and line of a component
LINES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PINK, ":"), (SKY, (0, (5, 1, 1, 1, 1, 1))))
FIELD_NAMES = {"plane": "Plane", "middle": "Middle latitude", "pole": "Galactic pole"}
OBSERVED_CLUMP = -1.61  # mag, in M_Ks: Hawkins et al. 2017, MNRAS 471, 722
FAINTEST = 1e-5  # dark end of the diagrams' scale, relative to the densest pixel
SURVEYS = {"twomass": ("$J - K_s$ (mag)", "$K_s$ (mag)"), "gaia": ("$G_{BP} - G_{RP}$ (mag)", "$G$ (mag)")}
COLOURS = {"J-Ks": "$J - K_s$", "G-Ks": "$G - K_s$", "BP-RP": "$G_{BP} - G_{RP}$"}


def _place(validation: xr.Dataset, field: str) -> str:
    """Name and direction of a field."""
    one = validation.sel(field=field)
    if abs(float(one.field_b)) == 90.0:
        return FIELD_NAMES[field]
    return f"{FIELD_NAMES[field]}, $l$ = {float(one.field_l):g}°, $b$ = {float(one.field_b):g}°"


def _stretch(ax: Axes, axis: str, ticks: list[int]) -> None:
    """Stretch an axis of latitudes near the plane."""
    getattr(ax, f"set_{axis}scale")("asinh", linear_width=FLAT)
    one = getattr(ax, f"{axis}axis")
    one.set_major_locator(FixedLocator(ticks))
    one.set_minor_locator(NullLocator())
    one.set_major_formatter(StrMethodFormatter("{x:.0f}"))


@STYLE
def counts(validation: xr.Dataset) -> Figure:
    """Ratio of the mock's star counts to the Besançon model's: over the sky, and against latitude.

    Parameters
    ----------
    validation : Dataset
        counts_mock and counts_besancon (direction, limit), deg-2; l and b (direction,), deg; limit, mag.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, len(LIMITS), height_ratios=[1.25, 1.0])
    sky = figure.add_subplot(grid[0, :])
    one = validation.sel(limit=MAP_LIMIT)
    norm = CenteredNorm(1.0, 0.3)
    points = sky.scatter(
        (one.l + 180.0) % 360.0 - 180.0,
        one.b,
        c=one.counts_mock / one.counts_besancon,
        norm=norm,
        cmap="RdBu_r",
        s=26,
        lw=0.3,
        edgecolor="0.3",
        clip_on=False,
    )
    _stretch(sky, "y", [-tick for tick in LATITUDES[:0:-1]] + list(LATITUDES))
    sky.set(xlim=(185, -185), ylim=(-105, 105), xlabel="Galactic longitude $l$ (deg)", ylabel="Latitude $b$ (deg)")
    sky.set_xticks(range(180, -181, -60), [str(l % 360) for l in range(180, -181, -60)])
    label = f"Mock / Besançon, $K$ < {MAP_LIMIT} (dimensionless)"
    figure.colorbar(points, ax=sky, label=label, extend="both", pad=0.02, aspect=24)

    panels: list[Axes] = []
    for limit, cell in zip(LIMITS, (grid[1, i] for i in range(len(LIMITS))), strict=True):
        shared = panels[0] if panels else None
        ax = figure.add_subplot(cell, sharex=shared, sharey=shared)
        panels.append(ax)
        one = validation.sel(limit=limit)
        latitude, ratio = np.abs(one.b), one.counts_mock / one.counts_besancon
        centre = (latitude <= 10.0) & ((one.l < 20.0) | (one.l > 340.0))
        tolerance = ax.fill_between([-1, 10], 0.85, 1.15, color=GREY, lw=0, label="within 15 % (plane), 20 % (poles)")
        ax.fill_between([30, 100], 0.80, 1.20, color=GREY, lw=0)
        ax.axhline(1.0, color="black", lw=0.8)
        (sky_marks,) = ax.plot(latitude[~centre], ratio[~centre], "o", color=BLUE, ms=2.4, mew=0, alpha=0.7)
        (centre_marks,) = ax.plot(latitude[centre], ratio[centre], "x", color=ORANGE, ms=3, mew=0.9)
        ax.set(title=f"$K$ < {limit}", xlabel="|$b$| (deg)", xlim=(-0.8, 100), ylim=(0.5, 1.6))
        ax.tick_params(labelleft=limit == LIMITS[0])
        _stretch(ax, "x", [0, 5, 10, 30, 80])
    panels[0].set_ylabel("Mock / Besançon (dimensionless)")
    sky_marks.set_label("directions")
    centre_marks.set_label("|$l$| < 20°, |$b$| ≤ 10°")
    figure.legend(handles=[sky_marks, centre_marks, tolerance], loc="outside lower center", ncols=3, markerscale=1.6)
    return figure


@STYLE
def luminosity_function(validation: xr.Dataset) -> Figure:
    """Stars at the Sun: by absolute magnitude, by mass and by spectral type.

    Parameters
    ----------
    validation : Dataset
        luminosity (component, magnitude) and luminosity_single (magnitude,), pc-3 mag-1; mass_function and
        mass_function_observed (mass,), pc-3 Msun-1, with mass_bounds; type_systems, type_single, type_observed and
        type_observed_error (type,), pc-3.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
    light, mass, types = figure.subplots(1, 3, width_ratios=[1.35, 1, 1])

    total = validation.luminosity.sum("component")
    light.step(total.magnitude, total, where="mid", color="black", label="all")
    light.step(total.magnitude, validation.luminosity_single, where="mid", color="0.55", lw=1, label="without binaries")
    for (colour, line), component in zip(LINES, validation.component.values, strict=False):
        one = validation.luminosity.sel(component=component)
        if float(one.max()) > 1e-8:  # the bulge does not reach the Sun
            light.step(one.magnitude, one, where="mid", color=colour, ls=line, label=str(component))
    light.set(yscale="log", xlim=(-8, 10), ylim=(1e-8, 1))
    light.set(xlabel="$M_{K_s}$ (mag)", ylabel=r"Stars and pairs (pc$^{-3}$ mag$^{-1}$)")
    light.legend(loc="upper left")

    edges = np.append(validation.mass_bounds[:, 0], validation.mass_bounds[-1, 1])
    mass.stairs(validation.mass_function, edges, color=BLUE, lw=1.4, label="mock")
    mass.stairs(validation.mass_function_observed, edges, color="black", ls="--", lw=1, label="Bovy 2017")
    mass.set(xscale="log", yscale="log", xlim=(edges[0], edges[-1]))
    mass.set(xlabel=r"Mass (M$_\odot$)", ylabel=r"Main sequence (pc$^{-3}$ M$_\odot^{-1}$)")
    mass.xaxis.set_major_locator(FixedLocator([1, 1.5, 2, 2.5]))
    mass.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    mass.xaxis.set_minor_locator(NullLocator())
    mass.legend(loc="lower left")

    place = np.arange(validation.sizes["type"])
    types.errorbar(
        place,
        validation.type_observed,
        validation.type_observed_error,
        fmt="s",
        color="black",
        ms=4,
        capsize=2,
        lw=1,
        label="observed",
    )
    types.plot(place - 0.15, validation.type_systems, "o", color=BLUE, ms=5, label="mock, pairs as one")
    types.plot(place + 0.15, validation.type_single, "^", color=ORANGE, ms=5, label="mock, single stars")
    types.set(yscale="log", xlim=(-0.5, len(place) - 0.5), ylim=(1e-3, 0.3))
    types.set(xlabel="Type (dwarfs)", ylabel=r"Density (pc$^{-3}$)")
    types.set_xticks(place, validation.type.values)
    types.xaxis.set_minor_locator(NullLocator())
    types.legend(loc="upper left")
    return figure


@STYLE
def cmds(validation: xr.Dataset) -> Figure:
    """Dust-free diagrams of three fields in the bands of 2MASS and Gaia, without errors.

    Parameters
    ----------
    validation : Dataset
        diagram_twomass and diagram_gaia (field, magnitude, colour), deg-2 mag-2; field_l and field_b (field,), deg.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 6.0), layout="constrained")
    axes = figure.subplots(len(SURVEYS), validation.sizes["field"], sharey="row", squeeze=False)
    norm = LogNorm(FAINTEST, 1.0)
    for row, (survey, (colour, magnitude)) in zip(axes, SURVEYS.items(), strict=True):
        for ax, field in zip(row, validation.field.values, strict=True):
            one = validation[f"diagram_{survey}"].sel(field=field)
            densest = float(one.max())
            image = diagram(ax, one[f"{survey}_colour"], one[f"{survey}_magnitude"], one / densest, norm)
            ax.set_xlabel(colour)
            exponent = int(np.floor(np.log10(densest)))
            text = rf"${densest / 10**exponent:.1f} \times 10^{{{exponent}}}$"
            ax.text(0.96, 0.97, text, transform=ax.transAxes, ha="right", va="top", color="white", fontsize=8)
            if survey == "twomass":
                ax.set_title(_place(validation, str(field)), fontsize=8)
        row[0].invert_yaxis()
        row[0].set_ylabel(magnitude)
    label = r"Stars / those of the densest pixel (in the corner, deg$^{-2}$ mag$^{-2}$)"
    figure.colorbar(image, ax=axes, label=label, extend="min", aspect=50, pad=0.01)
    return figure


@STYLE
def distances(validation: xr.Dataset) -> Figure:
    """Distances of the stars of three fields, by component.

    Parameters
    ----------
    validation : Dataset
        distances (field, component, distance), deg-2 dex-1; distance, kpc; field_l and field_b (field,), deg.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 2.7), layout="constrained")
    axes = figure.subplots(1, validation.sizes["field"])
    peaks = validation.distances.max("distance")
    shown = peaks.component.values[(peaks > peaks.max("component") / 1e4).any("field")]  # the bulge may be in none
    for ax, field in zip(axes, validation.field.values, strict=True):
        one = validation.distances.sel(field=field)
        total = one.sum("component")
        ax.plot(total.distance, total, color="black", lw=1.6, label="all")
        for (colour, line), component in zip(LINES, one.component.values, strict=False):
            if component in shown:
                ax.plot(one.distance, one.sel(component=component), color=colour, ls=line, label=str(component))
        ax.set(xscale="log", yscale="log", xlim=(0.03, 50), xlabel="Distance (kpc)")
        ax.set_ylim(float(total.max()) / 1e4, float(total.max()) * 2)
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_title(_place(validation, str(field)), fontsize=8)
    axes[0].set_ylabel(r"Stars of $K_s$ < 14.8 (deg$^{-2}$ dex$^{-1}$)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


@STYLE
def isochrones(validation: xr.Dataset) -> Figure:
    """The red clump, the dwarfs' colours, and lifetimes on the asymptotic giant branch.

    Parameters
    ----------
    validation : Dataset
        clump, clump_fit and clump_background (clump_magnitude,), pc-3 mag-1; dwarf_mock, dwarf_mock_low,
        dwarf_mock_high and dwarf_observed (dwarf, dwarf_colour), mag; dwarf_magnitude (dwarf,), mag; lifetime (phase,
        log_age), Myr.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 5.4), layout="constrained")
    (clump, life), (sequence, offset) = figure.subplots(2, 2)

    scale = 1e5
    width = float(validation.clump_magnitude[1] - validation.clump_magnitude[0])
    clump.bar(validation.clump_magnitude, scale * validation.clump, width, color=GREY, edgecolor="0.6", lw=0.5)
    clump.plot(validation.clump_magnitude, scale * validation.clump_fit, color=BLUE, label="fit")
    clump.plot(
        validation.clump_magnitude, scale * validation.clump_background, color=BLUE, ls="--", lw=1, label="background"
    )
    clump.axvline(OBSERVED_CLUMP, color=ORANGE, ls=":", label="observed")
    clump.set(xlabel="$M_{K_s}$ (mag)", ylabel=r"Stars within 400 pc (10$^{-5}$ pc$^{-3}$ mag$^{-1}$)")
    clump.set_xlim(float(validation.clump_magnitude[0]), float(validation.clump_magnitude[-1]))
    clump.legend(loc="upper right")

    for (colour, line), phase in zip(LINES, validation.phase.values, strict=False):
        one = validation.lifetime.sel(phase=phase).dropna("log_age")
        life.plot(one.log_age, one, color=colour, ls=line, marker="o", ms=3, label=str(phase))
    life.set(yscale="log", xlim=(8, 10.2), ylim=(0.05, 60))
    life.set(xlabel=r"log$_{10}$ age (yr)", ylabel="Lifetime, solar metallicity (Myr)")
    life.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    life.xaxis.set_major_locator(MultipleLocator(0.5))
    life.legend(loc="lower center")

    for (colour, line), name in zip(LINES, validation.dwarf_colour.values, strict=False):
        one = validation.sel(dwarf_colour=name)
        magnitude = one.dwarf_magnitude
        label = COLOURS.get(str(name), str(name))
        sequence.fill_betweenx(magnitude, one.dwarf_mock_low, one.dwarf_mock_high, color=colour, alpha=0.25, lw=0)
        sequence.plot(one.dwarf_mock, magnitude, color=colour, ls=line, label=label)
        sequence.plot(one.dwarf_observed, magnitude, "o", color=colour, ms=3.2, mfc="white", mew=0.9)
        offset.plot(
            magnitude, one.dwarf_mock - one.dwarf_observed, color=colour, ls=line, marker="o", ms=3, label=label
        )
    sequence.set(xlim=(0, 5.3), ylim=(9.6, 2.0), xlabel="Colour (mag)", ylabel="Dwarfs' $M_{K_s}$ (mag)")
    sequence.plot([], [], "o", color="0.3", ms=3.2, mfc="white", mew=0.9, label="mean dwarf F5 to M6")
    sequence.legend(loc="upper right")
    offset.axhline(0.0, color="black", lw=0.8)
    offset.set(xlim=(2.0, 9.6), ylim=(-0.27, 0.22), xlabel="Dwarfs' $M_{K_s}$ (mag)", ylabel="Mock − mean dwarf (mag)")
    offset.legend(loc="upper right")
    return figure


FIGURES = {
    "counts": counts,
    "luminosity_function": luminosity_function,
    "cmds": cmds,
    "distances": distances,
    "isochrones": isochrones,
}
