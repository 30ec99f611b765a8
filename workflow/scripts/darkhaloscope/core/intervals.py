"""Confidence intervals: which holds when is said in each docstring, and tested by coverage.

Wilson and Clopper–Pearson hold for a rate at a threshold fixed beforehand. A TPR at a given FPR has a threshold with
its own noise and needs a bootstrap of both classes (`tpr_at_fpr_interval`). DeLong and the Newcombe interval are for the AUC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

from .rates import Ranked, allowed_false_positives, cuts_at_fpr, needed_true_positives, share_above

Interval = tuple[NDArray[np.float64], NDArray[np.float64]]

#: Stamps of a class that an AUC's loss must come from, at least, for DeLong's variance to be known well enough.
DECIDING = 20


@dataclass(frozen=True)
class Difference:
    """A difference of two AUCs on the same stamps, with its normal interval and two-sided p-value."""

    value: float
    low: float
    high: float
    p_value: float


def wilson(successes: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion (Wilson 1927, JASA 22, 209).

    For a threshold fixed beforehand and independent stamps. Mean coverage is close to nominal.

    Parameters
    ----------
    successes, n : array_like of counts, n ≥ 1

    Returns
    -------
    low, high : arrays between 0 and 1
    """
    return _binomial(successes, n, confidence, "wilson")


