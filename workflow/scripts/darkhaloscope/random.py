"""Counter-based randomness: every row has its own stream, whatever the shard, order or worker.

Philox (Salmon et al. 2011, SC'11) keyed by the dataset's seed and the row's number; a named purpose
selects an independent stretch of the counter.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stable_hash(*parts: object) -> int:
    """Return a 64-bit integer from the text of `parts`, the same in every process and version."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def stream(seed: int, row: int, purpose: str) -> np.random.Generator:
    """Return the generator of one row for one purpose.

    Parameters
    ----------
    seed : int
        Seed of the dataset, 0 to 2⁶⁴ − 1.
    row : int
        Number that identifies the row (not its place in a file), 0 to 2⁶⁴ − 1.
    purpose : str
        What is drawn, for example "lens" or "flux noise"; streams of different purposes are independent.
    """
    counter = np.zeros(4, np.uint64)
    # The low words count draws; the purpose takes the highest word, far beyond any draw.
    counter[3] = stable_hash(purpose)
    return np.random.Generator(np.random.Philox(key=np.array([seed, row], np.uint64), counter=counter))
