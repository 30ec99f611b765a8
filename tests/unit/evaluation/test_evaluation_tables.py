"""Scores made elsewhere, and the table of a sweep."""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from darkhaloscope.config.experiment import Evaluation, ScoresTable, Stratum
from darkhaloscope.core.rates import EvaluationError
from darkhaloscope.evaluation.any_table import default_clusters, default_surfaces, evaluate_table, open_scores
from darkhaloscope.evaluation.completeness import map_table
from darkhaloscope.evaluation.evaluate import evaluate_network
from darkhaloscope.evaluation.scored import load_seeds
from darkhaloscope.evaluation.sweep import sweep_table


def older(n=200):
    rng = np.random.default_rng(0)
    is_control = np.arange(n) % 2 == 0
    return {
        "task_id": [f"t{i}" for i in range(n)],
        "is_control": is_control,
        "region_split": np.where(np.arange(n) < n // 2, "test", "val"),
        "p_lens": rng.random(n) * np.where(is_control, 0.7, 1.0),
        "theta_e_arcsec": np.where(is_control, 0.0, rng.uniform(0.5, 2.5, n)),
        "stamp_npz": [b"PK"] * n,
    }


def write(path, columns):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, path)
    return path


def test_older_names_are_recognised_and_evaluated(tmp_path):
    table = open_scores(write(tmp_path / "old.parquet", older()))
    assert set(table.column_names[:4]) == {"stamp_id", "label", "score", "split"}
    assert "stamp_npz" not in table.column_names and "theta_e_arcsec" in table.column_names
    assert set(table.column("split").to_pylist()) == {"test", "validation"}
    assert table.column("label").to_pylist()[:2] == [0, 1]
    strata = {"theta_e_arcsec": Stratum(edges=(0.5, 1.5, 2.5), of_positives=True)}
    frames = evaluate_network({("mine", 0): table}, Evaluation(strata=strata, fprs=(0.2,), bootstrap=100))
    assert "tpr_at_validation_fpr" in set(frames["rates"].metric) and frames["information"].empty
    assert set(frames["strata"].n_negatives) == {50}


