"""What the lens finder's config plans: one edit, the rules that it names."""

import os
from pathlib import Path

import pytest
import yaml

from darkhaloscope.jobs.provenance import MARK, record

#: Up to the stamps: what is made of a mock survey. Bricks are named by list_shard_bricks, so retrieve_brick is planned after it.
DATA = {
    "make_mock_survey",
    "retrieve_sweep",
    "retrieve_survey_tables",
    "select_lrgs",
    "list_cosmos_sources",
    "build_manifest",
    "list_shard_bricks",
    "inject_stamps",
    "check_stamps",
}
#: What the gates look at beside the test stamps; imported stamps do not have their arcs.
HOSTS = {"remove_arcs"}
#: Two rounds of training, as the long demo has them.
LEARNING = {
    "train_network",
    "score_stamps",
    "mine_hard_negatives",
    "evaluate_scores",
    "compare_rounds",
    "map_completeness",
    "check_shortcuts",
    "judge_experiment",
}
REPORT = {"build_dataset_page", "build_report", "build_index"}


def overlay(project, **values):
    path = project.folder / "overlay.yaml"
    path.write_text(yaml.safe_dump({"extends": "config/demo-full.yaml", "run": ["lens-finder"], **values}))
    return "overlay.yaml"


def with_network(architecture):
    return {"detectors": {"lens": {"channels": "bands", "architecture": architecture}}}


MANGA = {"make_mock_archive", "retrieve_catalogs", "rank_disks", "score_lensability", "build_source_bank", "show_galaxies"}


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ({}, DATA),
        ({"datasets": {"lensfinder": {"sources": {"mix": {"sersic": 1.0}}}}}, DATA - {"list_cosmos_sources"}),
        ({"datasets": {"lensfinder": {"injection": "v3", "controls": "paired", "hosts": {"replicates": 1}}}}, DATA),
        ({"datasets": {"lensfinder": {"sources": {"mix": {"manga": 1.0}, "sample": "mock"}}}}, (DATA - {"list_cosmos_sources"}) | MANGA),
        (with_network("resnet18"), DATA),
        (with_network("convnext_tiny"), DATA),
    ],
)
def test_one_edit_plans_the_rules_it_names(project, values, rules):
    found = project.plan(config=overlay(project, **values))
    assert found >= LEARNING | REPORT
    beside = {"list_known_lens_bricks", "find_known_lenses", "cut_known_lenses", "score_known_lenses", "rank_candidates"}
    assert found - LEARNING - REPORT - beside == rules | HOSTS


def test_an_imported_table_plans_its_import_and_nothing_of_the_sky(project):
    (project.folder / "old.parquet").write_bytes(b"")
    values = {"datasets": {"old": {"kind": "imported", "table": "old.parquet"}}, "experiments": {"lens-finder": {"dataset": "old"}}}
    found = project.plan(config=overlay(project, **values))
    assert found >= {"import_stamps", "check_stamps", *LEARNING, *REPORT} and not found & ((DATA | HOSTS) - {"check_stamps"})


def test_real_galaxies_are_prepared_and_join_the_training_that_gives_them_a_weight(project):
    (project.folder / "sky.npz").write_bytes(b"")
    values = {"datasets": {"lensfinder": {"real_sky": {"path": "sky.npz", "bands": ["g", "r", "i"], "stand_in": {"z": "i"}}}}}
    assert project.plan(config=overlay(project, **values)) >= DATA | LEARNING | {"prepare_real_sky"}
    joined = values | {"detectors": {"lens": {"channels": "bands", "training": {"real_share": 0.4}}}}
    network = "results/demo-full/detectors/lensfinder/lens/seed-1/network.json"
    headed = values | {"detectors": {"lens": {"channels": "bands", "head": {}}}}
    for config, wanted in ((values, False), (joined, True), (headed, True)):
        assert ("prepare_real_sky" in project.plan(network, config=overlay(project, **config))) == wanted


def test_without_shortcut_gates_no_arc_is_taken_away(project):
    values = {"experiments": {"lens-finder": {"evaluation": {"shortcuts": {"stamps": 0}}}}}
    assert not project.plan(config=overlay(project, **values)) & (HOSTS | {"check_shortcuts"})


def test_the_demos_plan_both_chains(project):
    both = DATA | REPORT | MANGA | {"build_manifest", "score_known_lenses", "render_stamps", "train_network", "check_shortcuts"}
    assert project.plan(config="config/demo.yaml") >= both | {"detect_subhalos", "score_findings"}
    assert project.plan(config="config/demo-full.yaml") >= both | LEARNING


SEARCH = {"list_parent_bricks", "rank_parents"}  # what lies between is planned once the bricks are known


