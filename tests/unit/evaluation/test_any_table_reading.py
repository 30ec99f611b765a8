"""Tables of scores made elsewhere that cannot be used, and ids that must not fall together: said in words with file and remedy."""

import gzip
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkhaloscope.config.experiment import ScoresTable
from darkhaloscope.config.subhalo import Psf
from darkhaloscope.core.rates import EvaluationError
from darkhaloscope.core.tables import TableError
from darkhaloscope.evaluation.any_table import open_scores, open_settings
from darkhaloscope.lensing.observe import PsfError, psf_kernel
from darkhaloscope.tasks.imported.shard import table_files
from unit.damages import POINTER, WEB_PAGE
from unit.text_types import BYTES_TYPES, TEXT_TYPES, retyped

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
        (TABLE.append_column("Label", pa.array([1, 0])), "columns label and Label could both be label; name the right one as `label`"),
        (TABLE.append_column("SCORE", pa.array([1, 0])), "columns score and SCORE could both be score"),
        (
            TABLE.set_column(0, "stamp_id", pa.array([["a"], ["b"]])),
            r"column `stamp_id` .*holds list<.*, expected one value in each row",
        ),
        (
            TABLE.set_column(1, "label", pa.array([{"is": 0}, {"is": 1}])),
            r"column `label` .*holds struct<.*, expected one value in each row",
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


def test_what_stamps_have_as_text_is_text_in_a_csv_under_a_name_of_its_own_too(tmp_path):
    rows = ["a,0,0.1,01,007,NA\n", "b,0,0.2,1,7,1e3\n", "c,1,0.3,,7.0,null\n"]
    (tmp_path / "scores.csv").write_text("stamp_id,label,score,kind,galaxy_id,MangaID\n" + "".join(rows))
    table = open_scores(tmp_path / "scores.csv", {"contaminant_class": "kind"})
    assert table.column("contaminant_class").to_pylist() == ["01", "1", None]
    assert table.column("galaxy_id").to_pylist() == ["007", "7", "7.0"]
    assert table.column("physical_id").to_pylist() == ["NA", "1e3", "null"]


def test_a_misspelt_name_of_ours_is_not_passed_over(tmp_path):
    """The table's own score would be judged in place of the one that was meant."""
    pq.write_table(TABLE.append_column("p2", pa.array([0.9, 0.1])), tmp_path / "scores.parquet")
    with pytest.raises(
        EvaluationError, match=r"scores\.parquet: `scores\.columns` names a column for scroe \(nearest: `score`\), and nothing uses"
    ):
        open_settings(ScoresTable(table=str(tmp_path / "scores.parquet"), columns={"scroe": "p2"}))
    surfaces = {"surfaces": [["mine", "score"]]}
    open_settings(ScoresTable(table=str(tmp_path / "scores.parquet"), columns={"mine": "p2"}, evaluation=surfaces))


def test_a_column_twice_in_a_csv_is_refused(tmp_path):
    (tmp_path / "scores.csv").write_text("stamp_id,label,score,score\na,0,0.1,0.2\nb,1,0.9,0.8\n")
    with pytest.raises(EvaluationError, match=r"scores\.csv: column score comes twice"):
        open_scores(tmp_path / "scores.csv")


def test_lists_that_nobody_asks_for_are_left_out_and_told(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("darkhaloscope"), "propagate", True)
    pq.write_table(TABLE.append_column("embedding", pa.array([[1.0], [2.0]])), tmp_path / "scores.parquet")
    assert "embedding" not in open_scores(tmp_path / "scores.parquet").column_names
    assert "columns embedding hold several values in a row, and are left out" in caplog.text


@pytest.mark.parametrize(
    ("ra", "told"),
    [
        (["10:00:00", "11:00:00"], "column `ra` holds .*, expected degrees"),
        ([-99.0, 150.0], "column `ra` holds -99 in 1 rows, expected degrees from 0 to 360; leave empty what is not known"),
    ],
)
def test_positions_that_are_none_are_refused_where_clusters_are_made_of_them(tmp_path, ra, told):
    table = TABLE.append_column("ra", pa.array(ra)).append_column("dec", pa.array([1.0, 2.0]))
    pq.write_table(table, tmp_path / "scores.parquet")
    with pytest.raises(EvaluationError, match=rf"scores\.parquet: {told}"):
        open_settings(ScoresTable(table=str(tmp_path / "scores.parquet")))
    pq.write_table(table.append_column("region_id", pa.array([1, 2])), tmp_path / "scores.parquet")
    open_settings(ScoresTable(table=str(tmp_path / "scores.parquet")))


@pytest.mark.parametrize("kind", [*TEXT_TYPES.values(), *BYTES_TYPES.values()], ids=[*TEXT_TYPES, *BYTES_TYPES])
def test_text_is_text_in_whatever_type_it_was_written(tmp_path, kind):
    words = {"label": ["no", "yes"], "split": ["val", "test"], "contaminant_class": ["ring", None], "brickname": ["1506p005", "1508p005"]}
    table = pa.table({"stamp_id": ["a", "ä"], **words, "score": [0.1, 0.9]})
    pq.write_table(table, tmp_path / "plain.parquet")
    pq.write_table(retyped(table, kind), tmp_path / "other.parquet")
    plain, other = (open_scores(tmp_path / f"{name}.parquet") for name in ("plain", "other"))
    assert other.column_names == plain.column_names
    for name in plain.column_names:
        assert other.column(name).to_pylist() == plain.column(name).to_pylist()
        assert other.filter(pa.chunked_array([[False, True]])).column(name).to_pylist() == plain.column(name).to_pylist()[1:]


def test_ids_of_bytes_that_are_no_text_stay_bytes(tmp_path):
    ids = [b"\xff\x00\x01", b"\xfe\x80\x02"]
    pq.write_table(TABLE.drop_columns("stamp_id").append_column("stamp_id", pa.array(ids)), tmp_path / "scores.parquet")
    assert open_scores(tmp_path / "scores.parquet").column("stamp_id").to_pylist() == ids
    pq.write_table(TABLE.drop_columns("stamp_id").append_column("Uid", pa.array(ids)), tmp_path / "scores.parquet")
    assert open_scores(tmp_path / "scores.parquet", {"stamp_id": "Uid"}).column("stamp_id").to_pylist() == ids


def test_bytes_are_told_and_those_that_are_no_text_refused(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("darkhaloscope"), "propagate", True)
    pq.write_table(TABLE.append_column("thumbnail", pa.array([b"\xff", b"\xfe"])), tmp_path / "scores.parquet")
    assert "thumbnail" not in open_scores(tmp_path / "scores.parquet").column_names
    assert "columns thumbnail hold bytes, and are left out" in caplog.text
    pq.write_table(TABLE.append_column("split", pa.array([b"\xff", b"test"])), tmp_path / "scores.parquet")
    with pytest.raises(TableError, match=r"scores\.parquet: column `split` holds binary, expected string by its name"):
        open_scores(tmp_path / "scores.parquet")


CLASSES = pa.array(["ring", None])


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (CLASSES, pa.nulls(2), ["ring", None, None, None]),
        (pa.nulls(2), CLASSES, [None, None, "ring", None]),
        (CLASSES, CLASSES.cast(pa.large_string()), ["ring", None, "ring", None]),
        (CLASSES.dictionary_encode(), CLASSES, ["ring", None, "ring", None]),
        (pa.array([1, 2], pa.int32()), pa.array([1.5, 2**40]), [1.0, 2.0, 1.5, 2.0**40]),
    ],
)
def test_parts_of_a_table_may_hold_a_column_as_different_types(tmp_path, one, other, found):
    for name, column, start in (("a", one, 0), ("b", other, 2)):
        ids = pa.array([f"{k}" for k in range(start, start + 2)])
        pq.write_table(TABLE.set_column(0, "stamp_id", ids).append_column("contaminant_class", column), tmp_path / f"{name}.parquet")
    assert open_scores(tmp_path).column("contaminant_class").to_pylist() == found


