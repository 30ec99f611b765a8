"""Targets that nothing makes: the nearest name and the root, in words."""

import os
import re

import pytest

from darkhaloscope.config.run import Run
from darkhaloscope.jobs.targets import many, unknown

OUTPUTS = [
    "results/x/datasets/{dataset}/manifest.parquet",
    "results/x/experiments/{experiment}/evaluation/{detector}/strata.csv",
    "results/x/experiments/{experiment}/report/index.html",
    "results/x/legacysurvey/{survey}/bricks/{brickname}",
    "results/x/datasets/{dataset}/stamps/{split}/{shard}.parquet",
    "results/x/index.html",
]


def makes(target):
    splits = [pattern.replace("{split}", "(train|test)") for pattern in OUTPUTS]
    found = [re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern), target) for pattern in splits]
    return [wildcards.groupdict() for wildcards in found if wildcards]


def why(target):
    return unknown([target], Run(root="results/x"), OUTPUTS, ["all", "build_report", "render_stamps"], makes)


@pytest.mark.parametrize(
    "target",
    [
        "build_report",
        "results/x/index.html",
        "./results/x/index.html",
        "results/x/datasets/subhalo/manifest.parquet",
        "results/x/experiments/subhalo/evaluation/flux/strata.csv",
        "results/x/legacysurvey/dr10/bricks/1234p056",
        "s3://bucket/anything",
    ],
)
def test_what_a_rule_makes_is_left_to_snakemake(target):
    assert why(target) is None


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            "results/x/experiments/subhallo/report/index.html",
            "there is no experiment `subhallo` in this config (nearest: `subhalo`); results go below results/x/",
        ),
        ("results/x/datasets/subhal/manifest.parquet", "there is no dataset `subhal` in this config (nearest: `subhalo`)"),
        ("results/x/legacysurvey/dr9/bricks/1234p056", "there is no survey `dr9` in this config (nearest: `dr10`)"),
        (
            "results/x/experiments/subhalo/evaluation/flux/stratta.csv",
            "(nearest: `results/x/experiments/subhalo/evaluation/flux/strata.csv`)",
        ),
        ("results/x/experiments/subhalo/evaluation/fluxx/strata.csv", "there is no detector `fluxx` in this config (nearest: `flux`)"),
        ("results/x/indx.html", "no rule makes such a file (nearest: `results/x/index.html`)"),
        ("results/index.html", "is no file of this run, whose results go below results/x/ (config key `root`)"),
        (
            "results/x/datasets/subhalo/stamps/tests/00000.parquet",
            "no rule makes such a file (nearest: `results/x/datasets/subhalo/stamps/test/00000.parquet`)",
        ),
        (
            "results/x/experiments/subhalo/evaluation/toy/strata.csv",
            "experiment `subhalo` has no detector `toy` (it has: flux, velocity, both, mask, shuffled)",
        ),
        (os.path.abspath("results/x/index.html"), "files are named from the working folder; ask for results/x/index.html"),
        ("subhalo", "`subhalo` is no target but the name of the experiment; give --config 'run=[subhalo]' in its place"),
        ("subhallo", "there is no rule and no file `subhallo` (nearest: `subhalo`)"),
        ("rendr_stamps", "there is no rule and no file `rendr_stamps` (nearest: `render_stamps`)"),
    ],
)
def test_what_none_makes_is_named_with_what_is_nearest(target, words):
    assert words in why(target)


@pytest.mark.parametrize("target", ["results/x", "results/x/", "results/x/datasets/subhalo"])
def test_a_folder_is_called_one(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("results/x/datasets/subhalo")
    assert "is a folder, expected a file or a rule" in why(target)


def test_no_file_is_named_as_the_nearest_that_no_rule_makes():
    """A wildcard may take some words alone: what a pattern gives with the target's own is asked of the rules."""
    outputs = ["results/x/datasets/{dataset}/parents/{piece}.parquet"]
    said = unknown(["results/x/datasets/subhalo/parent/sensitivity.parquet"], Run(root="results/x"), outputs, [], lambda target: [])
    assert "no rule makes such a file; results go below" in said


def test_a_rule_of_many_files_is_answered_with_their_pattern():
    patterned = {"rank_disks": "results/x/manga/{sample}/ranking.csv"}
    assert "ask for one of them, results/x/manga/{sample}/ranking.csv with names" in many(["rank_disks"], patterned)
    assert not many(["all", "results/x/index.html"], patterned)
