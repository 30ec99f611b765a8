"""Bootstrap of stamps and of clusters: one draw for all strata and networks, in bounded memory and time.

Used where the drawing of single numbers in `intervals` does not apply: for clusters (all stamps of a galaxy, a host or a
region of the sky are drawn together), and for two networks on the same stamps (the same draw for both).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rates import ROUNDING, allowed_false_positives, needed_true_positives

#: Weights held at a time, in bytes: one byte per stamp and resample.
CHUNK_BYTES = 32_000_000
#: Steps of score up to which every score is one; rungs of each ladder of ranks in the coarse table of more.
STEPS, COARSE = 2048, 64
#: Steps about a threshold, in standard deviations of the number of stamps above it.
WINDOW = np.arange(-5, 5.01, 1 / 8)


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
    for r in chunks(len(label), resamples):
        weights = np.zeros((r, len(label)), np.uint8)
        for rows in classes:
            weights[:, rows] = drawn(len(rows), r, rng)
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
    units : int
        Stamps or clusters that are drawn, of the class that has fewer.
    """

    auc: NDArray[np.float64]
    tpr: NDArray[np.float64]
    fpr: NDArray[np.float64]
    passed_positives: NDArray[np.float64]
    passed_negatives: NDArray[np.float64]
    units: int

    @staticmethod
    def join(parts: Sequence[Draws]) -> Draws:
        """Return the resamples of several chunks as one."""
        names = ("auc", "tpr", "fpr", "passed_positives", "passed_negatives")
        return Draws(*(np.concatenate([getattr(p, name) for p in parts]) for name in names), units=parts[0].units)


class _Steps:
    """Scores of both classes in increasing order, whose rates follow from how often each is drawn."""

    def __init__(self, positives: NDArray, negatives: NDArray, fprs: Sequence[float], tprs: Sequence[float], cuts: Sequence[float]) -> None:
        self._positives, self._negatives = positives, negatives
        self._below = np.searchsorted(negatives, positives, "left")
        self._up_to = np.searchsorted(negatives, positives, "right")
        self._fprs, self._tprs, self._cuts = np.asarray(fprs, float), np.asarray(tprs, float), np.asarray(cuts, float)

    def _rates(self, positives: NDArray, negatives: NDArray, units: int) -> Draws:
        """Return the rates of every resample of some units from how often each score of a class is drawn, (r, p) and (r, m)."""
        of_positives, of_negatives = _running(positives), _running(negatives)
        n_positives, n_negatives = of_positives[:, -1:].astype(float), of_negatives[:, -1:].astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Draws(
                self._auc(positives, of_negatives) / (n_positives * n_negatives)[:, 0],
                self._tpr(of_positives, of_negatives),
                self._fpr(of_positives, of_negatives),
                1 - of_positives[:, np.searchsorted(self._positives, self._cuts, "right")] / n_positives,
                1 - of_negatives[:, np.searchsorted(self._negatives, self._cuts, "right")] / n_negatives,
                units,
            )

    def _auc(self, positives: NDArray, of_negatives: NDArray) -> NDArray:
        pairs = np.einsum("ij,ij->i", positives, of_negatives[:, self._below], dtype=np.int64)
        if np.array_equal(self._below, self._up_to):
            return pairs.astype(float)
        return (pairs + np.einsum("ij,ij->i", positives, of_negatives[:, self._up_to], dtype=np.int64)) / 2

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