def test_a_part_that_holds_something_else_is_named(tmp_path):
    pq.write_table(TABLE, tmp_path / "a.parquet")
    pq.write_table(TABLE.set_column(1, "label", pa.array(["true", "false"])), tmp_path / "b.parquet")
    with pytest.raises(
        TableError, match=r"b\.parquet: column `label` holds string, expected int64 by its name or by the other files of its folder"
    ):
        open_scores(tmp_path)


def test_no_part_of_a_table_is_passed_over_for_its_ending_or_place(tmp_path):
    folder, elsewhere = tmp_path / "table", tmp_path / "elsewhere"
    (folder / "b.parquet").mkdir(parents=True)
    elsewhere.mkdir()
    (folder / "linked").symlink_to(elsewhere)
    for k, path in enumerate((folder / "a.pq", folder / "A.PARQUET", folder / "b.parquet" / "part-0.parquet", elsewhere / "c.parquet")):
        pq.write_table(TABLE.set_column(0, "stamp_id", pa.array([f"{k}a", f"{k}b"])), path)
    assert sorted(open_scores(folder).column("stamp_id").to_pylist()) == [f"{k}{x}" for k in range(4) for x in "ab"]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_csv_without_commas_is_refused_by_its_header(tmp_path, separator, decimal):
    rows = (["stamp_id", "label", "score"], ["a", "0", f"0{decimal}1"], ["b", "1", f"0{decimal}9"])
    (tmp_path / "scores.csv").write_text("".join(f"{separator.join(row)}\n" for row in rows))
    with pytest.raises(
        EvaluationError, match=r"scores\.csv: its first line, `stamp_id.label.score`, has no comma; expected .* save the table"
    ):
        open_scores(tmp_path / "scores.csv")


