"""Scores made elsewhere, from the command line to the tables."""

import os
import shlex
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from darkhaloscope.core.files import write_text
from darkhaloscope.evaluation import selection
from darkhaloscope.jobs.provenance import record


def older(n=2000):
    rng = np.random.default_rng(0)
    lens = np.arange(n) % 2 == 0
    return {
        "task_id": [f"t{i}" for i in range(n)],
        "is_control": ~lens,
        "p_lens": 1 / (1 + np.exp(-rng.normal(np.where(lens, 1.5, 0), 1))),
        "theta_e_arcsec": np.where(lens, rng.uniform(0.5, 2.5, n), 0.0),
        "psfsize_r": rng.uniform(0.9, 1.6, n),
        "arc_snr": np.where(lens, rng.uniform(0.5, 60, n), 0.0),
    }


def test_a_table_with_older_names_is_evaluated_by_its_path_alone(project):
    pq.write_table(pa.table(older()), project.folder / "my scores.parquet")
    project.snakemake("--config", "scores=my scores.parquet", config=None, cores=1)
    folder = project.folder / "results/scores/my_scores"
    rates, strata = pd.read_csv(folder / "rates.csv"), pd.read_csv(folder / "strata.csv")
    # Normal scores 1.5 apart: AUC Φ(1.5/√2) = 0.856; 2,000 stamps have a standard error of 0.008.
    assert abs(rates.query("metric == 'auc'").value.iloc[0] - 0.856) < 0.03
    assert set(strata["column"]) == {"theta_e_arcsec", "psfsize_r", "arc_snr"}
    assert {"purity.csv", "calibration.csv", "roc.csv", "completeness.csv", "completeness.png"} <= {p.name for p in folder.iterdir()}
    page = (folder / "index.html").read_text()
    auc = rates.query("metric == 'auc'").iloc[0]
    assert f"AUC = {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}] of 1,000 positives and 1,000 controls in my scores.parquet." in page
    assert page.count('<div data-variant="') == 4 and "data:image/png;base64" in page  # ROC and three strata, completeness
    # 1,000 controls resolve FPRs of 0.01 and above; θ_E and arc S/N make a surface that the table has.
    cells = pd.read_csv(folder / "completeness.csv")
    assert set(cells["surface"]) == {"theta_e_arcsec × arc_snr"} and set(cells["fpr"]) == {0.1, 0.05, 0.01}
    fit = selection.read(folder / "selection.json", fpr=0.1)
    assert fit.columns == ("theta_e_arcsec", "arc_snr") and fit.axes[0].unit == "arcsec"
    # The log's command runs the job again, edits of the command line included: without them there is no such table.
    log = project.folder / "results/logs/evaluate_table/my_scores.log"
    before, command = (folder / "rates.csv").stat().st_mtime_ns, shlex.split(log.read_text().split("again: ")[1].splitlines()[0])
    assert command[-2:] == ["--config", "scores=my scores.parquet"]
    project.snakemake(*command[1:], config=None, cores=1)
    assert (folder / "rates.csv").stat().st_mtime_ns > before


def test_a_missing_column_is_named_with_the_remedy(project):
    columns = older()
    columns["mine"] = columns.pop("p_lens")
    pq.write_table(pa.table(columns), project.folder / "odd.parquet")
    said = project.snakemake("--config", "scores=odd.parquet", config=None, cores=1, check=False)
    assert "no column for score (recognised" in said and "Name it under `scores.columns`" in said
    assert not (project.folder / "results/scores/odd/rates.csv").exists()
    (project.folder / "mine.yaml").write_text(
        "scores: {table: odd.parquet, columns: {score: mine}, evaluation: {strata: {nothing: {quantiles: 3}}}}"
    )
    said = project.snakemake(config="mine.yaml", cores=1, check=False)
    assert "no column for the strata nothing; the table has: " in said


