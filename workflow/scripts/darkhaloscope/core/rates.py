"""Exact rates from scores: ROC, AUC, true-positive rate at a false-positive rate and the reverse.

Ties between scores are never broken: stamps of equal score pass a threshold together. So a true-positive
rate at a false-positive rate f is the largest one that some threshold reaches with a realised
false-positive rate of *at most* f. Reading it off a line drawn between two ROC vertices instead would claim
stamps that no threshold can separate from the false positives between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: f·n is computed in floating point; a product this close below a whole number means that number.
ROUNDING = 1e-9


class EvaluationError(ValueError):
    """Scores cannot be evaluated; the message says which table, what was found and what to do."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """The scores of both classes, each in increasing order: all that an unpaired rate depends on."""

    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]

    @cached_property
    def below(self) -> NDArray[np.int64]:
        """Number of controls below each positive."""
        return np.searchsorted(self.negatives, self.positives, "left")

    @cached_property
    def up_to(self) -> NDArray[np.int64]:
        """Number of controls below or equal to each positive."""
        last = len(self.negatives) - 1
        tied = np.flatnonzero(self.negatives[np.minimum(self.below, last)] == self.positives)
        out = self.below.copy()
        out[tied] = np.searchsorted(self.negatives, self.positives[tied], "right")
        return out


@dataclass(frozen=True, eq=False)
class Curve:
    """A receiver operating characteristic: a stamp passes where score ≥ threshold.

    Attributes
    ----------
    fpr, tpr, threshold : (k,) float
        From (0, 0) at threshold +∞ to (1, 1) at the lowest score; one vertex per distinct score.
    """

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]
    threshold: NDArray[np.float64]


def rank(score: ArrayLike, label: ArrayLike) -> Ranked:
    """Sort the scores of both classes.

    Parameters
    ----------
    score : (n,) float, finite
    label : (n,) bool or 0/1
        Positives are true.
    """
    score = np.asarray(score, np.float64)
    label = np.asarray(label, bool)
    return Ranked(np.sort(score[label]), np.sort(score[~label]))


def roc(ranked: Ranked) -> Curve:
    """Return the exact ROC, one vertex per distinct score.

    Returns
    -------
    Curve
        (k + 1) vertices for k distinct scores.

    Raises
    ------
    EvaluationError
        A class is empty.
    """
    _need_both(ranked)
    thresholds = np.unique(np.concatenate([ranked.positives, ranked.negatives]))[::-1]
    return Curve(
        np.concatenate([[0.0], _share_from(ranked.negatives, thresholds)]),
        np.concatenate([[0.0], _share_from(ranked.positives, thresholds)]),
        np.concatenate([[np.inf], thresholds]),
    )


def thin(curve: Curve, points: int = 1000) -> Curve:
    """Return vertices of a curve that are enough to draw it on linear and logarithmic axes.

    Every vertex kept is exact. Kept are the ends and, on three ladders of `points` steps each (linear in TPR,
    linear in FPR, logarithmic in FPR), the last vertex of each step.
    """
    if len(curve.fpr) <= points:
        return curve
    smallest = curve.fpr[curve.fpr > 0].min(initial=1.0)
    ladders = (
        (curve.tpr, np.linspace(0, 1, points)),
        (curve.fpr, np.linspace(0, 1, points)),
        (curve.fpr, np.geomspace(smallest, 1, points)),
    )
    kept = np.unique(np.concatenate([[0, len(curve.fpr) - 1], *(np.searchsorted(axis, steps, "right") - 1 for axis, steps in ladders)]))
    kept = kept[kept >= 0]
    return Curve(curve.fpr[kept], curve.tpr[kept], curve.threshold[kept])


def auc(ranked: Ranked) -> float:
    """Return the area under the ROC: P(positive > control) + ½ P(equal) (Mann and Whitney 1947).

    Raises
    ------
    EvaluationError
        A class is empty.
    """
    _need_both(ranked)
    return float((ranked.below.sum() + ranked.up_to.sum()) / (2.0 * len(ranked.negatives) * len(ranked.positives)))


def accuracy(ranked: Ranked, threshold: float = 0.5) -> float:
    """Return the share of stamps on the right side of a threshold: positives at or above it, controls below it."""
    right = np.sum(ranked.positives >= threshold) + np.sum(ranked.negatives < threshold)
    return float(right / (len(ranked.positives) + len(ranked.negatives)))


def allowed_false_positives(n_negatives: int, fprs: Sequence[float]) -> NDArray[np.int64]:
    """Return the largest number of false positives whose rate is at most each FPR: ⌊f·n⌋."""
    return np.floor(np.asarray(fprs, float) * n_negatives + ROUNDING).astype(np.int64)


def needed_true_positives(n_positives: int, tprs: Sequence[float]) -> NDArray[np.int64]:
    """Return the smallest number of true positives whose rate is at least each TPR: ⌈t·n⌉."""
    return np.ceil(np.asarray(tprs, float) * n_positives - ROUNDING).astype(np.int64)


def cuts_at_fpr(negatives: NDArray, fprs: Sequence[float]) -> NDArray[np.float64]:
    """Return, for each FPR, the cut that lets at most that share of the controls pass.

    A stamp passes where its score is *above* the cut, which is the (⌊f·n⌋ + 1)-th largest control score:
    the loosest rule with a realised FPR of at most f, ties included.

    Parameters
    ----------
    negatives : (n,) float, increasing, n ≥ 1
    fprs : FPRs in (0, 1)
    """
    allowed = allowed_false_positives(len(negatives), fprs)
    return negatives[np.maximum(len(negatives) - 1 - allowed, 0)]


def tpr_at_fpr(ranked: Ranked, fprs: Sequence[float]) -> NDArray[np.float64]:
    """Return the largest TPR that any threshold reaches with a realised FPR of at most each requested one.

    Conservative: never between two vertices of the ROC. Without ties this is the greatest
    TPR of `sklearn.metrics.roc_curve(…, drop_intermediate=False)` at vertices with FPR ≤ f; with ties too,
    since both let stamps of equal score pass together.

    Raises
    ------
    EvaluationError
        A class is empty.
    """
    _need_both(ranked)
    return share_above(ranked.positives, cuts_at_fpr(ranked.negatives, fprs))


def fpr_at_tpr(ranked: Ranked, tprs: Sequence[float]) -> NDArray[np.float64]:
    """Return the smallest FPR that any threshold reaches with a realised TPR of at least each requested one.

    Raises
    ------
    EvaluationError
        A class is empty.
    """
    _need_both(ranked)
    needed = needed_true_positives(len(ranked.positives), tprs)
    return _share_from(ranked.negatives, ranked.positives[len(ranked.positives) - needed])


def share_above(ordered: NDArray, cuts: ArrayLike) -> NDArray[np.float64]:
    """Return the share of increasing scores strictly above each cut."""
    return 1.0 - np.searchsorted(ordered, cuts, "right") / len(ordered)


def _share_from(ordered: NDArray, thresholds: ArrayLike) -> NDArray[np.float64]:
    """Return the share of increasing scores at or above each threshold."""
    return 1.0 - np.searchsorted(ordered, thresholds, "left") / len(ordered)


def _need_both(ranked: Ranked) -> None:
    if not len(ranked.positives) or not len(ranked.negatives):
        raise EvaluationError(
            f"a rate needs both classes, found {len(ranked.positives)} positives and {len(ranked.negatives)} controls; "
            "score a split that holds both"
        )
