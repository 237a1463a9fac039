"""The face-on view: the cube's density on a heliocentric (x, y) grid."""

import numpy as np
import xarray as xr

from galcarto.maps.grid import derived_attributes, edges_of

POINTS = 4  # along a pixel's side
RESAMPLING = (
    "Tiles to pixels of the Galactic plane: the mean over the cube's latitudes, weighted by the cosine of latitude, of "
    "the density above and below 16 points of the pixel. Summed along a direction in the plane it gives the mean "
    "over the latitudes of extinction times the cosine of latitude, as the path in the plane is shorter by it; near "
    "the Sun, where a pixel is wider than a tile, directions are mixed."
)


def project(cube: xr.Dataset, pixel: float, truth: xr.Dataset | None = None) -> xr.Dataset:
    """Mean extinction density over the cube's latitudes, seen from the Galactic pole.

    Each pixel averages the cells of the cube above and below a grid of points in it, so that both near (small) and far
    (large) cells contribute.

    Parameters
    ----------
    cube : Dataset
        From `open_cube`.
    pixel : float, kpc
    truth : Dataset, optional
        ``extinction`` (l, b, distance) of a synthetic sky on the cube's grid, mag.

    Returns
    -------
    Dataset
        ``extinction_density(y, x)`` in mag kpc-1, NaN outside the footprint; ``within(y, x)``, whether at least half of
        the latitudes are within ``distance_max``; with a truth ``true_extinction_density(y, x)``, in the same cells.
    """
    l_edges, d_edges = edges_of(cube, "l"), edges_of(cube, "distance")
    densities = [cube["extinction_density"].transpose("b", "l", "distance").to_numpy()]
    if truth is not None:
        true = truth["extinction"].transpose("b", "l", "distance").to_numpy()
        densities.append(np.diff(true, axis=2, prepend=0.0) / np.diff(d_edges))
    trusted = cube["distance_bounds"].isel(bounds=1) <= cube["distance_max"] + 1e-6
    inside = trusted.transpose("b", "l", "distance").to_numpy()

    # the sector's bounding box, from points along its rim
    rim = np.radians(np.linspace(l_edges[0], l_edges[-1], 721))
    axes = []
    for component in (np.cos(rim), np.sin(rim)):
        extent = np.append(component * d_edges[-1], 0.0)
        low, high = np.floor(extent.min() / pixel), np.ceil(extent.max() / pixel)
        axes.append((np.arange(low, high) + 0.5) * pixel)
    x, y = axes
    offset = ((np.arange(POINTS) + 0.5) / POINTS - 0.5) * pixel
    fine_x, fine_y = np.meshgrid((x[:, None] + offset).ravel(), (y[:, None] + offset).ravel())
    radius = np.hypot(fine_x, fine_y)
    longitude = l_edges[0] + np.mod(np.degrees(np.arctan2(fine_y, fine_x)) - l_edges[0], 360.0)
    i = np.searchsorted(l_edges, longitude, side="right") - 1
    totals, (weights, within) = np.zeros((len(densities), len(y), len(x))), np.zeros((2, len(y), len(x)))
    for j, cosine in enumerate(np.cos(np.radians(cube["b"].to_numpy()))):
        # above the point in the plane the sightline at latitude b is 1 / cos b as long
        k = np.searchsorted(d_edges, radius / cosine, side="right") - 1
        covered = (i < len(l_edges) - 1) & (k < len(d_edges) - 1)
        at = np.where(covered, i, 0), np.where(covered, k, 0)
        known = covered & np.isfinite(densities[0][j][at])
        for total, density in zip(totals, densities, strict=True):
            total += cosine * _pixels(np.where(known, density[j][at], 0.0))
        weights += cosine * _pixels(known)
        within += cosine * _pixels(known & inside[j][at])
    means = np.divide(totals, weights, out=np.full(totals.shape, np.nan), where=weights > 0)
    fraction = np.divide(within, weights, out=np.zeros(within.shape), where=weights > 0)
    dataset = xr.Dataset(
        {
            "extinction_density": (
                ("y", "x"),
                means[0],
                {
                    "units": "mag kpc-1",
                    "long_name": "A_V per unit of distance, mean over the cube's latitudes",
                    "ucd": "phys.absorption.gal",
                    "cell_methods": "x: y: mean realization: mean",
                    "ancillary_variables": "within",
                    "coverage_content_type": "modelResult",
                },
            ),
            "within": (
                ("y", "x"),
                fraction >= 0.5,
                {
                    "units": "1",
                    "long_name": "within distance_max for most latitudes",
                    "coverage_content_type": "qualityInformation",
                },
            ),
        },
        coords={
            name: (
                name,
                values,
                {"units": "kiloparsec", "long_name": f"heliocentric, {where}", "coverage_content_type": "coordinate"},
            )
            for name, values, where in (("x", x, "towards the Galactic centre"), ("y", y, "towards l = 90 degree"))
        },
    )
    if truth is not None:
        about = {"units": "mag kpc-1", "long_name": "true A_V per unit of distance, mean over the cube's latitudes"}
        about |= {"cell_methods": "x: y: mean", "coverage_content_type": "referenceInformation"}
        dataset["true_extinction_density"] = (("y", "x"), means[1], about)
    dataset.attrs = derived_attributes(cube, "faceon", RESAMPLING)
    dataset.attrs["b_range_degree"] = [float(cube["b_bounds"].min()), float(cube["b_bounds"].max())]
    return dataset


def _pixels(values: np.ndarray) -> np.ndarray:
    """Sum over the points of each pixel."""
    rows, columns = values.shape[0] // POINTS, values.shape[1] // POINTS
    return values.reshape(rows, POINTS, columns, POINTS).sum(axis=(1, 3))
