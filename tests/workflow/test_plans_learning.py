"""What the keys of a network of bands plan: rounds of hard controls, known lenses, weights from elsewhere."""

import re

import pytest
import yaml

from rule_files import rule_files, wildcards

BEFORE = {"mine_hard_negatives", "compare_rounds"}


def plan(project, network, *targets):
    values = {"extends": "config/demo.yaml", "run": ["lens-finder"], "detectors": {"lens": network}}
    (project.folder / "overlay.yaml").write_text(yaml.safe_dump(values))
    return project.snakemake("--dry-run", *targets, config="overlay.yaml")


@pytest.mark.parametrize(("rounds", "trained", "mined"), [(1, 1, 0), (2, 2, 1), (3, 3, 2)])
def test_rounds_train_and_mine_once_each(project, rounds, trained, mined):
    output = plan(project, {"rounds": rounds})
    jobs = {line.split()[0]: int(line.split()[1]) for line in output.splitlines() if len(line.split()) == 2 and line.split()[1].isdigit()}
    assert jobs["train_network"] == trained and jobs["score_stamps"] == trained
    assert jobs.get("mine_hard_negatives", 0) == mined
    assert (set(jobs) >= BEFORE) == (rounds > 1) and not (rounds == 1 and BEFORE & set(jobs))
    assert {"score_known_lenses", "rank_candidates"} <= set(jobs)


def test_a_rounds_table_can_be_asked_for_by_name(project):
    output = plan(project, {"rounds": 2}, "results/demo/experiments/lens-finder/evaluation/lens/rounds.csv")
    assert "compare_rounds" in output and "detectors/lensfinder/lens+round=1/seed-1/network.safetensors" in output
    assert "build_report" not in output


def test_known_lenses_join_the_training_only_where_they_weigh_something(project):
    target = "results/demo/detectors/lensfinder/lens/seed-1/network.safetensors"
    # A second round reads them too: they are no hard negatives.
    assert "find_known_lenses" not in plan(project, {"rounds": 1}, target)
    assert "find_known_lenses" in plan(project, {"rounds": 1, "training": {"known_lens_weight": 2.0}}, target)


def test_weights_from_elsewhere_are_imported_and_not_trained(project):
    (project.folder / "elsewhere.pt").write_bytes(b"weights")
    output = plan(project, {"weights": "elsewhere.pt", "rounds": 1})
    assert "import_network" in output and "train_network" not in output


def test_a_test_set_added_to_a_finished_experiment_trains_and_mines_nothing(project):
    """Two rounds of training, finished; a new test set plans its own stamps, their scores and what is evaluated anew."""
    for name in ("old", "new"):
        (project.folder / f"{name}.parquet").write_bytes(b"")
    values = {
        "extends": "config/demo.yaml",
        "run": ["lens-finder"],
        "datasets": {name: {"kind": "imported", "table": f"{name}.parquet"} for name in ("old", "new")},
        "detectors": {"lens": {"rounds": 2}},
        "experiments": {"lens-finder": {"dataset": "old"}},
    }

    def run(tests):
        values["experiments"]["lens-finder"]["tests"] = tests
        (project.folder / "overlay.yaml").write_text(yaml.safe_dump(values))
        return project.touch_run(config="overlay.yaml")

    first = run(["old"])
    assert first["train_network"] == 2 and first["mine_hard_negatives"] == 1
    found = run(["old", "new"])
    assert found["import_stamps"] == 3 and found["check_stamps"] == 1 and found["score_stamps"] == 2
    assert not {"train_network", "mine_hard_negatives", "build_manifest", "import_network"} & set(found)
    assert {"evaluate_scores", "build_report"} <= set(found)
    assert run(["old", "new"]) == {}


def test_a_head_added_to_a_finished_network_plans_its_fit_and_what_is_scored_with_it(project):
    """Real galaxies and a head for them: the network of two rounds stays, and so do its scores."""
    (project.folder / "real.npz").write_bytes(b"")
    values = {"extends": "config/demo.yaml", "run": ["lens-finder"], "detectors": {"lens": {"rounds": 2}}}

    def run():
        (project.folder / "overlay.yaml").write_text(yaml.safe_dump(values))
        return project.touch_run(config="overlay.yaml")

    assert run()["train_network"] == 2
    values["datasets"] = {"lensfinder": {"real_sky": {"path": "real.npz"}}}
    values["detectors"]["headed"] = {"channels": "bands", "head": {"of": "lens"}}
    values["experiments"] = {"lens-finder": {"detectors": ["lens", "headed"]}}
    found = run()
    # Gates of both networks ask the real galaxies.
    assert found["prepare_real_sky"] == found["fit_head"] == found["score_stamps"] == 1 and found["check_shortcuts"] == 2
    assert not {"train_network", "mine_hard_negatives", "import_network", "build_manifest", "inject_stamps", "check_stamps"} & set(found)
    assert run() == {}
    # Another number of folds is another head, of the same network.
    values["detectors"]["headed"]["head"]["folds"] = 5
    assert {"fit_head", "score_stamps"} <= set(found := run()) and "train_network" not in found


