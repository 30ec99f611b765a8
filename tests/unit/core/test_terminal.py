"""What a run says in the terminal: progress by stage, errors in their own words, nothing twice."""

import logging
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from darkhaloscope.jobs.terminal import PAUSE_S, Terminal


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def said():
    """A function that gives a record to the terminal and returns what it says, or None; its clock can be set."""
    clock = Clock()
    terminal = Terminal(logging.Formatter("plain: %(message)s"), {"rank_disks"}, clock)

    def say(event=None, message="", level=logging.INFO, **values):
        record = logging.makeLogRecord({"msg": message, "levelno": level, **({"event": event} if event else {}), **values})
        return terminal.format(record) if terminal.filter(record) else None

    say.clock = clock
    return say


def test_progress_names_the_stages_that_run_and_the_time_left(said):
    assert said(LogEvent.JOB_INFO, jobid=3, rule_name="render_stamps") is None
    assert said(LogEvent.JOB_INFO, jobid=4, rule_name="train_network") is None
    said.clock.now = 60.0
    assert said(LogEvent.JOB_FINISHED, job_id=3) is None
    assert said(LogEvent.PROGRESS, done=10, total=40) == "   10 of 40   25%  60 s, 10 jobs a minute, 3 min left  train_network"
    # Not more than a line every few seconds, and always the last one.
    assert said(LogEvent.PROGRESS, done=11, total=40) is None
    said.clock.now += PAUSE_S
    assert said(LogEvent.PROGRESS, done=12, total=40).startswith("   12 of 40   30%  70 s")
    assert said(LogEvent.PROGRESS, done=40, total=40) == "   40 of 40  100%  70 s, 34 jobs a minute"


def test_on_a_screen_progress_is_one_line_that_is_written_over():
    clock = Clock()
    terminal = Terminal(logging.Formatter("%(message)s"), set(), clock, width=40)

    def say(**values):
        record = logging.makeLogRecord({"levelno": logging.INFO, **values})
        return terminal.format(record) if terminal.filter(record) else None

    clock.now = 6.0
    assert say(event=LogEvent.PROGRESS, done=1, total=4) == "    1 of 4   25%  6 s, 10 jobs a minute, 18 s left"[:39]
    clock.now = 12.0
    assert say(event=LogEvent.PROGRESS, done=2, total=4).startswith("\r\x1b[K    2 of 4   50%  12 s")
    # Other words take the line's place, and begin no new one where none is unfinished.
    assert say(msg="A warning", levelno=logging.WARNING) == "\r\x1b[KA warning\n"
    assert say(msg="Another", levelno=logging.WARNING) == "Another\n"
    assert say(event=LogEvent.PROGRESS, done=4, total=4) == "    4 of 4  100%  12 s, 20 jobs a minute\n"


def test_a_number_of_jobs_that_may_grow_has_a_plus_until_the_checkpoint_has_run(said):
    said(LogEvent.RUN_INFO, "Job stats:\njob          count\n----------  -------\nrank_disks        1\ntotal             1\n")
    said(LogEvent.JOB_INFO, jobid=1, rule_name="rank_disks")
    assert "1 of 95+" in said(LogEvent.PROGRESS, done=1, total=95)
    said(LogEvent.JOB_FINISHED, job_id=1)
    said.clock.now += PAUSE_S
    assert "2 of 180 " in said(LogEvent.PROGRESS, done=2, total=180)


@pytest.mark.parametrize("event", [LogEvent.WORKFLOW_STARTED, LogEvent.RUN_INFO, LogEvent.SHELLCMD, LogEvent.JOB_STARTED])
def test_what_stands_in_the_log_file_is_not_said(said, event):
    assert said(event, "anything") is None
    assert said(message="Building DAG of jobs...") is None


def test_warnings_errors_and_plain_words_are_passed_on(said):
    assert said(message="Nothing to be done (all requested files are present and up to date).") == (
        "plain: Nothing to be done (all requested files are present and up to date)."
    )
    assert said(message="Building DAG of jobs failed", level=logging.ERROR) == "plain: Building DAG of jobs failed"


