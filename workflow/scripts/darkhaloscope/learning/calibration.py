"""From a network's margins to probabilities, by what validation stamps say; plain numbers, no pickles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

from .scaling import LearningError

#: Temperatures looked at.
TEMPERATURES = (0.01, 100.0)


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration: P(positive) as a function of the margin, the difference of the two logits.

    It holds where positives and controls come in the shares of the validation stamps, usually one half each.

    Attributes
    ----------
    kind : temperature or isotonic
    margins, probabilities : temperature: (T,) and (); isotonic: corners of the rising line, flat beyond its ends
    """

    kind: Literal["temperature", "isotonic"]
    margins: tuple[float, ...]
    probabilities: tuple[float, ...] = ()

    def apply(self, margins: ArrayLike) -> NDArray:
        """Return probabilities, (n,) float64."""
        margins = np.asarray(margins, np.float64)
        if self.kind == "temperature":
            return expit(margins / self.margins[0])
        return np.interp(margins, self.margins, self.probabilities)

    def plain(self) -> dict[str, Any]:
        """Return the fit as JSON-ready values."""
        return {"kind": self.kind, "margins": list(self.margins), "probabilities": list(self.probabilities)}


def fit_calibration(margins: ArrayLike, labels: ArrayLike, kind: Literal["none", "temperature", "isotonic"]) -> Calibration | None:
    """Fit a calibration on validation stamps.

    Temperature (Guo et al. 2017, arXiv:1706.04599): one number T, P = 1/(1 + exp(−margin/T)), of least log loss.
    Isotonic (Zadrozny & Elkan 2002): the rising step function of least squared error, its corners joined by lines. Where it is 0 because none
    of the n stamps of lowest margin is a positive it says 1/(n + 2), and likewise at 1: n stamps do not show that there is never one (Laplace's rule of succession).

    Parameters
    ----------
    margins : (n,) logit of the positive class less that of the control class
    labels : (n,) 0 or 1, both present
    """
    if kind == "none":
        return None
    margins, labels = np.asarray(margins, np.float64), np.asarray(labels, np.float64)
    if kind == "isotonic":
        from sklearn.isotonic import IsotonicRegression  # a second to import; networks that are fitted already do without

        fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(margins, labels)
        found = fit.predict(margins)
        least, most = (1 / (np.count_nonzero(found == end) + 2) if np.any(found == end) else 0.0 for end in (0, 1))
        return Calibration("isotonic", tuple(map(float, fit.X_thresholds_)), tuple(map(float, np.clip(fit.y_thresholds_, least, 1 - most))))
    sign = np.where(labels > 0, 1.0, -1.0)

    def loss(log_t: float) -> float:
        return float(np.logaddexp(0, -sign * margins / np.exp(log_t)).mean())

    best = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-6})
    return Calibration("temperature", (float(np.exp(best.x)),))


def calibration_of(described: Mapping[str, Any] | None, path: object) -> Calibration | None:
    """Return the calibration that a network's description holds, or None.

    Raises
    ------
    LearningError
        It is not one that `Calibration.plain` wrote.
    """
    if described is None:
        return None
    try:
        found = Calibration(described["kind"], tuple(map(float, described["margins"])), tuple(map(float, described["probabilities"])))
        good = found.kind == "temperature" and len(found.margins) == 1 and found.margins[0] > 0
        if found.kind == "isotonic":
            good = len(found.margins) == len(found.probabilities) > 0 and bool(np.all(np.diff(found.margins) >= 0))
        if good:
            return found
    except (KeyError, TypeError, ValueError):
        pass
    raise LearningError(f"{path}: the calibration in this description is not one that training writes: {described!r}; train again")
