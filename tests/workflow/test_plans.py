"""What a change of config or code plans: rule names, taken from dry runs beside a finished tiny run."""

import json
import os
import re
import shutil

import pytest

from workbench import from_rule

EVALUATION = {"evaluate_scores", "compare_networks", "judge_experiment", "build_report", "build_index"}
LIBRARY = "workflow/scripts/darkhaloscope"


def test_a_finished_run_plans_nothing(rerun):
    assert rerun.plan() == set()


def test_a_fresh_clone_beside_existing_results_plans_nothing(rerun):
    """Every source file newer than every result, as after a clone."""
    for path in [rerun.folder / "Snakefile", *(rerun.folder / "workflow").rglob("*"), *(rerun.folder / "config").rglob("*")]:
        if path.is_file():
            path.touch()
    assert rerun.plan() == set()


def test_comments_and_docstrings_plan_nothing(rerun):
    rerun.edit(f"{LIBRARY}/core/random.py", '"""Counter-based randomness', '# A comment.\n"""Other words about randomness')
    assert rerun.plan() == set()


def test_how_files_are_fetched_plans_nothing(rerun):
    assert rerun.plan("--config", "downloads={retries: 9}") == set()
    path = rerun.folder / LIBRARY / "archive/download.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n_EDITED = True\n", encoding="utf-8")
    assert rerun.plan() == set()


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        ("edges: [0.8, 1.0, 1.2]", "edges: [0.8, 0.9, 1.2]", EVALUATION),
        (
            "flux: {architecture: toy, training: {epochs: 2",
            "flux: {architecture: toy, training: {epochs: 3",
            {"train_network", "score_stamps", *EVALUATION},
        ),
        ("accuracy: 0.01", "accuracy: 0.02", from_rule("render_stamps") - {"collect_sweep"}),
        ("test: 80}", "test: 120}", from_rule("build_manifest") - {"collect_sweep"}),
        ("marginal_stamps: 4", "marginal_stamps: 6", {"observe_marginal", *EVALUATION}),
    ],
)
def test_an_edit_of_the_config_plans_what_it_touches(rerun, old, new, rules):
    rerun.edit("tests/tiny.yaml", old, new)
    assert rerun.plan() == rules


@pytest.mark.parametrize(
    ("module", "rules"),
    [
        ("report/page.py", {"build_report", "build_index"}),
        ("tasks/subhalo/observation.py", from_rule("render_stamps") - {"collect_sweep"}),
        ("learning/networks.py", {"train_network", "score_stamps", *EVALUATION}),
        ("core/rates.py", {"build_dataset_page", "show_galaxies", *EVALUATION}),
        ("ifu/quality.py", from_rule("inspect_maps") - {"collect_sweep"}),
    ],
)
def test_an_edit_of_the_code_plans_what_runs_it(rerun, module, rules):
    path = rerun.folder / LIBRARY / module
    path.write_text(path.read_text(encoding="utf-8") + "\n_EDITED = True\n", encoding="utf-8")
    found = rerun.plan()
    # A checkpoint that may run again hides what comes after it until it has.
    assert found >= rules & {"inspect_maps", "score_lensability"} if module.startswith("ifu") else found == rules, sorted(found ^ rules)


def test_a_check_that_failed_is_planned_again_though_all_that_follows_is_there(rerun):
    rerun.edit(f"{LIBRARY}/tasks/subhalo/checks.py", "not any(faults.values())", "any(faults.values())")
    output = rerun.snakemake(check=False)
    assert "these stamps fail 1 of" in output
    assert rerun.plan() >= {"check_stamps", "train_network", "build_report"}


def test_naming_one_file_plans_that_stage_and_what_it_needs(rerun):
    shutil.rmtree(rerun.folder / "results/tiny/experiments/subhalo/evaluation")
    assert rerun.plan("results/tiny/experiments/subhalo/evaluation/flux/strata.csv") == {"evaluate_scores"}


