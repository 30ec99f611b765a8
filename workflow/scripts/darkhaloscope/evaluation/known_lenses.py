"""Recall of known lenses at thresholds that were fixed on validation stamps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..config.experiment import Evaluation
from ..core.intervals import wilson
from .judging import Cuts, needed_negatives, resolves
from .scored import Scored
from .strata import bins
from .tidy import COMMITTEE

RECALL = ("seed", "fpr", "threshold", "resolved", "stratum", "value", "n", "found", "recall", "low", "high", "note")

#: Bins of the Einstein radius where the evaluation's strata give no other ones [arcsec].
THETA_EDGES = (0.5, 1.0, 1.5, 2.0, 3.0)


def recall_known_lenses(
    lenses: pd.DataFrame, scores: Mapping[str, NDArray], validation: Mapping[str, Scored], evaluation: Evaluation
) -> pd.DataFrame:
    """Return the share of known lenses above each threshold, over all, by Einstein radius and by grade.

    The threshold of an FPR is that of the validation controls, fixed before any lens is looked at, so that Wilson's
    interval holds. Lenses without a usable cutout are no part of any rate: they are counted in a row of their own
    (stratum `not scored`).

    Parameters
    ----------
    lenses : one row per lens: theta_e_arcsec (NaN where unknown), grade (empty where unknown)
    scores : (n,) by seed, NaN where a lens has no usable cutout
    validation : validation stamps by seed, and their committee last
    evaluation : `fprs`, `confidence`, `min_expected_fp`, and the edges of the stratum `theta_e_arcsec`

    Returns
    -------
    DataFrame
        Columns `RECALL`; a threshold that validation does not resolve gives no recall, and says what it would need.
    """
    members = {**scores, COMMITTEE: np.mean(list(scores.values()), axis=0)}
    rows = []
    for seed, score in members.items():
        fixed = validation[seed]
        cuts = Cuts.fixed_on(fixed, evaluation.fprs)
        for fpr, cut in zip(evaluation.fprs, cuts.values, strict=True):
            resolved = resolves(cuts.n_negatives, fpr, evaluation)
            place = {"seed": seed, "fpr": fpr, "threshold": float(cut) if resolved else np.nan, "resolved": resolved}
            note = "" if resolved else f"needs {needed_negatives(fpr, evaluation)} validation controls, there are {cuts.n_negatives}"
            rows += [place | row | {"note": note} for row in _strata(lenses, score, cut if resolved else None, evaluation)]
    return pd.DataFrame(rows, columns=RECALL)


def _strata(lenses: pd.DataFrame, score: NDArray, cut: float | None, evaluation: Evaluation) -> Iterator[dict]:
    scored = np.isfinite(score)
    yield _row("all", "all", scored, score, cut, evaluation)
    for value, inside in _groups(lenses, evaluation):
        if (inside[1] & scored).any():
            yield _row(inside[0], value, inside[1] & scored, score, cut, evaluation)
    yield {"stratum": "not scored", "value": "no usable cutout", "n": int((~scored).sum()), "found": 0}


def _groups(lenses: pd.DataFrame, evaluation: Evaluation) -> Iterator[tuple[str, tuple[str, NDArray]]]:
    how = evaluation.strata.get("theta_e_arcsec")
    edges: Sequence[float] = how.edges if how is not None and how.edges else THETA_EDGES
    theta = lenses["theta_e_arcsec"].to_numpy(float)
    codes, names = bins(theta, edges)
    for i, name in enumerate(names):
        yield name, ("theta_e_arcsec", codes == i)
    yield "unknown", ("theta_e_arcsec", np.isnan(theta))
    grades = lenses["grade"].fillna("").to_numpy(str)
    for grade in sorted(set(grades)):
        yield grade or "unknown", ("grade", grades == grade)


def _row(stratum: str, value: str, rows: NDArray, score: NDArray, cut: float | None, evaluation: Evaluation) -> dict:
    n = int(rows.sum())
    row = {"stratum": stratum, "value": value, "n": n}
    if cut is None or n == 0:
        return row
    found = int((score[rows] > cut).sum())
    low, high = wilson(found, n, evaluation.confidence)
    return row | {"found": found, "recall": found / n, "low": float(low), "high": float(high)}
