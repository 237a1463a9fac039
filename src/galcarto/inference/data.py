"""Training examples streamed from disk in bounded memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import netCDF4
import numpy as np
import torch
from torch.utils.data import IterableDataset

from galcarto.cmd.files import BLOCK
from galcarto.errors import UserError


class Examples(IterableDataset):
    """Batches of (counts, reference, present, profile) from files of `cmd.files.write_examples`.

    For training (`buffer` > 0) stored blocks are read in random order over all files, `buffer` of them are mixed
    before batches are cut, and every epoch has the same number of whole batches. For evaluation every example
    comes once and in order. Memory holds the buffer only.

    Parameters
    ----------
    paths : sequence of path
    batch : int
    buffer : int
        Blocks mixed at once; 0 reads in order, without shuffling.
    seed : int
        Pass p is shuffled by the pair (seed, p).
    rounds : int
        Parts that a pass is cut into: epoch e yields part ``e % rounds`` of pass ``e // rounds``.

    Raises
    ------
    ValueError
        If a file cannot be read, or a round holds less than one batch.
    """

    def __init__(
        self, paths: Sequence[str | Path], batch: int, buffer: int = 0, seed: int = 0, rounds: int = 1
    ) -> None:
        self.paths = [Path(p) for p in paths]
        self.batch, self.buffer, self.seed, self.rounds = batch, buffer, seed, rounds
        self.epoch = 0
        self.skip = 0  # batches of the epoch that a stopped training has learnt from
        self._blocks: list[tuple[int, int]] = []
        sizes: list[int] = []
        for number, path in enumerate(self.paths):
            try:
                with netCDF4.Dataset(path) as file:
                    size = len(file.dimensions["example"])
            except (OSError, KeyError) as error:
                raise UserError(
                    f"{path}: cannot be read as a set of examples ({error}); delete it and run again"
                ) from error
            starts = range(0, size, BLOCK)
            self._blocks += [(number, start) for start in starts]
            sizes += [min(BLOCK, size - start) for start in starts]
        self._sizes = sorted(sizes)
        if len(self) == 0:
            raise UserError(
                f"found {sum(sizes)} examples in {len(self.paths)} files; expected at least a batch of {batch} in "
                f"each of {rounds} rounds: lower training.batch or training.rounds, or raise examples.train"
            )

    def __len__(self) -> int:
        """Batches in an epoch."""
        if not self.buffer:
            return -(-sum(self._sizes) // self.batch)
        # whichever blocks a round gets, it has this many whole batches
        return sum(self._sizes[: len(self._blocks) // self.rounds]) // self.batch

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        blocks = self._blocks
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.buffer:
            order = np.random.default_rng([self.seed, self.epoch // self.rounds]).permutation(len(blocks))
            share = len(blocks) // self.rounds
            first = self.epoch % self.rounds * share
            blocks = [blocks[i] for i in order[first : first + share]]
        left = len(self)
        with ExitStack() as stack:
            files = [stack.enter_context(netCDF4.Dataset(path)) for path in self.paths]
            references = [np.asarray(file["reference"][:]) for file in files]
            owners = [surveys(file) for file in files]
            rest: list[np.ndarray] = []
            step = self.buffer or 1
            for at in range(0, len(blocks), step):
                parts = [self._read(files[f], references[f], owners[f], start) for f, start in blocks[at : at + step]]
                mixed = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
                if self.buffer:
                    order = rng.permutation(len(mixed[0]))
                    mixed = [array[order] for array in mixed]
                if rest:
                    mixed = [np.concatenate(pair) for pair in zip(rest, mixed, strict=True)]
                whole = min(len(mixed[0]) // self.batch, left) * self.batch
                for start in range(0, whole, self.batch):
                    left -= 1
                    if len(self) - left > self.skip:
                        yield self._tensors([array[start : start + self.batch] for array in mixed])
                rest = [array[whole:] for array in mixed]
            if left and len(rest[0]):
                yield self._tensors(rest)

    @staticmethod
    def _read(file: netCDF4.Dataset, reference: np.ndarray, owners: np.ndarray, start: int) -> list[np.ndarray]:
        part = slice(start, start + BLOCK)
        counts, area = np.asarray(file["counts"][part]), np.asarray(file["area"][part])
        present = np.asarray(file["present"][part])[:, owners]
        return [counts, reference * area[:, None, None, None], present, np.asarray(file["extinction"][part])]

    @staticmethod
    def _tensors(arrays: list[np.ndarray]) -> list[torch.Tensor]:
        counts, reference, present, profile = arrays
        return [torch.from_numpy(a) for a in (counts.astype("f4"), reference, present.astype("f4"), profile)]


def surveys(file: netCDF4.Dataset) -> np.ndarray:
    """Number of the survey of each channel, from the channels' names."""
    names = [name.split(":")[0] for name in file.channels.split(" ")]
    order = list(dict.fromkeys(names))
    return np.array([order.index(name) for name in names])