class Resampled(_Steps):
    """The stamps of one group and one network, sorted once, whose rates any weights of stamps give.

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
        self._rows = [_ordered(score, rows[label[rows] == kind]) for kind in (True, False)]
        super().__init__(*(score[r] for r in self._rows), fprs, tprs, cuts)

    def rates(self, weights: NDArray[np.uint8]) -> Draws:
        """Return the rates of every resample of a chunk of weights, (r, n)."""
        return self._rates(*(weights[:, r] for r in self._rows), units=min(map(len, self._rows)))


class Gathered(_Steps):
    """The stamps of one group and one network, counted by cluster and score once, whose rates any weights of clusters give.

    What a resample costs depends on clusters and steps of score, not on stamps. Up to `STEPS` different scores each is a
    step, and the rates are those of the repeated stamps. Above, the steps lie where the rates are read off: a threshold is
    then found to ⅛ of its own standard deviation between resamples, on the side of fewer false positives.

    Parameters
    ----------
    score, label, rows, fprs, tprs, cuts : as for `Resampled`
    code : (n,) int
        Cluster of every stamp of the table.
    clusters : int
        Number of clusters.
    """

    def __init__(
        self,
        score: NDArray,
        label: NDArray,
        rows: NDArray,
        code: NDArray[np.integer],
        clusters: int,
        fprs: Sequence[float],
        tprs: Sequence[float] = (),
        cuts: Sequence[float] = (),
    ) -> None:
        ordered = [_ordered(score, rows[label[rows] == kind]) for kind in (True, False)]
        scores, codes = [score[r] for r in ordered], [code[r] for r in ordered]
        if sum(1 + np.count_nonzero(np.diff(s)) for s in scores) <= STEPS:
            steps = np.unique(np.concatenate(scores))
        else:
            steps = _steps(scores, codes, clusters, fprs, tprs, cuts)
        counts = [_table(s, c, clusters, steps) for s, c in zip(scores, codes, strict=True)]
        self._used = [np.flatnonzero(t.any(axis=1)) for t in counts]
        self._counts = [t[used].astype(np.float32) for t, used in zip(counts, self._used, strict=True)]
        super().__init__(steps, steps, fprs, tprs, cuts)

    def rates(self, weights: NDArray[np.uint8]) -> Draws:
        """Return the rates of every resample of clusters, (r, clusters)."""
        drawn_stamps = (weights[:, used].astype(np.float32) @ table for used, table in zip(self._used, self._counts, strict=True))
        return self._rates(*(np.rint(d).astype(np.int32) for d in drawn_stamps), units=min(map(len, self._used)))


def _ordered(score: NDArray, rows: NDArray) -> NDArray:
    """Return rows from the lowest score to the highest."""
    return rows[np.argsort(score[rows], kind="stable")]


def _table(scores: NDArray, codes: NDArray, clusters: int, steps: NDArray) -> NDArray[np.int64]:
    """Return the number of stamps of every cluster from each step to the next, (clusters, k), of scores in increasing order."""
    bounds = np.searchsorted(scores, steps[1:], "left")
    flat = np.repeat(np.arange(len(steps)), np.diff(bounds, prepend=0, append=len(scores)))
    flat += codes.astype(np.int64) * len(steps)
    return np.bincount(flat, minlength=clusters * len(steps)).reshape(clusters, len(steps))


def _steps(
    scores: Sequence[NDArray], codes: Sequence[NDArray], clusters: int, fprs: Sequence[float], tprs: Sequence[float], cuts: Sequence[float]
) -> NDArray[np.float64]:
    """Return scores at which the rates of resamples can be read off, in increasing order.

    A coarse table first gives the standard deviation of the number of stamps that pass a threshold, Σ (xᵢ − p mᵢ)² over the
    clusters (xᵢ of whose mᵢ stamps pass); then steps of ⅛ of it surround every threshold that is wanted.
    """
    coarse = np.unique(np.concatenate([s[_ladders(len(s))] for s in scores]))
    positives, negatives = scores
    wanted = ((positives, codes[0], needed_true_positives(len(positives), tprs)), (negatives, codes[1], allowed_false_positives(len(negatives), fprs)))  # fmt: skip
    parts = [coarse, np.nextafter(np.asarray(cuts, float), np.inf)]
    for ordered, code, passing in wanted:
        above = _table(ordered, code, clusters, coarse)[:, ::-1].cumsum(axis=1)[:, ::-1]
        for k in passing:
            # The step of the coarse table whose number of passing stamps is nearest.
            x, share = above[:, np.argmin(np.abs(above.sum(axis=0) - k))], k / len(ordered)
            spread = np.sqrt(max(np.sum((x - share * above[:, 0]) ** 2), k * (1 - share), 1.0))
            near = np.unique(np.rint(len(ordered) - k + spread * WINDOW).astype(np.int64))
            found = ordered[np.clip(near, 0, len(ordered) - 1)]
            parts += [found, np.nextafter(found, np.inf)]  # what lies above a threshold must not share its step
    return np.unique(np.concatenate(parts))


def _ladders(n: int) -> NDArray[np.int64]:
    """Return some of n ranks: evenly spaced ones, and ones that grow by a factor from either end."""
    far = np.geomspace(1, n, COARSE).astype(np.int64)
    return np.concatenate([np.linspace(0, n - 1, COARSE).astype(np.int64), far - 1, n - far])


def chunks(n: int, resamples: int) -> Iterator[int]:
    """Yield the resamples of each chunk of weights of n stamps."""
    size = max(1, min(resamples, CHUNK_BYTES // max(n, 1)))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def drawn(n: int, r: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return how often each of n items is drawn in n draws with replacement, r times; (r, n)."""
    if n == 0:
        return np.zeros((r, 0), np.uint8)
    draws = rng.integers(0, n, size=(r, n)) + np.arange(r)[:, None] * n
    return np.bincount(draws.ravel(), minlength=r * n).astype(np.uint8).reshape(r, n)


def _running(weights: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return running totals along the last axis, beginning with 0; (r, n + 1)."""
    out = np.zeros((len(weights), weights.shape[1] + 1), np.int32)
    np.cumsum(weights, axis=1, dtype=np.int32, out=out[:, 1:])
    return out
