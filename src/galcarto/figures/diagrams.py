"""Colour-magnitude diagrams of mocks and of the observed sky."""

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure

from galcarto.figures.style import PAGE, STYLE, diagram, direction, plain_decades

COLUMNS = 4
PARALLAX = "parallax"  # in place of a magnitude in a channel's name
FAINTEST = 0.5  # stars per pixel at the dark end of the scale: half of the lowest count


def _spread(order: np.ndarray, count: int, ends: bool) -> np.ndarray:
    """Up to `count` different entries evenly spaced in `order`, including its ends or between them."""
    ranks = np.linspace(0, len(order) - 1, count if ends else count + 2)
    return order[np.unique(np.round(ranks if ends else ranks[1:-1]).astype(int))]


def _block(figure: Figure | SubFigure, examples: xr.Dataset, sky: xr.Dataset, name: str) -> None:
    """Two rows of panels for one channel."""
    total = examples.extinction.isel(distance=-1).values
    bare = bool(examples.reference.sum() > 0)  # there is no reference for parallaxes
    mocks = _spread(np.argsort(total, kind="stable"), COLUMNS - bare, ends=False)
    bare_area = float(examples.area[mocks[0]])
    top = [("Mock without dust", (examples.reference * bare_area).values, bare_area)] if bare else []
    for i in mocks:
        title = f"Mock behind\n$A_V$ = {total[i]:.1f} mag"
        top.append((title, examples.counts.isel(example=i).values, float(examples.area[i])))

    # from the most to the fewest stars per area
    density = (sky.stars / sky.area).values
    seen = np.flatnonzero(sky.stars.values > 0)
    bottom = []
    for i in _spread(seen[np.argsort(-density[seen], kind="stable")], COLUMNS, ends=True):
        tile = sky.isel(tile=i)
        title = f"Observed\n{direction(float(tile.l), float(tile.b))}"
        bottom.append((title, tile.counts.values, float(tile.area)))

    axes = figure.subplots(2, COLUMNS, sharex=True, sharey=True, squeeze=False)
    brightest = max(counts.max() for _, counts, _ in top + bottom)
    norm = LogNorm(FAINTEST, max(brightest, 2 * FAINTEST))
    for row, panels in zip(axes, (top, bottom), strict=True):
        for ax in row[len(panels) :]:
            ax.set_visible(False)
        for ax, (title, counts, area) in zip(row, panels, strict=False):
            image = diagram(ax, examples.colour_axis, examples.magnitude_axis, counts, norm)
            ax.set_title(title, fontsize=8)
            ax.text(
                0.95,
                0.96,
                f"{counts.sum():.0f} stars\n{area:.2g} deg²",
                transform=ax.transAxes,
                ha="right",
                va="top",
                color="white",
                fontsize=8,
            )
            ax.tick_params(top=False, right=False)
    axes[0, 0].invert_yaxis()
    # survey:first-second,magnitude; bright or near stars are on top
    colour, row_name = name.partition(":")[2].split(",")
    figure.supxlabel(f"{colour.replace('-', ' − ')} (mag)", fontsize=9)
    figure.supylabel("Parallax (mas)" if row_name == PARALLAX else f"{row_name} (mag)", fontsize=9)
    if row_name == PARALLAX:
        axes[0, 0].invert_yaxis()
    plain_decades(figure.colorbar(image, ax=axes, label="Stars per pixel", extend="min", aspect=40, pad=0.01).long_axis)


@STYLE
def gallery(examples: xr.Dataset, sky: xr.Dataset) -> Figure:
    """Diagrams without dust, behind increasing extinction, and observed; one block and colour scale per channel.

    Parameters
    ----------
    examples : Dataset
        Of one sightline: counts (example, channel, magnitude, colour); present (example, survey);
        reference (channel, magnitude, colour), deg-2 per pixel, without dust; extinction (example, distance), mag;
        area (example,), deg2; magnitude_axis and colour_axis, the pixels' centres; attribute channels, such as
        ``2mass:J-Ks,Ks gaia:BP-RP,parallax``. For each channel, examples observed by its survey are drawn.
    sky : Dataset
        counts (tile, channel, magnitude, colour); area (tile, survey), deg2; stars (tile, survey); l and b (tile,),
        deg.

    Returns
    -------
    Figure
    """
    names = examples.attrs["channels"].split(" ")[: examples.sizes["channel"]]
    surveys = list(dict.fromkeys(name.partition(":")[0] for name in names))
    figure = Figure(figsize=(PAGE, 5.6 if len(names) == 1 else 4.4 * len(names)), layout="constrained")
    blocks = [figure] if len(names) == 1 else figure.subfigures(len(names), 1, squeeze=False)[:, 0]
    for channel, (block, name) in enumerate(zip(blocks, names, strict=True)):
        part = {"channel": channel, "survey": surveys.index(name.partition(":")[0])}
        one = examples.isel(part)
        _block(block, one.isel(example=np.flatnonzero(one.present.values)), sky.isel(part), name)
        if len(names) > 1:
            block.suptitle(name.replace(":", ": ").replace("-", " − ").replace(",", " and "), fontsize=9)
    return figure
