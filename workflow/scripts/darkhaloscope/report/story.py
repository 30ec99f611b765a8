"""What the page tells differently of the two chains: each is one `Story`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .answer import Answer
from .context import Gate, ReportContext


@dataclass(frozen=True)
class Story:
    """The parts of a page that depend on what its stamps are.

    Attributes
    ----------
    template : str
        Page, an extension of `report.html`.
    answer, gates, unsaid : callable
        The first screen.
    values : callable
        What the template shows beside the shared sections; at least `facts` and `counts`.
    figures, tables : callable
        Further interactive figures, and further tables for the folder.
    pictures : callable
        Writes further figures at journal width into a folder; returns the pictures that the page shows.
    sheets : callable
        Writes the stamp browser's pictures into a folder; returns what shows them: panels, mark, sheets, pixel scale, width of a card.
    hides : callable
        Whether the stamp browser leaves a column out.
    """

    template: str
    answer: Callable[[Any], Answer]
    gates: Callable[[Any], list[Gate]]
    unsaid: Callable[[Any], list[str]]
    values: Callable[[Any], dict[str, Any]]
    figures: Callable[[Any], dict[str, Any]]
    tables: Callable[[Any], dict[str, pd.DataFrame]]
    pictures: Callable[[Any, Path], dict[str, str]]
    sheets: Callable[[Any, Path], dict[str, Any]]
    hides: Callable[[ReportContext, str], bool]
