"""Two networks on the same stamps: differences of AUC and of TPR at a given FPR, paired.

Every resample draws the same stamps for both networks, so what makes a stamp hard for both cancels. Clusters that there are
enough of (galaxies, hosts, sky regions) are drawn as wholes, too, and widen the interval. DeLong's interval and p-value
stand beside the bootstrap's for the AUC.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..config.experiment import Evaluation, Stratum
from ..core.intervals import delong_difference, percentiles
from ..core.random import stable_hash, stream
from ..core.rates import EvaluationError, auc, rank, tpr_at_fpr
from ..core.resampling import Draws, Resampled, row_weights
from .evaluate import tested
from .information import D_PRIME_COLUMN
from .judging import MIN_PER_CLASS, Row, everything, expected_note, needed_negatives, resolves, row
from .resampled_clusters import DIFFERENCES, STAMP, cluster_rng, enough_clusters, joined, over, resample_together
from .scored import Scored, load_seeds, match, need_both_classes
from .strata import Group, cut_strata
from .tidy import COMMITTEE, TIDY, frame

#: Columns of the comparison: the tidy ones, who is compared, both values, and DeLong's result.
COMPARISON = (
    *TIDY[:2],
    "baseline",
    "detector",
    *TIDY[2:7],
    "baseline_value",
    "detector_value",
    *TIDY[7:],
    "delong_low",
    "delong_high",
    "p_value",
)
PAIRED = "paired bootstrap of both classes"


def compare_networks(
    tables_a: Mapping[tuple[str, object], pa.Table],
    tables_b: Mapping[tuple[str, object], pa.Table],
    evaluation: Evaluation,
    *,
    channels: str = "both",
    tests: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compare network b with baseline a on the same test stamps.

    The committees (mean of the seeds' scores) are compared over all stamps, in every stratum and in every bin of the ideal
    observer's d′; networks of equal seed over all stamps alone, which shows how much of a difference is training luck.

    Parameters
    ----------
    tables_a, tables_b : mapping of (dataset, seed) to score tables
        Score tables of the baseline and of the network, as for `evaluate_network`.
    evaluation : Evaluation
    channels : "flux", "velocity", "both" or "mask"
        Whose d′ makes the bins; left out where the tables have none.
    tests : sequence of str, optional
        Datasets to compare on; by default those with test rows in both.

    Returns
    -------
    DataFrame
        Columns `COMPARISON`; metrics `delta_auc` and `delta_tpr_at_fpr`, b − a, with both values beside.

    Raises
    ------
    EvaluationError
        The networks were not scored on the same stamps, or as `evaluate_network`.
    """
    names = {"baseline": _name(tables_a, "baseline"), "detector": _name(tables_b, "detector")}
    if tests is None:
        in_b = tested(tables_b, None)
        tests = [n for n in tested(tables_a, None) if n in in_b]
        if not tests:
            raise EvaluationError(f"{names['baseline']} and {names['detector']} have no test dataset in common; score both on one")
    parts = []
    for dataset in tests:
        seeds_a, seeds_b = load_seeds(tables_a, dataset, "test"), load_seeds(tables_b, dataset, "test")
        for who, seeds in zip(names.values(), (seeds_a, seeds_b), strict=True):
            if not seeds:
                raise EvaluationError(f"{who} has no scores on the test split of {dataset}; score its test stamps")
        for seed in (s for s in seeds_a if s in seeds_b):
            first = _Pair.of(seeds_a[seed], seeds_b[seed])
            groups = [everything(first.scored)]
            if seed == COMMITTEE:
                groups += cut_strata(first.scored, evaluation.strata)
                groups += _d_prime_bins(first.scored, channels, evaluation)
            rows = _compare(first, groups, evaluation, dataset)
            parts.append(frame(rows, COMPARISON, test_dataset=dataset, seed=seed, **names))
    return pd.concat(parts, ignore_index=True)


class _Pair:
    """Scores of two networks, row by row the same stamps."""

    def __init__(self, scored: Scored, other: NDArray[np.float64]) -> None:
        self.scored, self.scores = scored, (scored.score, other)

    @classmethod
    def of(cls, a: Scored, b: Scored) -> _Pair:
        need_both_classes(a)
        return cls(a, b.score[match(a, b)])


