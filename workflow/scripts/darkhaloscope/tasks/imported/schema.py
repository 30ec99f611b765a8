"""The table of imported stamps is the lens finder's."""

from __future__ import annotations

from ...config.lensfinder import ImportedDataset
from ..lensfinder.schema import scalar_columns, stamp_schema

__all__ = ["scalar_columns", "size_of", "stamp_schema"]


def size_of(dataset: ImportedDataset) -> int:
    """Return the pixels on a side of a dataset's stamps."""
    return dataset.stamp_size
