"""What any method could do: the ideal observer's AUC for the same stamps, and the share of it that a network reaches.

The ideal observer knows lens, source and where the subhalo would be; on one stamp it has d′² = Σ (Δ/σ)².
Over a set its AUC is the mean over all pairs of a positive and a control of Φ(½ √(d_i² + d_j²)), the control's
d′ being that of its phantom subhalo.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, logsumexp, ndtri, ndtri_exp

from ..config.experiment import Evaluation
from ..core.rates import EvaluationError
from .judging import Judge, Row, join_notes, row
from .resampled_clusters import draw_clusters
from .scored import Scored
from .strata import Group, bins
from .tidy import ALL

#: The ideal observer that sees what a network sees. A mask alone is measured against both channels: it should use nothing. Tables of
#: the lens finder (bands) have none: nobody knows the ideal observer of a real galaxy.
D_PRIME_COLUMN = {
    "flux": "d_prime_flux",
    "velocity": "d_prime_velocity",
    "both": "d_prime_both",
    "mask": "d_prime_both",
    "bands": "d_prime_bands",
}
#: Above this d′ a sample of stamps cannot tell one AUC from another: a lower limit is quoted, not a share.
SATURATED = 5.0
#: Classes up to this size are paired one by one.
EXACT = 3000
#: Width of a cell of d′ below `WIDE`, and relative width above.
CELL, WIDE, RELATIVE_CELL = 0.003, 12.0, 2e-3
#: d′ above this count as this: log Φ(−½·1000) is far below anything that matters.
LARGEST = 1000.0


def ideal_auc(positives: ArrayLike, controls: ArrayLike) -> tuple[float, float]:
    """Return the ideal observer's AUC over a set, and its d′ = √2 Φ⁻¹(AUC).

    Up to 3,000 stamps per class every pair is summed. Above, stamps are gathered into cells of d′ with their mean
    value as representative: 0.003 wide below 12, 0.2% wide above. Deviations from a cell's mean cancel to first order,
    and Φ(½√(a² + b²)) changes by at most 0.2 per unit of either argument, so the AUC is off by less than 3·10⁻⁶ for
    any set with pairs of d′ above 0.1, and by less than 6·10⁻⁴ for the worst one (all d′ within one cell of 0).

    Parameters
    ----------
    positives, controls : (m,), (n,) float ≥ 0
        d′ of the positives, and of the controls' phantoms.

    Returns
    -------
    auc, d_prime : float
        d′ comes from the logarithm of 1 − AUC, and stays finite where AUC rounds to 1.

    Raises
    ------
    EvaluationError
        A class is empty, or a d′ is negative or not a number.
    """
    (a, weight_a), (b, weight_b) = _cells(positives, "positives"), _cells(controls, "controls")
    chunk = max(1, 2_000_000 // len(b))
    parts = []
    for start in range(0, len(a), chunk):
        part = slice(start, start + chunk)
        log_miss = log_ndtr(-0.5 * np.hypot(a[part, None], b[None, :]))
        parts.append(logsumexp(log_miss, b=weight_a[part, None] * weight_b[None, :]))
    log_miss = min(float(logsumexp(parts)), 0.0)
    return -math.expm1(log_miss), max(0.0, -math.sqrt(2) * float(ndtri_exp(log_miss)))


def d_prime(auc: ArrayLike) -> NDArray[np.float64]:
    """Return d′ = √2 Φ⁻¹(AUC); infinite at 1, negative below ½."""
    return math.sqrt(2) * ndtri(np.asarray(auc, float))


def saturation(n_positives: int, n_negatives: int) -> float:
    """Return the d′ at which the AUC of a sample saturates: one wrong pair among all, √2 Φ⁻¹(1 − 1/(m·n))."""
    return float(-math.sqrt(2) * ndtri(1 / max(n_positives * n_negatives, 2)))


def judge_information(scored: Scored, channels: str, evaluation: Evaluation, key: str) -> list[Row]:
    """Return AUC and d′ of network and ideal observer and the share used, over all stamps and by bins of the ideal d′.

    A control belongs to the bin of its phantom's d′. Metrics: `auc`, `d_prime`, `ideal_auc`, `ideal_d_prime`,
    and `share` = d′ of the network over d′ of the ideal observer. Where the network's d′ is above 5, or above what the sample's size
    can show, `share` is a lower limit: it is made of the lower end of the AUC's interval, has no upper end, and says so.

    Parameters
    ----------
    scored : Scored
    channels : "flux", "velocity", "both" or "mask"
    evaluation : Evaluation
        With `d_prime_edges`.
    key : str
        Names the resamples.

    Raises
    ------
    EvaluationError
        `channels` is unknown or a d′ is missing.
    """
    if channels not in D_PRIME_COLUMN:
        raise EvaluationError(f"no ideal observer for channels `{channels}`; known: {', '.join(D_PRIME_COLUMN)}")
    column = D_PRIME_COLUMN[channels]
    if column not in scored.table.column_names:
        return []  # a table made elsewhere, without ideal observers
    ideal = np.asarray(pc.fill_null(pc.cast(scored.values(column), pa.float64()), np.nan))
    if np.isnan(ideal).any():
        raise EvaluationError(f"{scored.name}: column `{column}` lacks {int(np.isnan(ideal).sum())} values; render the stamps again")
    codes, names = bins(ideal, evaluation.d_prime_edges)
    groups = [Group.of(column, ALL, scored.by_score, scored)]
    groups += [Group.of(column, name, np.flatnonzero(codes == i), scored) for i, name in enumerate(names) if np.any(codes == i)]
    draws = draw_clusters(scored, groups, evaluation, (), key)
    return [
        {"column": column, "stratum": group.stratum, **line}
        for group, drawn in zip(groups, draws, strict=True)
        for line in _judge_bin(Judge(scored, group, evaluation, drawn, None, key), ideal[group.positives], ideal[group.negatives])
    ]


def _judge_bin(judge: Judge, of_positives: NDArray, of_negatives: NDArray) -> Iterator[Row]:
    counts = judge.n_positives, judge.n_negatives
    [measured] = judge.auc()
    yield measured
    if not all(counts):
        return
    best_auc, best = ideal_auc(of_positives, of_negatives)
    yield row("ideal_auc", None, *counts, value=best_auc)
    yield row("ideal_d_prime", None, *counts, value=best)
    if not measured["resolved"]:
        yield row("d_prime", None, *counts, note=measured["note"])
        yield row("share", None, *counts, note=measured["note"])
        return
    value, low, high = (float(d_prime(measured[k])) for k in ("value", "low", "high"))
    limit = min(SATURATED, saturation(*counts))
    how, note = {k: measured[k] for k in ("interval", "unit")}, measured["note"]
    if value >= limit:
        # The sample shows no more than its saturation: the lower end is what can be claimed.
        said = join_notes(f"lower limit: above d′ {limit:.1f} the AUC of {min(counts)} stamps per class is saturated", note)
        share = low / best if best > 0 else math.nan
        yield row("d_prime", None, *counts, value=low, low=low, **how, note=said)
        yield row("share", None, *counts, value=share, low=share, **how, note=said)
        return
    # An interval that reaches AUC 0 or 1 has an infinite end in d′: such an end is left open.
    low, high = (v if math.isfinite(v) else math.nan for v in (low, high))
    yield row("d_prime", None, *counts, value=value, low=low, high=high, **how, note=note)
    if best <= 0:
        yield row("share", None, *counts, note="no information in this bin")
        return
    yield row("share", None, *counts, value=value / best, low=low / best, high=high / best, **how, note=note)


def _cells(d: ArrayLike, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return representatives and their shares of the stamps."""
    d = np.asarray(d, np.float64)
    if not len(d):
        raise EvaluationError(f"the ideal observer's AUC needs {name}, found none")
    if not np.all(d >= 0):
        raise EvaluationError(f"d′ of the {name} must be 0 or more, found {int(np.sum(~(d >= 0)))} negative or missing")
    d = np.minimum(d, LARGEST)
    if len(d) <= EXACT:
        return d, np.full(len(d), 1 / len(d))
    wide = np.log(np.maximum(d, WIDE) / WIDE) / RELATIVE_CELL
    _, cell, counts = np.unique(
        np.where(d < WIDE, np.floor(d / CELL), WIDE / CELL + np.floor(wide)), return_inverse=True, return_counts=True
    )
    return np.bincount(cell, weights=d) / counts, counts / len(d)