@pytest.mark.parametrize("note", ['"x', '5" x', "x"])
def test_a_quote_without_an_end_takes_no_rows_with_it(tmp_path, note):
    rows = [f"{i},{i % 2},0.{i},{note if i == 3 else 'x'}\n" for i in range(9)]
    (tmp_path / "scores.csv").write_text("stamp_id,label,score,note\n" + "".join(rows))
    if note.startswith('"'):
        with pytest.raises(
            EvaluationError, match=r"scores\.csv: not a readable table \(9 lines below the header give 4 rows, .*a quote has no end"
        ):
            open_scores(tmp_path / "scores.csv")
    else:
        assert open_scores(tmp_path / "scores.csv").num_rows == 9


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_spaces_about_names_and_empty_lines_are_nothing(tmp_path, end):
    (tmp_path / "scores.csv").write_bytes(end.join(["stamp_id, label , score", "a, 0, 0.1", "", "b, 1, 0.9", "", ""]).encode())
    table = open_scores(tmp_path / "scores.csv")
    assert table.column("label").to_pylist() == [0, 1] and table.column("score").to_pylist() == [0.1, 0.9]


def test_utf_16_and_what_stands_in_the_place_of_a_table_are_called_so(tmp_path):
    (tmp_path / "scores.csv").write_text("stamp_id,label,score\na,0,0.1\nb,1,0.9\n", encoding="utf-16")
    with pytest.raises(EvaluationError, match=r"scores\.csv: not UTF-8 but UTF-16"):
        open_scores(tmp_path / "scores.csv")
    for name in ("scores.csv", "scores.parquet"):
        for content, what in ((POINTER, "it is a Git LFS pointer; `git lfs pull` fetches the file itself"), (WEB_PAGE, "it is a web page")):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(EvaluationError, match=what):
                open_scores(tmp_path / name)


