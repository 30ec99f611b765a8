"""The manifest of a dataset: one row per stamp, drawn and written piece by piece and read shard by shard, whatever the task.

A task yields tables of at most `PIECE` rows, split by split; nothing else of the rows is held in memory.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..config.subhalo import SPLITS, Size
from ..core.tables import Schema, open_table, write_table

log = logging.getLogger("darkhaloscope")

#: Rows made at a time, a whole number of row groups, and rows in a row group: every shard reads the footer, which grows with their number.
PIECE, ROW_GROUP = 131072, 16384
#: Rows of one split are numbered from split × this, so that a split's size changes no other split.
NUMBERS_PER_SPLIT = 2**40


class ManifestError(ValueError):
    """The manifest cannot be built as asked, or does not hold what is asked of it; the message says why and what to change."""


def write_manifest(path: str | os.PathLike, schema: Schema, pieces: Iterable[pa.Table]) -> dict[str, int]:
    """Write the pieces of a manifest into one file, whole; return the stamps in each split."""
    counts: dict[str, int] = {}

    def counted() -> Iterator[pa.Table]:
        for piece in pieces:
            for found in pc.value_counts(piece["split"]).to_pylist():
                counts[found["values"]] = counts.get(found["values"], 0) + found["counts"]
            yield piece
            # Astropy's units leave cycles that hold a piece's arrays, too few of them for the collector to wake up by itself.
            gc.collect()

    write_table(path, schema, counted(), row_group=ROW_GROUP)
    log.info("%s", ", ".join(f"{n} stamps in {split}" for split, n in counts.items()))
    return counts


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


def piece_ranges(size: Size) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the split and the places in it of the rows of each piece; a split's last piece alone can be shorter."""
    for split in SPLITS:
        count = getattr(size, split)
        for start in range(0, count, PIECE):
            yield split, np.arange(start, min(start + PIECE, count))


def identity(name: str, split: str, index: NDArray[np.int64], label: NDArray, digits: int) -> dict[str, pa.Array]:
    """Return the columns that name the rows of one split.

    Parameters
    ----------
    name : of the dataset; stamp ids begin with it
    split, index : the rows' places in their split
    label : (n,) 1 for positives
    digits : to which places are padded in the ids
    """
    place = pc.utf8_lpad(pa.array(index).cast(pa.string()), digits, "0")
    return {
        "stamp_id": pc.binary_join_element_wise(f"{name}-{split}", place, "-"),
        "number": pa.array(SPLITS.index(split) * NUMBERS_PER_SPLIT + index),
        "split": repeated(split, len(index)),
        "label": pa.array(np.asarray(label).astype(np.int8)),
    }


def repeated(value: str, count: int) -> pa.Array:
    """Return a column of one text."""
    return pa.repeat(pa.scalar(value), count)