def test_a_table_of_the_same_file_name_does_not_replace_the_first(project):
    for run, shift in (("run1", 0.0), ("run2", 0.3)):
        (project.folder / run).mkdir()
        columns = older()
        columns["p_lens"] = columns["p_lens"] + shift * (np.arange(2000) % 3)
        pq.write_table(pa.table(columns), project.folder / run / "scores.parquet")
    target = "results/scores/scores/rates.csv"
    project.snakemake(target, "--config", "scores=run1/scores.parquet", config=None, cores=1)
    rates = (project.folder / target).read_text()
    said = project.snakemake(target, "--config", "scores=run2/scores.parquet", config=None, cores=1, check=False)
    assert "results/scores/scores holds the results of run1/scores.parquet, another table than run2/scores.parquet" in said
    assert (project.folder / target).read_text() == rates
    # The first table again, by another way to write its path, and the second one under a name of its own.
    project.snakemake(target, "--config", "scores=./run1/scores.parquet", config=None, cores=1)
    second = "results/scores/second/rates.csv"
    project.snakemake(second, "--config", "scores={table: run2/scores.parquet, name: second}", config=None, cores=1)
    assert (project.folder / second).read_text() != rates == (project.folder / target).read_text()


def test_the_same_name_in_another_working_folder_is_another_table(project, tmp_path):
    """Snakemake has no records there: it would call the first table's results up to date, or replace them."""
    root, target = tmp_path / "shared", tmp_path / "shared/scores/scores/rates.csv"
    for folder, shift in (("one", 0.0), ("two", 0.3)):
        columns = older()
        columns["p_lens"] = columns["p_lens"] + shift * (np.arange(2000) % 3)
        (project.folder / folder).mkdir()
        pq.write_table(pa.table(columns), project.folder / folder / "scores.parquet")
        project.know_digests(folder)
    asked = ("--config", "scores=scores.parquet", f"root={root}")
    project.snakemake(str(target), "-d", "one", *asked, config=None, cores=1)
    rates = target.read_text()
    said = project.snakemake(str(target), "-d", "two", *asked, config=None, cores=1, check=False)
    assert f"{root}/scores/scores holds the results of another file called scores.parquet" in said and "name: scores-2" in said
    assert target.read_text() == rates
    shutil.rmtree(project.folder / "one/.snakemake")
    project.know_digests("one")
    project.snakemake(str(target), "-d", "one", *asked, config=None, cores=1)


def test_a_table_that_an_older_file_replaces_is_evaluated_again(project):
    """By its time alone, which `mv` and `cp -p` keep, nothing would have changed."""
    target, mine = "results/scores/mine/rates.csv", project.folder / "mine.parquet"
    columns = older()
    for shift in (0.3, 0.0):
        changed = columns | {"p_lens": columns["p_lens"] + shift * (np.arange(2000) % 3)}
        pq.write_table(pa.table(changed), project.folder / f"{shift}.parquet")
    before = (project.folder / "0.0.parquet").stat().st_mtime
    os.utime(project.folder / "0.0.parquet", (before - 1000, before - 1000))
    (project.folder / "0.3.parquet").rename(mine)
    project.snakemake(target, "--config", "scores=mine.parquet", config=None, cores=1)
    rates = (project.folder / target).read_text()
    (project.folder / "0.0.parquet").rename(mine)
    project.snakemake(target, "--config", "scores=mine.parquet", config=None, cores=1)
    assert (project.folder / target).read_text() != rates
    assert "Nothing to be done" in project.snakemake(target, "--config", "scores=mine.parquet", config=None, cores=1)


def test_results_of_another_run_below_the_root_stop_nothing(project, monkeypatch):
    """Whether their records say other parameters or cannot be read; one of this run's own does."""
    pq.write_table(pa.table(older()), project.folder / "mine.parquet")
    monkeypatch.chdir(project.folder)
    made = {"code": "another"}
    for root in ("results/other", "results"):
        write_text(f"{root}/scores/mine/rates.csv", "metric\n")
        record("evaluate_table", {"scores": "mine"}, made, [], [f"{root}/scores/mine/rates.csv"])
    asked = ("--dry-run", "--config", "scores=mine.parquet")
    said = project.snakemake(*asked, config=None, check=False)
    assert "results/scores/mine/rates.csv: made by rule evaluate_table with other" in said and "results/other" not in said
    shutil.rmtree(project.folder / "results/scores")
    assert "Results without" not in project.snakemake(*asked, config=None)
    write_text("results/other/scores/mine/provenance/rates.csv.json", "{half")
    assert "Results without" not in project.snakemake(*asked, config=None)
