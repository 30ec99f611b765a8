"""A changed parameter: Snakemake names the key and its two values, not two whole sections."""

from types import SimpleNamespace

import pytest
from snakemake.persistence import ParamsChange, PersistenceBase

from darkhaloscope.jobs import provenance, startup


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stamps.parquet").write_bytes(b"stamps")
    section = {"noise": {"peak_snr": 20, "flux": True}, "size": {"test": 80}, "long": "x" * 2000}
    provenance.record("render_stamps", {}, {"dataset": section, "code": "aaaa"}, [], ["stamps.parquet"])
    now = {"dataset": {**section, "noise": {"peak_snr": 30, "flux": True}}, "code": "bbbb"}
    return SimpleNamespace(output=["stamps.parquet"], params=now)


def test_the_key_and_its_two_values_are_told(job):
    assert startup.changed_params(job) == "dataset.noise.peak_snr: 20 → 30, the code"
    job.output = ["another.parquet"]
    assert startup.changed_params(job) == ""


def test_snakemake_says_so_where_there_is_a_record_and_its_own_words_elsewhere(job, monkeypatch):
    found = ParamsChange({"before"}, {"now"}, {"stamps.parquet"})
    monkeypatch.setattr(PersistenceBase, "params_changed", lambda self, job, file=None: found)
    startup.name_changed_params()
    startup.name_changed_params()  # each parse calls it; once is enough
    said = PersistenceBase.params_changed(None, job)
    assert said and str(said) == "dataset.noise.peak_snr: 20 → 30, the code" and said.files == found.files and list(said) == list(found)
    job.output = ["another.parquet"]
    assert PersistenceBase.params_changed(None, job) is found
