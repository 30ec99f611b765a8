"""Completeness over two or three columns: the share of positives above a threshold, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..config.experiment import Evaluation
from ..core.intervals import wilson
from ..core.rates import cuts_at_fpr
from .judging import Cuts, expected_note, resolves
from .scored import Scored
from .strata import bins

#: First columns of the table; three names and six edges follow, empty where a surface has two columns.
CELLS = (
    "test_dataset", "seed", "surface", "fpr", "threshold",
    "x", "x_low", "x_high", "y", "y_low", "y_high", "z", "z_low", "z_high",
    "n", "passed", "completeness", "low", "high", "note",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Surface:
    """Positives by the columns that completeness is a function of.

    Attributes
    ----------
    columns : tuple of str
    values : (n, k) float, finite
    score : (n,) float
    """

    columns: tuple[str, ...]
    values: NDArray[np.float64]
    score: NDArray[np.float64]

    @property
    def name(self) -> str:
        """The columns, as they are called in tables."""
        return " × ".join(self.columns)


def positives_by(scored: Scored, columns: Sequence[str]) -> Surface:
    """Return the positives of a table by some columns; those without a finite value in each are left out."""
    rows = np.flatnonzero(scored.label)
    read = [np.asarray(pc.fill_null(pc.cast(scored.values(name), pa.float64()), np.nan))[rows] for name in columns]
    values = np.column_stack(read)
    finite = np.isfinite(values).all(axis=1)
    return Surface(tuple(columns), values[finite], scored.score[rows[finite]])


def thresholds(scored: Scored, validation: Scored | None, evaluation: Evaluation) -> list[tuple[float, float, str]]:
    """Return (FPR, threshold, note) for each FPR that the controls resolve: those of validation where there are any, else of the test.

    A threshold from the test's own controls has a note: the intervals of rates at it leave out its own noise.
    """
    if validation is not None:
        cuts, note = Cuts.fixed_on(validation, evaluation.fprs), ""
        n, values = cuts.n_negatives, cuts.values
    else:
        n, values = len(scored.controls), cuts_at_fpr(scored.control_scores, evaluation.fprs) if len(scored.controls) else []
        note = "threshold from the test's own controls: the interval leaves out its noise"
    return [(f, float(cut), note) for f, cut in zip(evaluation.fprs, values, strict=True) if resolves(n, f, evaluation)]


def unresolved(n: int, evaluation: Evaluation) -> list[str]:
    """Say for each FPR that so many controls do not resolve what it needs."""
    return [expected_note(n, f, "controls", evaluation) for f in evaluation.fprs if not resolves(n, f, evaluation)]


def edges_of(surface: Surface, evaluation: Evaluation) -> list[NDArray[np.float64]]:
    """Return the edges of the cells along each column: those of its stratum, else quantiles of the positives."""
    out = []
    for name, values in zip(surface.columns, surface.values.T, strict=True):
        how = evaluation.strata.get(name)
        if how is not None and how.edges is not None:
            out.append(np.asarray(how.edges, float))
        else:
            out.append(
                np.unique(np.quantile(values, np.linspace(0, 1, evaluation.surface_bins + 1))) if len(values) else np.array([0.0, 1.0])
            )
    return [np.array([e[0], np.nextafter(e[0], np.inf)]) if len(e) == 1 else e for e in out]


def completeness_cells(surface: Surface, edges: Sequence[NDArray], threshold: float, confidence: float) -> pd.DataFrame:
    """Return the completeness of every cell with Wilson's interval; cells without positives have no value.

    Parameters
    ----------
    surface : Surface
    edges : increasing edges along each column; a cell holds its lower edges, the last one its upper edge too
    threshold : a positive passes above it, and it was fixed on other stamps

    Returns
    -------
    DataFrame
        Columns from `surface` to `high` of `CELLS`, one row per cell.
    """
    shape = [len(e) - 1 for e in edges]
    codes = [bins(values, e)[0] for values, e in zip(surface.values.T, edges, strict=True)]
    inside = np.all(np.array(codes) >= 0, axis=0)
    cell = np.ravel_multi_index([c[inside] for c in codes], shape)
    n = np.bincount(cell, minlength=int(np.prod(shape)))
    passed = np.bincount(cell[surface.score[inside] > threshold], minlength=len(n))
    low, high = wilson(passed, np.maximum(n, 1), confidence)
    table: dict[str, object] = {"surface": surface.name}
    places = np.array(list(product(*map(range, shape))))
    for axis, name, e, place in zip("xyz", surface.columns, edges, places.T, strict=False):
        table |= {axis: name, f"{axis}_low": e[place], f"{axis}_high": e[place + 1]}
    empty = n == 0
    table |= {"n": n, "passed": passed, "completeness": np.where(empty, np.nan, passed / np.maximum(n, 1))}
    table |= {"low": np.where(empty, np.nan, low), "high": np.where(empty, np.nan, high)}
    return pd.DataFrame(table)
