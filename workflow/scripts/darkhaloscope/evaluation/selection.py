"""Selection functions: completeness as a smooth function of columns, fitted, written as JSON, read and applied to a catalogue.

The logit of the completeness is a sum of one cubic spline per column and of the products of the columns. The file holds
all that is needed to evaluate it (no pickle): units, ranges, knots, coefficients and their covariance.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline
from scipy.special import expit, ndtri

from ..core.files import write_json
from ..core.rates import EvaluationError
from .surfaces import Surface

FORMAT = "dark-halo-scope selection function, version 1"
#: Knots of each spline, at quantiles of the positives; its degree; positives that a fit needs, and of each outcome.
KNOTS, DEGREE, MIN_POSITIVES, MIN_OUTCOME = 5, 3, 200, 20
#: Positives that a fit uses at most: more would not make it better.
MAX_POSITIVES = 200_000
#: Inverse strength of the ridge penalty of the logistic regression.
INVERSE_PENALTY = 10.0


@dataclass(frozen=True)
class Axis:
    """One column: its unit, the range in which positives were seen (5 knots at their quantiles), beyond which values are clipped."""

    name: str
    unit: str
    knots: tuple[float, ...]

    def clipped(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values within the range."""
        return np.clip(np.asarray(values, float), self.knots[0], self.knots[-1])

    def scaled(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values scaled to −1 … 1 over the range."""
        return 2 * (self.clipped(values) - self.knots[0]) / (self.knots[-1] - self.knots[0]) - 1

    def splines(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the B-splines at values, (n, k); the last one is left out, since all of them add up to 1."""
        t = np.concatenate([[self.knots[0]] * DEGREE, self.knots, [self.knots[-1]] * DEGREE])
        return BSpline.design_matrix(self.clipped(values), t, DEGREE).toarray()[:, :-1]


@dataclass(frozen=True)
class Selection:
    """Completeness at one threshold as a function of columns.

    Attributes
    ----------
    axes : tuple of Axis
    intercept : float
    coefficients : (p,) float
        Of the splines of each axis in turn, then of the products of two scaled columns.
    covariance : (p + 1, p + 1) float
        Of intercept and coefficients, in this order.
    about : mapping
        Where it comes from: test dataset, network, FPR, threshold, number of positives.
    """

    axes: tuple[Axis, ...]
    intercept: float
    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that `completeness` needs."""
        return tuple(axis.name for axis in self.axes)

    def completeness(self, table: Any) -> NDArray[np.float64]:
        """Return the completeness of every row of a catalogue.

        Parameters
        ----------
        table : mapping of column names to arrays, pandas or Arrow table
            Columns `columns`, in the units of the file. Values beyond the range in which positives were seen are clipped to it; a row
            with a missing value gets NaN.

        Raises
        ------
        EvaluationError
            A column is missing.
        """
        return expit(self._predictor(table)[0])

    def interval(self, table: Any, confidence: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the interval of the completeness of every row: normal on the logit, from the fit's covariance."""
        eta, terms = self._predictor(table)
        half = ndtri((1 + confidence) / 2) * np.sqrt(np.einsum("ij,jk,ik->i", terms, np.asarray(self.covariance), terms))
        return expit(eta - half), expit(eta + half)

    def within(self, table: Any) -> NDArray[np.bool_]:
        """Say which rows lie in the range in which positives were seen."""
        values = self._values(table)
        low, high = np.array([(a.knots[0], a.knots[-1]) for a in self.axes]).T
        return np.all((values >= low) & (values <= high), axis=1)

    def _values(self, table: Any) -> NDArray[np.float64]:
        names = list(getattr(table, "column_names", None) or table.keys())
        lost = [name for name in self.columns if name not in names]
        if lost:
            raise EvaluationError(
                f"the catalogue has no column {', '.join(lost)}, which this selection function needs; it has: {', '.join(map(str, names))}"
            )
        return np.column_stack([np.asarray(table[name], float) for name in self.columns])

    def _predictor(self, table: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = self._values(table)
        missing = np.isnan(values).any(axis=1)
        terms = design(np.where(missing[:, None], 0.0, values), self.axes)
        eta = self.intercept + terms @ np.asarray(self.coefficients)
        return np.where(missing, np.nan, eta), np.column_stack([np.ones(len(terms)), terms])


def design(values: NDArray, axes: Sequence[Axis]) -> NDArray[np.float64]:
    """Return the terms of the logit: splines of each column, products of two scaled columns; (n, p)."""
    parts = [axis.splines(column) for axis, column in zip(axes, values.T, strict=True)]
    scaled = [axis.scaled(column) for axis, column in zip(axes, values.T, strict=True)]
    parts += [(a * b)[:, None] for a, b in combinations(scaled, 2)]
    return np.hstack(parts)


def fit_selection(
    surface: Surface, threshold: float, units: Mapping[str, str], rng: np.random.Generator, about: Mapping[str, Any]
) -> Selection:
    """Fit the completeness at a threshold by logistic regression with splines.

    Parameters
    ----------
    surface : Surface
    threshold : float
        A positive passes above it.
    units : mapping
        Unit of each column, empty where unknown.
    rng : Generator
        Chooses the positives of the fit where there are very many.
    about : mapping
        For `Selection.about`; threshold and number of positives are added.

    Raises
    ------
    EvaluationError
        Too few positives, too few that pass or are missed, or a column with a single value.
    """
    from sklearn.linear_model import LogisticRegression

    passed, values = surface.score > threshold, surface.values
    if len(passed) < MIN_POSITIVES or min(passed.sum(), (~passed).sum()) < MIN_OUTCOME:
        raise EvaluationError(
            f"{surface.name}: {passed.sum()} of {len(passed)} positives pass; a smooth fit needs {MIN_POSITIVES} positives, "
            f"of which {MIN_OUTCOME} pass and {MIN_OUTCOME} are missed"
        )
    if len(passed) > MAX_POSITIVES:
        chosen = rng.choice(len(passed), MAX_POSITIVES, replace=False)
        passed, values = passed[chosen], values[chosen]
    knots = [np.unique(np.quantile(column, np.linspace(0, 1, KNOTS))) for column in values.T]
    flat = [name for name, k in zip(surface.columns, knots, strict=True) if len(k) < 2]
    if flat:
        raise EvaluationError(f"{surface.name}: column {', '.join(flat)} has a single value: completeness cannot be a function of it")
    axes = tuple(Axis(name, units.get(name, ""), tuple(map(float, k))) for name, k in zip(surface.columns, knots, strict=True))
    terms = design(values, axes)
    fit = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000, tol=1e-6).fit(terms, passed)
    p = fit.predict_proba(terms)[:, 1]
    full = np.column_stack([np.ones(len(terms)), terms])
    # Laplace: the curvature of the penalised likelihood; the intercept has no penalty.
    penalty = np.diag([1e-9] + [1 / INVERSE_PENALTY] * terms.shape[1])
    covariance = np.linalg.inv((full * (p * (1 - p))[:, None]).T @ full + penalty)
    about = {**about, "threshold": float(threshold), "n_positives": len(surface.score)}
    return Selection(
        axes, float(fit.intercept_[0]), tuple(map(float, fit.coef_[0])), tuple(tuple(map(float, row)) for row in covariance), about
    )


def write(path: str | os.PathLike, selections: Sequence[Selection]) -> None:
    """Write selection functions into one JSON file, whole."""
    write_json(path, {"format": FORMAT, "degree": DEGREE, "selections": [asdict(s) for s in selections]})


def read_all(path: str | os.PathLike) -> list[Selection]:
    """Read all selection functions of a file.

    Raises
    ------
    EvaluationError
        The file is missing, or not a file of selection functions.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"format `{found['format']}`")
        return [
            Selection(
                tuple(Axis(a["name"], a["unit"], tuple(a["knots"])) for a in s["axes"]),
                s["intercept"],
                tuple(s["coefficients"]),
                tuple(map(tuple, s["covariance"])),
                s["about"],
            )
            for s in found["selections"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{path}: expected a file of selection functions ({FORMAT}), found {error}; make it with rule map_completeness"
        ) from error


def read(path: str | os.PathLike, **about: Any) -> Selection:
    """Read one selection function: `read(path, fpr=0.01, surface="theta_e_arcsec × arc_snr").completeness(catalogue)`.

    Parameters
    ----------
    path : path of a selection file
    about : values that `Selection.about` must have; the first selection function that has them is returned

    Raises
    ------
    EvaluationError
        As `read_all`; or none has these values.
    """
    known = read_all(path)
    for selection in known:
        if all(selection.about.get(key) == value for key, value in about.items()):
            return selection
    listed = "; ".join(f"{s.about.get('surface')} at FPR {s.about.get('fpr')}" for s in known) or "none"
    raise EvaluationError(f"{path}: no selection function with {about}; it holds: {listed}")
