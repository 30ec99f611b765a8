"""Names in CSV tables survive the file, whatever they look like; numbers that are missing stay missing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from darkhaloscope.core.csv_tables import read_csv
from darkhaloscope.evaluation.sweep import sweep_table
from darkhaloscope.evaluation.tidy import read_frame
from darkhaloscope.report.lens_story import read_table
from darkhaloscope.report.robustness import read_robustness

NAMES = ["plain", "null", "NA", "None", "nan", "NaN", "n/a", "NULL", "007", "1e5", "True", "-inf"]
SCRIPTS = Path(__file__).parents[3] / "workflow" / "scripts"
TIDY = "test_dataset,seed,column,stratum,metric,at,value,low,high,resolved,n_positives,n_negatives,negatives_needed,interval,unit,note\n"


def write(path, head, lines):
    path.write_text(head + "".join(lines))
    return path


def rates(path):
    return write(path, TIDY, [f"{name},1,all,{name},auc,,0.7,,0.8,True,40,40,,DeLong,stamp,\n" for name in NAMES])


def test_rates_keep_datasets_and_strata(tmp_path):
    frame = read_frame(rates(tmp_path / "rates.csv"))
    assert frame["test_dataset"].tolist() == NAMES and frame["stratum"].tolist() == NAMES
    assert frame["low"].isna().all() and frame["at"].dtype == float and frame["note"].tolist() == [""] * len(NAMES)


def test_robustness_keeps_variants_and_detectors(tmp_path):
    head = TIDY.replace("seed,column,stratum", "variant,baseline,detector").replace(
        "resolved,", "resolved,home_value,difference,difference_low,difference_high,"
    )
    lines = [f"subhalo+{n},{n},,{n},auc,,0.7,0.6,0.8,True,0.7,0,0,0,40,40,,DeLong,stamp,\n" for n in NAMES]
    frame = read_robustness(write(tmp_path / "robustness.csv", head, lines))
    assert frame["variant"].tolist() == NAMES and frame["detector"].tolist() == NAMES and frame["baseline"].tolist() == [""] * len(NAMES)


def test_sweeps_keep_datasets(tmp_path):
    frame = read_csv(rates(tmp_path / "rates.csv"))
    table = sweep_table([("s-1", "NA", {"dataset.x": 1})], [frame])
    table.to_csv(tmp_path / "results.csv", index=False)
    assert read_csv(tmp_path / "results.csv")["test_dataset"].tolist() == NAMES and set(read_csv(tmp_path / "results.csv")["detector"]) == {
        "NA"
    }


def test_recall_keeps_grades_and_classes(tmp_path):
    lines = [f"committee,0.1,0.5,True,grade,{n},4,2,0.5,0.1,0.9,\n" for n in NAMES]
    frame = read_table(write(tmp_path / "recall.csv", "seed,fpr,threshold,resolved,stratum,value,n,found,recall,low,high,note\n", lines))
    assert frame["value"].tolist() == NAMES and frame["resolved"].all()
    head = "contaminant_class,at,threshold,n_negatives,passed,fpr,low,high\n"
    classes = read_csv(write(tmp_path / "classes.csv", head, [f"{n},0.1,,10,1,0.1,0,1\n" for n in NAMES]))
    assert classes["contaminant_class"].tolist() == NAMES and classes["threshold"].isna().all()


@pytest.mark.parametrize("value", [0.1, np.nan, np.inf, -1e-300])
def test_numbers_are_those_that_were_written(tmp_path, value):
    pd.DataFrame({"network": ["NA"], "value": [value]}).to_csv(tmp_path / "x.csv", index=False)
    assert read_csv(tmp_path / "x.csv")["value"].tolist() == pytest.approx([value], nan_ok=True, abs=0)


def test_no_other_reader_takes_names_for_missing_values():
    """As pandas does on its own: a galaxy called NA would have no page. Snakemake's benchmarks are tab-separated, and no table of ours."""
    found = {str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*.py") if "pd.read_csv(" in path.read_text(encoding="utf-8")}
    assert found == {"darkhaloscope/core/csv_tables.py", "darkhaloscope/report/index.py"}
