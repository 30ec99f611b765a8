"""A table whose columns are read when they are asked for, and not kept: twelve million rows fit into little memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..core.tables import TableError, parquet_errors

#: Rows that are read at a time.
BATCH = 1 << 20

#: Yields the pieces of one column, in the order of the rows.
Pieces = Callable[[], Iterator[pa.Array]]


@dataclass(frozen=True, eq=False)
class LazyTable:
    """The part of `pyarrow.Table` that evaluation needs, over columns that are read anew at each call.

    Attributes
    ----------
    pieces : mapping of str to callable
        For each column, what yields its pieces.
    n : int
        Rows of the file.
    keep : (n,) bool, optional
        Rows that the table has; all where it is None.
    """

    pieces: Mapping[str, Pieces]
    n: int
    keep: NDArray[np.bool_] | None = None

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        return list(self.pieces)

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return self.n if self.keep is None else int(self.keep.sum())

    def column(self, name: str) -> pa.ChunkedArray:
        """Read one column."""
        chunks, start = [], 0
        for piece in self.pieces[name]():
            stop = start + len(piece)
            chunks.append(piece if self.keep is None else piece.filter(pa.array(self.keep[start:stop])))
            start = stop
        return pa.chunked_array(chunks)

    def filter(self, mask: pa.ChunkedArray) -> LazyTable:
        """Return the table of the rows where `mask` is true."""
        mask = np.asarray(mask.fill_null(False))
        if mask.all():
            return self
        if self.keep is None:
            return LazyTable(self.pieces, self.n, mask)
        keep = self.keep.copy()
        keep[keep] = mask
        return LazyTable(self.pieces, self.n, keep)


def parquet_pieces(paths: Sequence[str | os.PathLike], name: str, categories: bool = True, kind: pa.DataType | None = None) -> Pieces:
    """Return what reads one column of Parquet files piece by piece, text as categories unless that is unwanted; as `kind` where the files have other types."""

    def read() -> Iterator[pa.Array]:
        for path in paths:
            with parquet_errors(path), pq.ParquetFile(path, read_dictionary=[name] if categories else None) as file:
                for batch in file.iter_batches(batch_size=BATCH, columns=[name]):
                    piece = batch.column(0) if kind is None else _as(batch.column(0), kind, path, name)
                    yield piece.dictionary_encode() if categories and piece.type == pa.string() else piece

    return read


def _as(piece: pa.Array, kind: pa.DataType, path: str | os.PathLike, name: str) -> pa.Array:
    plain = piece.dictionary_decode() if pa.types.is_dictionary(piece.type) else piece
    try:
        return plain.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TableError(
            f"{path}: column `{name}` holds {plain.type}, expected {kind} by its name or by the other files of its folder ({error}); write it so in all of them"
        ) from error


def table_pieces(table: pa.Table, name: str, categories: bool = True) -> Pieces:
    """Return what yields one column of a table in memory, as it is."""
    return lambda: iter(table.column(name).chunks)
