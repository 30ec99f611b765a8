"""CSV tables of this project read back: names stay as they are, whatever they look like."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pandas as pd

#: Columns of names and words in tables of the evaluation and the report; every other column holds numbers, or true and false.
TEXT = (
    *("test_dataset", "dataset", "variant", "experiment", "network", "detector", "baseline", "seed", "column", "stratum", "metric"),
    *("interval", "unit", "note", "kind", "surface", "x", "y", "z", "group", "mark", "stamp_id", "contaminant_class", "grade", "name"),
)


def read_csv(path: str | os.PathLike, text: Iterable[str] = TEXT) -> pd.DataFrame:
    """Return a table that this project wrote; a dataset called `null` or `NA` keeps its name, and one called `007` too.

    Parameters
    ----------
    path : CSV file
    text : columns that are text where the table has them; an empty cell is the empty text. In all others an empty cell is missing.
    """
    text = tuple(text)
    frame = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=[""])
    return frame.assign(**{name: frame[name].fillna("").astype(str) for name in text if name in frame})
