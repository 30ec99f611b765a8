"""From the files of a lens-finder experiment to its report: shards, scores and tables as the chain writes them."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.experiment import LENSFINDER_STRATA, Evaluation, Experiment
from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.config.network import Network
from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.schema import LENS_SCORES
from darkhaloscope.evaluation.answer import judge_experiment
from darkhaloscope.evaluation.evaluate import evaluate_network
from darkhaloscope.evaluation.rounds import compare_rounds
from darkhaloscope.report.assemble import TABLES, ReportConfig, ReportFiles, assemble
from darkhaloscope.report.context import LensContext, ReportError
from darkhaloscope.report.page import build_report
from unit.learning.band_shards import band_columns, write_band_shards
from unit.report.synthetic import history

N, VALIDATION = 240, 120


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Config, files and columns of an experiment whose positives score higher."""
    folder = tmp_path_factory.mktemp("experiment")
    columns = band_columns(N, signal=0.5)
    columns["split"] = np.where(np.arange(N) < VALIDATION, "validation", "test")
    shards = write_band_shards(folder, {k: v[VALIDATION:] for k, v in columns.items()}, [0, 50, N - VALIDATION])
    rng = np.random.default_rng(2)
    experiment = Experiment(
        question="How complete?", dataset="sky", detectors=("lens",), seeds=(1, 2), evaluation=Evaluation(bootstrap=50, fprs=(0.5, 0.01), strata=LENSFINDER_STRATA)
    )  # fmt: skip
    tables, scores = {}, []
    for seed in experiment.seeds:
        given = {k: v for k, v in columns.items() if k != "image"}
        margin = rng.normal(size=N) + 1.5 * columns["label"]
        given |= {"dataset": ["sky"] * N, "detector": ["lens"] * N, "seed": [seed] * N, "score": 1 / (1 + np.exp(-margin))}
        given["calibrated"] = given["score"]
        tables["sky", seed] = LENS_SCORES.table(given)
        scores.append(folder / f"scores-{seed}.parquet")
        write_table(scores[-1], LENS_SCORES, tables["sky", seed])
    frames = evaluate_network(tables, experiment.evaluation, channels="bands", validation="sky")
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    judged = judge_experiment(
        experiment,
        LensFinderDataset(survey="mock"),
        {"lens": Network(channels="bands", architecture="slim")},
        {"lens": frames},
        pd.DataFrame(),
        pd.DataFrame(),
    )
    (folder / "answer.json").write_text(json.dumps(judged))
    compare_rounds([("lens+round=1", tables), ("lens", tables)], experiment.evaluation, ["sky"]).to_csv(folder / "rounds.csv", index=False)
    history(1).to_csv(folder / "history.csv", index=False)
    (folder / "checks.json").write_text(json.dumps({"gates": [{"name": "leaks", "asked": "none", "found": "none", "passed": True}]}))
    config = ReportConfig(
        name="finder",
        experiment=experiment,
        datasets={"sky": LensFinderDataset(survey="mock")},
        detectors={"lens": Network(channels="bands", architecture="slim", width=4, rounds=2)},
        cosmology=Cosmology(),
        mock_datasets=("sky",),
        pages={"Quality report of sky": "../quality.html"},
    )
    files = ReportFiles(
        tables={name: [folder / f"{name}.csv"] for name in TABLES},
        histories=[folder / "history.csv"] * 2,
        scores=scores,
        shards=shards,
        checks=str(folder / "checks.json"),
        answer=str(folder / "answer.json"),
        resolved={"lens": str(folder / "resolved.csv")},
        contaminants={"lens": str(folder / "contaminants.csv")},
        rounds={"lens": str(folder / "rounds.csv")},
    )
    return config, files, columns


def test_the_browser_holds_the_test_stamps_with_their_images_and_mean_scores(written):
    config, files, columns = written
    context = assemble(config, files)
    assert isinstance(context, LensContext) and context.notes[0].startswith("The sky is a mock survey")
    assert assemble(replace(config, mock_datasets=("elsewhere",)), files).notes == ()
    rows = context.browser.rows
    assert sorted(rows["stamp_id"]) == sorted(columns["stamp_id"][VALIDATION:]) and context.browser.total == N - VALIDATION
    place = {stamp: i for i, stamp in enumerate(columns["stamp_id"])}
    at = [place[stamp] for stamp in rows["stamp_id"]]
    assert np.array_equal(context.browser.image, columns["image"][at])
    means = np.mean([pd.read_parquet(path).set_index("stamp_id").loc[rows["stamp_id"], "score"] for path in files.scores], axis=0)
    assert np.allclose(rows["score_lens"], means)


def test_the_page_is_built_from_the_files(written, tmp_path):
    config, files, columns = written
    context = assemble(config, files)
    build_report(context, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    # 60 controls: 30 false positives at an FPR of a half, 0.6 at one percent.
    assert "At FPR 0.5, “lens” finds" in page and "unresolved (needs 1,000 negatives)" in page
    assert 'href="../quality.html"' in page and '<section id="rounds">' in page
    wide = (columns["theta_over_psf"][VALIDATION:] >= 0.5).sum()
    assert f"of {wide} resolved lenses" in page


def test_scores_of_other_stamps_are_refused(written):
    config, files, _ = written
    with pytest.raises(ReportError, match="are in none of the shards"):
        assemble(config, ReportFiles(**{**vars(files), "shards": files.shards[:1]}))
