"""A changed parameter: Snakemake names the key and its two values, not two whole sections."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.persistence import NO_PARAMS_CHANGE, ParamsChange, PersistenceBase

from darkhaloscope.jobs import provenance, startup


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stamps.parquet").write_bytes(b"stamps")
    section = {"noise": {"peak_snr": 20, "flux": True}, "size": {"test": 80}, "long": "x" * 2000}
    provenance.record("render_stamps", {}, {"dataset": section, "code": "aaaa"}, [], ["stamps.parquet"])
    now = {"dataset": {**section, "noise": {"peak_snr": 30, "flux": True}}, "code": "bbbb"}
    return SimpleNamespace(output=["stamps.parquet"], params=now, log=["render.log"])


def test_the_key_and_its_two_values_are_told(job):
    assert startup.changed_params(job) == "dataset.noise.peak_snr: 20 → 30, the code"
    job.output = ["another.parquet"]
    assert startup.changed_params(job) == ""


def test_snakemake_says_so_where_there_is_a_record_and_its_own_words_elsewhere(job, monkeypatch):
    found = ParamsChange({"before"}, {"now"}, {"stamps.parquet"})
    monkeypatch.setattr(PersistenceBase, "params_changed", lambda self, job, file=None: found)
    monkeypatch.setattr(PersistenceBase, "has_metadata", lambda self, job: True)
    startup.name_changed_params()
    startup.name_changed_params()  # each parse calls it; once is enough
    said = PersistenceBase.params_changed(None, job)
    assert said and str(said) == "dataset.noise.peak_snr: 20 → 30, the code" and said.files == found.files and list(said) == list(found)
    job.output = ["another.parquet"]
    assert PersistenceBase.params_changed(None, job) is found


@pytest.mark.parametrize("written_down", [True, False])
def test_a_job_that_failed_is_run_again_though_all_that_follows_is_there(job, monkeypatch, written_down):
    """Its results are gone, and Snakemake has the parameters that it failed with, or nothing."""
    monkeypatch.setattr(PersistenceBase, "params_changed", lambda self, job, file=None: NO_PARAMS_CHANGE)
    monkeypatch.setattr(PersistenceBase, "has_metadata", lambda self, job: written_down)
    startup.name_changed_params()
    assert not PersistenceBase.params_changed(None, job)  # the result is there, and what Snakemake says counts
    Path("stamps.parquet").unlink()
    assert not PersistenceBase.params_changed(None, job)  # taken away by someone who needs it no more
    Path("render.log").write_text("10:00 ERROR render_stamps failed: no space left\n")
    assert PersistenceBase.has_metadata(None, job)
    said = PersistenceBase.params_changed(None, job)
    assert said and str(said) == "dataset.noise.peak_snr: 20 → 30, the code"
    job.params = provenance.read_record(provenance.record_path("stamps.parquet"), "stamps.parquet")[2]
    assert str(PersistenceBase.params_changed(None, job)) == "none, but its last run failed and left no result"