def test_a_failed_job_is_named_with_its_log_and_the_last_words_are_its_own(said, tmp_path):
    log = tmp_path / "render.log"
    log.write_text(
        "10:00 INFO Rendering\nTraceback …\n10:01 ERROR render_stamps failed: no space left while writing a.parquet; free space\n"
    )
    said(LogEvent.JOB_INFO, jobid=7, rule_name="render_stamps", wildcards={"dataset": "d", "shard": "3"})
    failed = {"rule_name": "render_stamps", "jobid": 7, "log": [str(log)]}
    assert said(LogEvent.JOB_ERROR, level=logging.ERROR, **failed) == f"Error in render_stamps (d 3); its log: {log}"
    assert said(LogEvent.JOB_ERROR, level=logging.ERROR, **failed) is None
    assert said(message="RuleException:\nCalledProcessError … returned non-zero exit status 1.", level=logging.ERROR) is None
    last = said(message="WorkflowError:\nAt least one job did not complete successfully.", level=logging.ERROR)
    assert last.splitlines() == [
        "1 job failed; what is done stays done, and the same command goes on from there:",
        "  render_stamps (d 3): no space left while writing a.parquet; free space",
        f"    log: {log}",
    ]


def test_an_error_of_several_lines_is_said_with_what_is_below_its_first(said, tmp_path):
    log = tmp_path / "check.log"
    gates = "".join(f"  gate {n}: asked 1; found 0\n" for n in range(9))
    log.write_text(f"10:01 ERROR check_stamps failed: these stamps fail 9 of 9 gates:\n{gates}\n  no part of it\n")
    said(LogEvent.JOB_ERROR, level=logging.ERROR, rule_name="check_stamps", log=[str(log)])
    _, *shown, where = said(message="At least one job did not complete successfully.", level=logging.ERROR).splitlines()
    assert shown[:2] == ["  check_stamps: these stamps fail 9 of 9 gates:", "    gate 0: asked 1; found 0"] and len(shown) == 5
    assert where == f"    log: {log}"


def test_a_job_that_said_nothing_is_said_to_have_ended_without_a_word(said):
    said(LogEvent.JOB_ERROR, level=logging.ERROR, rule_name="train_network", log=["/absent/log.log"])
    assert "ended without a word: out of memory or time" in said(
        message="At least one job did not complete successfully.", level=logging.ERROR
    )


def test_only_the_terminals_handler_is_quietened_and_only_where_nothing_else_was_asked_for(monkeypatch):
    from darkhaloscope.jobs.terminal import quieten

    logger, workflow = logging.getLogger("snakemake.logging"), SimpleNamespace(rules=[])
    handler, file = logging.StreamHandler(), logging.NullHandler()
    handler.name, file.name = "DefaultStreamHandler", "DefaultLogFileHandler"
    before = list(logger.handlers)
    logger.handlers[:] = [handler, file]
    try:
        for option in ("--verbose", "-n", "--quiet"):
            monkeypatch.setattr("sys.argv", ["snakemake", option])
            quieten(workflow)
            assert not isinstance(handler.formatter, Terminal)
        monkeypatch.setattr("sys.argv", ["snakemake", "--cores", "2"])
        quieten(workflow)
        assert isinstance(handler.formatter, Terminal) and not isinstance(file.formatter, Terminal)
    finally:
        logger.handlers[:] = before


def test_two_failed_jobs_of_one_rule_are_both_told(said):
    for jobid, galaxy in ((3, "A"), (4, "B")):
        said(LogEvent.JOB_INFO, jobid=jobid, rule_name="retrieve_maps", wildcards={"sample": "alma", "galaxy_id": galaxy})
    for jobid in (3, 4):
        said(LogEvent.JOB_ERROR, level=logging.ERROR, rule_name="retrieve_maps", jobid=jobid, log=[])
    last = said(message="At least one job did not complete successfully.", level=logging.ERROR)
    assert last.startswith("2 jobs failed") and "retrieve_maps (alma A): " in last and "retrieve_maps (alma B): " in last


def test_a_run_without_any_terminal_is_quietened_too(monkeypatch):
    """A service may start a program with its streams closed: they are None."""
    from darkhaloscope.jobs.terminal import quieten

    logger, handler = logging.getLogger("snakemake.logging"), logging.StreamHandler()
    handler.name, handler.stream, before = "DefaultStreamHandler", None, list(logger.handlers)
    logger.handlers[:] = [handler]
    monkeypatch.setattr("sys.argv", ["snakemake", "--cores", "2"])
    try:
        quieten(SimpleNamespace(rules=[]))
        assert isinstance(handler.formatter, Terminal)
    finally:
        logger.handlers[:] = before