def _compare(pair: _Pair, groups: Sequence[Group], evaluation: Evaluation, key: str) -> Iterator[Row]:
    scored = pair.scored
    judged = [enough_clusters(scored, group, evaluation) for group in groups]
    rng = stream(0, stable_hash(key), "paired bootstrap")
    draws = {STAMP: _draw(pair, groups, range(len(groups)), evaluation, row_weights(scored.label, rng, evaluation.bootstrap))}
    for found in scored.clusters(evaluation.clusters):
        wanted = [i for i, (enough, _) in enumerate(judged) if found in enough]
        weights = found.row_weights(cluster_rng(key, found.column), evaluation.bootstrap)
        draws[found.column] = _draw(pair, groups, wanted, evaluation, weights)
    for i, (group, (_, note)) in enumerate(zip(groups, judged, strict=True)):
        for line in _judge(pair, group, {unit: of_unit[i] for unit, of_unit in draws.items() if i in of_unit}, evaluation):
            if line["resolved"]:
                line["note"] = "; ".join(n for n in (line["note"], note) if n)
            yield {"column": group.column, "stratum": group.stratum, **line}


def _draw(
    pair: _Pair, groups: Sequence[Group], wanted: Sequence[int], evaluation: Evaluation, weights: Iterator[NDArray[np.uint8]]
) -> dict[int, tuple[Draws, Draws]]:
    """Return the resampled rates of both networks for each wanted group, from the same weights."""
    label = pair.scored.label
    prepared = {(i, who): Resampled(score, label, groups[i].rows, evaluation.fprs) for i in wanted for who, score in enumerate(pair.scores)}
    found = resample_together(prepared, weights)
    return {i: (found[i, 0], found[i, 1]) for i in wanted}


def _judge(pair: _Pair, group: Group, draws: Mapping[str, tuple[Draws, Draws]], evaluation: Evaluation) -> Iterator[Row]:
    label = pair.scored.label[group.rows]
    counts = int(label.sum()), int((~label).sum())
    if min(counts) < MIN_PER_CLASS:
        note = f"fewer than {MIN_PER_CLASS} stamps of a class"
        yield _line("delta_auc", None, counts, note=note)
        for f in evaluation.fprs:
            yield _line("delta_tpr_at_fpr", f, counts, needed=needed_negatives(f, evaluation), note=note)
        return
    scores = [score[group.rows] for score in pair.scores]
    a, b = (rank(score, label) for score in scores)
    of_auc = {unit: percentiles(second.auc - first.auc, evaluation.confidence, first.units) for unit, (first, second) in draws.items()}
    [interval] = joined(of_auc, auc(b) - auc(a), DIFFERENCES)
    line = _line("delta_auc", None, counts, auc(a), auc(b), **interval)
    test = delong_difference(scores[0], scores[1], label, evaluation.confidence)
    yield line | {"delong_low": test.low, "delong_high": test.high, "p_value": test.p_value}
    of_tpr = {unit: percentiles(second.tpr - first.tpr, evaluation.confidence, first.units) for unit, (first, second) in draws.items()}
    tpr_a, tpr_b = (tpr_at_fpr(ranked, evaluation.fprs) for ranked in (a, b))
    for f, value_a, value_b, interval in zip(evaluation.fprs, tpr_a, tpr_b, joined(of_tpr, tpr_b - tpr_a, DIFFERENCES), strict=True):
        if resolves(counts[1], f, evaluation):
            yield _line("delta_tpr_at_fpr", f, counts, value_a, value_b, **interval)
        else:
            note = expected_note(counts[1], f, "controls", evaluation)
            yield _line("delta_tpr_at_fpr", f, counts, needed=needed_negatives(f, evaluation), note=note)


def _line(
    metric: str,
    at: float | None,
    counts: tuple[int, int],
    a: float = math.nan,
    b: float = math.nan,
    low=math.nan,
    high=math.nan,
    unit=STAMP,
    needed=None,
    note="",
) -> Row:
    if low == high:
        note = "every resample gave the same difference: the interval says nothing"
    interval = PAIRED if unit == STAMP else over(unit)
    line = row(metric, at, *counts, value=b - a, low=low, high=high, interval=interval, unit=unit, needed=needed, note=note)
    return line | {
        "baseline_value": float(a),
        "detector_value": float(b),
        "delong_low": math.nan,
        "delong_high": math.nan,
        "p_value": math.nan,
    }


def _d_prime_bins(scored: Scored, channels: str, evaluation: Evaluation) -> list[Group]:
    column = D_PRIME_COLUMN[channels]
    if column not in scored.table.column_names or column in evaluation.strata:
        return []
    return list(cut_strata(scored, {column: Stratum(edges=evaluation.d_prime_edges)}))


def _name(tables: Mapping[tuple[str, object], pa.Table], otherwise: str) -> str:
    found = {n for t in tables.values() if "detector" in t.column_names for n in pc.unique(t.column("detector")).to_pylist()}
    if len(found) > 1:
        raise EvaluationError(
            f"score tables of one detector hold several: {', '.join(sorted(map(str, found)))}; give the tables of one detector at a time"
        )
    return str(found.pop()) if found else otherwise