def test_words_that_a_categorical_names_and_no_row_has_are_no_labels(tmp_path):
    kinds = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["no", "yes", "unknown"]))
    pq.write_table(TABLE.set_column(1, "label", kinds), tmp_path / "scores.parquet")
    assert open_scores(tmp_path / "scores.parquet").column("label").to_pylist() == [0, 1]


@pytest.mark.parametrize("words", [("0.0", "1.0"), ("0.", "1.00"), ("00", "+1"), ("F", " T ")])
def test_labels_written_as_text_are_what_they_say(tmp_path, words):
    pq.write_table(TABLE.set_column(1, "label", pa.array(words)), tmp_path / "scores.parquet")
    assert open_scores(tmp_path / "scores.parquet").column("label").to_pylist() == [0, 1]


def test_splits_may_have_spaces_about_them(tmp_path):
    pq.write_table(TABLE.append_column("split", pa.array([" test", "Val "])), tmp_path / "s.parquet")
    assert open_scores(tmp_path / "s.parquet").column("split").to_pylist() == ["test", "validation"]


def test_parts_of_a_folder_are_read_whatever_their_ending_and_other_files_are_told(tmp_path, caplog):
    for k, name in enumerate(("a.parquet", "b.PARQUET", "c.pq")):
        pq.write_table(TABLE.set_column(0, "stamp_id", pa.array([f"{k}a", f"{k}b"])), tmp_path / name)
    (tmp_path / "more.csv").write_text("stamp_id,label,score\n")
    assert open_scores(tmp_path).num_rows == 6
    assert "1 files that are no Parquet are passed over, such as more.csv" in caplog.text


def test_a_part_to_which_links_lead_again_counts_once(tmp_path):
    """Without a column of ids nothing else would tell."""
    pq.write_table(TABLE.drop_columns("stamp_id"), tmp_path / "a.parquet")
    (tmp_path / "latest.parquet").symlink_to("a.parquet")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "up").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(".")
    assert open_scores(tmp_path).num_rows == 2
    assert table_files(tmp_path) == [tmp_path / "a.parquet"]


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


def test_numbers_that_stand_for_no_measurement_make_no_stratum(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("darkhaloscope"), "propagate", True)
    table = pa.table(
        {
            "stamp_id": [*"abcd"],
            "label": [0, 1, 0, 1],
            "score": [0.1, 0.9, 0.2, 0.8],
            "mag_r": [-99.0, 20.0, 21.0, -999.0],
            "psfdepth_r": [3, -99, 5, 6],
        }
    )
    pq.write_table(table, tmp_path / "scores.parquet")
    opened, _ = open_settings(ScoresTable(table=str(tmp_path / "scores.parquet")))
    assert opened.column("mag_r").to_pylist() == [None, 20.0, 21.0, None]
    assert opened.column("psfdepth_r").to_pylist() == [3, None, 5, 6]
    assert "column mag_r is -99 in 1 rows, -999 in 1 rows, which is taken for no measurement" in caplog.text


def test_positions_in_hours_are_told_where_clusters_are_made_of_them(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("darkhaloscope"), "propagate", True)
    n = np.arange(20)
    table = pa.table({"stamp_id": n, "label": n % 2, "score": n / 20, "ra": n * 1.2, "dec": n * 3.0 - 30})
    pq.write_table(table, tmp_path / "scores.parquet")
    open_settings(ScoresTable(table=str(tmp_path / "scores.parquet")))
    assert "scores.parquet: all of its positions would fit into hours and degrees" in caplog.text


@pytest.mark.parametrize("name", ["scores.csv.gz", "SCORES.CSV.GZ", "Scores.Csv.Gz"])
def test_a_packed_csv_is_read_whatever_the_case_of_its_ending(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b"id,label,score\n007,0,0.1\n008,1,0.9\n"))
    assert open_scores(tmp_path / name).column("stamp_id").to_pylist() == ["007", "008"]
