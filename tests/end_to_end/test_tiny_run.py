"""The whole chain at its smallest size: what it leaves, and that it is the same however it is run."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from workbench import CHAIN

RESULTS = "results/tiny"


def stamps(project, split):
    """All shards of one split as one table."""
    files = sorted((project.folder / RESULTS / "datasets/subhalo/stamps" / split).glob("*.parquet"))
    return pa.concat_tables([pq.read_table(f) for f in files]).combine_chunks()


def test_every_stage_ran_and_left_its_files(finished):
    root = finished.folder / RESULTS
    ran = {path.name.removesuffix(".log") for path in (root / "logs").iterdir()}
    assert ran == set(CHAIN) - {"collect_sweep"}
    for name in (
        "manga/mock/ranking.csv",
        "manga/mock/lensability.csv",
        "manga/mock/bank.parquet",
        "datasets/subhalo/manifest.parquet",
        "datasets/subhalo/quality/checks.json",
        "detectors/subhalo/both/seed-1/network.safetensors",
        "experiments/subhalo/evaluation/both/strata.csv",
        "experiments/subhalo/evaluation/comparison.csv",
        "experiments/subhalo/observers/subhalo.csv",
        "experiments/subhalo/report/index.html",
        "index.html",
    ):
        assert (root / name).stat().st_size > 0, name
    assert not list(root.rglob(".partial-*")), "temporary files were left"


def test_every_log_begins_with_the_command_that_runs_its_job_again(finished):
    logs = list((finished.folder / RESULTS / "logs").rglob("*.log"))
    assert len(logs) > 30
    for path in logs:
        assert "run this job again: snakemake --cores" in path.read_text().splitlines()[0], path


def test_splits_share_no_galaxy_and_classes_are_balanced(finished):
    seen = {}
    for split in ("train", "validation", "test"):
        table = stamps(finished, split)
        labels = table["label"].to_numpy()
        assert labels.mean() == 0.5
        seen[split] = {m for m in table["physical_id"].to_pylist() if m is not None}
    assert seen["train"] and not (seen["train"] & seen["validation"] | seen["train"] & seen["test"] | seen["validation"] & seen["test"])


def test_scores_hold_every_validation_and_test_stamp_once(finished):
    scores = pd.read_parquet(finished.folder / RESULTS / "detectors/subhalo/both/seed-1/scores/subhalo.parquet")
    ids = [*stamps(finished, "validation")["stamp_id"].to_pylist(), *stamps(finished, "test")["stamp_id"].to_pylist()]
    assert sorted(scores["stamp_id"]) == sorted(ids) and scores["stamp_id"].is_unique
    assert scores["score"].between(0, 1).all()


def test_provenance_says_what_made_the_weights(finished):
    folder = finished.folder / RESULTS / "detectors/subhalo/flux/seed-1"
    record = json.loads((folder / "provenance/network.safetensors.json").read_text())
    assert record["rule"] == "train_network" and record["params"]["network"]["training"]["epochs"] == 2
    assert any(name.endswith("00000.parquet") and value.startswith("sha256:") for name, value in record["inputs"].items())


def test_the_report_opens_from_disk_without_the_network(finished):
    page = (finished.folder / RESULTS / "experiments/subhalo/report/index.html").read_text(encoding="utf-8")
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)=["']https?:""", markup) and "<script src" not in page
    assert "Does a flux and velocity network detect dark subhalos better than a flux-only one?" in page


