"""Stamps of any task: those with some numbers, and the bands that they hold."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..config.legacysurvey import BANDS
from ..core.tables import Schema, TableError, open_table, parquet_errors
from .columns import IDENTITY


def read_stamps(shards: Sequence[str | os.PathLike], numbers: Sequence[int]) -> pa.Table:
    """Return the stamps of any task with some numbers, images included, in the order of the shards.

    One row group is in memory at a time.

    Raises
    ------
    TableError
        A shard is missing or not readable, or a number is in none of them.
    """
    wanted, parts = pa.array(list(numbers), pa.int64()), []
    for path in shards:
        with open_table(path, Schema("stamps", tuple(c for c in IDENTITY if c.name == "number"))) as file:
            for group in range(file.num_row_groups):
                chosen = pc.is_in(file.read_row_group(group, columns=["number"])["number"], value_set=wanted)
                if pc.any(chosen).as_py():
                    parts.append(file.read_row_group(group).filter(chosen))
    found = sum(part.num_rows for part in parts)
    if found != len(wanted):
        raise TableError(
            f"{found} of {len(wanted)} stamps are in the {len(shards)} shards given; score the test stamps of these shards again"
        )
    return pa.concat_tables(parts).combine_chunks()


def bands_of(paths: Sequence[str | os.PathLike]) -> tuple[str, ...]:
    """Return what stamps hold in the places of g, r and z, by their column `bandset`; those that lack it hold g, r and z.

    Raises
    ------
    TableError
        A shard cannot be read, or shards hold different bands.
    """
    found: dict[str, str | os.PathLike] = {}
    for path in paths:
        with parquet_errors(path), pq.ParquetFile(path) as file:
            if "bandset" in file.schema_arrow.names and file.metadata.num_rows:
                for name in pc.unique(file.read_row_group(0, columns=["bandset"])["bandset"]).to_pylist():
                    found.setdefault(name, path)
    if len(found) > 1:
        said = ", ".join(f"{name} ({path})" for name, path in found.items())
        raise TableError(f"stamps hold different bands: {said}; make the stamps of one dataset again")
    return tuple(next(iter(found), "".join(BANDS)))
