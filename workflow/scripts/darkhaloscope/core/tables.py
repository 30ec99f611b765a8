"""Parquet tables with one declared schema each: name, type, unit and meaning of every column."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .files import whole
from .reading import UNREADABLE, words

log = logging.getLogger("darkhaloscope")

#: How the names of Parquet files end, in whatever case.
PARQUET = (".parquet", ".pq")


class TableError(ValueError):
    """A table does not have the schema that is expected; the message names file and column."""


@dataclass(frozen=True)
class Column:
    """One column: `shape` is set for images, which are fixed-shape tensors."""

    name: str
    dtype: str
    unit: str
    description: str
    shape: tuple[int, ...] | None = None
    nullable: bool = False

    def arrow(self) -> pa.Field:
        """Return the Arrow field, unit and description in its metadata."""
        kind = pa.type_for_alias(self.dtype)
        if self.shape is not None:
            kind = pa.fixed_shape_tensor(kind, self.shape)
        return pa.field(self.name, kind, nullable=self.nullable, metadata={"unit": self.unit, "description": self.description})


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in order."""

    name: str
    columns: tuple[Column, ...]

    def arrow(self, metadata: Mapping[str, str] | None = None) -> pa.Schema:
        """Return the Arrow schema."""
        return pa.schema([c.arrow() for c in self.columns], metadata={"table": self.name, **(metadata or {})})

    def table(self, data: Mapping[str, object]) -> pa.Table:
        """Return an Arrow table from columns of values or arrays (images as (n, …) arrays)."""
        missing = [c.name for c in self.columns if c.name not in data]
        extra = [k for k in data if k not in {c.name for c in self.columns}]
        if missing or extra:
            raise TableError(f"{self.name}: columns missing {missing}, columns unknown {extra}")
        arrays = [_array(c, data[c.name]) for c in self.columns]
        return pa.Table.from_arrays(arrays, schema=self.arrow())

    def check(self, found: pa.Schema, path: str | os.PathLike) -> None:
        """Raise `TableError` unless `found` has every column with its type."""
        for column in self.columns:
            index = found.get_field_index(column.name)
            if index < 0:
                raise TableError(
                    f"{path}: column `{column.name}` ({column.description}) is missing from this {self.name} table; make the file again with the stage that writes it"
                )
            want, got = column.arrow().type, found.field(index).type
            if got != want:
                raise TableError(
                    f"{path}: column `{column.name}` of this {self.name} table is {got}, expected {want}; make the file again with the stage that writes it"
                )


def _array(column: Column, values: object) -> pa.Array:
    if column.shape is not None:
        data = np.ascontiguousarray(values, dtype=pa.type_for_alias(column.dtype).to_pandas_dtype())
        if data.shape[1:] != column.shape:
            raise TableError(f"column `{column.name}` holds images of shape {data.shape[1:]}, expected {column.shape}")
        kind = column.arrow().type
        storage = pa.FixedSizeListArray.from_arrays(pa.array(data.reshape(-1)), int(np.prod(column.shape)))
        return pa.ExtensionArray.from_storage(kind, storage.cast(kind.storage_type))
    array = pa.array(values, type=pa.type_for_alias(column.dtype), from_pandas=column.nullable)
    if not column.nullable and array.null_count:
        raise TableError(f"column `{column.name}` has {array.null_count} missing values, and none are allowed")
    return array


def write_table(
    path: str | os.PathLike, schema: Schema, batches: Iterable[pa.Table] | pa.Table, *, row_group: int = 1024, **metadata: str
) -> None:
    """Write tables of one schema into one Parquet file, whole; bytes depend on the rows alone."""
    if isinstance(batches, pa.Table):
        batches = [batches]
    arrow = schema.arrow(metadata)
    with (
        whole(path) as temporary,
        pq.ParquetWriter(temporary, arrow, compression="zstd", compression_level=1, **_encodings(schema)) as writer,
    ):
        for batch in batches:
            writer.write_table(batch.replace_schema_metadata(arrow.metadata), row_group_size=row_group)


def _encodings(schema: Schema) -> dict[str, list[str]]:
    """Return how columns are encoded: floats have no values in common, but bytes of equal place that are alike.

    A seventh smaller than with a dictionary, decoded a third faster, and written in half the time.
    """
    leaf = {c.name: c.name if c.shape is None else f"{c.name}.list.element" for c in schema.columns}
    floats = [leaf[c.name] for c in schema.columns if c.dtype.startswith("float")]
    return {"use_dictionary": [name for name in leaf.values() if name not in floats], "use_byte_stream_split": floats}


