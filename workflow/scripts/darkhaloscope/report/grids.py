"""Tables of a page: what stands in them, what they are sorted by, and the notes that follow them once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.tidy import is_number, number, rate_text

#: A text, or what a cell is sorted by and its text.
Cell = str | tuple[Any, str]
_MARKS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Grid:
    """A table of a page.

    Attributes
    ----------
    heads : tuple of str
    rows : tuple of tuples of Cell
    id : str
        Its name on the page.
    choose : tuple of str
        Heads of columns that a reader chooses a value of.
    start : mapping of head to text
        What is chosen at first.
    notes : tuple of str
        What follows the table, each once; cells refer to them by number.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    id: str = ""
    choose: tuple[str, ...] = ()
    start: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Characters of the widest row: wide tables are stacked on narrow screens."""
        return max((sum(len(text_of(c)) for c in row) for row in self.rows), default=0)


class Footnotes:
    """Notes that many rows share, numbered in the order in which they are met."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def mark(self, note: object) -> str:
        """Return the number of a note as a superscript; empty for no note."""
        if not isinstance(note, str) or not note.strip():
            return ""
        if note not in self.notes:
            self.notes.append(note)
        return " " + str(self.notes.index(note) + 1).translate(_MARKS)

    def numbered(self) -> tuple[str, ...]:
        """Return the notes, each after its number."""
        return tuple(f"{str(i + 1).translate(_MARKS)} {note}" for i, note in enumerate(self.notes))


def rate_cell(row: pd.Series | Mapping | None, *, sign: bool = False, mark: str = "") -> Cell:
    """Return a rate with its interval; it sorts by the rate, and after all others where that is not resolved."""
    return sort_value(row), rate_text(row, sign=sign) + mark


def number_cell(value: Any, text: str | None = None, *, sign: bool = False) -> Cell:
    """Return a number as a cell, a dash where there is none."""
    return (value, text if text is not None else number(value, sign=sign)) if is_number(value) else ("", "–")


def interval_cell(row: Mapping[str, Any], value: str, low: str, high: str, *, sign: bool = False) -> Cell:
    """Return a number of a row with its interval, a dash where there is none."""
    if not is_number(row[value]):
        return "", "–"
    ends = f" [{number(row[low], sign=sign)}, {number(row[high], sign=sign)}]" if is_number(row[low]) else ""
    return row[value], number(row[value], sign=sign) + ends


def sort_value(row: pd.Series | Mapping | None) -> float | str:
    """Return what a cell with a rate is sorted by: nothing where it is not resolved."""
    return float(row["value"]) if row is not None and row["resolved"] and is_number(row["value"]) else ""


def text_of(cell: Cell) -> str:
    """Return what a cell shows."""
    return cell if isinstance(cell, str) else cell[1]


def plain_grid(heads: Iterable[str], rows: Iterable[Sequence[str]], id: str = "") -> Grid:
    """Return a table of texts."""
    return Grid(tuple(heads), tuple(tuple(row) for row in rows), id)


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as pairs of dotted key and text."""
    if isinstance(value, Mapping):
        return [line for k, v in value.items() for line in flat(v, f"{prefix}.{k}" if prefix else str(k))]
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))]


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: numpy scalars as Python ones, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if value is pd.NA or value is pd.NaT:
        return None
    return value
