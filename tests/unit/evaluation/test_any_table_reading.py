"""Tables of scores made elsewhere that cannot be used, and ids that must not fall together: said in words with file and remedy."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkhaloscope.config.subhalo import Psf
from darkhaloscope.core.rates import EvaluationError
from darkhaloscope.evaluation.any_table import open_scores
from darkhaloscope.lensing.observe import PsfError, psf_kernel

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
