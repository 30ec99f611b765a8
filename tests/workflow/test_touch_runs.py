"""What each switch of the config adds to the DAG, removes from it or makes anew, by touch runs of all of it."""

import numpy as np
import pytest

from workbench import CHAIN, from_rule, new_project

#: Jobs of the tiny run; the ranking of a touch run has three galaxies, of which the score lets one through.
TINY = {rule: 1 for rule in CHAIN if rule != "collect_sweep"} | {
    "retrieve_maps": 3,
    "inspect_maps": 3,
    "draw_inspection": 3,
    "render_stamps": 5,
    "train_network": 3,
    "score_stamps": 3,
    "evaluate_scores": 3,
}
MANGA = CHAIN[: CHAIN.index("build_manifest")]
EXAMPLE = {"size": {"train": 40, "validation": 40, "test": 80}, "shard_size": 40, "sources": {"mix": {"disk": 1.0}, "sample": None}}


@pytest.fixture(scope="session")
def touched(tmp_path_factory):
    """A tiny run by touches."""
    project = new_project(tmp_path_factory.mktemp("touched") / "project")
    assert project.touch_run() == TINY
    return project


def sample(**galaxies):
    return {"manga": {"samples": {"mock": {"galaxies": galaxies}}}}


def experiment(**settings):
    return {"experiments": {"subhalo": settings}}


@pytest.mark.parametrize(
    ("values", "difference"),
    [
        pytest.param(sample(n_top=2), {"retrieve_maps": -1, "inspect_maps": -1, "draw_inspection": -1}, id="n_top"),
        pytest.param(
            {"manga": {"samples": {"mock": {"catalogs": False, "galaxies": {"n_top": 0, "listed": ["8001-12701", "8003-12701"]}}}}},
            {"retrieve_catalogs": -1, "rank_disks": -1, "retrieve_maps": -1, "inspect_maps": -1, "draw_inspection": -1},
            id="listed",
        ),
        pytest.param(sample(listed=["8009-12701"]), {"retrieve_maps": 1, "inspect_maps": 1, "draw_inspection": 1}, id="n_top and listed"),
        pytest.param(
            sample(listed=["8002-12701"], use_rejected=["8002-12701"]),
            {"build_source_tensor": 1, "normalise_source_tensor": 1},
            id="use_rejected",
        ),
        pytest.param({"manga": {"samples": {"mock": {"mock": False}}}}, {"make_mock_archive": -1}, id="not mock"),
        pytest.param(
            {"datasets": {"subhalo": {"sources": {"mix": {"disk": 1.0}}}}}, {rule: -TINY[rule] for rule in MANGA}, id="mix without manga"
        ),
        pytest.param(
            {"datasets": {"other": EXAMPLE}, **experiment(tests=["subhalo", "other"])},
            {"build_manifest": 1, "render_stamps": 4, "check_stamps": 1, "score_stamps": 3, "observe_marginal": 1, "measure_robustness": 1},
            id="test datasets",
        ),
        pytest.param(
            experiment(robustness={"disks": {"sources.mix": {"disk": 1.0}, "size.test": 40}}),
            {"build_manifest": 1, "render_stamps": 1, "check_stamps": 1, "score_stamps": 3, "measure_robustness": 1},
            id="robustness",
        ),
        pytest.param(experiment(explanations={"stamps": 2}), {"explain_scores": 1}, id="explanations"),
        pytest.param(
            experiment(evaluation={"surfaces": [["log10_mass_msun", "peak_snr"]]}), {"map_completeness": 3}, id="completeness surfaces"
        ),
        pytest.param(experiment(seeds=[1, 2]), {"train_network": 3, "score_stamps": 3}, id="seeds"),
        pytest.param(
            experiment(detectors=["flux", "both"]), {"train_network": -1, "score_stamps": -1, "evaluate_scores": -1}, id="detectors"
        ),
        pytest.param(experiment(comparisons=[]), {"compare_networks": -1}, id="comparisons"),
        pytest.param(
            {
                "detectors": {"joined": {"kind": "fusion", "of": ["flux", "velocity"]}},
                **experiment(detectors=["flux", "velocity", "both", "joined"]),
            },
            {"fuse_scores": 1, "evaluate_scores": 1},
            id="fusion",
        ),
        pytest.param(experiment(evaluation={"marginal_stamps": 0}), {"observe_marginal": -1}, id="marginal_stamps"),
        pytest.param(
            {
                "run": ["s"],
                "sweeps": {"s": {"experiment": "subhalo", "grid": {"dataset.instrument.noise.peak_snr": [10, 30]}}},
            },
            {
                **{"collect_sweep": 1, "build_manifest": 1, "render_stamps": 5, "check_stamps": 1},
                **{"train_network": 3, "score_stamps": 3, "evaluate_scores": 3},
                **{"build_report": -1, "build_index": -1, "compare_networks": -1, "observe_marginal": -1},
                **{"judge_experiment": -1, "choose_examples": -1, "build_dataset_page": -1},
            },
            id="sweep",
        ),
    ],
)
def test_a_switch_adds_and_removes_jobs(project, values, difference):
    found = project.touch_run(config=project.overlay(**values))
    found.subtract(TINY)
    assert {rule: n for rule, n in found.items() if n} == difference


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        pytest.param({"rendering": {"renderer": "lenstronomy"}}, from_rule("render_stamps"), id="renderer"),
        pytest.param({"instrument": {"mask": "observed"}}, from_rule("build_manifest"), id="mask"),
        pytest.param({"shard_size": 20}, from_rule("render_stamps"), id="shard_size"),
        # The report prints the whole config; nothing else knows this.
        pytest.param({"rendering": {"batch_size": 8}}, {"build_report", "build_index"}, id="batch_size"),
        pytest.param({"description": "Few"}, {"build_dataset_page", "build_report", "build_index"}, id="description"),
    ],
)
def test_a_switch_of_the_dataset_makes_anew_what_follows_from_it(touched, tmp_path, values, rules):
    project = touched.copy(tmp_path / "project")
    found = project.touch_run(config=project.overlay(datasets={"subhalo": values}))
    assert set(found) == rules - {"collect_sweep"}


