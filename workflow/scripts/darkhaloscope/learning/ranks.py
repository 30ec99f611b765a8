"""Which of the processes that train together this is, and which stamps are its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rank:
    """One of the processes of a training.

    Attributes
    ----------
    rank : of `ranks` processes on all nodes, 0 the first
    devices : processes on each node
    threads : of this process
    address, port : where rank 0 listens
    """

    rank: int = 0
    ranks: int = 1
    devices: int = 1
    threads: int = 1
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def together(self) -> bool:
        """Whether there is more than one."""
        return self.ranks > 1

    def share(self, rows: NDArray) -> NDArray:
        """Return this rank's part of some rows: parts differ by one at most, and every row is in one of them."""
        return np.array_split(rows, self.ranks)[self.rank]


#: A training in one process.
ALONE = Rank()
