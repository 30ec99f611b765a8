"""Scores made elsewhere: matched by stamp, refused in words."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkhaloscope.core.tables import Schema, TableError, write_table
from darkhaloscope.detectors import elsewhere
from darkhaloscope.detectors.elsewhere import import_scores
from darkhaloscope.detectors.schema import SCORES, score_columns
from unit.text_types import BYTES_TYPES, TEXT_TYPES, retyped

N = 6
IDS = [f"{i:03d}" for i in range(N)]  # text, though a CSV's reader would take them for numbers


@pytest.fixture
def shards(tmp_path):
    schema = Schema("stamps", SCORES.columns[len(score_columns()) :])
    blank = {"string": "x", "bool": False}
    columns = {c.name: [blank.get(c.dtype, 0)] * N for c in schema.columns} | {"stamp_id": IDS, "label": [0, 1] * (N // 2)}
    table = schema.table(columns)
    for k, part in enumerate((table.slice(0, 4), table.slice(4))):
        write_table(tmp_path / f"{k}.parquet", schema, part)
    return [tmp_path / "0.parquet", tmp_path / "1.parquet"]


def test_scores_reach_their_stamps_whatever_the_order_and_the_format(tmp_path, shards):
    score = np.linspace(0, 1, N)
    (tmp_path / "mine.csv").write_text(
        "score,stamp_id,note\n" + "".join(f"{s},{i},x\n" for i, s in reversed([*zip(IDS, score, strict=True), ("other", 0.3)]))
    )
    pq.write_table(pa.table({"stamp_id": IDS[::-1], "score": score[::-1].astype(np.float32)}), tmp_path / "mine.parquet")
    for name, kind in (TEXT_TYPES | BYTES_TYPES).items():
        pq.write_table(retyped(pq.read_table(tmp_path / "mine.parquet"), kind), tmp_path / f"{name}.parquet")
    for name in ("mine.csv", "mine.parquet", *(f"{name}.parquet" for name in TEXT_TYPES | BYTES_TYPES)):
        table = SCORES.table(import_scores(tmp_path / name, shards, dataset="d", detector="mine"))
        assert table["stamp_id"].to_pylist() == IDS and np.allclose(table["score"].to_numpy(), score)
        assert set(table["detector"].to_pylist()) == {"mine"} and set(table["seed"].to_pylist()) == {0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["cannot be read", "stamp_id"]),
        ("<!DOCTYPE html><html><title>Sign in</title></html>", ["give a Parquet, CSV or FITS table with columns `stamp_id`"]),
        ("stamp_id,score\n" + "".join(f"{i},0.5\n" for i in IDS[:-1]), ["no score for 1 of the 6", "005"]),
        ("stamp_id,score\n" + "".join(f"{i},0.5\n" for i in [*IDS, "000"]), ["give each stamp once"]),
        ("stamp_id,score\n" + "".join(f"{i},{3 if i == '002' else 0.5}\n" for i in IDS), ["no probabilities", "002", "sigmoid"]),
        ("stamp_id,score\n" + "".join(f"{i},{'nan' if i == '002' else 0.5}\n" for i in IDS), ["no probabilities", "002"]),
        ("stamp_id,score\n" + "".join(f"{i},high\n" for i in IDS), ["cannot be read", "high"]),
        ("stamp_id,score\n" + "".join(f"{i},0.5,\n" for i in IDS), ["cannot be read", "Expected 2 columns, got 3"]),
        ("stamp_id,score,score\n" + "".join(f"{i},0.5,0.6\n" for i in IDS), ["column score comes twice", "rename or drop one"]),
        ("stamp_id;score\n" + "".join(f"{i};0.5\n" for i in IDS), ["expected columns stamp_id and score", "stamp_id;score"]),
    ],
)
def test_a_damaged_table_is_refused_in_words(tmp_path, shards, text, words):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(TableError) as error:
        import_scores(tmp_path / "mine.csv", shards, dataset="d", detector="mine")
    assert all(word in str(error.value) for word in ["mine.csv", *words])


def test_ids_that_look_like_nothing_or_like_numbers_are_ids(tmp_path):
    (tmp_path / "mine.csv").write_text("stamp_id,score\nNA,0.1\nnull,0.2\n007,0.3\n7,0.4\n")
    ids, scores = elsewhere._read(tmp_path / "mine.csv")
    assert ids.to_pylist() == ["NA", "null", "007", "7"] and scores.to_pylist() == [0.1, 0.2, 0.3, 0.4]


def test_a_missing_and_a_truncated_table_are_named(tmp_path, shards):
    with pytest.raises(TableError, match="this is a folder, expected one file; .* its parts joined"):
        import_scores(tmp_path, shards, dataset="d", detector="mine")
    with pytest.raises(TableError, match=r"none\.csv: this table of scores does not exist"):
        import_scores(tmp_path / "none.csv", shards, dataset="d", detector="mine")
    pq.write_table(pa.table({"stamp_id": IDS, "score": np.full(N, 0.5)}), tmp_path / "cut.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "cut.parquet").read_bytes()[:100])
    with pytest.raises(TableError, match=r"cut\.parquet: cannot be read"):
        import_scores(tmp_path / "cut.parquet", shards, dataset="d", detector="mine")
