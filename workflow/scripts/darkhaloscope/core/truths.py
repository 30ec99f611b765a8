"""Yes and no written as text, by Spark, pandas, SQL, spreadsheets and people."""

from __future__ import annotations

import re

_WORDS = {"true": 1.0, "t": 1.0, "yes": 1.0, "y": 1.0, "false": 0.0, "f": 0.0, "no": 0.0, "n": 0.0}
#: 1 and 0 as CSV files have them that were floats once.
_NUMBER = re.compile(r"\+?0*([01])(\.0*)?")


def truth(text: str) -> float | None:
    """Return 1 where a text says yes and 0 where it says no; None where it says neither."""
    word = text.strip().lower()
    number = _NUMBER.fullmatch(word)
    return float(number[1]) if number else _WORDS.get(word)
