"""Rows by shard: which of the manifest a shard holds, and which of all shards have a parametric source."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...core.tables import Schema, open_table
from ...stamps.schema import MANIFEST, scalar_columns
from .manifest import ManifestError


def read_rows(path: str | os.PathLike, split: str, shard: int, shard_size: int) -> pa.Table:
    """Return the manifest's rows of one shard: rows `shard × shard_size` onwards of a split, in its order.

    Row groups of other shards are not read: their statistics say how many rows of the split they have.

    Raises
    ------
    ManifestError
        The split has no such rows.
    """
    start, parts, passed = shard * shard_size, [], 0
    with open_table(path, MANIFEST) as file:
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


def read_parametric(shards: Sequence[str | os.PathLike], n: int) -> pa.Table:
    """Return the first `n` rows with analytic sources over all shards, images left out.

    Stamps are drawn independently of their order, so the first ones are a fair sample.
    """
    names = [c.name for c in scalar_columns()]
    parts, found = [], 0
    for path in shards:
        if found >= n:
            break
        with open_table(path, Schema("stamps", scalar_columns())) as file:
            rows = file.read(columns=names)
        rows = rows.filter(closed_form({"source_kind": rows["source_kind"].to_numpy(zero_copy_only=False)})).slice(0, n - found)
        parts.append(rows)
        found += rows.num_rows
    return pa.concat_tables(parts).combine_chunks()