def open_table(path: str | os.PathLike, schema: Schema) -> pq.ParquetFile:
    """Open a Parquet file and check it against its schema.

    Raises
    ------
    TableError
        The file is missing, not Parquet, or has a wrong column.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: this {schema.name} table does not exist; ask snakemake for it by this path")
    with parquet_errors(path):
        file = pq.ParquetFile(path)
    schema.check(file.schema_arrow, path)
    return file


def read_table(path: str | os.PathLike, schema: Schema, columns: list[str] | None = None) -> pa.Table:
    """Read a table, or some columns of it, after checking its schema."""
    with parquet_errors(path), open_table(path, schema) as file:
        return file.read(columns=columns)


def read_columns(path: str | os.PathLike, columns: list[str] | None = None, *, as_categories: Sequence[str] = ()) -> pa.Table:
    """Read columns of a table whose schema was checked before, or has no need of it; errors as `open_table`."""
    with parquet_errors(path):
        return pq.read_table(path, columns=columns, read_dictionary=list(as_categories) or None)


@contextmanager
def parquet_errors(path: str | os.PathLike) -> Iterator[None]:
    """Give what Arrow raises while a Parquet file is opened or read as a `TableError`: damage shows at either."""
    try:
        yield
    except TableError:
        raise
    except UNREADABLE as error:
        raise TableError(f"{path}: not a readable Parquet file ({words(error, path)}); delete it and run again") from error


def parquet_files(folder: str | os.PathLike) -> list[Path]:
    """Return the Parquet files of a table that is a folder, linked folders included, in the order of their names.

    Names that begin with `_` or `.` are passed over, as Spark, Dask and Arrow do: what a dead job left in `_temporary`, and what
    macOS and editors leave. Other files are, too, and the log names them. What links lead to once more counts once. An empty folder that is
    called as a file counts as one: no reader takes it.

    Raises
    ------
    TableError
        Files lie in folders of a partition (`split=test`), whose values are in no file; or a folder cannot be read.
    """
    top, found, others = Path(folder), [], []
    seen = {os.path.realpath(top)}

    def first_time(path: Path) -> bool:
        """Whether no other name has led there: a link to a folder above it would give its files again and again."""
        place = os.path.realpath(path)
        new = place not in seen
        seen.add(place)
        return new

    def refuse(error: OSError) -> None:
        raise TableError(
            f"{error.filename}: a folder of the table {folder} cannot be read ({error.strerror}), expected all of its parts; check its permissions"
        ) from error

    for here, folders, files in os.walk(top, followlinks=True, onerror=refuse):
        where = Path(here)
        if where != top and here.lower().endswith(PARQUET) and not folders and not files:
            found.append(where)
        folders[:] = [name for name in folders if not name.startswith(("_", ".")) and first_time(where / name)]
        shown = [name for name in files if not name.startswith(("_", "."))]
        found += [where / name for name in sorted(shown) if name.lower().endswith(PARQUET) and first_time(where / name)]
        others += [where / name for name in shown if not name.lower().endswith(PARQUET)]
    partition = next((f.parent.relative_to(top) for f in sorted(found) if "=" in str(f.parent.relative_to(top))), None)
    if partition is not None:
        raise TableError(
            f"{folder}: its parts lie in folders of a partition, such as {partition}, whose values are in no file; "
            "expected all columns in the files: write the table without partitions"
        )
    if others:
        log.warning("%s: %d files that are no Parquet are passed over, such as %s", folder, len(others), min(others).name)
    return sorted(found)


def ordinary(kind: pa.DataType) -> pa.DataType:
    """Return the type with the same values as a view of text or bytes, which Arrow neither takes, filters nor compares; others as they are."""
    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)


def images(table: pa.Table, name: str) -> np.ndarray:
    """Return an image column as an (n, …) array."""
    column = table.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # an empty or still chunked column
        chunks = [tensors(c) for c in column.chunks]
        return np.concatenate(chunks) if chunks else np.empty((0, *column.type.shape), column.type.value_type.to_pandas_dtype())
    return tensors(column)


def tensors(column: pa.FixedShapeTensorArray) -> np.ndarray:
    """Return a column of tensors as an (n, …) array; those whose axes are permuted, too, which pyarrow 26 reads with wrong strides."""
    order = column.type.permutation
    if order is None:
        return column.to_numpy_ndarray()
    flat = column.storage.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), *column.type.shape).transpose(0, *(1 + axis for axis in order))
