"""Rates that only the lens finder has: on resolved lenses, for the project's criterion, and by class of contaminant.

They are made from score tables as `evaluate_network` takes them, at the seed that is quoted: the committee.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..config.experiment import Evaluation
from ..core.intervals import clopper_pearson, wilson
from ..core.rates import fpr_at_tpr
from .evaluate import frame
from .judging import Cuts, Judge, resolves
from .resampled_clusters import STAMP, draw_clusters
from .scored import COMMITTEE, Scored, load_seeds
from .strata import Group

#: A lens is resolved where its Einstein radius is at least this many FWHM of the PSF.
RESOLVED = 0.5
#: The project's criterion: at most this FPR, at this completeness on resolved lenses.
CRITERION_FPR, CRITERION_TPR = 1e-3, 0.8
CONTAMINANTS = ("contaminant_class", "at", "threshold", "n_negatives", "passed", "fpr", "low", "high")
#: What a control is called that belongs to no class of contaminants.
PLAIN = "none known"

Tables = Mapping[tuple[str, object], pa.Table]


def judge_resolved(tables: Tables, evaluation: Evaluation, *, training: str, test: str) -> pd.DataFrame:
    """Return rates of the resolved lenses against all controls; empty where no stamp says θ_E/PSF.

    Parameters
    ----------
    tables : mapping of (dataset, seed) to score tables
    evaluation : Evaluation
    training, test : datasets whose validation rows fix the thresholds, and whose test rows are judged

    Returns
    -------
    DataFrame
        Columns as in `evaluate`, stratum `θ_E/PSF ≥ 0.5`, metrics `tpr_at_fpr`, `tpr_at_validation_fpr`, and
        `criterion`: the FPR at the criterion's completeness. Its interval is the bootstrap's, or, where few controls pass,
        Clopper and Pearson's about their number with the threshold held; unlike other rates it is so never without one.
    """
    scored, cuts = _committee(tables, evaluation, training, test)
    if "theta_over_psf" not in scored.table.column_names:
        return frame([])
    ratio = np.asarray(pc.fill_null(pc.cast(scored.values("theta_over_psf"), pa.float64()), np.nan))
    positives = np.flatnonzero(scored.label & (ratio >= RESOLVED))
    if not len(positives):
        return frame([])
    group = Group("theta_over_psf", f"θ_E/PSF ≥ {RESOLVED:g}", positives, scored.controls, True)
    evaluation = evaluation.model_copy(update={"tprs": (CRITERION_TPR,)})
    [clustered] = draw_clusters(scored, [group], evaluation, () if cuts is None else cuts.values, test)
    judge = Judge(scored, group, evaluation, clustered, cuts, f"{test}\x1f{COMMITTEE}")
    rows = [*judge.tpr_at_fpr(), *(judge.tpr_at_validation_fpr() if cuts is not None else []), *_criterion(judge, evaluation)]
    place = {"test_dataset": test, "seed": COMMITTEE, "column": group.column, "stratum": group.stratum}
    return frame([place | row for row in rows])


def rate_contaminants(tables: Tables, evaluation: Evaluation, *, training: str, test: str) -> pd.DataFrame:
    """Return how many controls of each class pass the thresholds that validation fixes, with Wilson's interval.

    The threshold is fixed beforehand and every count is given, so that the interval holds for small classes too. Controls of
    no class are `PLAIN`. Empty where no stamp names a class, or no threshold is resolved.

    Returns
    -------
    DataFrame
        Columns `CONTAMINANTS`; classes by the share that passes, highest first.
    """
    scored, cuts = _committee(tables, evaluation, training, test)
    empty = pd.DataFrame(columns=list(CONTAMINANTS))
    if cuts is None or "contaminant_class" not in scored.table.column_names:
        return empty
    controls = np.flatnonzero(~scored.label)
    names = scored.values("contaminant_class").take(pa.array(controls))
    if names.null_count == len(names):
        return empty
    kinds, score = np.asarray(pc.fill_null(names, PLAIN).to_pylist(), object), scored.score[controls]
    rows = []
    for fpr, cut in zip(evaluation.fprs, cuts.values, strict=True):
        if not resolves(cuts.n_negatives, fpr, evaluation):
            continue
        for kind in sorted(set(kinds)):
            passed, n = int((score[kinds == kind] > cut).sum()), int((kinds == kind).sum())
            rows.append((kind, fpr, float(cut), n, passed, passed / n, *wilson(passed, n, evaluation.confidence)))
    if not rows:
        return empty
    return pd.DataFrame(rows, columns=list(CONTAMINANTS)).sort_values(
        ["at", "fpr", "contaminant_class"], ascending=[False, False, True], ignore_index=True
    )


def _committee(tables: Tables, evaluation: Evaluation, training: str, test: str) -> tuple[Scored, Cuts | None]:
    """Return the test stamps with the committee's score, and the thresholds that its validation stamps fix."""
    fixing = load_seeds(tables, training, "validation") or load_seeds(tables, test, "validation")
    cuts = Cuts.fixed_on(fixing[COMMITTEE], evaluation.fprs) if fixing else None
    return load_seeds(tables, test, "test")[COMMITTEE], cuts


def _criterion(judge: Judge, evaluation: Evaluation) -> list[dict]:
    [row] = judge.fpr_at_tpr()
    if not row["resolved"]:
        value = float(fpr_at_tpr(judge.ranked, (CRITERION_TPR,))[0])
        passed = round(value * judge.n_negatives)
        low, high = clopper_pearson(passed, judge.n_negatives, evaluation.confidence)
        note = f"{passed} of {judge.n_negatives} controls pass; the interval holds the threshold fixed"
        row |= {
            "value": value,
            "low": float(low),
            "high": float(high),
            "resolved": True,
            "interval": "Clopper–Pearson",
            "unit": STAMP,
            "note": note,
        }
    return [row | {"metric": "criterion"}]
