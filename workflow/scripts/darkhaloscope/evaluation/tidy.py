"""The tidy tables of the evaluation: their columns, how they are read back, and how their rows are found and said in words."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..core.csv_tables import read_csv
from ..core.rates import EvaluationError
from ..core.text import power_of_ten

#: Columns of the tidy tables, in order.
TIDY = (
    "test_dataset", "seed", "column", "stratum", "metric", "at", "value", "low", "high", "resolved",
    "n_positives", "n_negatives", "negatives_needed", "interval", "unit", "note",
)  # fmt: skip
#: `column` and `stratum` of a rate that is not of a stratum; the seed that stands for the mean of all seeds' scores.
ALL = "all"
COMMITTEE = "committee"
_TEXT = ("test_dataset", "seed", "column", "stratum", "metric", "note")
_NEEDED = ("test_dataset", "seed", "metric", "at", "value", "low", "high", "resolved")

Row = Mapping[str, Any]


def frame(rows: Iterable[Row], columns: Sequence[str] = TIDY, **place: str) -> pd.DataFrame:
    """Return rows as a tidy table, `place` filled into every row."""
    table = pd.DataFrame([{**place, **row} for row in rows], columns=list(columns))
    for name, kind in (("n_positives", "int64"), ("n_negatives", "int64"), ("negatives_needed", "Int64"), ("resolved", bool)):
        table[name] = table[name].astype(kind)
    for name in ("at", "value", "low", "high"):
        table[name] = table[name].astype(float)
    return table


def read_frame(path: str | os.PathLike) -> pd.DataFrame:
    """Return a table of the evaluation, names as text whatever they look like.

    Raises
    ------
    EvaluationError
        The file cannot be read, or lacks a column.
    """
    try:
        return tidy(read_csv(path))
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"{path}: this table of the evaluation cannot be read ({error}); make it again with rule evaluate_scores"
        ) from error


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Return an evaluation table with text in its name columns, booleans in `resolved`, and no gaps among them.

    A table of ROC points has neither and is returned as it is.
    """
    if (table.empty and not len(table.columns)) or {"fpr", "tpr"} <= set(table.columns):
        return table
    missing = [c for c in _NEEDED if c not in table.columns]
    if missing:
        raise EvaluationError(f"a table of the evaluation lacks the columns {missing}; it has {list(table.columns)}")
    table = table.copy()
    for name in _TEXT:
        table[name] = table[name].astype("string").fillna("").astype(str) if name in table else ""
    for name in ("at", "low", "high", "n_positives", "n_negatives", "negatives_needed"):
        table[name] = pd.to_numeric(table[name]) if name in table else np.nan
    table["resolved"] = table["resolved"].map(lambda v: str(v).lower() in ("true", "1", "1.0")).astype(bool)
    return table


# --- rows ------------------------------------------------------------------------------------


def main_seed(table: pd.DataFrame) -> str | None:
    """Return the seed whose rates are quoted: the committee where there is one, else the first."""
    seeds = list(dict.fromkeys(table["seed"])) if len(table) else []
    return None if not seeds else COMMITTEE if COMMITTEE in seeds else seeds[0]


def quoted(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the seed whose rates are quoted."""
    return table[table["seed"] == main_seed(table)] if len(table) else table


def overall(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are not of a stratum."""
    return table[table["column"] == ALL] if len(table) else table


def pick(table: pd.DataFrame, metric: str, at: float | None = None, **equal: str) -> pd.Series | None:
    """Return the first row with a metric, a rate and other columns' values, or None."""
    if table.empty:
        return None
    keep = table["metric"] == metric
    if at is not None:
        keep &= np.isclose(table["at"].to_numpy(float), at, rtol=1e-6, atol=0)
    for name, value in equal.items():
        keep &= table[name] == value
    rows = table[keep]
    return rows.iloc[0] if len(rows) else None


# --- in words --------------------------------------------------------------------------------


def is_number(value: Any) -> bool:
    """Return whether a cell holds a finite number."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def rate_text(row: Row | pd.Series | None, *, sign: bool = False) -> str:
    """Return a rate with its interval, or `unresolved (needs N negatives)`; never the number of an unresolved rate."""
    if row is None:
        return "not measured"
    if not bool(row["resolved"]):
        return unresolved_text(row)
    if not is_number(row["value"]):
        return "not defined"
    text = number(row["value"], sign=sign)
    if str(row.get("note", "")).startswith("lower limit"):
        return f"≥ {text}"
    if is_number(row["low"]) and is_number(row["high"]):
        text += f" [{number(row['low'], sign=sign)}, {number(row['high'], sign=sign)}]"
    return text


def unresolved_text(row: Row | pd.Series) -> str:
    """Return what is said in place of a rate that the sample cannot resolve."""
    needed = row.get("negatives_needed")
    return f"unresolved (needs {math.ceil(needed):,} negatives)" if is_number(needed) else "unresolved"


def number(value: float, *, sign: bool = False) -> str:
    """Return a rate or a difference of rates with the digits that it deserves."""
    value = float(value)
    if not sign and abs(value) >= 10:
        return f"{value:.1f}".replace("-", "−")
    digits = 3 if value == 0 or abs(value) >= 0.0095 or sign else 4
    if not sign and 0.999 <= value < 0.999995:
        digits = 5
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if not sign and value and float(text) == 0:
        text = f"{value:.1e}"
    return text.replace("-", "−")


def power(rate: float) -> str:
    """Return a rate as a reader writes it: 10⁻³, 5%, 0.9."""
    exponent = math.log10(rate)
    if abs(exponent - round(exponent)) < 1e-9 and rate < 0.05:
        return power_of_ten(exponent)
    return f"{rate:g}" if rate >= 0.5 else f"{100 * rate:g}%"


def count(value: Any) -> str:
    """Return a count with separators, or a dash."""
    return f"{int(value):,}" if is_number(value) else "–"