def test_what_a_network_was_trained_on_is_looked_for_in_other_test_sets_alone():
    imported = {name: {"kind": "imported", "table": f"{name}.parquet"} for name in ("old", "new", "more")}
    found = rule_files({"datasets": imported, "detectors": {"lens": {"channels": "bands", "rounds": 2, "mining": {"extra": ["more"]}}}})

    def looked_at(detector, test):
        return [path.split("/")[2] for path in found.trained_on(wildcards(dataset="old", detector=detector, test=test, seed="1"))]

    assert looked_at("lens", "old") == []
    # Every round the same, so that rounds are compared on the same stamps.
    assert looked_at("lens", "new") == looked_at("lens+round=1", "new") == ["old", "more"]
    # Mining keeps away from what every network of the dataset is judged on, and from no other test set.
    held_out = found.held_out(wildcards(dataset="old", detector="lens", seed="1"))
    assert [path.split("/")[2:5:2] for path in held_out] == [["old", "validation"], ["old", "test"]]


def test_training_on_pairs_plans_their_rendering_and_changes_no_stamp():
    """Pairs are rendered for the networks that train on them; the parameters of all other rules stay as they were."""
    overlay = {"datasets": {"subhalo": {"pairs": True}}, "detectors": {"flux": {"training": {"pairs": {}}}}}
    seen = {}
    for name, values in (("with", overlay), ("without", {})):  # one after the other: their functions share a config
        found = rule_files(values)
        shards = {n: found.training_shards(wildcards(dataset="subhalo", detector=n)) for n in ("flux", "both")}
        section = found.dataset_without("description", "size")(wildcards(dataset="subhalo"))
        seen[name] = shards, section, found.with_pairs()
    stamps = [f"<results>/datasets/subhalo/stamps/train/{k:05d}.parquet" for k in range(2)]
    assert seen["with"][0] == {"flux": [path.replace("stamps/train", "pairs") for path in stamps], "both": stamps}
    assert seen["without"][0] == {"flux": stamps, "both": stamps}
    assert seen["with"][1] == seen["without"][1] and "pairs" not in seen["with"][1]
    assert re.fullmatch(seen["with"][2], "subhalo") and not re.fullmatch(seen["without"][2], "subhalo")


def test_networks_that_see_the_evidence_read_its_maps_with_their_own_priors():
    overlay = {"datasets": {"other": {}}, "detectors": {"seer": {"sees": "evidence"}}, "evidence": {"maps": True}}
    found = rule_files(overlay)
    of = wildcards(dataset="subhalo", detector="seer", test="other")
    assert found.training_shards(of)[0] == "<results>/evidence_stamps/subhalo/subhalo/train/00000.parquet"
    assert found.seen_by("seer", "subhalo", "other", "test")[0] == "<results>/evidence_stamps/subhalo/other/test/00000.parquet"
    assert found.seen_by("flux", "subhalo", "other", "test")[0].startswith("<results>/datasets/other/stamps")
    assert found.evidence_settings()["maps"] is True and "maps" not in found.evidence_settings("maps")
    # Findings without maps have the parameters that they had before there was such a key.
    assert "maps" not in rule_files({}).evidence_settings()


def test_the_blind_ceiling_is_computed_beside_a_model_based_detector_alone():
    overlay = {
        "detectors": {"evidence": {"kind": "evidence"}},
        "evidence": {"place_step": 3},
        "experiments": {"subhalo": {"comparisons": [], "detectors": ["evidence"]}},
    }
    assert rule_files(overlay).blind_step(wildcards(experiment="subhalo")) == 3
    assert rule_files({}).blind_step(wildcards(experiment="subhalo")) is None


def test_variants_are_seen_with_the_priors_of_the_dataset_itself():
    variant = {"slope": {"lens.slope": {"normal": [2.1, 0.1, 1.8, 2.4]}, "size.test": 100}}
    overlay = {
        "detectors": {"evidence": {"kind": "evidence"}},
        "experiments": {"subhalo": {"comparisons": [], "detectors": ["evidence"], "robustness": variant}},
    }
    found = rule_files(overlay)
    name = found.settings.experiments["subhalo"].variants["slope"]
    assert f"<results>/detectors/subhalo/evidence/seed-0/scores/{name}.parquet" in found.robustness_scores(wildcards(experiment="subhalo"))
    [path] = found.findings("subhalo", name, "test")
    assert path == f"<results>/findings/subhalo/{name}/test/00000.parquet"
    section = found.dataset_without("size")
    assert section(wildcards(dataset="subhalo"))["lens"]["slope"] != section(wildcards(dataset=name))["lens"]["slope"]
