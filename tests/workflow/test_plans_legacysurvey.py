"""The Legacy Survey stage in the workflow: one tiny mock survey, and what edits of its config plan."""

import json

import pandas as pd
import pytest

from workbench import new_project

OVERLAY = """
legacysurvey:
  cache_gb: 1.0
  surveys:
    tiny:
      mock: true
      mock_sky: {bricks: 1, brick_size: 360, sources: 2}
      lrg: {z_faint: 21.0}
      nside: 64
"""
PARENT, LENSES = "results/legacysurvey/tiny/parent.parquet", "results/legacysurvey/tiny/known_lenses.parquet"
BRICK = "results/legacysurvey/tiny/bricks/1506p005"
TARGETS = (LENSES, BRICK)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    project = new_project(tmp_path_factory.mktemp("survey") / "project")
    (project.folder / "survey.yaml").write_text(OVERLAY)
    project.snakemake(*TARGETS, config="survey.yaml")
    return project


def test_a_survey_goes_from_its_archive_to_parent_sample_and_brick(made):
    parent = pd.read_parquet(made.folder / PARENT)
    flow = pd.read_csv(made.folder / PARENT.replace("parent.parquet", "cut_flow.csv"))
    assert len(parent) == flow["after"].iloc[-1] > 5
    record = json.loads((made.folder / BRICK / "brick.json").read_text())
    assert len(record["files"]) == 10 and all(f["published_sum"] for f in record["files"].values())
    assert pd.read_parquet(made.folder / LENSES)["brickname"].isin(["1506p005"]).all()
    assert made.plan(*TARGETS, config="survey.yaml") == set()


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        ("z_faint: 21.0", "z_faint: 20.5", {"select_lrgs", "find_known_lenses"}),
        ("nside: 64", "nside: 128", {"select_lrgs", "find_known_lenses"}),
        # Neither how much may lie on disk nor what becomes of a brick afterwards changes a result.
        ("cache_gb: 1.0", "cache_gb: 2.0\n  keep_bricks: false", set()),
        ("nside: 64", "nside: 64\n      max_bad_fraction: 0.1", set()),
    ],
)
def test_an_edit_plans_what_it_touches(made, tmp_path, old, new, rules):
    project = made.copy(tmp_path / "project")
    project.edit("survey.yaml", old, new)
    assert project.plan(*TARGETS, config="survey.yaml") == rules


def test_a_full_cache_stops_with_the_ways_out(made, tmp_path):
    project = made.copy(tmp_path / "project")
    project.edit("survey.yaml", "cache_gb: 1.0", "cache_gb: 0.0001")
    (project.folder / BRICK).rename(project.folder / BRICK.replace("1506p005", "0001m002"))
    said = project.snakemake(BRICK, config="survey.yaml", check=False)
    assert "1 bricks in results/legacysurvey/tiny/bricks take" in said and "`keep_bricks: false`" in said
    assert not (project.folder / BRICK).exists()