@pytest.fixture(scope="module")
def other(finished, tmp_path_factory):
    """The same stamps made on one core, in shards of another size."""
    project = finished.copy(tmp_path_factory.mktemp("other") / "project")
    project.forget("datasets")
    overlay = {"extends": "tests/tiny.yaml", "datasets": {"subhalo": {"shard_size": 64}}}
    (project.folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    project.snakemake(f"{RESULTS}/datasets/subhalo/quality/checks.json", config="overlay.yaml", cores=1)
    assert (
        len(list((project.folder / RESULTS / "datasets/subhalo/stamps/test").glob("*.parquet"))) == 2
    )  # 64 and 16, where there are 40 and 40
    return project


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_stamps_are_the_same_to_the_bit_for_other_shards_and_cores(finished, other, split):
    one, two = stamps(finished, split), stamps(other, split)
    assert one.schema.equals(two.schema)
    for name in one.column_names:
        a, b = one[name].combine_chunks(), two[name].combine_chunks()
        if isinstance(a.type, pa.FixedShapeTensorType):
            np.testing.assert_array_equal(a.to_numpy_ndarray().view(np.uint8), b.to_numpy_ndarray().view(np.uint8), err_msg=name)
        else:
            assert a.equals(b), name


def test_a_variant_is_scored_by_the_networks_as_they_are(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    variants = {"blurred": {"instrument.psf.fwhm_arcsec": 0.4, "size.test": 40}}
    overlay = {"extends": "tests/tiny.yaml", "experiments": {"subhalo": {"robustness": variants}}}
    (project.folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    weights = project.folder / RESULTS / "detectors/subhalo/flux/seed-1/network.safetensors"
    before = weights.stat().st_mtime_ns
    name = f"{RESULTS}/experiments/subhalo/evaluation/robustness.csv"
    project.snakemake(name, config="overlay.yaml")
    assert weights.stat().st_mtime_ns == before
    table = pd.read_csv(project.folder / name)
    rows = table[(table["metric"] == "auc") & (table["variant"] == "blurred")]
    assert list(rows["detector"]) == ["flux", "velocity", "both"] and (rows["n_positives"] == 20).all() and rows["difference"].notna().all()
    # The same lenses, sources and kinds of subhalos, seen through another PSF; their places follow the light that is seen.
    base = stamps(finished, "test").slice(0, 40)
    twins = pq.read_table(project.folder / RESULTS / "datasets/subhalo+blurred/stamps/test/00000.parquet")
    for column in ("number", "label", "source_kind", "galaxy_id", "theta_e_arcsec", "subhalo_profile", "peak_snr"):
        assert twins[column].to_pylist() == base[column].to_pylist(), column
    assert (twins["theta_over_psf"].to_numpy() < base["theta_over_psf"].to_numpy()).all()


def test_scores_are_explained_and_the_explanations_drawn(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    overlay = {"extends": "tests/tiny.yaml", "experiments": {"subhalo": {"explanations": {"stamps": 2, "steps": 16}}}}
    (project.folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    experiment = f"{RESULTS}/experiments/subhalo"
    project.snakemake(f"{experiment}/report/index.html", config="overlay.yaml")
    table = pd.read_csv(project.folder / experiment / "explanations/stamps.csv")
    assert (table.groupby(["network", "group"]).size() == 2).all() and len(table) == 3 * 4 * 2
    # The margins are those of the scores that chose the stamps.
    own = table[table["network"] == "both"]
    np.testing.assert_allclose(1 / (1 + np.exp(-own["margin"])), own["score"], atol=1e-5)
    assert ((table["error"].abs() <= 0.02 * (table["margin"] - table["baseline_margin"]).abs().clip(lower=1)) == table["complete"]).all()
    page = (project.folder / experiment / "report/index.html").read_text(encoding="utf-8")
    assert 'id="explanations-table"' in page and (project.folder / experiment / "report/figures/explanations.pdf").stat().st_size > 0


def test_a_sweep_over_the_noise_ends_in_its_table(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    overlay = {
        "extends": "tests/tiny.yaml",
        "run": ["noise"],
        "datasets": {"subhalo": {"shard_size": 80}},
        "experiments": {"subhalo": {"detectors": ["flux"], "comparisons": []}},
        # That a grid is every pair of its values is a test of the config.
        "sweeps": {
            "noise": {
                "experiment": "subhalo",
                "grid": {"dataset.instrument.noise.peak_snr": [10, 30], "dataset.subhalo.theta_e_factor": [0.1]},
            }
        },
    }
    (project.folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    output = project.snakemake(config="overlay.yaml")
    assert "inspect_maps" not in output and "make_mock_archive" not in output
    table = pd.read_csv(project.folder / RESULTS / "sweeps/noise/results.csv")
    points = table[["dataset.instrument.noise.peak_snr", "dataset.subhalo.theta_e_factor"]].drop_duplicates()
    assert sorted(map(tuple, points.to_numpy())) == [(10, 0.1), (30, 0.1)]
    assert set(table["detector"]) == {"flux"} and "auc" in set(table["metric"])
