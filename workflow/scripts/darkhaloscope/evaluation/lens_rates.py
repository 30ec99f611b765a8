"""Rates that only the lens finder has: on resolved lenses, for the project's criterion, and by class of contaminant.

They are made at the score that is quoted: the committee's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..config.experiment import CRITERION_TPR, RESOLVED, Evaluation, Stratum
from ..core.intervals import clopper_pearson, exact_fpr_at_tpr_interval, wilson
from ..core.rates import ROUNDING
from .judging import Cuts, Judge, resolves
from .resampled_clusters import STAMP, draw_clusters
from .scored import Scored
from .strata import cut_strata
from .tidy import COMMITTEE, frame

CONTAMINANTS = ("test_dataset", "contaminant_class", "at", "threshold", "n_negatives", "passed", "fpr", "low", "high")
#: What a control is called that belongs to no class of contaminants.
PLAIN = "none known"


def judge_resolved(scored: Scored, cuts: Cuts | None, evaluation: Evaluation, test: str) -> pd.DataFrame:
    """Return rates of the resolved lenses against all controls; empty where no stamp says θ_E/PSF.

    Parameters
    ----------
    scored : test stamps, at the score that is quoted: the committee's
    cuts : thresholds that validation fixes, if there is any
    evaluation : Evaluation
    test : name of their dataset

    Returns
    -------
    DataFrame
        Tidy rows of the stratum `θ_E/PSF ≥ 0.5`, metrics `tpr_at_fpr`, `tpr_at_validation_fpr`, and
        `criterion`: the FPR at the criterion's completeness. Its interval is the bootstrap's, or, where few controls pass,
        Clopper and Pearson's about their number and the bootstrap's together, since that holds the threshold; of few lenses
        `exact_fpr_at_tpr_interval`. It is never without one, as other rates may be.
    """
    if "theta_over_psf" not in scored.table.column_names:
        return frame([])
    groups = list(cut_strata(scored, {"resolved": Stratum()}))
    if not groups or groups[-1].stratum != f"θ_E/PSF ≥ {RESOLVED:g}":
        return frame([])
    group = replace(groups[-1], column="theta_over_psf")
    evaluation = evaluation.model_copy(update={"tprs": (CRITERION_TPR,)})
    [clustered] = draw_clusters(scored, [group], evaluation, () if cuts is None else cuts.values, test)
    judge = Judge(scored, group, evaluation, clustered, cuts, f"{test}\x1f{COMMITTEE}")
    rows = [*judge.tpr_at_fpr(), *(judge.tpr_at_validation_fpr() if cuts is not None else []), *_criterion(judge, evaluation)]
    place = {"test_dataset": test, "seed": COMMITTEE, "column": group.column, "stratum": group.stratum}
    return frame([place | row for row in rows])


def rate_contaminants(scored: Scored, cuts: Cuts | None, evaluation: Evaluation, test: str) -> pd.DataFrame:
    """Return how many controls of each class pass the thresholds that validation fixes, with Wilson's interval.

    The threshold is fixed beforehand and every count is given, so that the interval holds for small classes too. Controls of
    no class are `PLAIN`. Empty where no stamp names a class, or no threshold is resolved.

    Returns
    -------
    DataFrame
        Columns `CONTAMINANTS`; at each FPR classes by the share that passes, highest first.
    """
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
            rows.append((test, kind, fpr, float(cut), n, passed, passed / n, *wilson(passed, n, evaluation.confidence)))
    if not rows:
        return empty
    return pd.DataFrame(rows, columns=list(CONTAMINANTS)).sort_values(
        ["at", "fpr", "contaminant_class"], ascending=[False, False, True], ignore_index=True
    )


def _criterion(judge: Judge, evaluation: Evaluation) -> list[dict]:
    [row] = judge.fpr_at_tpr()  # at the criterion's completeness alone
    if not row["resolved"]:
        [(value, resampled)] = judge.fprs_resampled()
        passed = round(value * judge.n_negatives)
        if judge.n_positives * (1 - CRITERION_TPR) + ROUNDING < evaluation.min_expected_fp:
            # Too few for a bootstrap, which cannot put the threshold where no positive is.
            low, high = exact_fpr_at_tpr_interval(judge.ranked, CRITERION_TPR, evaluation.confidence)
            what = f"{judge.n_positives} lenses leave open where the threshold is: the interval takes in all places that it may be at"
        else:
            fixed = clopper_pearson(passed, judge.n_negatives, evaluation.confidence)
            low, high = min(float(fixed[0]), resampled["low"]), max(float(fixed[1]), resampled["high"])
            what = "the interval is widened to the bootstrap's, in which the threshold has its own noise"
        row |= {
            "value": value,
            "low": low,
            "high": high,
            "resolved": True,
            "interval": "Clopper–Pearson",
            "unit": STAMP,
            "note": f"{passed} of {judge.n_negatives} controls pass; {what}",
        }
    return [row | {"metric": "criterion"}]
