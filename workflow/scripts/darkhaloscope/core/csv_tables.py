"""CSV tables of this project read back: names stay as they are, whatever they look like."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from .reading import readable
from .tables import TableError

#: Columns of names and words in tables of the evaluation and the report; every other column holds numbers, or true and false.
TEXT = (
    *("test_dataset", "dataset", "variant", "experiment", "network", "detector", "baseline", "seed", "column", "stratum", "metric"),
    *("interval", "unit", "note", "kind", "surface", "x", "y", "z", "group", "mark", "stamp_id", "contaminant_class", "grade", "name"),
)


def read_csv(path: str | os.PathLike, text: Iterable[str] = TEXT, numbers: Iterable[str] = ()) -> pd.DataFrame:
    """Return a table that this project wrote; a dataset called `null` or `NA` keeps its name, and one called `007` too.

    Parameters
    ----------
    path : CSV file
    text : columns that are text where the table has them; an empty cell is the empty text. In all others an empty cell is missing.
    numbers : columns that must be there and hold finite numbers, or nothing

    Raises
    ------
    TableError
        The file is missing or unreadable, a row has more or fewer fields than the header, or one of `numbers` is none.
    """
    text = tuple(text)
    with readable(path, "a CSV table in UTF-8 with a header", "delete it, and run the stage that writes it again", TableError):
        _check_rows(Path(path))
        frame = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=[""])
        for name in numbers:
            if not np.isfinite(frame[name].to_numpy(float, na_value=0.0)).all():
                raise ValueError(f"column {name} holds values that are no finite numbers")
    return frame.assign(**{name: frame[name].fillna("").astype(str) for name in text if name in frame})


def check_lines(file: BinaryIO, rows: int) -> None:
    """Raise `ValueError` where a table has fewer rows than lines: Arrow takes all that follows a quote without an end for one value."""
    lines = sum(1 for line in io.TextIOWrapper(file, encoding="latin-1") if line.strip("\n")) - 1
    if lines != rows:
        raise ValueError(
            f"{lines} lines below the header give {rows} rows, expected as many: a quote has no end, or a value has a line break in it"
        )


def _check_rows(path: Path) -> None:
    """Raise `ValueError` where a row is not as long as the header: pandas fills up a row that is cut short."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file, strict=True)
        width = len(next(rows, []))
        for row in rows:
            if row and len(row) != width:
                raise ValueError(f"line {rows.line_num} has {len(row)} fields, the header {width}")
