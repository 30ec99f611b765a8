"""Targets that nothing makes: the nearest name and the root, in words."""

import pytest

from darkhaloscope.config.run import Run
from darkhaloscope.jobs.targets import unknown

OUTPUTS = [
    "results/x/datasets/{dataset}/manifest.parquet",
    "results/x/experiments/{experiment}/evaluation/{detector}/strata.csv",
    "results/x/experiments/{experiment}/report/index.html",
    "results/x/legacysurvey/{survey}/bricks/{brickname}",
    "results/x/index.html",
]


def why(target):
    return unknown([target], Run(root="results/x"), OUTPUTS, ["all", "build_report", "render_stamps"])


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
        ("results/x/indx.html", "no rule makes such a file (nearest: `results/x/index.html`)"),
        ("results/index.html", "is no file of this run, whose results go below results/x/ (config key `root`)"),
        ("rendr_stamps", "there is no rule and no file `rendr_stamps` (nearest: `render_stamps`)"),
    ],
)
def test_what_none_makes_is_named_with_what_is_nearest(target, words):
    assert words in why(target)
