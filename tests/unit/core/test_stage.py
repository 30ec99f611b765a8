"""The stage around a script: log, error in words, provenance only for what succeeded."""

import logging
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from darkhaloscope.jobs.stage import CONFIG, CONFIGFILES, log, rerun_command, stage


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


def test_the_command_has_the_edits_of_the_command_line(snakemake, monkeypatch):
    monkeypatch.setenv(CONFIGFILES, "")
    monkeypatch.setenv(CONFIG, '["scores=mine.parquet", "run=[a, b]"]')
    assert rerun_command(snakemake).endswith(f" {snakemake.output.thing} --config scores=mine.parquet 'run=[a, b]'")


def test_a_failure_is_short_on_the_terminal_whole_in_the_log_and_leaves_no_provenance(snakemake, tmp_path, capsys):
    with pytest.raises(SystemExit) as end, stage(snakemake):
        raise ValueError("column `mass` is missing from masses.csv")
    assert end.value.code == 1
    terminal = capsys.readouterr().err
    assert "column `mass` is missing" in terminal and "Traceback" not in terminal
    assert "Traceback" in (tmp_path / "logs/thing.log").read_text()
    assert not (tmp_path / "out").exists()
    assert not any(isinstance(h, logging.FileHandler) for h in log.handlers)


def test_threads_of_numba_and_torch_follow_the_job(snakemake, tmp_path):
    numba, torch = pytest.importorskip("numba"), pytest.importorskip("torch")
    before = numba.get_num_threads(), torch.get_num_threads()
    try:
        for threads in (1, 2, 64):
            snakemake.threads = threads
            with stage(snakemake) as job:
                job.write_json(job.output.thing, {})
                # Numba refuses more threads than the machine has cores.
                assert numba.get_num_threads() == min(threads, numba.config.NUMBA_NUM_THREADS)
                assert torch.get_num_threads() == threads
                # Compiling goes on: numba stops when its variable changes once its threads run.
                assert numba.njit(lambda x: x + 1)(threads) == threads + 1
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])


def test_numba_does_not_give_torch_all_cores_when_it_starts():
    """In a process of its own, where torch has computed something already: numba starts its threads once, with torch's OpenMP library."""
    code = (
        "import numba, torch; torch.get_num_threads(); from darkhaloscope.jobs.stage import _limit_threads; "
        "_limit_threads(1); print(torch.get_num_threads())"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")} | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_a_gpu_that_slurm_gave_and_torch_does_not_see_is_named_in_the_log(snakemake, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    told = {}
    for seen in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda seen=seen: seen)
        with stage(snakemake) as job:
            job.write_json(job.output.thing, {})
        told[seen] = "Slurm gave this job GPU 0, but torch" in (tmp_path / "logs/thing.log").read_text()
    assert told == {False: True, True: False}


STOPPABLE = """
import sys, time
from types import SimpleNamespace
from darkhaloscope.jobs.stage import stage

class Named(list):
    def items(self):
        return [("dataset", "d")]

folder = sys.argv[1]
snakemake = SimpleNamespace(rule="render_thing", input=[], output=[folder + "/out/thing.txt"], params=Named(), wildcards=Named(),
                            threads=1, log=[folder + "/thing.log"])
with stage(snakemake) as job, job.whole(job.output[0]) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    try:
        # In slices: a signal that comes between Python's check and the system call is seen when the sleep ends.
        for _ in range(600):
            time.sleep(0.1)
    except Exception:
        print("swallowed", flush=True)
    temporary.write_text("whole")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_told_to_stop_says_so_and_leaves_no_half_file(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", STOPPABLE, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout.readline() == "ready\n"
        assert len(os.listdir(tmp_path / "out")) == 1
        process.send_signal(number)
        out, terminal = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + number and out == ""
    assert f"render_thing was stopped by {number.name}" in terminal and "the same command starts it again" in terminal
    assert "Traceback" not in terminal
    assert "Traceback" in (tmp_path / "thing.log").read_text()
    assert os.listdir(tmp_path / "out") == []


def test_a_full_disk_ends_the_job_in_words_and_leaves_no_half_file(snakemake, tmp_path, capsys):
    with pytest.raises(SystemExit) as end, stage(snakemake) as job, job.whole(job.output.thing) as temporary:
        temporary.write_text("half")
        with open("/dev/full", "w") as full:  # the kernel's own error
            full.write("rest")
    assert end.value.code == 1
    terminal = capsys.readouterr().err
    assert f"no space left while writing {job.output.thing}; free space" in terminal and "Traceback" not in terminal
    assert os.listdir(tmp_path / "out") == []


def test_signals_are_given_back(snakemake):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit), stage(snakemake):
        assert signal.getsignal(signal.SIGTERM) is not before[0]
        raise ValueError("wrong")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
