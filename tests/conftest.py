"""Fixtures for tests that run the workflow: a copy of the project, and one tiny finished run."""

import faulthandler
import fcntl
import os
import shutil
from pathlib import Path

import pytest

# Workers side by side share the cores: a thread each. Set before torch and numpy are loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
# All tests and all runs that they start share their compiled loops. Set before numba is loaded.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache/loops"))

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
    """A tiny run that has finished, one for all workers; tests copy it and never change it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, log = shared / "finished/project", shared / "finished.log"
    with open(shared / "finished.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # the first worker makes it, the others wait
        if not log.exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            log.write_text(new_project(folder).snakemake("--verbose"), encoding="utf-8")
    project = Project(folder)
    project.log = log.read_text(encoding="utf-8")
    return project


@pytest.fixture
def rerun(finished, tmp_path) -> Project:
    """A copy of the finished tiny run that a test may change."""
    return finished.copy(tmp_path / "project")


#: Folders of tests that run Snakemake or read real survey files, and what each is marked with.
MARKS = {"end_to_end": ("slow",), "workflow": ("slow",), "real": ("slow",), "slurm": ("slow", "slurm")}
#: Other files of tests that take longest: an eighth of the tests and six tenths of their time.
SLOW = {
    *("test_lensing_compiled", "test_lensing_engine", "test_profile_registry", "test_source_registry", "test_stamps_render"),
    *("test_learning_ranks", "test_learning_fit", "test_learning_foreign", "test_learning_head", "test_learning_shortcuts"),
    *("test_report_page", "test_report_lens_finder", "test_report_assemble_lens", "test_report_browser"),
    *("test_observed_lenses", "test_mock_manga", "test_library"),
}


#: Folders of tests whose files take longest, first: begun last, one of them would keep one worker busy while the others wait.
LONGEST = ("end_to_end", "slurm", "workflow", "real", "unit/lensing", "unit/learning", "unit/tasks", "unit/report", "unit/detectors")


def pytest_collection_modifyitems(items):
    """Mark tests by what they need: `-m "not slow"` leaves those of seconds, `-m slurm` those of the cluster; put long files first."""

    def turn(item):
        folder = item.path.relative_to(item.config.rootpath / "tests").parent.as_posix()
        return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    items.sort(key=turn)
    for item in items:
        folder = item.path.relative_to(item.config.rootpath / "tests").parts[0]
        runs = {"project", "finished", "rerun", "touched"} & set(getattr(item, "fixturenames", ()))
        if any("GPU" in str(mark.kwargs.get("reason")) for mark in item.iter_markers("skipif")):
            item.add_marker("gpu")
        if item.path.stem in SLOW:
            item.add_marker("slow")
        for mark in MARKS.get(folder, ()):
            if folder != "workflow" or runs:
                item.add_marker(mark)
