"""A few stamps out of many shards, images included."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ..core.tables import Schema, TableError, open_table
from .schema import MANIFEST


def read_chosen(shards: Sequence[str | os.PathLike], numbers: Sequence[int]) -> pa.Table:
    """Return the stamps with some numbers, images included, one row group in memory at a time; of either chain.

    Raises
    ------
    TableError
        A shard is missing or not readable, or a number is in none of them.
    """
    wanted, parts = pa.array(list(numbers), pa.int64()), []
    for path in shards:
        with open_table(path, Schema("stamps", tuple(c for c in MANIFEST.columns if c.name == "number"))) as file:
            for group in range(file.num_row_groups):
                here = pc.is_in(file.read_row_group(group, columns=["number"])["number"], value_set=wanted)
                if pc.any(here).as_py():
                    parts.append(file.read_row_group(group).filter(here))
    found = sum(part.num_rows for part in parts)
    if found != len(wanted):
        raise TableError(
            f"{found} of {len(wanted)} stamps are in the {len(shards)} shards given; score the test stamps of these shards again"
        )
    return pa.concat_tables(parts).combine_chunks()
