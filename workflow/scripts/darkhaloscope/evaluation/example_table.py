"""The table of rendered examples: one row per picture, so that pictures of any size stand in one Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..core.files import whole
from ..core.reading import readable
from ..core.tables import TableError

#: Groups of examples: galaxies before lensing, and lenses with and without what is sought.
SOURCE, PAIR = "source", "pair"
#: What the model-based detector makes of the first pair's stamp, in a table of its own.
EVIDENCE = "evidence"
SCHEMA = pa.schema(
    [
        pa.field("group", pa.string(), nullable=False, metadata={"description": "`source`, `pair` or `evidence`"}),
        pa.field("example", pa.int32(), nullable=False, metadata={"description": "Number of the example in its group"}),
        pa.field("caption", pa.string(), nullable=False, metadata={"description": "What the example is"}),
        pa.field("picture", pa.string(), nullable=False, metadata={"description": "What the pixels are: flux, velocity, valid, mask, smooth_flux, perturbed_flux, …"}),
        pa.field("width", pa.int32(), nullable=False, metadata={"description": "Pixels in a row"}),
        pa.field("pixels", pa.list_(pa.float32()), nullable=False, metadata={"description": "The picture, row by row; NaN where there is no value"}),
    ],
    metadata={"table": "examples"},
)  # fmt: skip


def example_table(rows: Iterable[tuple[str, int, str, str, NDArray]]) -> pa.Table:
    """Return a table of (group, example, caption, picture, (h, w) pixels)."""
    groups, numbers, captions, names, pictures = zip(*rows, strict=True) if (rows := list(rows)) else ((),) * 5
    pixels = [np.asarray(p, np.float32) for p in pictures]
    columns = [groups, numbers, captions, names, [p.shape[1] for p in pixels], [p.ravel() for p in pixels]]
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def write_examples(path: str | os.PathLike, table: pa.Table) -> None:
    """Write a table of examples, whole."""
    with whole(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_examples(path: str | os.PathLike, group: str) -> tuple[tuple[str, ...], dict[str, NDArray]]:
    """Return the captions of a group, and its pictures by name, (n, h, w) each.

    Raises
    ------
    TableError
        The file is not such a table.
    """
    with readable(path, "the table of rendered examples", "make it again with rule choose_examples", TableError):
        table = pq.read_table(path)
    if not table.schema.equals(SCHEMA):
        raise TableError(
            f"{path}: expected the columns {', '.join(SCHEMA.names)}, found {', '.join(table.column_names)}; make it again with rule choose_examples"
        )
    seen: set[tuple[int, str]] = set()
    captions: dict[int, str] = {}
    pictures: dict[str, list[NDArray]] = {}
    for row in table.to_pylist():
        if row["group"] == group:
            if (row["example"], row["picture"]) in seen:
                raise TableError(
                    f"{path}: {row['picture']} of example {row['example']} comes twice, expected it once; make it again with rule choose_examples"
                )
            seen.add((row["example"], row["picture"]))
            captions[row["example"]] = row["caption"]
            pictures.setdefault(row["picture"], []).append(np.asarray(row["pixels"], np.float32).reshape(-1, row["width"]))
    return tuple(captions.values()), {name: np.stack(shown) for name, shown in pictures.items()}
