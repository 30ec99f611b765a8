"""Columns of rows that not every kind of source has."""

from __future__ import annotations

from collections.abc import Mapping

from ..config.sources import SourceKind, columns_of
from ..core.tables import Column


def kind_columns(kinds: Mapping[str, SourceKind], note: str = "") -> tuple[Column, ...]:
    """Return the columns of some kinds, null where a row's kind lacks them; `note` says which other rows have none."""
    found = columns_of(kinds).items()
    return tuple(Column(name, dtype, unit, "; ".join(filter(None, (text, note))), nullable=True) for name, (dtype, unit, text) in found)
