"""The order and orientation in which stamps reach a network, fixed by seed, epoch and stamp number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..core.random import stable_hash, stream
from .data import StampData, hashed


def orientations(numbers: NDArray, seed: int, epoch: int) -> NDArray:
    """Return one of the eight orientations (0 to 7) for each stamp number, anew for each seed and epoch."""
    return (hashed(numbers, stable_hash("orientation", seed, epoch)) >> np.uint64(61)).astype(np.int64)


def orient(inputs: Tensor, codes: Tensor) -> Tensor:
    """Rotate stamps by 90° × (code mod 4), then reflect those with code ≥ 4; values stay as they are.

    Velocity along the line of sight is a scalar of its place: it moves and keeps its sign.

    Parameters
    ----------
    inputs : (n, size, size, c)
    codes : (n,) integers 0 to 7
    """
    turned = torch.empty_like(inputs)
    for code in range(8):
        rows = torch.nonzero(codes == code)[:, 0]
        if len(rows):
            some = torch.rot90(inputs[rows], code % 4, (1, 2))
            turned[rows] = some.flip(1) if code >= 4 else some
    return turned


class Batches(Dataset):
    """Batches of stamps by the rows and orientations that a sampler gives: ((b, c, size, size), (b,))."""

    def __init__(self, data: StampData) -> None:
        self.data = data

    def __getitem__(self, batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor]:
        rows, codes = batch
        inputs = self.data.inputs[rows]
        if codes is not None:
            inputs = orient(inputs, codes)
        # Pixels stay in place: the permuted view is torch's channels_last layout.
        return inputs.permute(0, 3, 1, 2), self.data.labels[rows]


class EpochOrder(Sampler):
    """Every stamp exactly once per epoch, shuffled over all shards, in batches whose sizes differ by one at most.

    The order depends on (seed, epoch), the orientation on (seed, epoch, stamp number).
    """

    def __init__(self, data: StampData, batch_size: int, seed: int, augment: bool) -> None:
        self.numbers = data.numbers
        self.steps = -(-len(data) // batch_size)
        self.seed = seed
        self.augment = augment
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; the training library calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        order = stream(self.seed, self.epoch, "training order").permutation(len(self.numbers))
        codes = orientations(self.numbers, self.seed, self.epoch) if self.augment else None
        for rows in np.array_split(order, self.steps):
            yield torch.from_numpy(rows), None if codes is None else torch.from_numpy(codes[rows])


class InOrder(Sampler):
    """Every stamp once, in order, unturned."""

    def __init__(self, data: StampData, batch_size: int) -> None:
        self.batches = [(rows, None) for rows in torch.arange(len(data)).split(batch_size)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, None]]:
        return iter(self.batches)
