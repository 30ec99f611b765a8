"""Stamps in a global random order, each exactly once per epoch, read ahead by threads.

A set up to the window is decoded once and kept in memory; one up to the scratch limit is decoded once into a scratch
file that is mapped into memory. Both are shuffled as a whole, whatever their shards. A still larger one is decoded anew
each epoch: a new order of all row groups of all shards is drawn, cut into windows of `window` stamps, and the stamps
of each window are shuffled. Threads (not processes) read ahead, so there is one order and one
bookkeeping whatever their number: no stamp can come twice because two workers read one shard.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..config.network import Jitter
from ..core.random import stream
from .augment import jitter_images, orient_images, orientations, shift_images, shifts
from .index import Stamps
from .ranks import ALONE, Rank
from .scaling import LearningError

NO_JITTER = Jitter()


class Stream:
    """Images of the stamps of one split, by row.

    Parameters
    ----------
    stamps : which stamps there are
    window : stamps in memory at a time; up to twice as many while the next window is read ahead
    workers : threads that read ahead; 0 reads when a stamp is asked for
    scratch_gb : largest scratch file
    memory_bytes : images of a set up to this size are kept in memory, too

    Raises
    ------
    LearningError
        The temporary folder has no room for the scratch file.
    """

    def __init__(self, stamps: Stamps, window: int, workers: int = 1, scratch_gb: float = 0.0, memory_bytes: int = 0) -> None:
        self.stamps = stamps
        self.window = window
        self.workers = workers
        self.resident: NDArray | None = None
        self.place: NDArray | None = None  # of each stamp in `resident`, where some have been left out
        self._ready: dict[int, NDArray | Future] = {}
        self._ahead: deque[int] = deque()
        self._left: Counter[int] = Counter()
        self._sizes = np.bincount(stamps.group, minlength=len(stamps.groups))
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="stamps") if workers else None
        shape = (len(stamps), *stamps.shape)
        bytes_of_all = 4 * np.prod(shape, dtype=float)
        small = len(stamps) <= window or bytes_of_all <= memory_bytes
        if small or bytes_of_all <= scratch_gb * 1e9:
            images = np.empty(shape, np.float32) if small else room_for(shape)
            for rows, some in self.in_order():
                images[rows] = some
            self.resident = images

    def without(self, bad: NDArray, stamps: Stamps) -> Stream:
        """Return the stream of the stamps that are left when the `bad` ones, (n,) bool, are gone."""
        if self.resident is None:
            return self.reading(stamps)
        left = Stream.__new__(Stream)
        left.__dict__ |= self.__dict__ | {"stamps": stamps}
        left.place = np.flatnonzero(~bad) if self.place is None else self.place[~bad]
        return left

    def reading(self, stamps: Stamps) -> Stream:
        """Return the stream of a set that is decoded anew each epoch, of other stamps of it or with their pixels read otherwise."""
        return Stream(stamps, self.window, self.workers)

    def epoch_order(self, seed: int, epoch: int) -> NDArray:
        """Return the order of one epoch: every row exactly once, (n,) int64."""
        if self.resident is not None:
            return stream(seed, epoch, "training order").permutation(len(self.stamps))
        by_group = np.argsort(self.stamps.group, kind="stable")
        ends = np.cumsum(self._sizes)
        order = stream(seed, epoch, "order of row groups").permutation(np.flatnonzero(self._sizes))
        first = np.cumsum(self._sizes[order]) - self._sizes[order]
        windows = first // self.window
        parts = []
        for k in range(int(windows[-1]) + 1):
            rows = [by_group[ends[g] - self._sizes[g] : ends[g]] for g in order[windows == k]]
            if rows:
                parts.append(stream(seed, epoch, f"order within window {k}").permutation(np.concatenate(rows)))
        return np.concatenate(parts)

    def begin(self, order: NDArray) -> None:
        """Say in which order rows will be taken, so that they can be read ahead."""
        self._ready.clear()
        groups = self.stamps.group[order]
        self._left = Counter(dict(zip(*np.unique(groups, return_counts=True), strict=True)))
        _, first = np.unique(groups, return_index=True)
        self._ahead = deque(groups[np.sort(first)].tolist()) if self.resident is None else deque()

    def take(self, rows: NDArray) -> NDArray:
        """Return the images of some rows, (b, *shape); rows must come in the order that `begin` was told."""
        if self.resident is not None:
            return self.resident[rows if self.place is None else self.place[rows]]
        groups = self.stamps.group[rows]
        images = np.empty((len(rows), *self.stamps.shape), np.float32)
        for group in np.unique(groups).tolist():
            here = groups == group
            images[here] = self._decoded(group)[self.stamps.row[rows[here]]]
            self._left[group] -= int(here.sum())
            if not self._left[group]:
                del self._ready[group]
        return images

    def in_order(self) -> Iterator[tuple[NDArray, NDArray]]:
        """Give rows and their images, each row once: row group by row group, or from memory."""
        if self.resident is not None:
            for rows in np.array_split(np.arange(len(self.stamps)), -(-len(self.stamps) // 1024)):
                yield rows, self.take(rows)
            return
        by_group = np.argsort(self.stamps.group, kind="stable")
        self.begin(by_group)
        for rows in np.split(by_group, np.cumsum(self._sizes)[:-1]):
            if len(rows):
                yield rows, self.take(rows)

    def _decoded(self, group: int) -> NDArray:
        self._read_ahead()
        found = self._ready.get(group)
        if found is None:
            if group in self._ahead:
                self._ahead.remove(group)
            found = self.stamps.decode(group)
        elif isinstance(found, Future):
            found = found.result()
        self._ready[group] = found
        return found

    def _read_ahead(self) -> None:
        """Keep threads busy until two windows are in memory or on their way."""
        held = sum(int(self._sizes[g]) for g in self._ready)
        while self._pool and self._ahead and (held < 2 * self.window or not self._ready):
            group = self._ahead.popleft()
            self._ready[group] = self._pool.submit(self.stamps.decode, group)
            held += int(self._sizes[group])


class EpochOrder(Sampler):
    """Every row exactly once per epoch in batches whose sizes differ by one at most: (rows, epoch). Ranks share each batch."""

    def __init__(self, images: Stream, batch_size: int, seed: int, rank: Rank = ALONE) -> None:
        self.images = images
        self.rank = rank
        self.steps = -(-len(images.stamps) // batch_size)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; the training library calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[NDArray, int]]:
        # A generator: the training library sets the epoch after it has asked for the iterator.
        epoch = self.epoch
        order = self.images.epoch_order(self.seed, epoch)
        batches = [self.rank.share(rows) for rows in np.array_split(order, self.steps)]
        self.images.begin(np.concatenate(batches))
        for rows in batches:
            yield rows, epoch


class InOrder(Sampler):
    """Every row once, row group by row group, unturned; ranks share the rows."""

    def __init__(self, images: Stream, batch_size: int, rank: Rank = ALONE) -> None:
        self.images = images
        order = np.argsort(images.stamps.group, kind="stable") if images.resident is None else np.arange(len(images.stamps))
        self.order = rank.share(order)
        self.batches = np.split(self.order, range(batch_size, len(self.order), batch_size))

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[NDArray, None]]:
        self.images.begin(self.order)
        for rows in self.batches:
            yield rows, None


class Batches(Dataset):
    """Batches by the rows that a sampler gives: (inputs, labels (b,), weights (b,)).

    Inputs are images (b, c, size, size), of bands with scalars (b, 6) beside. Training stamps are jittered, turned, reflected and shifted anew
    each epoch, by seed, epoch and their own number. Velocity along the line of sight is a scalar of its place: it moves and keeps its sign.
    """

    def __init__(self, images: Stream, seed: int = 0, augment: bool = False, shift_pixels: float = 0.0, jitter: Jitter = NO_JITTER) -> None:
        self.images = images
        self.seed = seed
        self.augment = augment
        self.shift_pixels = shift_pixels
        self.jitter = jitter

    def __getitem__(self, batch: tuple[NDArray, int | None]) -> tuple[Tensor | tuple[Tensor, Tensor], Tensor, Tensor]:
        rows, epoch = batch
        stamps = self.images.stamps
        taken = self.images.take(rows)
        if epoch is not None and self.jitter != NO_JITTER:
            taken = jitter_images(taken, stamps.numbers[rows], self.seed, epoch, self.jitter)
        pixels = torch.from_numpy(taken)
        if stamps.pixels.channels_last:
            pixels = pixels.permute(0, 3, 1, 2)  # pixels stay in place: torch's channels_last layout
        if epoch is not None and self.shift_pixels:
            pixels = shift_images(pixels, torch.from_numpy(shifts(stamps.numbers[rows], self.seed, epoch, self.shift_pixels)))
        if epoch is not None and self.augment:
            pixels = orient_images(pixels, torch.from_numpy(orientations(stamps.numbers[rows], self.seed, epoch)))
        scalars, labels, weights = (torch.from_numpy(values[rows]) for values in (stamps.scalars, stamps.labels, stamps.weights))
        return (pixels if stamps.pixels.channels_last else (pixels, scalars)), labels, weights


def room_for(shape: tuple[int, ...]) -> NDArray:
    """Return a float32 array in a scratch file that goes with it; raise `LearningError` where the temporary folder has no room."""
    needed, folder = 4 * int(np.prod(shape)), tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    with tempfile.TemporaryFile(prefix="stamps-") as file:  # the mapping keeps the deleted file alive
        try:
            if needed > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # A sparse file's pages are taken when they are first written; where the disk is full by then, the process dies of SIGBUS.
            os.posix_fallocate(file.fileno(), 0, needed)
        except OSError as error:
            raise LearningError(
                f"{folder} has {free / 1e9:.1f} GB left, and the pixels of {shape[0]} stamps take {needed / 1e9:.1f} GB ({error.strerror}): "
                "set TMPDIR to a larger folder, or training.scratch_gb to 0, which decodes the stamps anew each epoch"
            ) from error
        return np.memmap(file, np.float32, "r+", shape=shape)


def loader(batches: Batches, order: Sampler) -> DataLoader:
    """Return the loader of one split, as the training library takes it."""
    return DataLoader(batches, sampler=order, batch_size=None)
