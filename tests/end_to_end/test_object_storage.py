"""The tiny chain with its results in object storage (moto on 127.0.0.1), against the same chain on disk."""

import json
import re
import shutil

import pytest

from object_storage import BUCKET, storage_server
from workbench import new_project

ROOT = "results/tiny"
PREFIX = f"s3://{BUCKET}/run/"
STORED = ("--workflow-profile", "profiles/s3", "--default-storage-prefix", PREFIX.rstrip("/"))


@pytest.fixture(scope="module")
def stored(finished, tmp_path_factory):
    """A run in the bucket from the source bank to the report; the bank and what it was made of lie there beforehand."""
    with storage_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        project = new_project(tmp_path_factory.mktemp("stored") / "project")
        shutil.copytree(finished.folder / ROOT / "mock", project.folder / ROOT / "mock")
        files = [path for path in (finished.folder / ROOT / "manga").rglob("*") if path.is_file()]
        for path in sorted(files, key=lambda p: p.stat().st_mtime_ns):
            server.bucket.upload_file(str(path), f"run/{path.relative_to(finished.folder)}")
        project.config = project.overlay(
            experiments={"subhalo": {"detectors": ["flux"], "comparisons": [], "evaluation": {"marginal_stamps": 0}}}
        )
        project.server = server
        project.log = project.snakemake(*STORED, config=project.config)
        project.objects = {item.key.removeprefix("run/"): item.get()["Body"].read() for item in server.bucket.objects.all()}
        yield project


def test_stamps_are_those_of_a_local_run_to_the_bit(finished, stored):
    shards = sorted((finished.folder / ROOT / "datasets/subhalo/stamps").rglob("*.parquet"))
    assert len(shards) == 5
    for path in [*shards, finished.folder / ROOT / "datasets/subhalo/manifest.parquet"]:
        assert stored.objects[str(path.relative_to(finished.folder))] == path.read_bytes(), path.name


def test_results_logs_and_records_are_in_the_bucket_and_the_pages_on_disk(stored):
    for name in (
        "detectors/subhalo/flux/seed-1/network.safetensors",
        "detectors/subhalo/flux/seed-1/provenance/network.safetensors.json",
        "experiments/subhalo/evaluation/flux/rates.csv",
        "logs/render_stamps/subhalo/train/00000.log",
        "benchmarks/render_stamps/subhalo/train/00000.tsv",
    ):
        assert stored.objects[f"{ROOT}/{name}"], name
        assert not (stored.folder / ROOT / name).exists(), name
    for name in ("index.html", "experiments/subhalo/report/index.html", "experiments/subhalo/report/provenance/index.html.json"):
        assert (stored.folder / ROOT / name).stat().st_size > 0 and f"{ROOT}/{name}" not in stored.objects, name


@pytest.mark.parametrize("name", ["provenance/manifest.parquet.json", "stamps/train/provenance/00000.parquet.json"])
def test_records_name_addresses_and_are_otherwise_those_of_a_local_run(finished, stored, name):
    path = f"{ROOT}/datasets/subhalo/{name}"
    here, there = json.loads((finished.folder / path).read_text()), json.loads(stored.objects[path])
    assert all(file.startswith(PREFIX) for file in [*there["inputs"], *there["outputs"]])
    there["inputs"] = {file.removeprefix(PREFIX): found for file, found in there["inputs"].items()}
    there["outputs"] = [file.removeprefix(PREFIX) for file in there["outputs"]]
    for record in (here, there):
        del record["finished"]
    assert there == here


def test_a_log_names_the_command_that_runs_its_job_again(stored):
    first = stored.objects[f"{ROOT}/logs/build_manifest/subhalo.log"].decode().splitlines()[0]
    assert (
        f"--force {ROOT}/datasets/subhalo/manifest.parquet --default-storage-provider s3 --default-storage-prefix {PREFIX[:-1]} " in first
    )


def test_no_credentials_are_written_anywhere(stored):
    written = {str(path): path.read_bytes() for path in stored.folder.rglob("*") if path.is_file()} | stored.objects
    assert len(written) > 100 and ".snakemake/metadata" in "".join(written)
    for secret in (stored.server.secret, stored.server.key):
        assert secret not in stored.log
        assert [name for name, content in written.items() if secret.encode() in content] == []


def test_nothing_is_planned_again_and_lost_records_of_snakemake_are_made_up_for(stored):
    assert stored.plan(*STORED, config=stored.config) == set()
    # As a fresh clone beside the bucket: only the records there can tell what results were made with.
    stored.forget_records()
    unchanged = stored.snakemake("--dry-run", *STORED, config=stored.config)
    assert "Nothing to be done" in unchanged and "Results without" not in unchanged
    edited = "datasets={subhalo: {rendering: {supersampling: 3}}}"
    output = stored.snakemake("--dry-run", *STORED, "--config", edited, config=stored.config, check=False)
    shard = re.escape(f"{PREFIX}{ROOT}/datasets/subhalo/stamps/train/00000.parquet")
    assert re.search(rf"{shard} and 1 more: made by rule render_stamps with other parameter `dataset`", output)
    names = re.search(r"--forcerun ([\w ]+), or keep them as they are by deleting", output)[1].split()
    assert {"render_stamps", "build_report"} <= set(names) and "--touch" not in output
