"""Where files are said to be: local copies of what lies in object storage go by their address."""

import json

from darkhaloscope.jobs.locations import VARIABLE, address, plain_name, storage_options


def test_without_object_storage_names_stay_as_they_are(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert address("results/a.csv") == plain_name("results/a.csv") == "results/a.csv" and storage_options() == ""


def test_a_local_copy_goes_by_its_address(monkeypatch):
    monkeypatch.setenv(VARIABLE, json.dumps([".snakemake/storage/s3", "s3://bucket/run/"]))
    copy = ".snakemake/storage/s3/bucket/run/results/a.csv"
    assert address(copy) == "s3://bucket/run/results/a.csv" and plain_name(copy) == "results/a.csv"
    assert storage_options() == " --default-storage-provider s3 --default-storage-prefix s3://bucket/run"
    # What the config names and what is opened from disk are no copies.
    for path in ("results/index.html", "/data/kernel.npy", "../weights.pt"):
        assert address(path) == plain_name(path) == path


def test_local_copies_on_a_nodes_own_disk(monkeypatch):
    monkeypatch.setenv(VARIABLE, json.dumps(["/scratch/job-1/s3", "s3://bucket/"]))
    assert plain_name("/scratch/job-1/s3/bucket/results/a.csv") == "results/a.csv"
    assert address("/scratch/job-10/s3/bucket/results/a.csv").startswith("/scratch")
