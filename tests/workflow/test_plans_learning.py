"""What the keys of a network of bands plan: rounds of hard controls, known lenses, weights from elsewhere."""

import pytest
import yaml

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
