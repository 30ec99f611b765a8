"""The stage around a script: log, error in words, provenance only for what succeeded."""

import logging
from types import SimpleNamespace

import pytest

from darkhaloscope.stage import CONFIGFILES, log, stage


class Named(list):
    """Stands in for Snakemake's named lists."""

    def __init__(self, **named):
        super().__init__(named.values())
        self.__dict__.update(named)

    def items(self):
        return self.__dict__.items()


@pytest.fixture
def snakemake(tmp_path):
    return SimpleNamespace(
        rule="build_thing",
        input=Named(),
        output=Named(thing=str(tmp_path / "out" / "thing.json")),
        params=Named(code="abc", cut=3),
        wildcards=Named(dataset="d"),
        threads=1,
        log=[str(tmp_path / "logs" / "thing.log")],
    )


def test_the_log_begins_with_the_command_that_runs_the_job_again(snakemake, tmp_path, monkeypatch):
    monkeypatch.setenv(CONFIGFILES, "config/demo.yaml")
    with stage(snakemake) as job:
        job.write_json(job.output.thing, {"cut": job.params.cut})
    first = (tmp_path / "logs/thing.log").read_text().splitlines()[0]
    assert first.endswith(f"snakemake --cores 1 --force {snakemake.output.thing} --configfile config/demo.yaml")
    assert (tmp_path / "out/provenance/thing.json.json").is_file()


def test_a_failure_is_short_on_the_terminal_whole_in_the_log_and_leaves_no_provenance(snakemake, tmp_path, capsys):
    with pytest.raises(SystemExit) as end, stage(snakemake):
        raise ValueError("column `mass` is missing from masses.csv")
    assert end.value.code == 1
    terminal = capsys.readouterr().err
    assert "column `mass` is missing" in terminal and "Traceback" not in terminal
    assert "Traceback" in (tmp_path / "logs/thing.log").read_text()
    assert not (tmp_path / "out").exists()
    assert not any(isinstance(h, logging.FileHandler) for h in log.handlers)
