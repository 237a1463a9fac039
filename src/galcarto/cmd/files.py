"""Sets of colour-magnitude images on disk: written and read block by block."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from galcarto.cmd.forward import EXTINCTION_GRID, ForwardModel

BLOCK = 256  # examples per stored chunk; also what training reads at once
CHANNELS = ("counts", "reference")


def write_examples(
    path: str | Path,
    blocks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    reference: np.ndarray,
    detectable: np.ndarray,
    model: ForwardModel,
    attributes: Mapping[str, Any],
) -> None:
    """Write the examples of one sightline.

    Parameters
    ----------
    path : path
    blocks : iterable of (counts, extinction, area)
        Arrays of shapes (example, magnitude, colour), (example, distance) in mag, (example,) in deg2.
    reference : ndarray, shape (magnitude, colour), per deg2
    detectable : ndarray, shape (distance, grid), per deg2
    model : ForwardModel
    attributes : mapping
        Global attributes.
    """
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts(dict(attributes))
        file.setncattr("magnitude_band", model.magnitude_band)
        file.setncattr("colour_bands", "-".join(model.colour_bands))
        sizes = {"example": None, "magnitude": model.pixels, "colour": model.pixels}
        sizes |= {"distance": len(model.edges) - 1, "grid": len(EXTINCTION_GRID)}
        for name, size in sizes.items():
            file.createDimension(name, size)

        def variable(name, kind, dims, units, long_name, chunks=None):
            created = file.createVariable(name, kind, dims, compression="zlib", complevel=1, chunksizes=chunks)
            created.units, created.long_name = units, long_name
            return created

        for name, edges in zip(("magnitude", "colour"), model.axis_edges(), strict=True):
            variable(name, "f8", (name,), "mag", f"{name} of the pixel centre")[:] = 0.5 * (edges[1:] + edges[:-1])
        centre = 0.5 * (model.edges[1:] + model.edges[:-1])
        variable("distance", "f8", ("distance",), "kiloparsec", "centre of the distance bin")[:] = centre
        variable("grid", "f8", ("grid",), "mag", "A_V at which stars are counted")[:] = EXTINCTION_GRID
        variable("reference", "f4", ("magnitude", "colour"), "degree-2", "bare stars per pixel")[:] = reference
        variable("detectable", "f4", ("distance", "grid"), "degree-2", "detectable stars behind A_V")[:] = detectable
        images = ("example", "magnitude", "colour")
        counts = variable("counts", "u2", images, "1", "stars per pixel", (BLOCK, model.pixels, model.pixels))
        profile = variable(
            "extinction",
            "f4",
            ("example", "distance"),
            "mag",
            "cumulative A_V to the outer edge of the bin",
            (BLOCK, sizes["distance"]),
        )
        solid = variable("area", "f4", ("example",), "degree2", "solid angle of the tile", (BLOCK,))
        start = 0
        for images_block, extinction, area in blocks:
            stop = start + len(area)
            counts[start:stop], profile[start:stop], solid[start:stop] = images_block, extinction, area
            start = stop
