"""Write sets of colour-magnitude diagrams to disk, block by block."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from galcarto.core.errors import UserError
from galcarto.dustmap.diagrams.forward import ForwardModel
from galcarto.dustmap.diagrams.integration import EXTINCTION_GRID

BLOCK = 256  # examples per stored chunk and per read of the training
# Zstandard reads twice as fast as zlib for 10 % more bytes; Blosc is faster still, but fails on incompressible data.
# It has no checksum, hence fletcher32: damage would pass unnoticed.
COMPRESSION = {"compression": "zstd", "complevel": 1, "shuffle": False, "fletcher32": True}


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
        file.setncatts(dict(attributes))
        file.setncattr("channels", " ".join(model.channels))
        channels = len(model.channels)
        sizes = {"example": None, "channel": channels, "magnitude": model.pixels, "colour": model.pixels}
        sizes |= {"survey": len(model.views), "distance": len(model.edges) - 1, "grid": len(EXTINCTION_GRID)}
        for name, size in sizes.items():
            file.createDimension(name, size)

        def variable(name, kind, dims, units, long_name, chunks=None):
            created = file.createVariable(name, kind, dims, chunksizes=chunks, **COMPRESSION)
            created.units, created.long_name = units, long_name
            return created

        for name, values in axis_centres(model).items():
            units = "mag" if name == "colour_axis" else "1"
            described = "colour of the pixel centre" if name == "colour_axis" else "row centre: mag, or mas of parallax"
            variable(name, "f8", ("channel", name.removesuffix("_axis")), units, described)[:] = values
        centre = 0.5 * (model.edges[1:] + model.edges[:-1])
        variable("distance", "f8", ("distance",), "kiloparsec", "centre of the distance bin")[:] = centre
        variable("grid", "f8", ("grid",), "mag", "A_V at which stars are counted")[:] = EXTINCTION_GRID
        images = ("channel", "magnitude", "colour")
        variable("reference", "f4", images, "degree-2", "bare stars per pixel")[:] = reference
        counted = ("survey", "distance", "grid")
        variable("detectable", "f4", counted, "degree-2", "detectable stars behind A_V")[:] = detectable
        chunks = (BLOCK, channels, model.pixels, model.pixels)
        counts = variable("counts", "u2", ("example", *images), "1", "stars per pixel", chunks)
        profile = variable(
            "extinction",
            "f4",
            ("example", "distance"),
            "mag",
            "cumulative A_V to the outer edge of the bin",
            (BLOCK, sizes["distance"]),
        )
        solid = variable("area", "f4", ("example",), "degree2", "solid angle of the tile", (BLOCK,))
        seen = variable(
            "present", "u1", ("example", "survey"), "1", "1 where the survey saw the tile", (BLOCK, sizes["survey"])
        )
        start = 0
        for images_block, extinction, area, present in blocks:
            part = slice(start, start + len(area))
            counts[part], profile[part], solid[part], seen[part] = images_block, extinction, area, present
            start += len(area)


def require_filter(file: netCDF4.Dataset) -> None:
    """Raise a `UserError` if HDF5 does not find the Zstandard filter, which the netCDF4 wheels bring."""
    if not file.has_zstd_filter():
        raise UserError(
            f"HDF5_PLUGIN_PATH: found {os.environ.get('HDF5_PLUGIN_PATH')!r}, where HDF5 sees no Zstandard filter; "
            f"expected that of the netCDF4 wheel: unset HDF5_PLUGIN_PATH, or add "
            f"{Path(netCDF4.__file__).parent / 'plugins'} to it"
        )


def axis_centres(model: ForwardModel) -> dict[str, np.ndarray]:
    """Pixel centres of every diagram: ``magnitude_axis`` and ``colour_axis``, shape (channel, pixel)."""
    edges = [view.axis_edges(channel) for view in model.views for channel in range(len(view.channels))]
    rows, columns = (np.stack([0.5 * (e[i][1:] + e[i][:-1]) for e in edges]) for i in range(2))
    return {"magnitude_axis": rows, "colour_axis": columns}