def test_csv_without_split_is_all_test(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("id,label,prob\n7,1,0.9\n8,0,0.2\n")
    table = open_scores(path)
    stamps = load_seeds({("mine", 0): table}, "mine", "test")["0"]
    assert stamps.ids.to_pylist() == ["7", "8"] and stamps.label.tolist() == [True, False] and stamps.score.tolist() == [0.9, 0.2]


def test_mapping_names_columns(tmp_path):
    columns = older(20) | {"other": np.linspace(0, 1, 20), "seeing": np.ones(20)}
    table = open_scores(write(tmp_path / "x.parquet", columns), {"score": "other", "psf_fwhm_arcsec": "seeing"})
    assert np.asarray(table.column("score")).tolist() == columns["other"].tolist()
    assert "psf_fwhm_arcsec" in table.column_names and "seeing" not in table.column_names
    assert "p_lens" in table.column_names


@pytest.mark.parametrize(
    ("change", "mapping", "words"),
    [
        (lambda c: c.pop("p_lens"), None, "no column for score"),
        (lambda c: c.pop("is_control"), None, "no column for label .*is_control"),
        (lambda c: None, {"score": "nope"}, r"names columns that are not there: nope \(for score\)"),
        (lambda c: c.update(label=c["is_control"].astype(int)), None, "`label` and `is_control` contradict each other"),
        (lambda c: c.update(is_control=np.full(200, 3)), None, "labels must be 0 or 1, but 200 values of `is_control`"),
        (lambda c: c.update(p_lens=["high"] * 200), None, "column `p_lens` holds string, expected numbers"),
        (lambda c: c.update(p_lens=np.full(200, np.nan)), None, "100 scores are missing, NaN or infinite"),
        (lambda c: c.update(task_id=["t1", *c["task_id"][1:]]), None, "appear more than once"),
        (lambda c: c.update(task_id=["same"] * 200), None, "1 stamp_ids are in more than one split"),
        (lambda c: c.update(region_split=["north"] * 200), None, r"no row is of split test or validation \(found: north\)"),
        (
            lambda c: c.update(is_control=np.where(c["is_control"], "control", "lens")),
            None,
            "column `is_control` holds the text 'control', 'lens'; expected true",
        ),
        (
            lambda c: c.update(is_control=np.where(np.arange(200) == 3, np.nan, c["is_control"])),
            None,
            "labels must be 0 or 1, but 1 values of `is_control`",
        ),
        (
            lambda c: c.update(is_control=[None if i == 3 else bool(v) for i, v in enumerate(c["is_control"])]),
            None,
            "but 1 values of `is_control`",
        ),
        (
            lambda c: c.update(region_split=["eval" if i % 4 else "test" for i in range(200)]),
            None,
            "column `region_split` holds `eval` in 150 rows; expected train",
        ),
        (
            lambda c: c.update(region_split=[None if i % 4 else "test" for i in range(200)]),
            None,
            "column `region_split` holds no value in 150 rows",
        ),
        (
            lambda c: c.update(region_split=["" if i % 4 else "test" for i in range(200)]),
            None,
            "column `region_split` holds no value in 150 rows",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, change, mapping, words):
    columns = older()
    change(columns)
    with pytest.raises(EvaluationError, match=words):
        evaluate_network({("mine", 0): open_scores(write(tmp_path / "bad.parquet", columns), mapping)}, Evaluation(strata={}))


@pytest.mark.parametrize("kind", ["true and false", "digits", "yes and no", "a label in words"])
def test_booleans_as_text_are_read_as_what_they_say(tmp_path, kind):
    columns = older()
    words = {"true and false": ("True", "false"), "digits": ("1", "0"), "yes and no": ("Y", "no")}
    if kind == "a label in words":
        columns["label"] = np.where(columns.pop("is_control"), "FALSE", "TRUE")
    else:
        columns["is_control"] = np.where(columns["is_control"], *words[kind])
    table = open_scores(write(tmp_path / "text.parquet", columns))
    assert table.column("label").to_pylist() == [i % 2 for i in range(200)]


def test_a_table_without_ids_has_its_rows_numbered(tmp_path, caplog):
    columns = older()
    del columns["task_id"]
    logging.getLogger("darkhaloscope").propagate = True
    with caplog.at_level("INFO", logger="darkhaloscope"):
        table = open_scores(write(tmp_path / "bare.parquet", columns))
        assert table.column("stamp_id").to_pylist() == list(range(200)) and "the rows are numbered" in caplog.text
        frames = evaluate_table(ScoresTable(table=str(tmp_path / "bare.parquet"), evaluation={"fprs": [0.2], "bootstrap": 50}))
    value = frames["rates"].query("metric == 'auc'").value.iloc[0]
    assert f"bare.parquet: AUC {value:.4f} [" in caplog.text and "of 50 positives and 50 controls" in caplog.text


def test_known_synonyms_make_strata_and_others_are_asked_for(tmp_path, caplog):
    columns = older(2000)
    columns["Theta_E"] = columns.pop("theta_e_arcsec")
    columns |= {"snr": np.random.default_rng(2).uniform(1, 60, 2000)}
    logging.getLogger("darkhaloscope").propagate = True
    with caplog.at_level("INFO", logger="darkhaloscope"):
        frames = evaluate_table(ScoresTable(table=str(write(tmp_path / "own.parquet", columns)), evaluation={"bootstrap": 50}))
    assert set(frames["strata"]["column"]) == {"theta_e_arcsec", "arc_snr"} and frames["strata"]["resolved"].any()
    assert "column `Theta_E` is taken for theta_e_arcsec" in caplog.text and "column `snr` is taken for arc_snr" in caplog.text
    del columns["Theta_E"], columns["snr"]
    caplog.clear()
    with caplog.at_level("INFO", logger="darkhaloscope"):
        frames = evaluate_table(ScoresTable(table=str(write(tmp_path / "bare.parquet", columns)), evaluation={"bootstrap": 50}))
    assert frames["strata"].empty and "columns: {theta_e_arcsec: my_radius}" in caplog.text and "no completeness is mapped" in caplog.text


def test_a_folder_is_read_without_hidden_files_and_leftovers_of_dead_jobs(tmp_path):
    columns = pa.table(older())
    folder = tmp_path / "spark.parquet"
    (folder / "_temporary/0/task_1").mkdir(parents=True)
    for k in range(2):
        pq.write_table(columns.slice(100 * k, 100), folder / f"part-0000{k}.snappy.parquet")
    pq.write_table(columns.slice(0, 6), folder / "_temporary/0/task_1/part-00000.parquet")
    (folder / "._part-00000.snappy.parquet").write_bytes(b"\0\5\26\7mac")
    (folder / "_SUCCESS").touch()
    table = open_scores(folder)
    assert table.column("stamp_id").to_pylist() == older()["task_id"]
    (folder / "part-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(EvaluationError, match="part-00002.parquet: not a readable table"):
        open_scores(folder)
    pq.write_table(pa.table({"other": [1]}), folder / "part-00002.parquet")
    with pytest.raises(EvaluationError, match="part-00002.parquet: other columns than in .*part-00000"):
        open_scores(folder)


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(EvaluationError, match="does not exist"):
        open_scores(tmp_path / "none.parquet")
    (tmp_path / "page.parquet").write_text("<html>")
    with pytest.raises(EvaluationError, match="not a readable table"):
        open_scores(tmp_path / "page.parquet")
    (tmp_path / "scores.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(EvaluationError, match="must end in"):
        open_scores(tmp_path / "scores.pkl")


def test_surfaces_and_clusters_are_those_that_the_table_has():
    assert default_surfaces(["theta_e_arcsec", "arc_snr", "psfsize_r"]) == (("theta_e_arcsec", "arc_snr"),)
    assert default_surfaces(["log10_mass_msun", "peak_snr"]) == (("log10_mass_msun", "peak_snr"),)
    assert default_clusters(["galaxy_id", "brickname", "ra", "dec"]) == ("galaxy_id", "brickname", "healpix-32")
    assert default_clusters(["physical_id", "galaxy_id", "region_id", "ra", "dec"]) == ("physical_id", "region_id")
    assert default_clusters(["ra"]) == ()


def test_a_table_is_mapped_over_columns_of_other_names_and_drawn_by_its_clusters(tmp_path):
    n = 3000
    columns = older(n) | {"galaxy": np.arange(n) // 30, "snr": np.random.default_rng(2).uniform(1, 20, n)}
    path = write(tmp_path / "mine.parquet", columns)
    settings = {
        "table": str(path),
        "columns": {"arc_snr": "snr"},
        "evaluation": {"fprs": [0.1], "bootstrap": 100, "clusters": ["galaxy"], "surfaces": [["theta_e_arcsec", "arc_snr"]]},
    }
    cells, fits = map_table(ScoresTable.model_validate(settings), {"theta_e_arcsec": "arcsec"})
    # Cells are bounded by the default strata of both columns; half of the rows are validation, half of the rest positives.
    assert set(cells.surface) == {"theta_e_arcsec × arc_snr"} and cells.n.sum() == n // 4
    assert [a.unit for a in fits[0].axes] == ["arcsec", ""] and fits[0].about["network"] == "mine"
    rates = evaluate_table(ScoresTable.model_validate(settings))["rates"]
    assert set(rates.unit) <= {"", "stamp", "galaxy"} and "galaxy" in set(rates.unit)


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        ({"clusters": ["house"]}, "no column for the clusters house; the table has: "),
        ({"clusters": ["healpix-8"]}, "no column for the clusters ra, dec"),
        ({"surfaces": [["theta_e_arcsec", "depth"]]}, "no column for the surfaces depth"),
    ],
)
def test_columns_that_are_asked_for_and_not_there(tmp_path, evaluation, words):
    path = write(tmp_path / "mine.parquet", older())
    with pytest.raises(EvaluationError, match=words):
        evaluate_table(ScoresTable.model_validate({"table": str(path), "evaluation": evaluation}))


def rates(value):
    return pd.DataFrame({"test_dataset": ["d", "d"], "metric": ["auc", "accuracy"], "value": [value, value / 2]})


def test_sweep_has_one_row_per_point_and_metric():
    keys = "dataset.instrument.noise.peak_snr", "dataset.subhalo.theta_e_factor"
    points = [(f"s-{i}-{j}", "flux", {keys[0]: i, keys[1]: {"uniform": [0, j]}}) for i in (10, 30) for j in (0.03, 0.1)]
    table = sweep_table(points, [rates(0.1 * k) for k in range(4)])
    assert table.columns.tolist() == ["experiment", "detector", *keys, "test_dataset", "metric", "value"]
    assert len(table) == 8 and table[table.metric == "auc"].value.tolist() == pytest.approx([0, 0.1, 0.2, 0.3])
    assert table[keys[0]].tolist() == [10] * 4 + [30] * 4


def test_sweep_refuses_what_does_not_match():
    with pytest.raises(EvaluationError, match="found 1 points and 2 tables"):
        sweep_table([("e", "n", {})], [rates(1), rates(1)])
    with pytest.raises(EvaluationError, match="point b of the sweep sets y, the first point sets x"):
        sweep_table([("a", "n", {"x": 1}), ("b", "n", {"y": 1})], [rates(1), rates(1)])