@pytest.mark.parametrize("key", ["flux_percentiles: [1.0, 99.0]", "velocity_percentile: 90"])
def test_other_percentiles_normalise_again_and_train_nothing(touched, tmp_path, key):
    project = touched.copy(tmp_path / "project")
    assert project.plan("--config", f"manga={{tensor: {{{key}}}}}") == {"normalise_source_tensor"}


@pytest.mark.parametrize(
    ("module", "old", "new", "rules"),
    [
        ("ifu/normalised.py", "0, 1)", "0, 2)", {"normalise_source_tensor"}),
        ("ifu/inspection.py", "def maps_picture(", "EDITED = True\n\n\ndef maps_picture(", {"draw_inspection"}),
        ("ifu/preview.py", 'MASKED = "0.85"', 'MASKED = "0.8"', {"normalise_source_tensor", "draw_inspection"}),
    ],
)
def test_an_edit_of_what_is_drawn_of_a_galaxy_trains_nothing(touched, tmp_path, module, old, new, rules):
    project = touched.copy(tmp_path / "project")
    project.edit(f"workflow/scripts/darkhaloscope/{module}", old, new)
    assert project.plan() == rules


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        pytest.param("core/random.py", '"""Counter-based randomness', '# A comment.\n"""Other words about randomness', id="docstring"),
        pytest.param("core/tables.py", "make the file again with the stage that writes it", "run that stage again", id="error"),
        pytest.param("tasks/subhalo/render.py", "log.info(", 'log.info("Begun")\n        log.info(', id="log line"),
        pytest.param("config/network.py", 'description="', 'description="In other words: ', id="description of a field"),
        pytest.param("jobs/stage.py", "def rerun_command(", "EDITED = True\n\n\ndef rerun_command(", id="stage"),
        pytest.param("core/files.py", "def sha256(", "EDITED = True\n\n\ndef sha256(", id="writing of files"),
        pytest.param("__init__.py", '__version__ = "', '__version__ = "1', id="version"),
    ],
)
def test_an_edit_of_words_or_of_what_surrounds_a_job_plans_nothing(touched, tmp_path, module, old, new):
    project = touched.copy(tmp_path / "project")
    project.edit(f"workflow/scripts/darkhaloscope/{module}", old, new)
    assert project.plan() == set()


@pytest.mark.parametrize(
    ("module", "old", "new", "rules"),
    [
        # The finaliser's constant; the manifest draws with it.
        pytest.param("core/random.py", "2.0**-53", "2.0**-52", from_rule("build_manifest"), id="a constant"),
        pytest.param(
            "ifu/quality.py", "import numpy as np", "import numpy as np\n\nEDITED = True", {"inspect_maps"}, id="a galaxy's metrics"
        ),
    ],
)
def test_an_edit_of_a_formula_plans_its_rule_and_what_follows(touched, tmp_path, module, old, new, rules):
    project = touched.copy(tmp_path / "project")
    project.edit(f"workflow/scripts/darkhaloscope/{module}", old, new)
    assert project.plan() >= rules - {"collect_sweep"}


def test_a_variant_is_rendered_scored_and_judged_and_nothing_is_trained(touched, tmp_path):
    project = touched.copy(tmp_path / "project")
    variants = {"psf": {"instrument.psf.fwhm_arcsec": 0.2}}
    added = {"build_manifest", "render_stamps", "check_stamps", "score_stamps", "measure_robustness", "build_report", "build_index"}
    found = project.touch_run(config=project.overlay(**experiment(robustness=variants)))
    assert set(found) == added and found["render_stamps"] == 2 and found["score_stamps"] == 3
    # Another one leaves the first alone.
    variants["noise"] = {"instrument.noise.peak_snr": 8, "size.test": 40}
    found = project.touch_run(config=project.overlay(**experiment(robustness=variants)))
    assert set(found) == added and found["render_stamps"] == 1 and found["score_stamps"] == 3
    assert project.touch_run(config=project.overlay(**experiment(robustness=variants))) == {}


