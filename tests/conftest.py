"""Fixtures for tests that run the workflow: a copy of the project, and one tiny finished run."""

import faulthandler
import os
from pathlib import Path

import pytest

# Workers side by side share the cores: a thread each. Set before torch and numpy are loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

from workbench import Project, new_project


def pytest_sessionstart(session):
    """Keep where each thread of a worker was if it dies of a native crash: its standard error is seldom seen."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        folder = Path(session.config.rootpath) / ".pytest_crashes"
        folder.mkdir(exist_ok=True)
        session.config.stash[CRASHES] = open(folder / f"{worker}.txt", "w", encoding="utf-8")  # noqa: SIM115  (open until the process ends)
        faulthandler.enable(session.config.stash[CRASHES])


CRASHES = pytest.StashKey()


@pytest.fixture
def project(tmp_path) -> Project:
    """A fresh copy of the project without results."""
    return new_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A tiny run that has finished; tests copy it and never change it."""
    project = new_project(tmp_path_factory.mktemp("finished") / "project")
    project.log = project.snakemake()
    return project


@pytest.fixture
def rerun(finished, tmp_path) -> Project:
    """A copy of the finished tiny run that a test may change."""
    return finished.copy(tmp_path / "project")
