"""The rates of one group of stamps as tidy rows: value, interval, counts, whether resolved, and what to know.

A rate at FPR f is resolved where controls × f reaches `min_expected_fp`; below, value and interval are empty
and the number of controls needed stands in their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ..config.experiment import Evaluation
from ..core.intervals import clopper_pearson, delong_interval, edge_widened, fpr_at_tpr_interval, percentiles, tpr_at_fpr_interval, wilson
from ..core.random import stable_hash, stream
from ..core.rates import ROUNDING, Ranked, accuracy, auc, cuts_at_fpr, fpr_at_tpr, share_above, tpr_at_fpr
from ..core.resampling import Draws
from .calibration import brier, calibration_curve, expected_calibration_error
from .resampled_clusters import STAMP, Clustered, joined, over
from .scored import Scored
from .strata import Group
from .tidy import ALL

#: Fewer stamps of a class than this give no area under the curve.
MIN_PER_CLASS = 10
#: Decision threshold of the accuracy: a score is the probability of being a positive.
EVEN_ODDS = 0.5
BOTH_CLASSES = "bootstrap of both classes"

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Cuts:
    """Thresholds fixed on validation, one for each FPR; a stamp passes above.

    Attributes
    ----------
    origin : str
        Where the validation stamps come from, for notes.
    values : (m,) float
    n_negatives : int
        Validation controls that they rest on.
    """

    origin: str
    values: NDArray[np.float64]
    n_negatives: int

    @classmethod
    def fixed_on(cls, validation: Scored, fprs: Sequence[float]) -> Cuts:
        """Return the thresholds whose FPR on the validation stamps is at most each requested one."""
        negatives = np.sort(validation.score[~validation.label])
        return cls(validation.name, cuts_at_fpr(negatives, fprs), len(negatives))


def row(
    metric: str,
    at: float | None,
    n_positives: int,
    n_negatives: int,
    *,
    value=math.nan,
    low=math.nan,
    high=math.nan,
    interval="",
    unit=STAMP,
    needed=None,
    note="",
) -> Row:
    """Return one tidy row; a rate without a value is unresolved, one without an interval has no unit."""
    return {
        "metric": metric,
        "at": math.nan if at is None else at,
        "value": float(value),
        "low": float(low),
        "high": float(high),
        "resolved": not math.isnan(value),
        "n_positives": int(n_positives),
        "n_negatives": int(n_negatives),
        "negatives_needed": needed,
        "interval": interval if not math.isnan(low) else "",
        "unit": unit if not math.isnan(low) else "",
        "note": note,
    }


def everything(scored: Scored) -> Group:
    """Return all stamps as one group."""
    return Group.of(ALL, ALL, scored.by_score, scored)


def resolves(n_negatives: int, fpr: float, evaluation: Evaluation) -> bool:
    """Say whether so many controls are enough for a rate at this FPR."""
    return n_negatives * fpr + ROUNDING >= evaluation.min_expected_fp


def needed_negatives(fpr: float, evaluation: Evaluation) -> int:
    """Return the number of controls that a rate at this FPR takes."""
    return math.ceil(evaluation.min_expected_fp / fpr - ROUNDING)


def expected_note(n_negatives: int, fpr: float, of: str, evaluation: Evaluation) -> str:
    """Say why a rate at this FPR is not resolved."""
    needed = needed_negatives(fpr, evaluation)
    return f"{n_negatives} {of} give {n_negatives * fpr:.2g} expected false positives at FPR {fpr:g}; {needed} {of} needed"


class Judge:
    """Makes the rows of one group.

    Parameters
    ----------
    scored : Scored
    group : Group
    evaluation : Evaluation
    clustered : Clustered
        The bootstrap over each kind of clusters that there are enough of.
    cuts : Cuts or None
        Thresholds from validation.
    key : str
        Names the random numbers of this group.
    """

    def __init__(self, scored: Scored, group: Group, evaluation: Evaluation, clustered: Clustered, cuts: Cuts | None, key: str) -> None:
        # Rows of a stratum are in order of score: a stable sort takes them in one pass. All controls were sorted before.
        controls = scored.control_scores if group.of_positives else np.sort(scored.score[group.negatives], kind="stable")
        self.ranked = Ranked(np.sort(scored.score[group.positives], kind="stable"), controls)
        self.n_positives, self.n_negatives = len(self.ranked.positives), len(self.ranked.negatives)
        self.evaluation, self.draws, self.cuts = evaluation, clustered.draws, cuts
        self.note = clustered.note
        self._key = f"{key}\x1f{group.column}\x1f{group.stratum}"

    def auc(self) -> list[Row]:
        """Area under the ROC, with DeLong's interval or that of bootstraps over clusters, whichever is wider."""
        if min(self.n_positives, self.n_negatives) < MIN_PER_CLASS:
            return [self._row("auc", None, note=f"fewer than {MIN_PER_CLASS} stamps of a class")]
        value = auc(self.ranked)
        [interval] = self._joined(delong_interval(self.ranked, self.evaluation.confidence), "DeLong", lambda d: d.auc, value)
        return [self._row("auc", None, value=value, **interval, note=self.note)]

    def accuracy(self) -> list[Row]:
        """Share of stamps on the right side of even odds, with Wilson's interval."""
        n = self.n_positives + self.n_negatives
        value = accuracy(self.ranked, EVEN_ODDS)
        low, high = wilson(round(value * n), n, self.evaluation.confidence)
        return [self._row("accuracy", EVEN_ODDS, value=value, low=low, high=high, interval="Wilson", note=self._independent())]

    def tpr_at_fpr(self, metric: str = "tpr_at_fpr") -> list[Row]:
        """TPR at each FPR, threshold from the group's own controls, both classes resampled."""
        fprs, out = self.evaluation.fprs, []
        if not self._both():
            return [self._row(metric, f, needed=needed_negatives(f, self.evaluation), note=self._missing_class()) for f in fprs]
        values = tpr_at_fpr(self.ranked, fprs)
        interval = tpr_at_fpr_interval(self.ranked, fprs, self._rng(metric), self.evaluation.bootstrap, self.evaluation.confidence)
        intervals = self._joined(interval, BOTH_CLASSES, lambda d: d.tpr, values, self.n_positives)
        for f, value, interval in zip(fprs, values, intervals, strict=True):
            if resolves(self.n_negatives, f, self.evaluation):
                out.append(self._row(metric, f, value=value, **interval, note=self.note))
            else:
                out.append(
                    self._row(
                        metric,
                        f,
                        needed=needed_negatives(f, self.evaluation),
                        note=expected_note(self.n_negatives, f, "controls", self.evaluation),
                    )
                )
        return out

    def tpr_at_false_positives(self) -> list[Row]:
        """TPR at the threshold that so many of these very controls pass, with Wilson's interval.

        The threshold follows from the controls alone, so that the positives above it are binomial; what the controls leave
        open is the threshold's FPR, and the note gives its upper limit (Clopper–Pearson).
        """
        out, n = [], self.n_negatives
        for k in self.evaluation.false_positives:
            if not self.n_positives or n <= k:
                note = self._missing_class() if not (self.n_positives and n) else f"{n} controls cannot give {k} false positives"
                out.append(self._row("tpr_at_false_positives", k, needed=k + 1, note=note))
                continue
            value = float(share_above(self.ranked.positives, self.ranked.negatives[n - 1 - k]))
            low, high = wilson(round(value * self.n_positives), self.n_positives, self.evaluation.confidence)
            most = clopper_pearson(k, n, self.evaluation.confidence)[1]
            note = join_notes(f"at this threshold the FPR is below {most:.2g}", self._independent())
            out.append(self._row("tpr_at_false_positives", k, value=value, low=low, high=high, interval="Wilson", note=note))
        return out

    def calibration(self) -> list[Row]:
        """Brier score with a normal interval, and expected calibration error; empty where scores are no probabilities."""
        score = np.concatenate([self.ranked.positives, self.ranked.negatives])
        label = np.arange(len(score)) < self.n_positives
        if score.min() < 0 or score.max() > 1:
            return []
        value, error = brier(score, label)
        half = float(ndtri((1 + self.evaluation.confidence) / 2)) * error
        ece = expected_calibration_error(calibration_curve(score, label))
        note = "noise in the bins raises it: no interval"
        return [
            self._row("brier", None, value=value, low=max(value - half, 0), high=value + half, interval="normal", note=self._independent()),
            self._row("ece", None, value=ece, note=note),
        ]

    def fpr_at_tpr(self) -> list[Row]:
        """FPR at each TPR, threshold from the group's own positives, both classes resampled.

        Resolved where at least `min_expected_fp` controls pass and as many positives are missed.
        """
        tprs, least, out = self.evaluation.tprs, self.evaluation.min_expected_fp, []
        if not self._both():
            return [self._row("fpr_at_tpr", t, note=self._missing_class()) for t in tprs]
        for t, (value, interval) in zip(tprs, self.fprs_resampled(), strict=True):
            passed = round(value * self.n_negatives)
            if self.n_positives * (1 - t) + ROUNDING < least:
                note = f"{self.n_positives} positives leave {self.n_positives * (1 - t):.2g} to be missed; {math.ceil(least / (1 - t) - ROUNDING)} positives needed"
                out.append(self._row("fpr_at_tpr", t, note=note))
            elif passed + ROUNDING < least:
                needed = math.ceil(self.n_negatives * least / max(passed, 1))
                note = f"{passed} of {self.n_negatives} controls pass at this threshold; {'about' if passed else 'more than'} {needed} controls needed"
                out.append(self._row("fpr_at_tpr", t, needed=needed, note=note))
            else:
                out.append(self._row("fpr_at_tpr", t, value=value, **interval, note=self.note))
        return out

    def fprs_resampled(self) -> list[tuple[float, Row]]:
        """Return the FPR at each TPR with the interval of its bootstrap (`low`, `high`, `unit`, `interval`), resolved or not."""
        tprs, values = self.evaluation.tprs, fpr_at_tpr(self.ranked, self.evaluation.tprs)
        interval = fpr_at_tpr_interval(self.ranked, tprs, self._rng("fpr_at_tpr"), self.evaluation.bootstrap, self.evaluation.confidence)
        intervals = self._joined(interval, BOTH_CLASSES, lambda d: d.fpr, values, self.n_negatives)
        return list(zip(values.tolist(), intervals, strict=True))

    def thresholds(self) -> list[Row]:
        """Thresholds themselves, as fixed on validation."""
        return [
            self._row("threshold", f, value=cut, note=f"from {self.cuts.origin}") if self._fixed(f) else self._unfixed("threshold", f)
            for f, cut in zip(self.evaluation.fprs, self.cuts.values, strict=True)
        ]

    def tpr_at_validation_fpr(self) -> list[Row]:
        """TPR at the thresholds fixed on validation, with Wilson's interval."""
        return self._at_cuts("tpr_at_validation_fpr", self.ranked.positives, lambda d: d.passed_positives)

    def realised_fpr(self) -> list[Row]:
        """FPR that the thresholds fixed on validation really give, with Wilson's interval."""
        return self._at_cuts("realised_fpr", self.ranked.negatives, lambda d: d.passed_negatives)

    # --- helpers ---

    def _at_cuts(self, metric: str, ordered: NDArray, pick: Callable[[Draws], NDArray]) -> list[Row]:
        out, n = [], len(ordered)
        of_controls = metric == "realised_fpr"
        for i, f in enumerate(self.evaluation.fprs):
            if not self._fixed(f):
                out.append(self._unfixed(metric, f))
            elif n == 0:
                out.append(self._row(metric, f, note=self._missing_class()))
            elif of_controls and not resolves(n, f, self.evaluation):
                out.append(
                    self._row(metric, f, needed=needed_negatives(f, self.evaluation), note=expected_note(n, f, "controls", self.evaluation))
                )
            else:
                value = float(share_above(ordered, self.cuts.values[i]))
                interval = wilson(round(value * n), n, self.evaluation.confidence)
                [interval] = self._joined(interval, "Wilson", lambda d, i=i: pick(d)[:, i], value, n)
                out.append(self._row(metric, f, value=value, **interval, note=self.note))
        return out

    def _row(self, metric: str, at: float | None, **values: Any) -> Row:
        return row(metric, at, self.n_positives, self.n_negatives, **values)

    def _unfixed(self, metric: str, f: float) -> Row:
        return self._row(
            metric,
            f,
            needed=needed_negatives(f, self.evaluation),
            note=f"no threshold: {expected_note(self.cuts.n_negatives, f, 'validation controls', self.evaluation)}",
        )

    def _joined(self, interval: tuple, how: str, pick: Callable[[Draws], NDArray], values: Any, n: int = 0) -> list[Row]:
        """Return one interval of those of independent stamps and of each kind of clusters, rate by rate.

        Where the rates are proportions of `n` stamps, an interval of clusters at 0 or 1 is widened to Wilson's.
        """

        def clusters(draws: Draws) -> tuple[NDArray, NDArray]:
            found = percentiles(pick(draws), self.evaluation.confidence, draws.units)
            return edge_widened(found, np.rint(np.multiply(values, n)), n, self.evaluation.confidence) if n else found

        found = {STAMP: interval} | {column: clusters(draws) for column, draws in self.draws.items()}
        return [row | {"interval": how if row["unit"] == STAMP else over(row["unit"])} for row in joined(found, values)]

    def _both(self) -> bool:
        return bool(self.n_positives and self.n_negatives)

    def _missing_class(self) -> str:
        if not self.n_positives:
            return "no positives in this stratum: nothing to detect"
        return "no controls in this stratum; set `of_positives` if positives alone have the property"

    def _fixed(self, f: float) -> bool:
        return resolves(self.cuts.n_negatives, f, self.evaluation)

    def _independent(self) -> str:
        return self.note or ("the interval takes stamps as independent" if self.draws else "")

    def _rng(self, metric: str) -> np.random.Generator:
        return stream(0, stable_hash(self._key, metric), "bootstrap of both classes")


def join_notes(*notes: str) -> str:
    """Return notes as one, empty ones left out."""
    return "; ".join(n for n in notes if n)
