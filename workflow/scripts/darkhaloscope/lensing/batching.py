"""Rows in blocks of one size, so that a row's bits do not depend on the rows beside it.

On a CPU the vectorised and the scalar form of a function (exp, log, cos, …) differ in the last bit, and
torch uses the scalar one for the elements left over after the last full vector, and for those at the
border between two threads. Blocks of a multiple of `BLOCK` rows, computed by one thread, have no such
elements, whatever the number of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

#: Twice the widest vector of a CPU (16 floats): the unit of torch's unrolled loops.
BLOCK = 32


def in_blocks(function: Callable[..., Tensor], n: int, *rows) -> Tensor:
    """Apply a function of rows to blocks of `BLOCK` rows and put the results together.

    Parameters
    ----------
    function : callable
        Takes the blocks of `rows` and returns a tensor whose first axis counts rows.
    n : int
        Number of rows.
    *rows : objects that can be indexed by a tensor of row numbers, or None
        Lights, lenses, subhalos, tensors. The last block is filled up with its last row.

    Returns
    -------
    (n, …) tensor
    """
    parts = []
    with one_thread():
        for start in range(0, n, BLOCK):
            index = torch.arange(start, start + BLOCK).clamp(max=n - 1)
            part = function(*(None if r is None else r[index] for r in rows))
            parts.append(part[: n - start])
    return torch.cat(parts) if len(parts) > 1 else parts[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside, and with as many as before afterwards."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
