"""Examples streamed in bounded memory, shuffled by blocks."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice, pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from galcarto.core.errors import UserError

Block = tuple[int, int, int]  # number of the file, first example, number of examples
Window = tuple[list[Block], list[int] | None]  # blocks, and the seed that mixes them or None to keep their order
AHEAD = 2  # windows that each worker reads ahead of the training


class Source(Protocol):
    """Where examples come from: files, or arrays in memory."""

    block: int  # examples that are read at once
    sizes: list[int]  # number of examples in each file

    def read(self, file: int, start: int, number: int) -> list[np.ndarray]:
        """Arrays of some examples of a file, each of shape (example, ...)."""
        ...


class Arrays:
    """Arrays in memory as a `Source`.

    Parameters
    ----------
    *arrays : ndarray, shape (example, ...)
    block : int
    """

    def __init__(self, *arrays: np.ndarray, block: int = 256) -> None:
        self.arrays, self.block, self.sizes = arrays, block, [len(arrays[0])]

    def read(self, file: int, start: int, number: int) -> list[np.ndarray]:
        """Slices of the arrays."""
        return [array[start : start + number] for array in self.arrays]


class Windows(Dataset):
    """Reads the blocks of a window into one set of tensors: the work of a loader's worker.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, window: Window) -> list[Tensor]:
        """Tensors of all examples of the window, mixed by its seed."""
        blocks, seed = window
        ends = np.cumsum([0, *(number for *_, number in blocks)])
        order = np.arange(ends[-1]) if seed is None else np.random.default_rng(seed).permutation(ends[-1])
        mixed: list[Tensor] = []
        for block, (start, stop) in zip(blocks, pairwise(ends), strict=True):
            arrays = self.source.read(*block)
            if not mixed:
                mixed = [torch.from_numpy(a).new_empty((ends[-1], *a.shape[1:])) for a in arrays]
                if get_worker_info():  # in shared memory at once: the main process needs no copy
                    mixed = [whole.share_memory_() for whole in mixed]
            for whole, array in zip(mixed, arrays, strict=True):
                whole.numpy()[order[start:stop]] = array
        return mixed