def test_the_survey_itself_is_searched_where_it_is_asked_for(project):
    """By the experiment's key, or by the page's name alone; nothing is injected for it but what the networks were trained on."""
    page = "results/demo-full/experiments/lens-finder/search/lens.html"
    assert not project.plan(config=overlay(project)) & SEARCH
    assert project.plan(config=overlay(project, experiments={"lens-finder": {"search": {"make": True}}})) >= SEARCH
    found = project.plan(page, config=overlay(project))
    assert SEARCH | {"select_lrgs", "find_known_lenses"} <= found and not found & (REPORT | HOSTS)


def test_pieces_of_the_survey_are_scored_once_and_their_stamps_go(project):
    config = overlay(project, experiments={"lens-finder": {"search": {"make": True}}})
    ran = project.touch_run("results/demo-full/experiments/lens-finder/search/lens.html", config=config)
    assert ran["cut_parents"] == ran["score_parents"] == 2 and ran["rank_parents"] == 1 and ran["retrieve_brick"] >= 3
    assert not list((project.folder / "results/demo-full/datasets/lensfinder").glob("parents/*"))


def test_bricks_with_other_times_and_the_same_files_plan_nothing(project, monkeypatch):
    """As `cp -r` leaves them: bricks are folders, and Snakemake looks at the time of a mark in them alone."""
    folder = Path("results/demo/datasets/lensfinder")
    stamps, seen, brick = (
        folder / "stamps/test/00000.parquet",
        folder / "seen/test/00000.parquet",
        Path("results/demo/legacysurvey/mock/bricks/1506p005"),
    )
    monkeypatch.chdir(project.folder)
    folder.mkdir(parents=True)
    (folder / "bricks.csv").write_text("split,shard,brickname\ntest,0,1506p005\n")
    assert project.touch_run(str(stamps), config="config/demo.yaml")["retrieve_brick"] == 1
    (brick / "image.fits").write_text("image")
    record("inject_stamps", {}, {}, [str(folder / "manifest.parquet"), str(brick)], [str(stamps), str(seen)])
    for content, planned in (("image", set()), ("another", {"inject_stamps"})):
        (brick / "image.fits").write_text(content)
        os.utime(brick / MARK)
        assert project.plan(str(stamps), config="config/demo.yaml") == planned
    # Limits that judge stamps which are made make none anew.
    (brick / "image.fits").write_text("image")
    os.utime(brick / MARK)
    for gates, planned in (({"core_auc": 0.7, "false_alarm": 1e-5}, set()), ({"core_pixels": 11}, {"inject_stamps"})):
        edited = {"extends": "config/demo.yaml", "datasets": {"lensfinder": {"gates": gates}}}
        Path("edited.yaml").write_text(yaml.safe_dump(edited))
        assert project.plan(str(stamps), config="edited.yaml") == planned


def test_cutouts_as_hosts_need_no_survey_and_join_a_finder_as_mined_negatives(project):
    """A dataset whose hosts are real cutouts plans no brick and no sweep; named in `mining.extra`, its controls are mined."""
    (project.folder / "sky.npz").write_bytes(b"")
    fwhm = {"g": 0.9, "r": 0.8, "z": 0.8}
    real = {"hosts": {"cutouts": {"path": "sky.npz", "psf_fwhm_arcsec": fwhm}}, "sources": {"mix": {"sersic": 1.0}}}
    alone = {"datasets": {"lensfinder": real}}
    found = project.plan(config=overlay(project, **alone))
    sky = {"make_mock_survey", "retrieve_sweep", "retrieve_survey_tables", "select_lrgs", "list_cosmos_sources", "list_shard_bricks"}
    lenses = {"list_known_lens_bricks", "find_known_lenses", "cut_known_lenses", "score_known_lenses"}
    assert found >= {"prepare_host_cutouts", "build_manifest", "inject_stamps", *LEARNING, *REPORT} and not found & (sky | lenses)
    mined = {
        "datasets": {"own": real | {"kind": "lensfinder", "size": {"train": 20, "validation": 10, "test": 10}}},
        "detectors": {"lens": {"channels": "bands", "rounds": 2, "mining": {"extra": ["own"]}}},
    }
    network = "results/demo-full/detectors/lensfinder/lens/seed-1/network.json"
    assert project.plan(network, config=overlay(project, **mined)) >= {"prepare_host_cutouts", "mine_hard_negatives", "train_network"}
    # A search ranks a survey's galaxies, of which there are none.
    searched = alone | {"experiments": {"lens-finder": {"search": {"make": True}}}}
    printed = project.snakemake("--dry-run", config=overlay(project, **searched), check=False)
    assert "search.make, which ranks the galaxies of a survey, and the hosts of lensfinder are cutouts: take it out" in printed