def test_results_without_snakemakes_records_are_compared_by_provenance(rerun):
    shutil.rmtree(rerun.folder / ".snakemake")
    unchanged = rerun.snakemake("--dry-run")
    assert "Nothing to be done" in unchanged and "Results without" not in unchanged
    rerun.edit("tests/tiny.yaml", "edges: [0.8, 1.0, 1.2]", "edges: [0.8, 0.9, 1.2]")
    path = rerun.folder / LIBRARY / "learning/networks.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n_EDITED = True\n", encoding="utf-8")
    output = rerun.snakemake("--dry-run", check=False)
    assert "Nothing to be done" not in output and "--forcerun" in output
    assert "made by rule evaluate_scores with other parameter `evaluation`" in output
    assert (
        "results/tiny/detectors/subhalo/flux/seed-1/network.safetensors" in output
        and "made by rule train_network with other code" in output
    )
    # The remedy that it gives plans what is stale and what follows.
    names = re.search(r"--forcerun ([\w ]+), or keep", output)[1].split()
    assert rerun.plan("--forcerun", *names) == {"train_network", "score_stamps", *EVALUATION}


def test_what_is_asked_for_in_place_of_run_calls_no_page_of_the_run_stale(rerun):
    """Cutouts, a table of scores or observed lenses: the index and what it lists are those of `run`."""
    rerun.forget_records()
    (rerun.folder / "scores.csv").write_text("id,label,score\na,1,0.9\nb,0,0.1\n")
    said = rerun.snakemake("--dry-run", "--config", "scores=scores.csv", check=False)
    assert "Results without" not in said and "evaluate_table" in said


def test_a_copy_of_results_without_their_file_times_plans_nothing(rerun):
    kept = rerun.folder / "kept"
    (rerun.folder / "results/tiny").rename(kept)
    # As `cp -r` does it: every file has the time of its copying, folder after folder.
    for n, path in enumerate(sorted(p for p in kept.rglob("*") if p.is_file())):
        os.utime(path, (1_700_000_000 + n, 1_700_000_000 + n))
    kept.rename(rerun.folder / "results/tiny")
    rerun.forget_records()
    assert rerun.plan() == set()


def test_shards_of_another_config_are_named_after_a_kill_and_the_loss_of_snakemakes_records(rerun):
    rerun.edit("tests/tiny.yaml", "accuracy: 0.01", "accuracy: 0.02")
    stamps = "results/tiny/datasets/subhalo/stamps"
    rerun.snakemake(f"{stamps}/test/00000.parquet")  # as far as the killed run came
    rerun.forget_records()
    output = rerun.snakemake("--dry-run", f"{stamps}/test/00001.parquet", check=False)
    assert f"{stamps}/test/00001.parquet: made by rule render_stamps with other parameter `dataset`" in output
    assert f"{stamps}/train/00000.parquet and 1 more: made by rule render_stamps" in output
    assert f"{stamps}/test/00000.parquet" not in output


def test_a_broken_provenance_record_stops_the_run_in_words(rerun):
    rerun.forget_records()
    path = rerun.folder / "results/tiny/experiments/subhalo/evaluation/provenance/comparison.csv.json"
    path.write_text("{half")
    output = rerun.snakemake("--dry-run", check=False)
    assert "comparison.csv.json: expected a provenance record" in output and "Traceback" not in output and "--forcerun" not in output
    # Its own remedy helps.
    path.unlink()
    assert rerun.plan() == set()


def test_a_wrong_config_ends_before_any_job(project):
    output = project.snakemake("--dry-run", config=project.overlay(detectors={"flux": {"architectur": "toy"}}), check=False)
    assert "unknown key `detectors.flux.architectur` (nearest: `architecture`)" in output


