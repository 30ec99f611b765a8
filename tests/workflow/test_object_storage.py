"""Runs whose results go to object storage: what is planned, and what is said where the storage cannot be used."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from object_storage import BUCKET, storage_server

ROOT = Path(__file__).parents[2]
PREFIX = f"s3://{BUCKET}/run"


@pytest.fixture(scope="module")
def server():
    with storage_server() as running:
        yield running


@pytest.fixture
def storage(server, monkeypatch):
    """The server, with this process's environment set to its user."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def in_storage(prefix=PREFIX):
    return "--workflow-profile", "profiles/s3", "--default-storage-prefix", prefix


def test_the_profile_is_the_default_one_and_where_results_go():
    default, s3 = (yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text()) for name in ("default", "s3"))
    assert s3 == {"default-storage-provider": "s3", "default-storage-prefix": "s3://BUCKET/dark-halo-scope", **default}


def test_the_chain_plans_with_results_in_a_bucket_and_users_files_here(project, storage):
    np.save(project.folder / "kernel.npy", np.ones((5, 5)))
    config = project.overlay(datasets={"subhalo": {"instrument": {"psf": {"kind": "kernel", "kernel": "kernel.npy"}}}})
    output = project.snakemake("--dry-run", *in_storage(), config=config)
    assert f"Missing output files: {PREFIX}/results/tiny/manga/mock/ranking.csv" in output
    assert "Missing output files: results/tiny/mock/mock/mock-archive.json" in output
    assert "Missing output files: results/tiny/index.html" in output
    (project.folder / "kernel.npy").unlink()
    output = project.snakemake("--dry-run", *in_storage(), config=config, check=False)
    assert re.search(r"(?m)^ +kernel.npy$", output) and f"{PREFIX}/kernel.npy" not in output


def test_the_slurm_profile_and_this_one_go_together(project, storage):
    assert {"render_stamps", "train_network"} <= project.plan("--profile", "slurm", "--sdm", "env-modules", *in_storage())


def test_a_missing_bucket_is_not_made(project, storage):
    output = project.snakemake("--dry-run", *in_storage("s3://elsewhere/run"), check=False)
    assert f"Results go to s3://elsewhere/run/ on {storage.endpoint}" in output
    assert "there is no bucket 'elsewhere': make it with `aws s3 mb s3://elsewhere`, or correct the prefix" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(project, storage, monkeypatch, variable):
    monkeypatch.setenv(variable, "wrongwrong")
    output = project.snakemake("--dry-run", *in_storage(), check=False)
    assert f"the server refuses bucket '{BUCKET}' (HTTP 403)" in output and "Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in output
    assert "wrongwrong" not in output and storage.secret not in output and "Traceback" not in output


def test_no_credentials_at_all(project, storage, monkeypatch):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    output = project.snakemake("--dry-run", *in_storage(), check=False)
    assert f"no credentials were found for bucket '{BUCKET}': set AWS_PROFILE" in output


def test_a_server_that_does_not_answer(project, storage, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    output = project.snakemake("--dry-run", *in_storage(), check=False)
    assert f"Results go to {PREFIX}/ on http://127.0.0.1:9" in output and "check the network and the server's address" in output
    assert "Traceback" not in output