def test_explanations_are_made_anew_alone(touched, tmp_path):
    project = touched.copy(tmp_path / "project")
    for settings in ({"stamps": 2}, {"stamps": 3}, {"stamps": 3, "radius_arcsec": 0.3}):
        found = project.touch_run(config=project.overlay(**experiment(explanations=settings)))
        assert found == {"explain_scores": 1, "build_report": 1, "build_index": 1}


def test_another_kernel_at_the_same_path_makes_what_reads_it_anew(project):
    def write_kernel(width):
        y, x = np.indices((9, 9)) - 4
        np.save(project.folder / "psf.npy", np.exp(-(x**2 + y**2) / (2 * width**2)))

    config = project.overlay(datasets={"subhalo": {"instrument": {"psf": {"kind": "kernel", "kernel": "psf.npy"}}}})
    write_kernel(1.0)
    assert project.touch_run(config=config) == TINY
    assert project.touch_run(config=config) == {}
    write_kernel(2.0)
    assert set(project.touch_run(config=config)) == from_rule("build_manifest") - {"collect_sweep"}


def test_scores_made_elsewhere_are_a_detector(touched, tmp_path):
    project = touched.copy(tmp_path / "project")
    (project.folder / "mine.csv").write_text("stamp_id,score\n")
    mine = {"mine": {"kind": "table", "scores": {"subhalo": "mine.csv"}}}
    added = experiment(detectors=["flux", "velocity", "both", "mine"], comparisons=[["flux", "both"], ["flux", "mine"]])
    found = project.touch_run(config=project.overlay(detectors=mine, **added))
    rules = ("import_scores", "evaluate_scores", "compare_networks", "judge_experiment", "build_report", "build_index")
    assert found == dict.fromkeys(rules, 1)


def test_stamps_and_weights_that_are_gone_are_planned_again(touched, tmp_path):
    project = touched.copy(tmp_path / "project")
    results = project.folder / "results/tiny"
    assert project.plan() == set()
    [shard] = (results / "datasets/subhalo/stamps/test").glob("00001.parquet")
    shard.unlink()
    assert project.plan() >= {"render_stamps", "check_stamps"}
    # Asked for by its name it is made alone.
    assert project.plan(str(shard.relative_to(project.folder))) == {"render_stamps"}
    shard.touch()
    next(iter((results / "detectors/subhalo/flux").glob("seed-*/network.safetensors"))).unlink()
    assert "train_network" in project.plan()


def test_what_was_seen_of_a_shard_is_made_again_where_the_check_wants_it(touched, tmp_path):
    project = touched.copy(tmp_path / "project")
    dataset = project.folder / "results/tiny/datasets/subhalo"
    seen = dataset / "seen/test/00001.parquet"
    seen.unlink()
    assert project.plan() == set()  # nothing that is wanted is missing
    assert project.plan(str(seen.relative_to(project.folder))) == {"render_stamps"}
    (dataset / "quality/checks.json").unlink()
    assert project.plan("results/tiny/datasets/subhalo/quality/checks.json") == {"render_stamps", "check_stamps"}


def test_a_name_that_does_not_exist_is_said_with_the_nearest_and_the_root(touched, tmp_path):
    project = touched.copy(tmp_path / "project")
    for target, words in {
        "results/tiny/experiments/subhallo/report/index.html": "there is no experiment `subhallo` in this config (nearest: `subhalo`)",
        "results/tiny/experiments/subhalo/report/indx.html": "(nearest: `results/tiny/experiments/subhalo/report/index.html`)",
        "results/experiments/subhalo/report/index.html": "whose results go below results/tiny/ (config key `root`)",
    }.items():
        assert words in project.snakemake("--dry-run", target, check=False)
    for option in ("--forcerun", "--until", "--omit-from"):
        said = project.snakemake("--dry-run", option, "evaluate_score", check=False)
        assert "there is no rule and no file `evaluate_score` (nearest: `evaluate_scores`)" in said


def test_dotted_keys_on_the_command_line_are_those_of_a_file(touched, tmp_path):
    project = touched.copy(tmp_path / "project")
    found = project.plan("--config", "datasets.subhalo.seed=3", "experiments.subhalo.evaluation={bootstrap: 60}")
    assert found == from_rule("build_manifest") - {"collect_sweep"}
    assert project.plan("--config", "datasets={subhalo: {seed: 3}}") == found


def test_a_key_twice_in_a_config_file_stops_the_run(touched, tmp_path):
    project = touched.copy(tmp_path / "project")
    (project.folder / "twice.yaml").write_text("extends: tests/tiny.yaml\nroot: results/a\nroot: results/b\n")
    said = project.snakemake("--dry-run", config="twice.yaml", check=False)
    assert "line 3: duplicate key `root`, first in line 2" in said and "Traceback" not in said