@pytest.mark.parametrize("option", ["--config", "--configfile"])
def test_a_target_behind_an_option_that_takes_many_words_is_named(project, option):
    first = "root=results/a" if option == "--config" else "tests/tiny.yaml"
    output = project.snakemake("--dry-run", option, first, "results/a/index.html", config=None, check=False)
    assert f"a target stands ahead of {option}" in output and "results/a/index.html" in output and "Traceback" not in output


def test_the_full_survey_config_plans(project):
    rules = project.plan(config=None)
    assert {"retrieve_catalogs", "rank_disks", "build_manifest", "render_stamps", "train_network", "build_report"} <= rules
    assert "make_mock_archive" not in rules


def test_config_edits_on_the_command_line_work(project):
    assert "build_report" in project.plan("--config", "root=results/elsewhere")
    assert not os.path.exists(project.folder / "results/elsewhere")


def test_a_run_from_another_folder_takes_dotted_keys(project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/scores.parquet").touch()
    here, project.folder = project.folder, tmp_path / "elsewhere"
    arguments = "--dry-run", "--snakefile", f"{here}/Snakefile", "--config", "scores.table=scores.parquet"
    assert "evaluate_table" in project.snakemake(*arguments, config=None)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mime.yaml", None, "config file mime.yaml does not exist (nearest: `mine.yaml`)"),
        ("tab.yaml", "root: results/a\n\tcosmology: {}\n", "config file tab.yaml is not valid YAML"),
        ("list.yaml", "- root\n", "config file list.yaml must hold keys and values, found a list"),
        ("empty.yaml", "", "config file empty.yaml is empty (0 bytes)"),
    ],
)
def test_a_config_file_that_cannot_be_read_is_named(project, name, text, words):
    (project.folder / "mine.yaml").write_text("root: results/mine\n")
    if text is not None:
        (project.folder / name).write_text(text)
    output = project.snakemake("--dry-run", config=name, check=False)
    assert words in output and "Traceback" not in output
    if "\t" in (text or ""):
        assert "line 2" in output


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (["scores=results/mine/scors.parquet"], "scors.parquet does not exist (nearest: `results/mine/scores.parquet`)"),
        (["scores=s3://bucket/scores.parquet"], "s3://bucket/scores.parquet does not exist; expected a file or folder on this machine"),
        (["observed={path: results, table: lenses.csv}"], "correct `observed.table`"),
    ],
)
def test_what_the_user_brings_and_is_not_there_is_named_with_its_key(project, edits, words):
    (project.folder / "results/mine").mkdir(parents=True)
    (project.folder / "results/mine/scores.parquet").touch()
    (project.folder / "results/lens").mkdir()
    (project.folder / "results/lens/image.fits").touch()
    output = project.snakemake("--dry-run", "--config", *edits, config=None, check=False)
    assert words in output and "MissingInputException" not in output


def test_a_file_that_the_run_names_and_that_is_not_there_is_named_with_its_key(project):
    """Snakemake takes results whose inputs are missing as they are: those of another kernel would be called this one's."""
    edits = "--config", "datasets.subhalo.instrument.psf={kind: kernel, kernel: psg.npy}"
    (project.folder / "psf.npy").touch()
    output = project.snakemake("--dry-run", *edits, check=False)
    assert "psg.npy does not exist (nearest: `psf.npy`)" in output
    assert "correct `datasets.subhalo.instrument.psf.kernel`" in output and "Traceback" not in output
    # A file that has nothing to do with it can be asked for by name.
    assert "make_mock_archive" in project.plan("results/tiny/mock/mock/mock-archive.json", *edits)
    # In a copy of results the kernel that they were made of need not be there.
    record = project.folder / "results/tiny/datasets/subhalo/provenance/manifest.parquet.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"rule": "x", "wildcards": {}, "params": {}, "inputs": {"psg.npy": "sha256:0"}}))
    (project.folder / "results/tiny/datasets/subhalo/manifest.parquet").touch()
    output = project.snakemake("--dry-run", *edits, check=False)
    assert "Warning: psg.npy does not exist any more; what was made of it stays as it is" in output
