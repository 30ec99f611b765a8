"""Before and after hard controls: the false-positive rate at fixed completeness, round by round, on the same test stamps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa

from ..config.experiment import Evaluation
from ..core.intervals import percentiles
from ..core.rates import EvaluationError, fpr_at_tpr, rank
from ..core.resampling import Resampled
from .judging import everything
from .resampled_clusters import DIFFERENCES, joined, resample_together, units_of
from .scored import Scored, load_seeds, match, need_both_classes

ROUNDS = (
    "test_dataset",
    "seed",
    "round",
    "network",
    "completeness",
    "fpr",
    "low",
    "high",
    "change",
    "change_low",
    "change_high",
    "unit",
    "n_positives",
    "n_negatives",
    "note",
)


def compare_rounds(
    rounds: Sequence[tuple[str, Mapping[tuple[str, object], pa.Table]]], evaluation: Evaluation, tests: Sequence[str]
) -> pd.DataFrame:
    """Return the FPR at each completeness of every round, and its change since the first.

    The threshold of each completeness comes from the test positives themselves, so every interval is from a bootstrap
    of both classes, by stamp and by each kind of clusters that there are enough of, put together; that of the rate
    is named in `unit`. A resample draws the same stamps for all rounds, and the change is paired. Each seed stands alone, and
    their committee (mean score) last. A rate that fewer than `min_expected_fp` false positives speak for is
    given with a note.

    Parameters
    ----------
    rounds : name and score tables by (dataset, seed) of each round, the first one first
    evaluation : `tprs`, `bootstrap`, `clusters`, `min_clusters` and `confidence`
    tests : datasets whose test split was scored

    Returns
    -------
    DataFrame
        Columns `ROUNDS`.

    Raises
    ------
    EvaluationError
        The rounds were not scored on the same stamps, or there are none.
    """
    rows = []
    for dataset in tests:
        by_round = [(name, load_seeds(tables, dataset, "test")) for name, tables in rounds]
        missing = [name for name, seeds in by_round if not seeds]
        if missing:
            raise EvaluationError(f"{', '.join(missing)}: no scores on the test split of {dataset}; score its test stamps")
        for seed, first in by_round[0][1].items():
            need_both_classes(first)
            ordered = [(name, seeds[seed].score[match(first, seeds[seed])]) for name, seeds in by_round if seed in seeds]
            place = {"test_dataset": dataset, "seed": seed}
            rows += [place | row for row in _judge(ordered, first, evaluation, f"{dataset} {seed}")]
    return pd.DataFrame(rows, columns=ROUNDS)


def _judge(ordered: Sequence[tuple[str, object]], scored: Scored, evaluation: Evaluation, key: str) -> list[dict]:
    label = scored.label
    all_rows = pd.RangeIndex(len(label)).to_numpy()
    prepared = {k: Resampled(score, label, all_rows, (), evaluation.tprs) for k, (_, score) in enumerate(ordered)}
    weights, few = units_of(scored, everything(scored), evaluation, key, "rounds bootstrap")
    draws = {unit: resample_together(prepared, chunks) for unit, chunks in weights.items()}
    ranked = [rank(score, label) for _, score in ordered]
    values = [fpr_at_tpr(r, evaluation.tprs) for r in ranked]
    rows = []
    for k, (name, _) in enumerate(ordered):
        own = {unit: percentiles(d[k].fpr, evaluation.confidence, d[k].units) for unit, d in draws.items()}
        change = {unit: percentiles(d[k].fpr - d[0].fpr, evaluation.confidence, d[k].units) for unit, d in draws.items()}
        rates, changes = joined(own, values[k]), joined(change, values[k] - values[0], DIFFERENCES)
        n_positives, n_negatives = len(ranked[k].positives), len(ranked[k].negatives)
        for i, completeness in enumerate(evaluation.tprs):
            passed = values[k][i] * n_negatives
            notes = [f"{round(passed)} false positives: too few for a rate"] if passed < evaluation.min_expected_fp else []
            rows.append(
                {
                    "round": k + 1,
                    "network": name,
                    "completeness": completeness,
                    "fpr": float(values[k][i]),
                    "low": rates[i]["low"],
                    "high": rates[i]["high"],
                    "change": float(values[k][i] - values[0][i]) if k else math.nan,
                    "change_low": changes[i]["low"] if k else math.nan,
                    "change_high": changes[i]["high"] if k else math.nan,
                    "unit": rates[i]["unit"],
                    "n_positives": n_positives,
                    "n_negatives": n_negatives,
                    "note": "; ".join([*notes, few] if few else notes),
                }
            )
    return rows
