"""What is seen of a shard of stamps while it is in memory: a small row per stamp, from which its dataset is checked without reading a pixel."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..core.random import stable_hash
from ..core.tables import Column, Schema, images, write_table

#: Stamps whose images are looked at together.
BATCH = 512
#: Rows of a row group: shards are smaller, so that each column is one piece of its file.
ROW_GROUP = 1 << 20
#: Identifiers, kept as hashes of 8 bytes. Columns that need all their digits.
HASHED, EXACT = ("stamp_id", "task_id"), ("ra", "dec")

LOOKED = (
    Column("usable", "bool", "", "Whether the stamp has an image"),
    Column("finite", "bool", "", "Whether its pixels are neither NaN nor infinite; true without an image"),
    Column("digest", "uint64", "", "Hash of the images that no two stamps may share"),
)

Images = Mapping[str, NDArray]


@dataclass(frozen=True)
class Seen:
    """What is seen of the stamps of one task.

    Attributes
    ----------
    scalars : columns of a stamp that are not images: all are kept, in single precision
    images : image columns that are looked at; they must be finite
    digested : those that no two stamps may share
    usable : column that says whether a stamp has an image
    measured : from the dataset to the columns of what is measured on images
    measure : from images and the dataset to those columns
    """

    scalars: Sequence[Column]
    images: Sequence[str]
    digested: Sequence[str]
    usable: str | None = None
    measured: Callable[[Any], tuple[Column, ...]] = lambda dataset: ()
    measure: Callable[[Images, Any], Mapping[str, NDArray]] = lambda pictures, dataset: {}


def seen_schema(seen: Seen, dataset: Any) -> Schema:
    """Return the schema of seen stamps; the metadata `bytes` of a file is the size of its shard of stamps."""
    return Schema("seen stamps", (*map(_small, seen.scalars), *LOOKED, *seen.measured(dataset)))


def write_seen(path: str | os.PathLike, shard: str | os.PathLike, stamps: pa.Table, seen: Seen, dataset: Any) -> None:
    """Write what is seen of a shard's stamps, in their order, once the shard itself is written.

    Parameters
    ----------
    path : the Parquet file to write
    shard : the file of these stamps, of which the size is kept
    stamps : in the task's schema, images included
    seen : of the task, as `tasks.part(dataset.kind, "seen").SEEN`
    dataset : section of the config
    """
    write_table(path, seen_schema(seen, dataset), see(stamps, seen, dataset), row_group=ROW_GROUP, bytes=str(os.path.getsize(shard)))


def see(stamps: pa.Table, seen: Seen, dataset: Any) -> pa.Table:
    """Return a row of `seen_schema` for each of some stamps."""
    schema = seen_schema(seen, dataset)
    parts = [_look(batch, schema, seen, dataset) for batch in stamps.to_batches(max_chunksize=BATCH)]
    return pa.Table.from_batches(parts, schema.arrow()).combine_chunks()


def _look(batch: pa.RecordBatch, schema: Schema, seen: Seen, dataset: Any) -> pa.RecordBatch:
    pictures = {name: images(batch, name) for name in seen.images}
    usable = batch.column(seen.usable).to_numpy(zero_copy_only=False) if seen.usable else np.ones(len(batch), bool)
    complete = np.all([np.isfinite(p.reshape(len(p), -1)).all(1) for p in pictures.values()], axis=0)
    digest = [_digest(pictures[name][i] for name in seen.digested) for i in range(len(batch))]
    looked = {"usable": usable, "finite": complete | ~usable, "digest": digest, **seen.measure(pictures, dataset)}
    scalars = {column.name: _scalar(batch.column(column.name), column) for column in seen.scalars}
    arrays = [scalars[c.name] if c.name in scalars else pa.array(looked[c.name], c.arrow().type) for c in schema.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow())


def _digest(arrays: Iterable[NDArray]) -> int:
    found = hashlib.blake2b(digest_size=8)
    for array in arrays:
        found.update(np.ascontiguousarray(array))
    return int.from_bytes(found.digest(), "little")


def _scalar(values: pa.Array, column: Column) -> pa.Array:
    if column.name in HASHED:
        return pa.array([stable_hash(text) for text in values.to_pylist()], pa.uint64())
    return values.cast(_small(column).arrow().type)


def _small(column: Column) -> Column:
    if column.name in HASHED:
        return replace(column, dtype="uint64", description=f"{column.description}; its hash")
    if column.dtype == "bool" and column.nullable:
        return replace(column, dtype="int8")  # pandas has no missing truths
    return replace(column, dtype="float32") if column.dtype == "float64" and column.name not in EXACT else column
