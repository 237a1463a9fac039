"""Distances of the dust in the tiles with the highest extinction."""

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, GREY, ORANGE, PAGE, STYLE


@STYLE
def distances(found: xr.Dataset) -> Figure:
    """Half-rise of each tile against longitude, and the median profile of the tiles by another map's extinction.

    Parameters
    ----------
    found : Dataset
        half_rise and half_rise_sd (tile,), kpc; l (tile,), deg; class_extinction (class, distance), mag, of
        class_tiles (class,) between class_bounds (class, bounds), mag; known_l (deg), known_distance (kpc) and
        known_source (known,); distance_bounds (distance, bounds), kpc; attributes map, above (mag), window
        (kpc), and trend_kpc_per_deg and trend_sd where there is a trend.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(PAGE, 4.0), layout="constrained")
    rise, runs = figure.subplots(1, 2)
    window = found.attrs["window"]
    rise.axhspan(*window, color=GREY, lw=0, zorder=0, label="window")
    rise.errorbar(
        found.l, found.half_rise, found.half_rise_sd, fmt=".", color=BLUE, ms=5, lw=0.6, alpha=0.8, label="tile"
    )
    if "trend_kpc_per_deg" in found.attrs:
        slope, sd = found.attrs["trend_kpc_per_deg"], found.attrs["trend_sd"]
        ends = np.array([float(found.l.min()), float(found.l.max())])
        line = float(found.half_rise.median()) + slope * (ends - float(found.l.median()))
        label = f"trend {1000 * slope:.1f} ± {1000 * sd:.1f} pc/deg".replace("-", "−")
        rise.plot(ends, line, color="black", ls="--", label=label)
    for source in dict.fromkeys(found.known_source.values):
        of = found.isel(known=np.flatnonzero(found.known_source.values == source))
        rise.plot(of.known_l, of.known_distance, "D-", color=ORANGE, ms=5, label=str(source), zorder=5)
    top = max([window[1], *(found.half_rise + found.half_rise_sd).values, *found.known_distance.values])
    rise.set(xlabel="Galactic longitude $l$ (deg)", ylabel="Distance of the half-rise (kpc)", ylim=(0, 1.05 * top))
    rise.invert_xaxis()
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1.01), "alignment": "left", "title_fontsize": 8}
    above |= {"ncols": 2, "columnspacing": 1.0, "handlelength": 1.5}
    legend = rise.legend(
        title=f"{found.sizes['tile']} tiles over {found.attrs['above']:g} mag in {found.attrs['map']}", **above
    )
    legend.get_title().set_parse_math(False)

    edges = np.append(0.0, found.distance_bounds.isel(bounds=1).values)
    shades = colormaps["viridis"](np.linspace(0.85, 0.0, found.sizes["class"]))
    for i, shade in enumerate(shades):
        tiles = int(found.class_tiles[i])
        if tiles:
            low, high = found.class_bounds[i].values
            name = f"{low:g}–{high:g} mag" if np.isfinite(high) else f"over {low:g} mag"
            profile = np.append(0.0, found.class_extinction[i])
            runs.plot(edges, profile, color=shade, label=f"{name} ({tiles})")
    runs.axvspan(*window, color=GREY, lw=0, zorder=0)
    runs.set(xlim=(0, edges[-1]), xlabel="Distance (kpc)", ylabel="Median $A_V$ (mag)")
    runs.set_ylim(0, 1.05 * max(float(np.nan_to_num(found.class_extinction).max()), 0.1))
    legend = runs.legend(title=f"Classes of A(V) in {found.attrs['map']} (tiles)", **above)
    legend.get_title().set_parse_math(False)
    return figure