def clopper_pearson(successes: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the exact binomial interval (Clopper and Pearson 1934, Biometrika 26, 404).

    For a threshold fixed beforehand and independent stamps. Covers at least the nominal share, often more.

    Parameters
    ----------
    successes, n : array_like of counts, n ≥ 1

    Returns
    -------
    low, high : arrays between 0 and 1
    """
    return _binomial(successes, n, confidence, "beta")


def tpr_at_fpr_interval(
    ranked: Ranked, fprs: Sequence[float], rng: np.random.Generator, resamples: int = 500, confidence: float = 0.95
) -> Interval:
    """Return percentile intervals of the TPR at each FPR from a bootstrap of both classes.

    No row is ever resampled, yet the draws have the very distribution that resampling rows gives: the (k + 1)-th
    largest of n controls drawn with replacement is the control at rank ⌊n·B⌋, where B, the (k + 1)-th smallest of n
    uniforms, follows Beta(k + 1, n − k); and the resampled positives above that cut are binomial. So the cost does
    not grow with the number of stamps once they are sorted. Where the estimate is 0 or 1 a bootstrap cannot see
    beyond its sample: the interval is widened to Wilson's.

    Parameters
    ----------
    ranked : Ranked, both classes present
    fprs : (m,) FPRs in (0, 1); an interval means little where n·f < 10

    Returns
    -------
    low, high : (m,) float
    """
    n, n_positives = len(ranked.negatives), len(ranked.positives)
    allowed = allowed_false_positives(n, fprs)
    ranks = (n * rng.beta(allowed + 1, n - allowed, size=(resamples, len(allowed)))).astype(np.int64)
    cuts = ranked.negatives[n - 1 - np.minimum(ranks, n - 1)]
    draws = rng.binomial(n_positives, share_above(ranked.positives, cuts)) / n_positives
    passed = share_above(ranked.positives, cuts_at_fpr(ranked.negatives, fprs)) * n_positives
    found = percentiles(draws, confidence, min(n, n_positives))
    return edge_widened(found, np.rint(passed), n_positives, confidence)


def fpr_at_tpr_interval(
    ranked: Ranked, tprs: Sequence[float], rng: np.random.Generator, resamples: int = 500, confidence: float = 0.95
) -> Interval:
    """Return percentile intervals of the FPR at each TPR from a bootstrap of both classes.

    Drawn as in `tpr_at_fpr_interval`, with the classes changed over: the threshold is the ⌈t·n⌉-th largest positive.

    Returns
    -------
    low, high : (m,) float
    """
    n, n_negatives = len(ranked.positives), len(ranked.negatives)
    needed = needed_true_positives(n, tprs)
    ranks = (n * rng.beta(needed, n - needed + 1, size=(resamples, len(needed)))).astype(np.int64)
    thresholds = ranked.positives[n - 1 - np.minimum(ranks, n - 1)]
    share = 1.0 - np.searchsorted(ranked.negatives, thresholds, "left") / n_negatives
    draws = rng.binomial(n_negatives, share) / n_negatives
    passed = n_negatives - np.searchsorted(ranked.negatives, ranked.positives[n - needed], "left")
    found = percentiles(draws, confidence, min(n, n_negatives))
    return edge_widened(found, passed, n_negatives, confidence)


def exact_fpr_at_tpr_interval(ranked: Ranked, tpr: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return an interval of the FPR at one TPR that covers at least the nominal share, however few the stamps of either class.

    Half of the error is given to the threshold, whose true place has a binomial number of positives above it (the interval of a quantile by order
    statistics), half to the controls above its ends, by Clopper and Pearson. Few positives leave the threshold, and with it the FPR, open towards 1.

    Parameters
    ----------
    ranked : Ranked, both classes present
    tpr : float in (0, 1)
    """
    from scipy.stats import binom  # half a second to import

    n, n_negatives, tail = len(ranked.positives), len(ranked.negatives), (1 - confidence) / 4
    fewest, most = int(binom.ppf(tail, n, tpr)), int(binom.isf(tail, n, tpr))
    above = 0 if fewest == 0 else n_negatives - np.searchsorted(ranked.negatives, ranked.positives[n - fewest], "left")
    up_to = n_negatives if most == n else n_negatives - np.searchsorted(ranked.negatives, ranked.positives[n - most - 1], "right")
    ends = (1 + confidence) / 2
    return float(clopper_pearson(above, n_negatives, ends)[0]), float(clopper_pearson(up_to, n_negatives, ends)[1])


def delong_interval(ranked: Ranked, confidence: float = 0.95) -> tuple[float, float]:
    """Return DeLong's interval of the AUC, on the logit scale (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837).

    For independent stamps. What an AUC falls short of 1 may come from a few stamps on the wrong side, however large the
    sample is; the variance is then guessed from these few, and mostly too small (intervals of AUC 0.99 from 10 positives and 1,000 controls
    cover in 74%, of 0.999 from 300 and 3,000 in 69 to 89%). Where it comes from the like of fewer than `DECIDING` stamps of a class
    ((Σx)²/Σx² of their losses x), the interval is widened to the Newcombe interval, which does not look at the variance; where
    from none, that is returned in its place.

    Parameters
    ----------
    ranked : Ranked
        At least two stamps of each class.
    """
    m, n = len(ranked.positives), len(ranked.negatives)
    of_positives = (ranked.below + ranked.up_to) / (2.0 * n)
    value = float(of_positives.mean())
    share, counts = _shares_above(ranked)
    of_negatives = float(np.sum(counts * (share - value) ** 2)) / (n - 1)
    variance = float(of_positives.var(ddof=1)) / m + of_negatives / n
    newcombe = newcombe_auc_interval(value, m, n, confidence)
    if not 0 < value < 1 or variance <= 0:
        return newcombe
    half = ndtri((1 + confidence) / 2) * np.sqrt(variance) / (value * (1 - value))
    low, high = float(expit(logit(value) - half)), float(expit(logit(value) + half))
    # Of an AUC below one half the gain over 0 takes the loss' place: the interval does not depend on which class is called positive.
    losses = ((of_positives, 1), (share, counts)) if value < 0.5 else ((1 - of_positives, 1), (1 - share, counts))
    if min(_effective(*loss) for loss in losses) < DECIDING:
        return min(low, newcombe[0]), max(high, newcombe[1])
    return low, high


def delong_difference(score_a: ArrayLike, score_b: ArrayLike, label: ArrayLike, confidence: float = 0.95) -> Difference:
    """Return AUC_b − AUC_a of two scores of the same stamps, by DeLong's test for correlated AUCs.

    Where the two scores rank every pair alike the variance is 0: the interval is then a point and p is 1.

    Parameters
    ----------
    score_a, score_b, label : (n,), row by row the same stamps, at least two of each class
    """
    positives_a, negatives_a = delong_components(score_a, label)
    positives_b, negatives_b = delong_components(score_b, label)
    value = float(positives_b.mean() - positives_a.mean())
    variance = (positives_b - positives_a).var(ddof=1) / len(positives_a) + (negatives_b - negatives_a).var(ddof=1) / len(negatives_a)
    error = float(np.sqrt(variance))
    if error == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    half = float(ndtri((1 + confidence) / 2)) * error
    return Difference(value, value - half, value + half, float(2 * ndtr(-abs(value) / error)))


def delong_components(score: ArrayLike, label: ArrayLike) -> Interval:
    """Return DeLong's structural components by sorting, O(n log n) (Sun and Xu 2014, IEEE SPL 21, 1389).

    Returns
    -------
    of_positives : (m,) float
        For each positive, in row order, the share of controls below it, ties counted half.
    of_negatives : (n,) float
        For each control, in row order, the share of positives above it, ties counted half.
    """
    score, label = np.asarray(score, float), np.asarray(label, bool)
    positives, negatives = score[label], score[~label]
    return _mid_share(np.sort(negatives), positives), 1.0 - _mid_share(np.sort(positives), negatives)


def newcombe_auc_interval(value: float, n_positives: int, n_negatives: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Newcombe's score-type interval of an AUC (his method 5; Newcombe 2006, Stat. Med. 25, 559).

    It inverts |A − θ| = z·√V(θ) with the Hanley–McNeil variance of exponential scores, both class sizes
    replaced by their mean where they multiply the covariances; so it stays within 0 to 1 and has a length at A = 1.
    """
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    surplus = (n_positives + n_negatives) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + surplus * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (value - theta) ** 2 - z2 * theta * (1 - theta) * spread / (n_positives * n_negatives)

    low = 0.0 if value <= 0 else brentq(excess, 0.0, min(value, 1 - 1e-12))
    high = 1.0 if value >= 1 else brentq(excess, max(value, 1e-12), 1.0)
    return float(low), float(high)


def percentiles(draws: NDArray, confidence: float, units: int) -> Interval:
    """Return the central interval of bootstrap draws along their first axis; NaN draws are left out.

    The draws of n units scatter by √(1 − 1/n) of what the estimate does, and with as little knowledge of it as n − 1 differences give. The
    expanded percentile interval makes up for both: its tails are those of a normal number at √(n/(n − 1)) times the quantile of Student's t
    (Hesterberg 2015, Am. Stat. 69, 371, section 5.3).

    Parameters
    ----------
    draws : (r, …)
    units : what was drawn with replacement, stamps or clusters; of two classes the fewer
    """
    n = max(units, 2)
    tail = 100 * ndtr(stdtrit(n - 1, (1 - confidence) / 2) * np.sqrt(n / (n - 1)))
    low, high = np.nanpercentile(draws, [tail, 100 - tail], axis=0)
    return low, high


def edge_widened(interval: Interval, successes: ArrayLike, n: int, confidence: float) -> Interval:
    """Return intervals of proportions, widened to Wilson's where no stamp or every stamp passed."""
    successes = np.asarray(successes)
    low, high = wilson(successes, n, confidence)
    edge = (successes == 0) | (successes == n)
    return np.where(edge, np.minimum(interval[0], low), interval[0]), np.where(edge, np.maximum(interval[1], high), interval[1])


def _binomial(successes: ArrayLike, n: ArrayLike, confidence: float, method: str) -> Interval:
    from statsmodels.stats.proportion import proportion_confint  # a second to import

    k, n = (np.array(v, float) for v in np.broadcast_arrays(successes, n))
    low, high = proportion_confint(k, n, alpha=1 - confidence, method=method)
    # The ends at no and at full success are exact; rounding may miss them.
    return np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)


def _shares_above(ranked: Ranked) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the shares of positives that lie above a control, ties counted half, and how many controls have each.

    The share changes at positives alone: the controls themselves need not be looked at.
    """
    m = len(ranked.positives)
    first = np.flatnonzero(np.concatenate([[True], ranked.positives[1:] != ranked.positives[:-1]]))
    last = np.append(first[1:], m)
    below, up_to = ranked.below[first], ranked.up_to[first]
    between = np.append(below, len(ranked.negatives)) - np.append(0, up_to)
    above = m - np.append(0, last)
    return np.concatenate([above, m - (first + last) / 2]) / m, np.concatenate([between, up_to - below])


def _effective(values: NDArray, counts: ArrayLike) -> float:
    """Return the number of equal values that would be as uneven as these, each there so many times: (Σx)²/Σx² (Kish 1965)."""
    return float(np.sum(counts * values) ** 2 / np.sum(counts * values**2))


def _mid_share(ordered: NDArray, values: NDArray) -> NDArray[np.float64]:
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2.0 * len(ordered))
