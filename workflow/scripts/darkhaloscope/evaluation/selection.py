"""Selection functions: completeness as a smooth function of columns, fitted, written as JSON, read and applied to a catalogue.

The logit of the completeness is a sum of one cubic spline per column and of the products of the columns. Each column is first
stretched so that its positives are spread evenly; the splines' second differences are penalised (P-splines: Eilers and Marx 1996,
Statist. Sci. 11, 89), so that a spline goes on straight where positives are few, and nothing is claimed of cells without any.
The file holds all that is needed to evaluate it (no pickle): units, ranges, knots, coefficients and their covariance.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline, PchipInterpolator
from scipy.special import expit, ndtri

from ..core.files import write_json
from ..core.rates import EvaluationError
from ..core.reading import read_json
from .strata import bins
from .surfaces import Surface

FORMAT = "dark-halo-scope selection function, version 2"
#: Knots of each spline, at quantiles of the positives; its degree; positives that a fit needs, and of each outcome.
KNOTS, DEGREE, MIN_POSITIVES, MIN_OUTCOME = 5, 3, 200, 20
#: Positives that a fit uses at most: more would not make it better.
MAX_POSITIVES = 200_000
#: Standard deviations that the penalty allows: of a column's slope over half its range, of second differences of a spline's
#: coefficients, and of the products.
SLOPE, BEND, PRODUCT = 10.0, 0.5, 5.0
#: Cells along a column in which positives must have been seen, at most, and positives for each cell on average, at least.
MOST_CELLS, PER_CELL = 8, 10


@dataclass(frozen=True)
class Axis:
    """One column: its unit, the range in which positives were seen (5 knots at their quantiles), beyond which values are clipped.

    `cells` are edges, at quantiles too, between which positives were seen or not.
    """

    name: str
    unit: str
    knots: tuple[float, ...]
    cells: tuple[float, ...]

    def clipped(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values within the range."""
        return np.clip(np.asarray(values, float), self.knots[0], self.knots[-1])

    def stretched(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values from −1 to 1, monotone, the knots evenly spaced: as many positives between any two."""
        return PchipInterpolator(self.knots, np.linspace(-1, 1, len(self.knots)))(self.clipped(values))

    def bends(self, stretched: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what splines have beside a straight line, by the second differences of their coefficients, (n, k)."""
        step = 2 / (len(self.knots) - 1)
        t = -1 + step * np.arange(-DEGREE, len(self.knots) + DEGREE)
        basis = BSpline.design_matrix(np.clip(stretched, -1, 1), t, DEGREE).toarray()
        return basis @ np.linalg.pinv(np.diff(np.eye(basis.shape[1]), 2, axis=0))

    def cell(self, values: ArrayLike) -> NDArray[np.int64]:
        """Return which cell values lie in, −1 beyond the range."""
        return bins(np.asarray(values, float), self.cells)[0]


@dataclass(frozen=True)
class Selection:
    """Completeness at one threshold as a function of columns.

    Attributes
    ----------
    axes : tuple of Axis
    intercept : float
    coefficients : (p,) float
        Of `design`'s terms.
    covariance : (p + 1, p + 1) float
        Of intercept and coefficients, in this order.
    empty : tuple of cells
        Cells without a positive, each by its place along every axis: nothing is claimed of them.
    about : mapping
        Where it comes from: test dataset, network, FPR, threshold, number of positives.
    """

    axes: tuple[Axis, ...]
    intercept: float
    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    empty: tuple[tuple[int, ...], ...] = ()
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
        """Return the interval of the completeness of every row: normal on the logit, from the fit's covariance; 0 to 1 outside `within`."""
        eta, terms = self._predictor(table)
        half = ndtri((1 + confidence) / 2) * np.sqrt(np.einsum("ij,jk,ik->i", terms, np.asarray(self.covariance), terms))
        known = self.within(table)
        return np.where(known, expit(eta - half), 0.0), np.where(known, expit(eta + half), 1.0)

    def within(self, table: Any) -> NDArray[np.bool_]:
        """Say which rows lie in a cell in which positives were seen."""
        values = self._values(table)
        cells = np.column_stack([axis.cell(column) for axis, column in zip(self.axes, values.T, strict=True)])
        inside = (cells >= 0).all(axis=1)
        for empty in self.empty:
            inside &= (cells != empty).any(axis=1)
        return inside

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
    """Return the terms of the logit, (n, p): of each column in turn its stretched values and the bends, then products of two columns."""
    stretched = [axis.stretched(column) for axis, column in zip(axes, values.T, strict=True)]
    parts = [part for axis, u in zip(axes, stretched, strict=True) for part in (SLOPE * u[:, None], BEND * axis.bends(u))]
    parts += [PRODUCT * (a * b)[:, None] for a, b in combinations(stretched, 2)]
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
    per_column = int(np.clip((len(passed) / PER_CELL) ** (1 / len(knots)), 2, MOST_CELLS))
    edges = [np.unique(np.quantile(column, np.linspace(0, 1, per_column + 1))) for column in values.T]
    axes = tuple(
        Axis(name, units.get(name, ""), tuple(map(float, k)), tuple(map(float, e)))
        for name, k, e in zip(surface.columns, knots, edges, strict=True)
    )
    terms = design(values, axes)
    fit = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-8).fit(terms, passed)
    p = fit.predict_proba(terms)[:, 1]
    full = np.column_stack([np.ones(len(terms)), terms])
    # Laplace: the curvature of the penalised likelihood; the intercept has no penalty.
    penalty = np.diag([1e-9] + [1.0] * terms.shape[1])
    covariance = np.linalg.inv((full * (p * (1 - p))[:, None]).T @ full + penalty)
    about = {**about, "threshold": float(threshold), "n_positives": len(surface.score)}
    seen = {tuple(cell) for cell in np.column_stack([axis.cell(column) for axis, column in zip(axes, values.T, strict=True)]).tolist()}
    empty = tuple(cell for cell in product(*(range(len(axis.cells) - 1) for axis in axes)) if cell not in seen)
    coefficients, rows = tuple(map(float, fit.coef_[0])), tuple(tuple(map(float, row)) for row in covariance)
    return Selection(axes, float(fit.intercept_[0]), coefficients, rows, empty, about)


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
        found = read_json(path, f"a file of selection functions ({FORMAT})", "make it with rule map_completeness", EvaluationError)
        if found["format"] != FORMAT:
            raise ValueError(f"format `{found['format']}`")
        return [
            Selection(
                tuple(Axis(a["name"], a["unit"], tuple(a["knots"]), tuple(a["cells"])) for a in s["axes"]),
                s["intercept"],
                tuple(s["coefficients"]),
                tuple(map(tuple, s["covariance"])),
                tuple(map(tuple, s["empty"])),
                s["about"],
            )
            for s in found["selections"]
        ]
    except EvaluationError:
        raise
    except (ValueError, KeyError, TypeError) as error:
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
