"""Tables of scores made elsewhere that cannot be used, and ids that must not fall together: said in words with file and remedy."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkhaloscope.config.subhalo import Psf
from darkhaloscope.core.rates import EvaluationError
from darkhaloscope.core.tables import TableError
from darkhaloscope.evaluation.any_table import open_scores
from darkhaloscope.lensing.observe import PsfError, psf_kernel
from darkhaloscope.tasks.imported.shard import table_files

TABLE = pa.table({"stamp_id": ["a", "b"], "label": [0, 1], "score": [0.1, 0.9]})


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (TABLE.slice(0, 0), "has no rows, expected one for each stamp"),
        (pa.Table.from_arrays([*TABLE.columns, TABLE["score"]], names=[*TABLE.column_names, "score"]), "column score comes twice"),
        (
            TABLE.append_column("calibrated", pa.array(["isotonic"] * 2)),
            "column calibrated holds string, expected calibrated probabilities",
        ),
        (TABLE.set_column(2, "score", pa.array([[0.1], [0.9]])), "holds list<element: double>, expected one value in each row"),
        (
            pa.concat_tables([TABLE.append_column("split", pa.array([split] * 2)) for split in ("validation", "test")]),
            "2 stamp_ids are in more than one split, expected each in one",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, table, told):
    pq.write_table(table, tmp_path / "scores.parquet")
    with pytest.raises(EvaluationError, match=rf"scores\.parquet: .*{told}"):
        open_scores(tmp_path / "scores.parquet")


@pytest.mark.parametrize("column", ["stamp_id", "TARGETID"])
@pytest.mark.parametrize("ids", [[str(2**63 + i) for i in range(4)], ["007", "7", "7.0", "1e1"], ["NA", "null", "N/A", "nan"]])
def test_ids_in_a_csv_stay_what_they_are(tmp_path, column, ids):
    (tmp_path / "ids.csv").write_text(f"{column},label,score\n" + "".join(f"{n},{i % 2},0.{i}\n" for i, n in enumerate(ids)))
    assert open_scores(tmp_path / "ids.csv", {"stamp_id": column}).column("stamp_id").to_pylist() == ids


def test_classes_in_a_csv_keep_their_names_and_an_empty_cell_is_missing(tmp_path):
    rows = ["a,0,0.1,NA\n", "b,0,0.2,null\n", "c,1,0.3,\n", ",1,0.4,007\n"]
    (tmp_path / "scores.csv").write_text("stamp_id,label,score,contaminant_class\n" + "".join(rows))
    table = open_scores(tmp_path / "scores.csv")
    assert table.column("contaminant_class").to_pylist() == ["NA", "null", None, "007"]
    assert table.column("stamp_id").to_pylist() == ["a", "b", "c", None]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_csv_without_commas_is_refused_by_its_header(tmp_path, separator, decimal):
    rows = (["stamp_id", "label", "score"], ["a", "0", f"0{decimal}1"], ["b", "1", f"0{decimal}9"])
    (tmp_path / "scores.csv").write_text("".join(f"{separator.join(row)}\n" for row in rows))
    with pytest.raises(
        EvaluationError, match=r"scores\.csv: its first line, `stamp_id.label.score`, has no comma; expected .* save the table"
    ):
        open_scores(tmp_path / "scores.csv")


@pytest.mark.parametrize("order", [["label", "Label"], ["Label", "label"]])
def test_a_column_by_its_very_name_comes_before_one_in_capitals(tmp_path, order):
    columns = {"label": [0, 1], "Label": [1, 0]}
    pq.write_table(
        pa.table({"stamp_id": ["a", "b"], **{name: columns[name] for name in order}, "score": [0.1, 0.9]}), tmp_path / "s.parquet"
    )
    assert open_scores(tmp_path / "s.parquet").column("label").to_pylist() == [0, 1]


def test_splits_may_have_spaces_about_them(tmp_path):
    pq.write_table(TABLE.append_column("split", pa.array([" test", "Val "])), tmp_path / "s.parquet")
    assert open_scores(tmp_path / "s.parquet").column("split").to_pylist() == ["test", "validation"]


def test_parts_of_a_folder_are_read_whatever_their_ending_and_other_files_are_told(tmp_path, caplog):
    for k, name in enumerate(("a.parquet", "b.PARQUET", "c.pq")):
        pq.write_table(TABLE.set_column(0, "stamp_id", pa.array([f"{k}a", f"{k}b"])), tmp_path / name)
    (tmp_path / "more.csv").write_text("stamp_id,label,score\n")
    assert open_scores(tmp_path).num_rows == 6
    assert "1 files that are no Parquet are passed over, such as more.csv" in caplog.text


def test_parts_by_partition_are_refused(tmp_path):
    """The folders' names are the only place where the split is: all parts would be read as test."""
    for split in ("test", "train"):
        (tmp_path / f"split={split}").mkdir()
        pq.write_table(TABLE, tmp_path / f"split={split}/part-0.parquet")
    with pytest.raises(
        TableError, match="folders of a partition, such as split=test, .*expected all columns in the files: write the table"
    ):
        open_scores(tmp_path)
    with pytest.raises(TableError, match="folders of a partition"):
        table_files(tmp_path)


def test_parts_have_one_type_for_a_column(tmp_path):
    """A part without a value in a column has it without a type, and writers narrow numbers part by part."""
    for k, (grades, numbers) in enumerate([([None, None], pa.array([1.0, 2.0], "f4")), (["A", "B"], pa.array([3.0, 4.0], "f8"))]):
        more = {"grade": pa.array(grades), "theta_e": numbers}
        pq.write_table(pa.table({"stamp_id": [f"{k}a", f"{k}b"], "label": [0, 1], "score": [0.1, 0.9], **more}), tmp_path / f"{k}.parquet")
    table = open_scores(tmp_path)
    assert table.column("grade").to_pylist() == [None, None, "A", "B"]
    assert table.column("theta_e_arcsec").to_pylist() == [1, 2, 3, 4]
    pq.write_table(TABLE.set_column(0, "stamp_id", pa.array([1, 2])), tmp_path / "0.parquet")
    pq.write_table(TABLE, tmp_path / "1.parquet")
    with pytest.raises(EvaluationError, match="other types in one part than in another .*stamp_id.*, expected one; write the table again"):
        open_scores(tmp_path)


def test_a_comma_at_the_end_of_a_row_shifts_no_column(tmp_path):
    (tmp_path / "scores.csv").write_text("stamp_id,label,score\na,0,0.1,\nb,1,0.9,\n")
    with pytest.raises(EvaluationError, match=r"scores\.csv: not a readable table .*Expected 3 columns, got 4"):
        open_scores(tmp_path / "scores.csv")


@pytest.mark.parametrize("name", ["kernel.fits", "kernel.npy"])
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html></html>", b"SIMPLE  ="])
def test_a_kernel_that_is_none_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PsfError, match=rf"{name} cannot be read .*expected a \.npy or FITS image"):
        psf_kernel(Psf(kind="kernel", kernel=str(tmp_path / name)), 0.1)


def test_a_kernel_of_text_is_named(tmp_path):
    np.save(tmp_path / "kernel.npy", np.array([["a", "b"]]))
    with pytest.raises(PsfError, match="cannot be read"):
        psf_kernel(Psf(kind="kernel", kernel=str(tmp_path / "kernel.npy")), 0.1)
