"""How far a score is a probability: calibration curve, Brier score, expected calibration error; and purity at a prevalence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.intervals import wilson

#: Bins of equal width of the calibration curve and of the expected calibration error.
BINS = 10
CURVE = ("test_dataset", "seed", "kind", "bin_low", "bin_high", "n", "mean_score", "positives", "low", "high")
PURITY = (
    "test_dataset", "seed", "prevalence", "fpr", "recall", "recall_low", "recall_high", "realised_fpr",
    "purity", "low", "high", "note",
)  # fmt: skip


def brier(score: ArrayLike, label: ArrayLike) -> tuple[float, float]:
    """Return the mean squared difference of score and label, and its standard error (Brier 1950, Mon. Weather Rev. 78, 1).

    Parameters
    ----------
    score : (n,) float, 0 to 1
    label : (n,) bool, n ≥ 2
    """
    squared = (np.asarray(score, float) - np.asarray(label, float)) ** 2
    return float(squared.mean()), float(squared.std(ddof=1) / np.sqrt(len(squared)))


def calibration_curve(score: ArrayLike, label: ArrayLike, bins: int = BINS, confidence: float = 0.95) -> pd.DataFrame:
    """Return the share of positives in bins of equal width of the score, with Wilson's interval.

    Parameters
    ----------
    score : (n,) float, 0 to 1
    label : (n,) bool

    Returns
    -------
    DataFrame
        Columns bin_low, bin_high, n, mean_score, positives (their share), low, high; bins without stamps are left out.
    """
    score, label = np.asarray(score, float), np.asarray(label, float)
    number = np.clip((score * bins).astype(np.int64), 0, bins - 1)
    n = np.bincount(number, minlength=bins)
    filled = np.flatnonzero(n)
    total, positives = np.bincount(number, score, bins)[filled], np.bincount(number, label, bins)[filled]
    low, high = wilson(positives, n[filled], confidence)
    return pd.DataFrame(
        {
            "bin_low": filled / bins,
            "bin_high": (filled + 1) / bins,
            "n": n[filled],
            "mean_score": total / n[filled],
            "positives": positives / n[filled],
            "low": low,
            "high": high,
        }
    )


def expected_calibration_error(curve: pd.DataFrame) -> float:
    """Return Σ n_b |mean score − share of positives| / n over the bins of a calibration curve (Naeini et al. 2015, AAAI)."""
    return float(np.average(np.abs(curve["mean_score"] - curve["positives"]), weights=curve["n"]))


def purity(prevalence: ArrayLike, tpr: ArrayLike, fpr: ArrayLike) -> NDArray[np.float64]:
    """Return the share of positives among the stamps that pass (precision) where a share `prevalence` of all is positive.

    π t / (π t + (1 − π) f); NaN where nothing passes.
    """
    right = np.asarray(prevalence, float) * np.asarray(tpr, float)
    wrong = (1 - np.asarray(prevalence, float)) * np.asarray(fpr, float)
    with np.errstate(invalid="ignore"):
        return right / (right + wrong)


def purity_interval(prevalence: float, tpr: tuple[float, float, float], fpr: tuple[float, float, float]) -> tuple[float, float]:
    """Return an interval of the purity from those of a TPR and an FPR that are independent.

    The intervals of both logarithms are joined as squares (MOVER, the method of variance estimates recovery: Zou and
    Donner 2008, Stat. Med. 27, 1693), which keeps each of them where the other one is exact.

    Parameters
    ----------
    prevalence : float
    tpr, fpr : (value, low, high)
        `fpr` above 0. An FPR that is exact has all three equal.
    """
    with np.errstate(divide="ignore"):
        (t, t_low, t_high), (f, f_low, f_high) = np.log(tpr), np.log(fpr)
    if not np.isfinite(t):
        return 0.0, float(purity(prevalence, tpr[2], fpr[1]))
    ratio = t - f
    ends = ratio - np.hypot(t - t_low, f_high - f), ratio + np.hypot(t_high - t, f - f_low)
    return tuple(float(purity(prevalence, np.exp(end), 1.0)) for end in ends)


def purity_table(rates: pd.DataFrame, prevalences: Sequence[float]) -> pd.DataFrame:
    """Return purity and recall at each FPR, for each prevalence.

    From the rates at thresholds fixed on validation where there are any (the realised FPR has its own interval then), else from
    the TPR at an exact FPR. FPRs without a resolved rate are left out, with what they need, as in the rates.

    Parameters
    ----------
    rates : DataFrame
        `rates` of `evaluate_network`.
    prevalences : shares of positives among all objects, in (0, 1)

    Returns
    -------
    DataFrame
        Columns `PURITY`.
    """
    rows = []
    for (dataset, seed), part in rates.groupby(["test_dataset", "seed"], sort=False):
        fixed = (part["metric"] == "realised_fpr").any()
        recalls = part[part["metric"] == ("tpr_at_validation_fpr" if fixed else "tpr_at_fpr")]
        realised = part[part["metric"] == "realised_fpr"].set_index("at")
        for prevalence in prevalences:
            for recall in recalls.to_dict("records"):
                f = recall["at"]
                row = {"test_dataset": dataset, "seed": seed, "prevalence": prevalence, "fpr": f, "note": recall["note"]}
                found = realised.loc[f] if fixed else {"value": f, "low": f, "high": f, "resolved": True, "note": ""}
                if not (recall["resolved"] and found["resolved"]):
                    rows.append(row | {"note": recall["note"] or found["note"]})
                    continue
                row |= {"recall": recall["value"], "recall_low": recall["low"], "recall_high": recall["high"]}
                row |= {"realised_fpr": found["value"]}
                if found["value"] == 0:
                    rows.append(row | {"note": "no control of the test passes: the purity has no estimate"})
                    continue
                low, high = purity_interval(prevalence, _triple(recall), _triple(found))
                rows.append(row | {"purity": float(purity(prevalence, recall["value"], found["value"])), "low": low, "high": high})
    return pd.DataFrame(rows, columns=list(PURITY))


def _triple(row) -> tuple[float, float, float]:
    return float(row["value"]), float(row["low"]), float(row["high"])
