"""Write sets of colour-magnitude diagrams to disk, block by block."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from galcarto.core.netcdf import BLOCK, COMPRESSION, Table, create_variables, require_filter
from galcarto.dustmap.diagrams.forward import ForwardModel
from galcarto.dustmap.diagrams.integration import EXTINCTION_GRID

IMAGES = ("channel", "magnitude", "colour")
# name: dimensions, type, attributes
CONSTANT: Table = {
    "magnitude_axis": (
        ("channel", "magnitude"),
        "f8",
        {"units": "1", "long_name": "row centre: mag, or mas of parallax"},
    ),
    "colour_axis": (("channel", "colour"), "f8", {"units": "mag", "long_name": "colour of the pixel centre"}),
    "distance": (("distance",), "f8", {"units": "kiloparsec", "long_name": "centre of the distance bin"}),
    "grid": (("grid",), "f8", {"units": "mag", "long_name": "A_V at which stars are counted"}),
    "reference": (IMAGES, "f4", {"units": "degree-2", "long_name": "bare stars per pixel"}),
    "detectable": (
        ("survey", "distance", "grid"),
        "f4",
        {"units": "degree-2", "long_name": "detectable stars behind A_V"},
    ),
}
BY_EXAMPLE: Table = {
    "counts": (("example", *IMAGES), "u2", {"units": "1", "long_name": "stars per pixel"}),
    "extinction": (
        ("example", "distance"),
        "f4",
        {"units": "mag", "long_name": "cumulative A_V to the outer edge of the bin"},
    ),
    "area": (("example",), "f4", {"units": "degree2", "long_name": "solid angle of the tile"}),
    "present": (("example", "survey"), "u1", {"units": "1", "long_name": "1 where the survey saw the tile"}),
}


def write_examples(
    path: str | Path,
    blocks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    reference: np.ndarray,
    detectable: np.ndarray,
    model: ForwardModel,
    attributes: Mapping[str, Any],
) -> None:
    """Write the examples of one sightline.

    Parameters
    ----------
    path : path
    blocks : iterable of (counts, extinction, area, present)
        Arrays of shapes (example, channel, magnitude, colour), (example, distance) in mag, (example,) in deg2 and
        (example, survey).
    reference : ndarray, shape (channel, magnitude, colour), per deg2
        Zero for diagrams of parallaxes.
    detectable : ndarray, shape (survey, distance, grid), per deg2
    model : ForwardModel
    attributes : mapping
        Global attributes.

    Raises
    ------
    UserError
        If HDF5 does not find the Zstandard filter.
    """
    with netCDF4.Dataset(path, "w") as file:
        require_filter(file)
        file.setncatts({**attributes, "channels": " ".join(model.channels)})
        sizes = {"example": None, "channel": len(model.channels), "magnitude": model.pixels, "colour": model.pixels}
        sizes |= {"survey": len(model.views), "distance": len(model.edges) - 1, "grid": len(EXTINCTION_GRID)}
        create_variables(file, CONSTANT, sizes, **COMPRESSION)
        create_variables(file, BY_EXAMPLE, sizes, chunks={"example": BLOCK}, **COMPRESSION)
        centre = 0.5 * (model.edges[1:] + model.edges[:-1])
        constant = {"distance": centre, "grid": EXTINCTION_GRID, "reference": reference, "detectable": detectable}
        for name, values in (axis_centres(model) | constant).items():
            file[name][:] = values
        start = 0
        for block in blocks:
            part = slice(start, start + len(block[0]))
            for name, values in zip(BY_EXAMPLE, block, strict=True):
                file[name][part] = values
            start = part.stop


def axis_centres(model: ForwardModel) -> dict[str, np.ndarray]:
    """Pixel centres of every diagram: ``magnitude_axis`` and ``colour_axis``, shape (channel, pixel)."""
    edges = [view.axis_edges(channel) for view in model.views for channel in range(len(view.channels))]
    rows, columns = (np.stack([0.5 * (e[i][1:] + e[i][:-1]) for e in edges]) for i in range(2))
    return {"magnitude_axis": rows, "colour_axis": columns}
