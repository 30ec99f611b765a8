"""Everything that one network's scores say: rates, strata, ROC, and the share of the information it uses.

All tables are tidy and have the same first columns:

- `test_dataset`; `seed`: a training seed, or `committee`, the mean of the seeds' scores per stamp (of one seed, that seed);
- `column`, `stratum`: what the stamps were cut by, `all` for none;
- `metric`, `at`: `auc`; `accuracy` at even odds; `tpr_at_fpr` and `fpr_at_tpr` (threshold from the group's own
  stamps, both classes resampled); `threshold`, `tpr_at_validation_fpr` and `realised_fpr` (threshold fixed on
  validation, applied to test); `tpr_at_global_fpr` (threshold from all test controls, where there is no validation);
- `tpr_at_false_positives` (threshold that so many of the controls pass); `brier` and `ece`, of scores between 0 and 1;
- `value`, `low`, `high`, `resolved`; an unresolved rate has none of the three, and says in `negatives_needed` how many
  controls it takes (of the stratum, or of validation where the threshold itself cannot be fixed);
- `n_positives`, `n_negatives`, `interval` (the method), `unit` (what it resampled, or takes as independent: `stamp`, or the
  columns of clusters that widen the interval, with + between several), `note`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..config.experiment import Evaluation
from ..core.rates import EvaluationError, rank, roc, thin
from .calibration import CURVE, calibration_curve, purity_table
from .information import judge_information
from .judging import Cuts, Judge, Row, everything
from .lens_rates import CONTAMINANTS, judge_resolved, rate_contaminants
from .resampled_clusters import draw_clusters
from .scored import Scored, has_split, load_seeds, need_both_classes
from .strata import Group, cut_pairs, cut_strata
from .tidy import COMMITTEE, frame

TABLES = ("rates", "strata", "roc", "information", "calibration", "resolved", "contaminants")
ROC = ("test_dataset", "seed", "fpr", "tpr", "threshold")


def evaluate_network(
    tables: Mapping[tuple[str, object], pa.Table],
    evaluation: Evaluation,
    *,
    channels: str = "both",
    validation: str | None = None,
    tests: Sequence[str] | None = None,
) -> dict[str, pd.DataFrame]:
    """Evaluate one network on the test split of each dataset.

    Parameters
    ----------
    tables : mapping of (dataset, seed) to score tables
        Rows of splits `validation` and `test`; other rows are ignored, and a table without `split` is all test.
    evaluation : Evaluation
    channels : "flux", "velocity", "both", "mask" or "bands"
        What the network sees: decides which ideal observer stands beside it; `bands` have none, but rates of resolved lenses and of
        contaminants.
    validation : str, optional
        Dataset whose validation rows fix the thresholds for every test dataset, as a network is used in practice.
        By default, or where it has none, each dataset's own validation rows do.
    tests : sequence of str, optional
        Datasets to evaluate; by default all that have test rows.

    Returns
    -------
    dict of str to DataFrame
        `rates`, `strata`, `information`, `resolved` (columns `TIDY`), `contaminants` (module lens_rates), `roc` (columns `ROC`), `calibration` and `purity` (columns `CURVE` and
        `PURITY` of module calibration).

    Raises
    ------
    EvaluationError
        No test rows; ids that repeat or differ between seeds; labels other than 0 and 1; scores that are not finite; a
        single class; a stratum's column that is missing.
    """
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    datasets = tested(tables, tests)
    if not datasets:
        raise EvaluationError("no table of scores holds a row of the test split; score the test stamps first")
    for dataset in datasets:
        by_seed = load_seeds(tables, dataset, "test")
        if not by_seed:
            raise EvaluationError(f"scores of {dataset} hold no row of the test split; score its test stamps")
        fixing = _fixing(tables, dataset, validation)
        if fixing and set(fixing) != set(by_seed):
            raise EvaluationError(
                f"{dataset} is scored on test with seeds {', '.join(by_seed)}, but on validation with {', '.join(fixing)}; score both with the same networks"
            )
        judged = _judge_seeds(by_seed, fixing, evaluation, channels, dataset)
        for name, parts in judged.items():
            frames[name] += parts
    joined = {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()}
    joined["roc"], joined["calibration"] = joined["roc"][list(ROC)], joined["calibration"][list(CURVE)]
    joined["purity"] = purity_table(joined["rates"], evaluation.prevalences)
    return joined


def tested(tables: Mapping[tuple[str, object], pa.Table], tests: Sequence[str] | None) -> list[str]:
    """Return the datasets to judge: those named, or all with test rows."""
    names = list(dict.fromkeys(name for name, _ in tables))
    if tests is None:
        return [n for n in names if any(has_split(table, "test") for (name, _), table in tables.items() if name == n)]
    unknown = [n for n in tests if n not in names]
    if unknown:
        raise EvaluationError(f"no scores of {', '.join(unknown)}; there are tables of: {', '.join(names) or 'nothing'}")
    return list(tests)


def _judge_seeds(
    by_seed: Mapping[str, Scored], fixing: Mapping[str, Scored], evaluation: Evaluation, channels: str, dataset: str
) -> dict[str, list[pd.DataFrame]]:
    """Return the tables of every seed of one dataset, and of their committee."""
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    alone = len(by_seed) == 2
    for seed, scored in by_seed.items():
        if alone and seed == COMMITTEE:
            for parts in frames.values():
                parts += [part.assign(seed=COMMITTEE) for part in parts[:1]]
            break
        need_both_classes(scored)
        cuts = Cuts.fixed_on(fixing[seed], evaluation.fprs) if seed in fixing else None
        place, key = {"test_dataset": dataset, "seed": seed}, f"{dataset}\x1f{seed}"
        frames["rates"].append(frame(_overall(scored, evaluation, cuts, key, dataset), **place))
        frames["strata"].append(frame(_by_stratum(scored, evaluation, cuts, key, dataset), **place))
        frames["roc"].append(_curve(scored).assign(**place))
        frames["calibration"].append(_calibration(scored, seed, evaluation).assign(**place))
        frames["information"].append(frame(judge_information(scored, channels, evaluation, dataset), **place))
    found = {"resolved": frame([]), "contaminants": pd.DataFrame(columns=list(CONTAMINANTS))}
    if channels == "bands":
        scored = by_seed[COMMITTEE]
        cuts = Cuts.fixed_on(fixing[COMMITTEE], evaluation.fprs) if fixing else None
        found = {
            "resolved": judge_resolved(scored, cuts, evaluation, dataset),
            "contaminants": rate_contaminants(scored, cuts, evaluation, dataset),
        }
    for name, table in found.items():
        frames[name].append(table)
    return frames


def _fixing(tables: Mapping[tuple[str, object], pa.Table], dataset: str, validation: str | None) -> dict[str, Scored]:
    """Return the validation stamps that fix thresholds, by seed."""
    fixing = load_seeds(tables, validation, "validation") if validation is not None else {}
    fixing = fixing or load_seeds(tables, dataset, "validation")
    for scored in fixing.values():
        if scored.label.all():
            raise EvaluationError(f"{scored.name}: there are no controls, which thresholds are fixed on")
    return fixing


def _overall(scored: Scored, evaluation: Evaluation, cuts: Cuts | None, key: str, resamples: str) -> Iterator[Row]:
    group = everything(scored)
    [draws] = draw_clusters(scored, [group], evaluation, _values(cuts), resamples)
    judge = Judge(scored, group, evaluation, draws, cuts, key)
    parts = [judge.auc(), judge.accuracy(), judge.tpr_at_fpr(), judge.fpr_at_tpr(), judge.tpr_at_false_positives(), judge.calibration()]
    if cuts is not None:
        parts += [judge.thresholds(), judge.tpr_at_validation_fpr(), judge.realised_fpr()]
    return _placed(group, parts)


def _by_stratum(scored: Scored, evaluation: Evaluation, cuts: Cuts | None, key: str, resamples: str) -> Iterator[Row]:
    cuttings = [partial(cut_strata, scored, {name: how}) for name, how in evaluation.strata.items()]
    cuttings += [partial(cut_pairs, scored, [pair], evaluation.strata) for pair in evaluation.pairs]
    for cut in cuttings:  # one column in memory at a time
        column = list(cut())
        against_all = [g.against_all(scored) for g in column if cuts is None and not (g.of_positives or g.of_controls)]
        draws = draw_clusters(scored, [*column, *against_all], evaluation, _values(cuts), resamples)
        everywhere = iter(zip(against_all, draws[len(column) :], strict=True))
        for group, drawn in zip(column, draws, strict=False):
            judge = Judge(scored, group, evaluation, drawn, cuts, key)
            parts = [judge.auc(), judge.tpr_at_fpr(), judge.fpr_at_tpr()]
            shared = not (group.of_positives or group.of_controls)
            if shared:
                parts.append(judge.accuracy())
            if cuts is not None:
                parts.append([] if group.of_controls else judge.tpr_at_validation_fpr())
                parts.append([] if group.of_positives else judge.realised_fpr())
            elif shared:
                wider, wider_drawn = next(everywhere)
                parts.append(Judge(scored, wider, evaluation, wider_drawn, None, key).tpr_at_fpr("tpr_at_global_fpr"))
            yield from _placed(group, parts)


def _values(cuts: Cuts | None) -> Sequence[float]:
    return () if cuts is None else cuts.values


def _placed(group: Group, parts: Sequence[Sequence[Row]]) -> Iterator[Row]:
    for part in parts:
        for row in part:
            yield {"column": group.column, "stratum": group.stratum, **row}


def _calibration(scored: Scored, seed: str, evaluation: Evaluation) -> pd.DataFrame:
    """Return the calibration curve of the score, and of the score after calibration where a seed's table has it."""
    kinds = {"score": scored.score}
    if seed != COMMITTEE and "calibrated" in scored.table.column_names:
        kinds["calibrated"] = np.asarray(pc.cast(scored.values("calibrated"), pa.float64()))
    parts = [
        calibration_curve(values, scored.label, confidence=evaluation.confidence).assign(kind=kind)
        for kind, values in kinds.items()
        if values.min() >= 0 and values.max() <= 1
    ]
    return pd.concat(parts) if parts else pd.DataFrame(columns=list(CURVE))


def _curve(scored: Scored) -> pd.DataFrame:
    curve = thin(roc(rank(scored.score, scored.label)))
    return pd.DataFrame({"fpr": curve.fpr, "tpr": curve.tpr, "threshold": curve.threshold})
