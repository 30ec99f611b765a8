"""Tables: schemas in files, images as tensors, and errors that name the column."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkhaloscope.core.tables import Column, Schema, TableError, images, open_table, read_table, write_table
from darkhaloscope.tasks.subhalo.schema import MANIFEST, scalar_columns, stamp_schema

SCHEMA = Schema(
    "toy",
    (
        Column("name", "string", "", "a name"),
        Column("mass", "float64", "M☉", "a mass", nullable=True),
        Column("image", "float32", "nJy", "an image", shape=(2, 3)),
    ),
)


def rows(n=5):
    image = np.arange(n * 6, dtype=np.float32).reshape(n, 2, 3)
    return {"name": [f"r{i}" for i in range(n)], "mass": [None, *map(float, range(n - 1))], "image": image}


def test_round_trip_keeps_values_units_and_images(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, SCHEMA, SCHEMA.table(rows()), source="test")
    table = read_table(path, SCHEMA)
    np.testing.assert_array_equal(images(table, "image"), rows()["image"])
    assert table["mass"].null_count == 1
    assert table.schema.field("mass").metadata[b"unit"].decode() == "M☉"
    assert table.schema.metadata[b"source"] == b"test"


def test_bytes_do_not_depend_on_how_rows_were_batched(tmp_path):
    whole_table = SCHEMA.table(rows(6))
    write_table(tmp_path / "a", SCHEMA, whole_table)
    write_table(tmp_path / "b", SCHEMA, SCHEMA.table(rows(6)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_wrong_tables_are_refused_by_column(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"name": ["a"], "mass": [1]}), path)
    with pytest.raises(TableError, match=r"column `mass` .* is int64, expected double"):
        read_table(path, SCHEMA)
    pq.write_table(pa.table({"name": ["a"], "mass": [1.0]}), path)
    with pytest.raises(TableError, match="column `image`.*missing"):
        open_table(path, SCHEMA)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(TableError, match="not a readable Parquet file"):
        open_table(path, SCHEMA)
    with pytest.raises(TableError, match="does not exist"):
        open_table(tmp_path / "absent", SCHEMA)


def test_wrong_data_are_refused_before_writing():
    with pytest.raises(TableError, match=r"missing \['image'\]"):
        SCHEMA.table({k: v for k, v in rows().items() if k != "image"})
    with pytest.raises(TableError, match="columns unknown.*extra"):
        SCHEMA.table({**rows(), "extra": [0] * 5})
    with pytest.raises(TableError, match=r"shape \(3, 2\), expected \(2, 3\)"):
        SCHEMA.table({**rows(), "image": np.zeros((5, 3, 2), np.float32)})
    with pytest.raises(TableError, match="`name` has 1 missing"):
        SCHEMA.table({**rows(), "name": ["a", None, "c", "d", "e"]})


def test_every_column_of_the_stamp_tables_is_described_once():
    columns = stamp_schema(48).columns
    assert len({c.name for c in columns}) == len(columns)
    assert all(c.description for c in columns)
    assert {c.name for c in MANIFEST.columns} < {c.name for c in scalar_columns()}
