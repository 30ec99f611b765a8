"""Before and after hard controls: the false-positive rate at fixed completeness, round by round, on the same test stamps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa

from ..config.experiment import Evaluation
from ..random import stable_hash, stream
from .intervals import percentiles
from .rates import EvaluationError, fpr_at_tpr, rank
from .resampling import Draws, Resampled, row_weights
from .scored import load_seeds, match, need_both_classes

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
    "n_positives",
    "n_negatives",
    "note",
)


def compare_rounds(
    rounds: Sequence[tuple[str, Mapping[tuple[str, object], pa.Table]]], evaluation: Evaluation, tests: Sequence[str]
) -> pd.DataFrame:
    """Return the FPR at each completeness of every round, and its change since the first.

    The threshold of each completeness comes from the test positives themselves, so every interval is from a bootstrap
    of both classes; a resample draws the same stamps for all rounds, and the change is paired. Each seed stands
    alone, and their committee (mean score) last. A rate that fewer than `min_expected_fp` false positives speak for is
    given with a note.

    Parameters
    ----------
    rounds : name and score tables by (dataset, seed) of each round, the first one first
    evaluation : `tprs`, `bootstrap` and `confidence`
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
            rows += [place | row for row in _judge(ordered, first.label, evaluation, f"{dataset} {seed}")]
    return pd.DataFrame(rows, columns=ROUNDS)


def _judge(ordered: Sequence[tuple[str, object]], label, evaluation: Evaluation, key: str) -> list[dict]:
    all_rows = pd.RangeIndex(len(label)).to_numpy()
    prepared = [Resampled(score, label, all_rows, (), evaluation.tprs) for _, score in ordered]
    weights = row_weights(label, stream(0, stable_hash(key), "rounds bootstrap"), evaluation.bootstrap)
    parts: list[list[Draws]] = [[] for _ in prepared]
    for chunk in weights:
        for part, one in zip(parts, prepared, strict=True):
            part.append(one.rates(chunk))
    draws = [Draws.join(p).fpr for p in parts]
    ranked = [rank(score, label) for _, score in ordered]
    values = [fpr_at_tpr(r, evaluation.tprs) for r in ranked]
    rows = []
    for k, (name, _) in enumerate(ordered):
        low, high = percentiles(draws[k], evaluation.confidence)
        change_low, change_high = percentiles(draws[k] - draws[0], evaluation.confidence)
        n_positives, n_negatives = len(ranked[k].positives), len(ranked[k].negatives)
        for i, completeness in enumerate(evaluation.tprs):
            few = values[k][i] * n_negatives < evaluation.min_expected_fp
            rows.append(
                {
                    "round": k + 1,
                    "network": name,
                    "completeness": completeness,
                    "fpr": float(values[k][i]),
                    "low": float(low[i]),
                    "high": float(high[i]),
                    "change": float(values[k][i] - values[0][i]) if k else math.nan,
                    "change_low": float(change_low[i]) if k else math.nan,
                    "change_high": float(change_high[i]) if k else math.nan,
                    "n_positives": n_positives,
                    "n_negatives": n_negatives,
                    "note": f"{round(values[k][i] * n_negatives)} false positives: too few for a rate" if few else "",
                }
            )
    return rows
