"""Rows of tables of stamps: those of one shard, those with some numbers, and rows as arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..config.legacysurvey import BANDS
from ..core.tables import Schema, TableError, open_table, parquet_errors
from .columns import IDENTITY
from .manifest import ManifestError

Columns = dict[str, NDArray]


def row_columns(rows: pa.Table) -> Columns:
    """Return the columns of some rows as arrays; missing numbers are NaN, missing text is None, missing truths are false."""
    out: Columns = {}
    for name in rows.column_names:
        column = rows.column(name)
        if pa.types.is_string(column.type):
            out[name] = np.asarray(column.to_pylist(), object)
        else:
            column = column.fill_null(False) if pa.types.is_boolean(column.type) else column
            out[name] = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return out


def take(columns: Columns, index: NDArray | slice) -> Columns:
    """Return some of the rows."""
    return {name: values[index] for name, values in columns.items()}


def read_rows(path: str | os.PathLike, schema: Schema, split: str, shard: int, shard_size: int) -> pa.Table:
    """Return the manifest's rows of one shard: rows `shard × shard_size` onwards of a split, in its order.

    Row groups of other shards are not read: their statistics say how many rows of the split they have.

    Raises
    ------
    ManifestError
        The split has no such rows.
    """
    start, parts, passed = shard * shard_size, [], 0
    with open_table(path, schema) as file:
        for group in range(file.num_row_groups):
            count = _count(file, group, split)
            if count and passed + count > start and passed < start + shard_size:
                rows = file.read_row_group(group)
                rows = rows.filter(pc.equal(rows["split"], split))
                parts.append(rows.slice(max(0, start - passed), max(0, start + shard_size - max(passed, start))))
            passed += count
    if not parts:
        raise ManifestError(
            f"{path} has {passed} rows of split {split}, so it has no shard {shard} of {shard_size}; make it again with rule build_manifest"
        )
    return pa.concat_tables(parts).combine_chunks()


def _count(file: pq.ParquetFile, group: int, split: str) -> int:
    """Return the rows of a split in a row group; only a group in which splits meet is looked into."""
    found = file.metadata.row_group(group)
    statistics = found.column(file.schema.names.index("split")).statistics
    if statistics is not None and statistics.has_min_max and statistics.min == statistics.max:
        return found.num_rows if statistics.min == split else 0
    return pc.sum(pc.equal(file.read_row_group(group, columns=["split"])["split"], split)).as_py() or 0


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
