"""What the network is shown: counts of the diagrams beside the bare reference of the same direction."""

from collections.abc import Sequence
from pathlib import Path

import netCDF4
import numpy as np
import torch
from torch import Tensor

from galcarto.core.errors import UserError
from galcarto.core.files import remedy
from galcarto.core.netcdf import BLOCK, require_filter


class DiagramFiles:
    """Files of `diagrams.files.write_examples` as a source of examples; see `learning.data.Source`.

    The arrays of an example are its counts (uint16, shape (channel, magnitude, colour)), its index into `references`,
    its area (deg2), `present` (shape (channel,), 1 where the channel was observed) and its profile (mag).

    Parameters
    ----------
    paths : sequence of path
    first : int
        Index of the first file's reference, where those of several sets are kept in one tensor.

    Attributes
    ----------
    references : Tensor, shape (file, channel, magnitude, colour), per deg2
    channels, pixels : int

    Raises
    ------
    UserError
        If a file cannot be read.
    """

    block = BLOCK

    def __init__(self, paths: Sequence[str | Path], first: int = 0) -> None:
        self.paths, self.first = [Path(path) for path in paths], first
        self.sizes: list[int] = []
        references = []
        for path in self.paths:
            try:
                with netCDF4.Dataset(path) as file:
                    require_filter(file)
                    self.sizes.append(len(file.dimensions["example"]))
                    references.append(np.asarray(file["reference"][:]))
                    self._owners = owners(file)
            except (OSError, KeyError) as error:
                raise UserError(f"{path}: cannot be read as a set of examples ({error}); {remedy(path)}") from error
        self.references = torch.from_numpy(np.stack(references))
        _, self.channels, self.pixels, _ = self.references.shape

    def read(self, file: int, start: int, number: int) -> list[np.ndarray]:
        """Arrays of some examples of a file."""
        part = slice(start, start + number)
        # opened for each block: HDF5 keeps up to 64 MB for an open variable, and systems allow some 1 000 open files
        with netCDF4.Dataset(self.paths[file]) as opened:
            opened.set_auto_mask(False)
            present = opened["present"][part][:, self._owners]
            index = np.full(number, self.first + file)
            return [opened["counts"][part], index, opened["area"][part], present, opened["extinction"][part]]


def owners(file: netCDF4.Dataset) -> np.ndarray:
    """Index of each channel's survey, from the channels' names."""
    names = [name.split(":")[0] for name in file.channels.split(" ")]
    order = list(dict.fromkeys(names))
    return np.array([order.index(name) for name in names])


def images(batch: Sequence[Tensor], references: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, expected bare counts in the same solid angle, and `present`, of a batch of `DiagramFiles`.

    Parameters
    ----------
    batch : sequence of Tensor
    references : Tensor, shape (file, channel, magnitude, colour), per deg2
        On the batch's device.
    """
    counts, index, area, present, _ = batch
    return counts, references[index] * area[:, None, None, None], present


def prepare(counts: Tensor, reference: Tensor, present: Tensor) -> Tensor:
    """Network input from counts.

    The square root makes the Poisson noise of all pixels alike. A diagram that was not observed is empty, and a plane
    of zeros marks it, so that it differs from an empty sky.

    Parameters
    ----------
    counts : Tensor, shape (batch, channel, magnitude, colour)
    reference : Tensor, shape (batch, channel, magnitude, colour)
        Expected bare counts in the same solid angle.
    present : Tensor, shape (batch, channel)
        1 where the channel was observed, else 0.

    Returns
    -------
    Tensor of float32, shape (batch, planes, magnitude, colour)
        `planes` of them.
    """
    plane = present.float()[:, :, None, None]
    images = [torch.sqrt(counts.float()) * plane, torch.sqrt(reference.float()) * plane]
    if counts.shape[1] > 1:
        images.append(plane.expand(-1, -1, *counts.shape[2:]))
    return torch.cat(images, dim=1)


def planes(channels: int) -> int:
    """Number of planes that `prepare` makes of so many channels."""
    return 2 if channels == 1 else 3 * channels