@dataclass
class Order:
    """The order in which blocks are read."""

    blocks: list[Block]  # all blocks of the source
    batch: int  # examples in a batch of one device
    buffer: int  # blocks in a window of one device; 0 to read one at a time, in order
    # as in `Examples`
    seed: int
    rounds: int
    devices: int
    rank: int = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        if not self.buffer:
            return -(-sum(number for *_, number in self._plan(0)) // self.batch)
        # the least number of whole batches, whichever blocks a device gets in a round
        sizes = sorted(number for *_, number in self.blocks)
        return sum(sizes[: len(sizes) // self.rounds // self.devices]) // self.batch

    def _plan(self, epoch: int) -> list[Block]:
        """Blocks of this device in an epoch, in the order in which they are read."""
        if not self.buffer:
            return self.blocks[self.rank :: self.devices]
        rng = np.random.default_rng([self.seed, epoch // self.rounds])
        files = np.array([file for file, *_ in self.blocks])
        # place of each block in the pass: blocks of a file are spread evenly, so that a window of few blocks is
        # not dominated by one file
        place = np.empty(len(files))
        for file in np.unique(files):
            own = np.flatnonzero(files == file)
            place[own] = (rng.permutation(len(own)) + rng.random(len(own))) / len(own)
        share = len(files) // self.rounds
        first = epoch % self.rounds * share
        mine = np.argsort(place)[first : first + share][self.rank :: self.devices]
        return [self.blocks[at] for at in mine]

    def windows(self, epoch: int) -> list[Window]:
        """Windows of this device in an epoch, as many as its batches need."""
        plan, step = self._plan(epoch), self.buffer or 1
        windows: list[Window] = []
        left = len(self) * self.batch
        for at in range(0, len(plan), step):
            if left > 0:
                blocks = plan[at : at + step]
                windows.append((blocks, [self.seed, epoch, self.rank, at] if self.buffer else None))
                left -= sum(number for *_, number in blocks)
        return windows

    def onwards(self, epoch: int, first: int) -> Iterator[Window]:
        """Windows of an epoch from number `first` on, then those of all later epochs."""
        windows = (window for each in count(epoch, bool(self.buffer)) for window in self.windows(each))
        return islice(windows, first, None)


class Examples(IterableDataset):
    """Batches of examples: lists of tensors, one for each array of the source.

    For training (`buffer` > 0) stored blocks are read in random order over all files, `buffer` of them are mixed
    before batches are cut, and every epoch has the same number of whole batches. The order is stratified: the blocks of
    each file come evenly over a pass. For evaluation every example comes once and in order. Neither depends on the
    number of workers. Memory holds the buffer, and `AHEAD` more for each worker, shared with it.

    Parameters
    ----------
    source : Source
    batch : int
    buffer : int
        Blocks mixed at once; 0 reads in order, without shuffling.
    seed : int
        Pass p is shuffled by the pair (seed, p).
    rounds : int
        Parts that a pass is cut into: epoch e yields part ``e % rounds`` of pass ``e // rounds``.
    devices : int
        Number of devices that share the examples, the batch and the buffer evenly; `order.rank` is this process's.
    workers : int
        Processes that read ahead, also past the end of an epoch; 0 reads when a batch is asked for.

    Attributes
    ----------
    epoch : int
        Set before each pass through the batches.
    skip : int
        Batches that the next pass, and no other, leaves out at its start. Their windows are not read.
    pin : bool
        Whether windows are read into pinned memory, for a GPU.
    waited : float, s
        Time that this epoch waited for its batches.

    Raises
    ------
    UserError
        If there are too few examples.
    """

    def __init__(
        self,
        source: Source,
        batch: int,
        buffer: int = 0,
        seed: int = 0,
        rounds: int = 1,
        devices: int = 1,
        workers: int = 0,
    ) -> None:
        self.workers = workers
        self.epoch = self.skip = 0
        self.pin = False
        self.waited = 0.0
        block = source.block
        blocks: list[Block] = [
            (file, start, min(block, size - start))
            for file, size in enumerate(source.sizes)
            for start in range(0, size, block)
        ]
        own = max(buffer // devices, bool(buffer))
        self.order = Order(blocks, batch // devices, own, seed, rounds, devices)
        self._windows = Windows(source)
        self._stream: Iterator[list[Tensor]] = iter(())
        self._next: tuple[int, int] | None = None  # epoch and window that the stream gives next, where that is known
        if len(self) == 0 or len(blocks) < devices:
            raise UserError(
                f"found {sum(source.sizes)} examples in {len(source.sizes)} files; expected at least a batch of "
                f"{batch} in each of {rounds} rounds, and {block} for each of {devices} devices: lower training.batch, "
                "training.rounds or training.devices, or raise the number of examples"
            )

    def __len__(self) -> int:
        """Batches in an epoch on this device."""
        return len(self.order)

    def __iter__(self) -> Iterator[list[Tensor]]:
        asked = time.perf_counter()
        self.waited = 0.0
        skip, self.skip = self.skip, 0
        batch = self.order.batch
        sizes = [sum(number for *_, number in blocks) for blocks, _ in self.order.windows(self.epoch)]
        first = int(np.searchsorted(np.cumsum(sizes), skip * batch, side="right"))
        if self._next != (self.epoch, first):
            self._stream = self._read(first)
        self._next, after = None, (self.epoch + bool(self.order.buffer), 0)
        cut = skip * batch - sum(sizes[:first])
        left = len(self) - skip
        rest: list[Tensor] = []
        for _ in sizes[first:]:
            mixed = [part[cut:] for part in next(self._stream)]
            cut = 0
            while left and len(mixed[0]):
                lacking = batch - len(rest[0]) if rest else batch
                head = [part[:lacking] for part in mixed]
                rest = [torch.cat(pair) for pair in zip(rest, head, strict=True)] if rest else head
                mixed = [part[lacking:] for part in mixed]
                if len(rest[0]) == batch:
                    left -= 1
                    if not left:  # before the yield: a reader that counts batches does not ask again
                        self._next = after
                    self.waited += time.perf_counter() - asked
                    yield rest
                    asked = time.perf_counter()
                    rest = []
        if left and rest:
            self._next = after
            self.waited += time.perf_counter() - asked
            yield rest

    def _read(self, first: int) -> Iterator[list[Tensor]]:
        """Contents of the windows from number `first` on, of this epoch and of all later ones."""
        loader = DataLoader(
            self._windows,
            sampler=self.order.onwards(self.epoch, first),
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=AHEAD if self.workers else None,
            pin_memory=self.pin,
            worker_init_fn=_leave_group,
            generator=torch.Generator(),  # the loader draws from it; torch's global generator is left to the training
        )
        return iter(loader)


def _leave_group(worker: int) -> None:
    """Leave the process group, so that SIGTERM reaches the main process only, which then ends its workers."""
    os.setpgid(0, 0)
