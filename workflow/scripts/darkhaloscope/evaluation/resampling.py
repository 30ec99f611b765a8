"""Bootstrap of stamps: row weights for all strata and networks at once, in chunks of bounded memory.

Used where the drawing of single numbers in `intervals` does not apply: for galaxies as clusters (all stamps
of a galaxy are drawn together), and for two networks on the same stamps (the same draw for both).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rates import ROUNDING

#: Weights held at a time, in bytes: one byte per stamp and resample.
CHUNK_BYTES = 32_000_000


def row_weights(label: ArrayLike, rng: np.random.Generator, resamples: int) -> Iterator[NDArray[np.uint8]]:
    """Yield how often each stamp is drawn when the stamps of each class are drawn with replacement.

    Parameters
    ----------
    label : (n,) bool

    Yields
    ------
    (r, n) uint8
        Chunks that add up to `resamples` rows; class sizes are kept in each.
    """
    label = np.asarray(label, bool)
    classes = [np.flatnonzero(label), np.flatnonzero(~label)]
    for r in _chunks(len(label), resamples):
        weights = np.zeros((r, len(label)), np.uint8)
        for rows in classes:
            weights[:, rows] = _drawn(len(rows), r, rng)
        yield weights


def galaxy_weights(label: ArrayLike, galaxy: ArrayLike, rng: np.random.Generator, resamples: int) -> Iterator[NDArray[np.uint8]]:
    """Yield how often each stamp is drawn when whole galaxies are drawn with replacement.

    Stamps whose source is no galaxy (−1) are drawn one by one within their class.

    Parameters
    ----------
    label : (n,) bool
    galaxy : (n,) int, 0 to G − 1 or −1

    Yields
    ------
    (r, n) uint8
    """
    label, galaxy = np.asarray(label, bool), np.asarray(galaxy)
    names, codes = np.unique(galaxy, return_inverse=True)
    alone = galaxy < 0
    first = int(len(names) > 0 and names[0] < 0)  # the code of −1, where it occurs, is 0
    n_galaxies = len(names) - first
    in_galaxy, codes = np.flatnonzero(~alone), codes[~alone] - first
    singles = [np.flatnonzero(alone & label), np.flatnonzero(alone & ~label)]
    for r in _chunks(len(label), resamples):
        weights = np.zeros((r, len(label)), np.uint8)
        if n_galaxies:
            weights[:, in_galaxy] = _drawn(n_galaxies, r, rng)[:, codes]
        for rows in singles:
            weights[:, rows] = _drawn(len(rows), r, rng)
        yield weights


@dataclass(frozen=True, eq=False)
class Draws:
    """Rates of every resample; NaN where a resample lacks a class.

    Attributes
    ----------
    auc : (r,) float
    tpr : (r, m) float
        At each FPR, threshold from the resample's own controls.
    fpr : (r, k) float
        At each TPR, threshold from the resample's own positives.
    passed_positives, passed_negatives : (r, c) float
        Shares above each fixed cut.
    """

    auc: NDArray[np.float64]
    tpr: NDArray[np.float64]
    fpr: NDArray[np.float64]
    passed_positives: NDArray[np.float64]
    passed_negatives: NDArray[np.float64]

    @staticmethod
    def join(parts: Sequence[Draws]) -> Draws:
        """Return the resamples of several chunks as one."""
        names = ("auc", "tpr", "fpr", "passed_positives", "passed_negatives")
        return Draws(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


class Resampled:
    """The stamps of one group and one network, sorted once, whose rates any weights give.

    Parameters
    ----------
    score, label : (n,)
        All stamps of the table, in the order of the weights.
    rows : (k,) int
        The group's stamps.
    fprs, tprs, cuts : sequences of float
        Where rates are wanted; `cuts` are fixed thresholds (a stamp passes above).
    """

    def __init__(
        self, score: NDArray, label: NDArray, rows: NDArray, fprs: Sequence[float], tprs: Sequence[float] = (), cuts: Sequence[float] = ()
    ) -> None:
        positives, negatives = rows[label[rows]], rows[~label[rows]]
        self._positive_rows = positives[np.argsort(score[positives], kind="stable")]
        self._negative_rows = negatives[np.argsort(score[negatives], kind="stable")]
        self._positives, self._negatives = score[self._positive_rows], score[self._negative_rows]
        self._below = np.searchsorted(self._negatives, self._positives, "left")
        self._up_to = np.searchsorted(self._negatives, self._positives, "right")
        self._fprs, self._tprs, self._cuts = np.asarray(fprs, float), np.asarray(tprs, float), np.asarray(cuts, float)

    def rates(self, weights: NDArray[np.uint8]) -> Draws:
        """Return the rates of every resample of a chunk of weights, (r, n)."""
        drawn = weights[:, self._positive_rows]
        of_positives, of_negatives = _running(drawn), _running(weights[:, self._negative_rows])
        n_positives, n_negatives = of_positives[:, -1:].astype(float), of_negatives[:, -1:].astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Draws(
                self._auc(drawn, of_negatives) / (n_positives * n_negatives)[:, 0],
                self._tpr(of_positives, of_negatives),
                self._fpr(of_positives, of_negatives),
                1 - of_positives[:, np.searchsorted(self._positives, self._cuts, "right")] / n_positives,
                1 - of_negatives[:, np.searchsorted(self._negatives, self._cuts, "right")] / n_negatives,
            )

    def _auc(self, drawn: NDArray, of_negatives: NDArray) -> NDArray:
        pairs = np.einsum("ij,ij->i", drawn, of_negatives[:, self._below], dtype=np.int64)
        if np.array_equal(self._below, self._up_to):
            return pairs.astype(float)
        return (pairs + np.einsum("ij,ij->i", drawn, of_negatives[:, self._up_to], dtype=np.int64)) / 2

    def _tpr(self, of_positives: NDArray, of_negatives: NDArray) -> NDArray:
        out = np.full((len(of_positives), len(self._fprs)), np.nan)
        for i, (positives, negatives) in enumerate(zip(of_positives, of_negatives, strict=True)):
            if positives[-1] and negatives[-1] and len(self._fprs):
                allowed = np.floor(self._fprs * negatives[-1] + ROUNDING)
                cuts = self._negatives[np.searchsorted(negatives[1:], negatives[-1] - allowed)]
                out[i] = 1 - positives[np.searchsorted(self._positives, cuts, "right")] / positives[-1]
        return out

    def _fpr(self, of_positives: NDArray, of_negatives: NDArray) -> NDArray:
        out = np.full((len(of_positives), len(self._tprs)), np.nan)
        for i, (positives, negatives) in enumerate(zip(of_positives, of_negatives, strict=True)):
            if positives[-1] and negatives[-1] and len(self._tprs):
                needed = np.ceil(self._tprs * positives[-1] - ROUNDING)
                thresholds = self._positives[np.searchsorted(positives[1:], positives[-1] - needed + 1)]
                out[i] = 1 - negatives[np.searchsorted(self._negatives, thresholds, "left")] / negatives[-1]
        return out


def _chunks(n: int, resamples: int) -> Iterator[int]:
    size = max(1, min(resamples, CHUNK_BYTES // max(n, 1)))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _drawn(n: int, r: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return how often each of n items is drawn in n draws with replacement, r times; (r, n)."""
    if n == 0:
        return np.zeros((r, 0), np.uint8)
    draws = rng.integers(0, n, size=(r, n)) + np.arange(r)[:, None] * n
    return np.bincount(draws.ravel(), minlength=r * n).astype(np.uint8).reshape(r, n)


def _running(weights: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return running totals along the last axis, beginning with 0; (r, n + 1)."""
    out = np.zeros((len(weights), weights.shape[1] + 1), np.int32)
    np.cumsum(weights, axis=1, dtype=np.int32, out=out[:, 1:])
    return out
