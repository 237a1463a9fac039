"""Training examples streamed from disk in bounded memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import netCDF4
import numpy as np
import torch
from torch.utils.data import IterableDataset

from galcarto.cmd.files import BLOCK


class Examples(IterableDataset):
    """Batches of (counts, reference, profile) from files of `cmd.files.write_examples`.

    Stored blocks are read in random order over all files; `buffer` of them are mixed before
    batches are cut. Memory holds the buffer only.

    Parameters
    ----------
    paths : sequence of path
    batch : int
    buffer : int
        Blocks mixed at once; 0 reads in order, without shuffling.
    seed : int
        Epoch e is shuffled by the pair (seed, e).
    """

    def __init__(self, paths: Sequence[str | Path], batch: int, buffer: int = 0, seed: int = 0) -> None:
        self.paths = [Path(p) for p in paths]
        self.batch, self.buffer, self.seed = batch, buffer, seed
        self.epoch = 0
        self.sizes = []
        for path in self.paths:
            try:
                with netCDF4.Dataset(path) as file:
                    self.sizes.append(len(file.dimensions["example"]))
            except (OSError, KeyError) as error:
                raise ValueError(
                    f"{path}: cannot be read as a set of examples ({error}); delete it and run again"
                ) from error

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-sum(self.sizes) // self.batch)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        blocks = [(f, start) for f, size in enumerate(self.sizes) for start in range(0, size, BLOCK)]
        if self.buffer:
            blocks = [blocks[i] for i in rng.permutation(len(blocks))]
        with ExitStack() as stack:
            files = [stack.enter_context(netCDF4.Dataset(path)) for path in self.paths]
            references = [np.asarray(file["reference"][:]) for file in files]
            rest: list[np.ndarray] = []
            step = self.buffer or 1
            for at in range(0, len(blocks), step):
                parts = [self._read(files[f], references[f], start) for f, start in blocks[at : at + step]]
                mixed = [np.concatenate([part[i] for part in parts]) for i in range(3)]
                if self.buffer:
                    order = rng.permutation(len(mixed[0]))
                    mixed = [array[order] for array in mixed]
                if rest:
                    mixed = [np.concatenate(pair) for pair in zip(rest, mixed, strict=True)]
                whole = len(mixed[0]) // self.batch * self.batch
                for start in range(0, whole, self.batch):
                    yield self._tensors([array[start : start + self.batch] for array in mixed])
                rest = [array[whole:] for array in mixed]
            if rest and len(rest[0]):
                yield self._tensors(rest)

    @staticmethod
    def _read(file: netCDF4.Dataset, reference: np.ndarray, start: int) -> list[np.ndarray]:
        part = slice(start, start + BLOCK)
        counts, area = np.asarray(file["counts"][part]), np.asarray(file["area"][part])
        return [counts, reference * area[:, None, None], np.asarray(file["extinction"][part])]

    @staticmethod
    def _tensors(arrays: list[np.ndarray]):
        counts, reference, profile = arrays
        return torch.from_numpy(counts.astype(np.float32)), torch.from_numpy(reference), torch.from_numpy(profile)
