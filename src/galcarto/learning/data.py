"""Training examples streamed from disk in bounded memory."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice, pairwise
from pathlib import Path

import netCDF4
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from galcarto.core.errors import UserError
from galcarto.dustmap.diagrams.files import BLOCK, require_filter

Block = tuple[int, int, int]  # number of the file, first example, number of examples
Window = tuple[list[Block], list[int] | None]  # blocks, and the seed that mixes them or none to keep their order
AHEAD = 2  # windows that each worker reads ahead of the training


class Windows(Dataset):
    """Reads some blocks into one set of tensors: the work of a loader's worker.

    Parameters
    ----------
    paths : sequence of path
    owners : ndarray of int, shape (channel,)
        Number of the survey of each channel.
    """

    def __init__(self, paths: Sequence[Path], owners: np.ndarray) -> None:
        self.paths, self.owners = paths, owners

    def __getitem__(self, window: Window) -> list[Tensor]:
        """Counts, file, area, present, profile of all examples of the window, as in `Examples`."""
        blocks, seed = window
        ends = np.cumsum([0, *(number for *_, number in blocks)])
        order = np.arange(ends[-1]) if seed is None else np.random.default_rng(seed).permutation(ends[-1])
        mixed: list[Tensor] = []
        for block, (start, stop) in zip(blocks, pairwise(ends), strict=True):
            arrays = self._read(*block)
            if not mixed:
                mixed = [torch.from_numpy(a).new_empty((ends[-1], *a.shape[1:])) for a in arrays]
                if get_worker_info():  # at once where the main process sees it, without another copy
                    mixed = [whole.share_memory_() for whole in mixed]
            for whole, array in zip(mixed, arrays, strict=True):
                whole.numpy()[order[start:stop]] = array
        return mixed

    def _read(self, file: int, start: int, number: int) -> list[np.ndarray]:
        part = slice(start, start + number)
        # opened for each block: HDF5 keeps up to 64 MB for an open variable, and systems allow some 1 000 open files
        with netCDF4.Dataset(self.paths[file]) as opened:
            opened.set_auto_mask(False)
            present = opened["present"][part][:, self.owners]
            owner = np.full(number, file)
            return [opened["counts"][part], owner, opened["area"][part], present, opened["extinction"][part]]


@dataclass
class Order:
    """Which blocks are read when.

    Attributes
    ----------
    blocks : list of Block
        All that there are.
    batch : int
        Examples in a batch of one device.
    buffer : int
        Blocks in a window of one device; 0 for one at a time, in order.
    seed, rounds, devices, rank
        As in `Examples`.
    """

    blocks: list[Block]
    batch: int
    buffer: int
    seed: int
    rounds: int
    devices: int
    rank: int = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        if not self.buffer:
            return -(-sum(number for *_, number in self._plan(0)) // self.batch)
        # whichever blocks a device gets in a round, it has this many whole batches
        sizes = sorted(number for *_, number in self.blocks)
        return sum(sizes[: len(sizes) // self.rounds // self.devices]) // self.batch

    def _plan(self, epoch: int) -> list[Block]:
        """Blocks of this device in an epoch, in the order in which they are read."""
        if not self.buffer:
            return self.blocks[self.rank :: self.devices]
        rng = np.random.default_rng([self.seed, epoch // self.rounds])
        files = np.array([file for file, *_ in self.blocks])
        # where each block stands in the pass: those of a file as far apart as can be, or a window of few blocks would
        # hold much of one sightline and nothing of another
        place = np.empty(len(files))
        for file in np.unique(files):
            own = np.flatnonzero(files == file)
            place[own] = (rng.permutation(len(own)) + rng.random(len(own))) / len(own)
        share = len(files) // self.rounds
        first = epoch % self.rounds * share
        mine = np.argsort(place)[first : first + share][self.rank :: self.devices]
        return [self.blocks[at] for at in mine]

    def windows(self, epoch: int) -> list[Window]:
        """Windows of this device in an epoch: as many as its batches need."""
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
        """Windows from a certain one of an epoch on, and those of all epochs that follow."""
        windows = (window for each in count(epoch, bool(self.buffer)) for window in self.windows(each))
        return islice(windows, first, None)


class Examples(IterableDataset):
    """Batches of (counts, file, area, present, profile) from files of `cmd.files.write_examples`.

    Counts are uint16, shape (batch, channel, magnitude, colour); `file` numbers the paths, for `references`; the area
    is in deg2; `present`, shape (batch, channel), is 1 where the channel was observed. See `images`.

    For training (`buffer` > 0) stored blocks are read in random order over all files, `buffer` of them are mixed
    before batches are cut, and every epoch has the same number of whole batches. The order is spread: each file's
    blocks come evenly over a pass. For evaluation every example comes once and in order. Neither depends on the number
    of workers. Memory holds the buffer, and with workers `AHEAD` more for each, shared with them.

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
    devices : int
        That share the examples, the batch and the buffer evenly; `order.rank` says which of them this process has.
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
        Time for which this epoch's batches were waited for.
    references : Tensor, shape (file, channel, magnitude, colour), per deg2

    Raises
    ------
    ValueError
        If a file cannot be read, or there are too few examples.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        batch: int,
        buffer: int = 0,
        seed: int = 0,
        rounds: int = 1,
        devices: int = 1,
        workers: int = 0,
    ) -> None:
        self.paths = [Path(p) for p in paths]
        self.workers = workers
        self.epoch = self.skip = 0
        self.pin = False
        self.waited = 0.0
        blocks: list[Block] = []
        references = []
        for number, path in enumerate(self.paths):
            try:
                with netCDF4.Dataset(path) as file:
                    require_filter(file)
                    size = len(file.dimensions["example"])
                    references.append(np.asarray(file["reference"][:]))
                    owners = surveys(file)
            except (OSError, KeyError) as error:
                raise UserError(
                    f"{path}: cannot be read as a set of examples ({error}); delete it and run again"
                ) from error
            blocks += [(number, start, min(BLOCK, size - start)) for start in range(0, size, BLOCK)]
        self.references = torch.from_numpy(np.stack(references))
        own = max(buffer // devices, bool(buffer))
        self.order = Order(blocks, batch // devices, own, seed, rounds, devices)
        self._windows = Windows(self.paths, owners)
        self._stream: Iterator[list[Tensor]] = iter(())
        self._next: tuple[int, int] | None = None  # epoch and window that the stream gives next, where that is known
        if len(self) == 0 or len(blocks) < devices:
            found = sum(number for *_, number in blocks)
            raise UserError(
                f"found {found} examples in {len(self.paths)} files; expected at least a batch of {batch} in each of "
                f"{rounds} rounds, and {BLOCK} for each of {devices} devices: lower training.batch, training.rounds or "
                "training.devices, or raise the number of examples"
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
                    if not left:  # before the last batch is given: who knows their number does not ask once more
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
        """Contents of the windows from a certain one on, of this epoch and of all that follow."""
        loader = DataLoader(
            self._windows,
            sampler=self.order.onwards(self.epoch, first),
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=AHEAD if self.workers else None,
            pin_memory=self.pin,
            worker_init_fn=_leave_group,
            generator=torch.Generator(),  # the loader draws from it: torch's own numbers are the training's
        )
        return iter(loader)


def _leave_group(worker: int) -> None:
    """Out of reach of a SIGTERM to the process group: the main process stops first, and ends its workers then."""
    os.setpgid(0, 0)


def images(batch: Sequence[Tensor], references: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, the bare counts expected in the same solid angle, and `present`: what the network is shown of a batch.

    Parameters
    ----------
    batch : sequence of Tensor
        From `Examples`.
    references : Tensor, shape (file, channel, magnitude, colour), per deg2
        Of the same `Examples`, on the batch's device.
    """
    counts, file, area, present, _ = batch
    return counts, references[file] * area[:, None, None, None], present


def surveys(file: netCDF4.Dataset) -> np.ndarray:
    """Number of the survey of each channel, from the channels' names."""
    names = [name.split(":")[0] for name in file.channels.split(" ")]
    order = list(dict.fromkeys(names))
    return np.array([order.index(name) for name in names])
