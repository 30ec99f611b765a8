"""Counter-based randomness: every row has its own stream, whatever the shard, order or worker.

Philox (Salmon et al. 2011, SC'11) keyed by the dataset's seed and the row's number; a named purpose
selects an independent stretch of the counter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri


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


def uniforms(seed: int, rows: NDArray, purpose: str, count: int) -> NDArray:
    """Return the first `count` uniform numbers of many rows' streams at once.

    Parameters
    ----------
    seed, purpose : as in `stream`
    rows : (n,) integers
        Numbers that identify the rows.
    count : int
        Numbers per row; a row's first ones do not depend on it.

    Returns
    -------
    (n, count) float64 in [0, 1)
        Row i holds `stream(seed, rows[i], purpose).random(count)`, bit for bit: Philox4x64-10, vectorised over rows.
    """
    rows = np.asarray(rows).astype(np.uint64)
    out = np.empty((len(rows), -(-count // 4) * 4))
    purpose_word = np.full(len(rows), stable_hash(purpose), np.uint64)
    for block in range(out.shape[1] // 4):
        # NumPy's generator counts up before it computes: the first block has counter 1.
        counter = [np.full(len(rows), block + 1, np.uint64), np.zeros(len(rows), np.uint64), np.zeros(len(rows), np.uint64), purpose_word]
        for k, word in enumerate(_philox(counter, np.uint64(seed), rows)):
            out[:, 4 * block + k] = (word >> np.uint64(11)) * 2.0**-53
    return out[:, :count]


def row_keys(*parts: NDArray) -> NDArray[np.uint64]:
    """Return one 64-bit number per row from several integers that identify it together (finaliser of SplitMix64, Steele et al. 2014)."""
    key = np.zeros(len(parts[0]), np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            key = key + np.asarray(part).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
            key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            key = key ^ (key >> np.uint64(31))
    return key


def quantile(distribution: Any, uniform: NDArray) -> NDArray:
    """Return the values of a distribution of the config (`config.base.Distribution`) at uniform numbers in [0, 1)."""
    value = getattr(distribution, distribution.kind)
    if distribution.kind == "fixed":
        return np.full(uniform.shape, value)
    if distribution.kind == "uniform":
        return value[0] + (value[1] - value[0]) * uniform
    if distribution.kind == "log_uniform":
        return value[0] * (value[1] / value[0]) ** uniform
    if distribution.kind == "normal":
        mean, sd, low, high = value
        # In the upper tail shares are counted from above: from below they all round to 1.
        sign = -1.0 if low > mean else 1.0
        first, last = ndtr(sign * (low - mean) / sd), ndtr(sign * (high - mean) / sd)
        return np.clip(mean + sign * sd * ndtri(first + (last - first) * uniform), low, high)
    return np.asarray(value, float)[(uniform * len(value)).astype(int)]


def category(shares: Mapping[str, float], uniform: NDArray) -> NDArray:
    """Return one of the names for each uniform number, by their shares."""
    names = [k for k, share in shares.items() if share > 0]
    edges = np.cumsum([shares[k] for k in names])[:-1]
    return np.array(names)[np.searchsorted(edges, uniform, side="right")]


def _philox(counter: list[NDArray], key0: np.uint64, key1: NDArray) -> list[NDArray]:
    """Ten rounds of Philox4x64 (Salmon et al. 2011) on (n,) words."""
    with np.errstate(over="ignore"):
        for _ in range(10):
            high0, low0 = _product(np.uint64(0xD2E7470EE14C6C93), counter[0])
            high1, low1 = _product(np.uint64(0xCA5A826395121157), counter[2])
            counter = [high1 ^ counter[1] ^ key0, low1, high0 ^ counter[3] ^ key1, low0]
            key0, key1 = key0 + np.uint64(0x9E3779B97F4A7C15), key1 + np.uint64(0xBB67AE8584CAA73B)
    return counter


def _product(constant: np.uint64, word: NDArray) -> tuple[NDArray, NDArray]:
    """High and low word of a product of 64-bit numbers, by halves of 32 bits."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a1, a0, b1, b0 = constant >> half, constant & mask, word >> half, word & mask
    middle = a1 * b0 + ((a0 * b0) >> half)
    other = a0 * b1 + (middle & mask)
    return a1 * b1 + (middle >> half) + (other >> half), constant * word
