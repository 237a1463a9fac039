"""The control field: observed and mock stars before and after the fit."""

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, GREY, ORANGE, PAGE, STYLE, diagram, plain_decades

FAINTEST = 0.5  # stars per pixel at the dark end of the scale
STEEPEST = 4.0  # standard deviations at the ends of the residual scale
TITLES = {"observed": "Observed", "mock": "Mock", "fitted": "Fitted"}
CORRECTIONS = (
    ("normalisation", "ln(stars)", ""),
    ("colour", "colour", " mag"),
    ("colour_slope", "slope", " mag/mag"),
    ("galaxies", "galaxies", " deg$^{-2}$ mag$^{-1}$"),
    ("metallicity", "[M/H]", " dex"),
)


def _corrections(survey: xr.Dataset) -> str:
    parts = []
    for name, label, unit in CORRECTIONS:
        value, sd = (float(survey[key].sel(parameter=name)) for key in ("value", "sd"))
        if sd > 0:  # a correction that was fitted
            digits = max(0, 1 - int(np.floor(np.log10(sd))))
            parts.append(f"{label} {value:.{digits}f} ± {sd:.{digits}f}{unit}".replace("-", "−").replace("{−", "{-"))
    half = -(-len(parts) // 2)
    return "\n".join("    ".join(row) for row in (parts[:half], parts[half:]) if row)


@STYLE
def fits(fitted: xr.Dataset, summaries: dict[str, xr.Dataset]) -> Figure:
    """Diagrams of the field with residuals, and mean colour against magnitude; one block per survey.

    Parameters
    ----------
    fitted : Dataset
        observed, mock, fitted (survey, magnitude, colour), stars per pixel; magnitude_axis and colour_axis, mag; bands
        (survey,) such as J-Ks,Ks; value and sd (survey, parameter); chi2 and chi2_before (survey,).
    summaries : dict of Dataset
        `compare.control.summary` by survey.

    Returns
    -------
    Figure
    """
    surveys = list(fitted.survey.values)
    figure = Figure(figsize=(PAGE, 5.3 * len(surveys)), layout="constrained")
    blocks = figure.subfigures(len(surveys), 1, squeeze=False)[:, 0]
    for block, name in zip(blocks, surveys, strict=True):
        one, summary = fitted.sel(survey=name), summaries[name]
        bands, magnitude = str(one.bands.values).split(",")
        colour = bands.replace("-", " − ")
        grid = block.add_gridspec(2, 4, height_ratios=(1.25, 1))
        first = block.add_subplot(grid[0, 0])
        panels = [first, *(block.add_subplot(grid[0, i], sharex=first, sharey=first) for i in (1, 2, 3))]
        seen = one.observed.values > 0
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        norm = LogNorm(FAINTEST, max(float(one[list(TITLES)].to_array().max()), 2 * FAINTEST))
        for ax, (key, title) in zip(panels, TITLES.items(), strict=False):
            image = diagram(ax, one.colour_axis, one.magnitude_axis, one[key], norm)
            ax.set_title(title)
            ax.tick_params(top=False, right=False)
        residual = panels[3].pcolormesh(
            one.colour_axis,
            one.magnitude_axis,
            summary.residual,
            vmin=-STEEPEST,
            vmax=STEEPEST,
            cmap="RdBu_r",
            shading="nearest",
        )
        panels[3].set(facecolor=GREY, title="(Observed − fitted) / σ")
        first.set_xlim(one.colour_axis[columns[0]] - 0.1, one.colour_axis[columns[-1]] + 0.1)
        first.set_ylim(one.magnitude_axis[rows[-1]] + 0.2, one.magnitude_axis[rows[0]] - 0.2)
        first.set_ylabel(f"{magnitude} (mag)")
        for ax in panels:
            ax.set_xlabel(f"{colour} (mag)")
        for ax in panels[1:]:
            ax.tick_params(labelleft=False)
        bar = block.colorbar(
            image, ax=panels[:3], location="top", label="Stars per pixel", extend="min", aspect=40, shrink=0.8
        )
        plain_decades(bar.long_axis)
        block.colorbar(residual, ax=panels[3], location="top", label="σ", extend="both", aspect=13)

        ax = block.add_subplot(grid[1, :])
        mean = summary.mean_colour
        ax.errorbar(
            one.magnitude_axis,
            mean.sel(diagram="observed"),
            summary.mean_colour_error,
            fmt=".",
            color="black",
            ms=4,
            lw=0.8,
            label="observed",
        )
        ax.plot(one.magnitude_axis, mean.sel(diagram="mock"), color=ORANGE, ls="--", label="mock")
        ax.plot(one.magnitude_axis, mean.sel(diagram="fitted"), color=BLUE, label="fitted")
        ax.set(xlabel=f"{magnitude} (mag)", ylabel=f"Mean {colour} (mag)")
        ax.legend(loc="lower right", ncols=3)
        ax.set_title(_corrections(one), fontsize=8, loc="left")
        block.suptitle(
            f"{name}: {int(one.stars)} stars, {float(one.area_deg2):.2g} deg²; "
            f"$\\chi^2$ per pixel {float(one.chi2_before):.2f} before and {float(one.chi2):.2f} after",
            fontsize=9,
        )
    return figure
