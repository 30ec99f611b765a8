"""What a run says in the terminal: stages as they go on, done of all, rate, time left; an error in its own words with its log.

On a screen progress is one line that is written over; in a file it is a line every few seconds. Everything else that Snakemake says is in its log file, whose name stands at the end, and in the terminal with --verbose.
Dry runs are left as they are.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import time
from typing import Any

#: Seconds between two lines of the same stage.
PAUSE_S = 10.0
#: Lines of a job's error that are shown; its log has all.
ERROR_LINES = 5
#: What Snakemake says at a run's start and end that a user needs no more than once, in its log file.
ROUTINE = re.compile(
    r"Conda environments|DAG of jobs will be|Assuming unrestricted|Provided cores|Rules claiming|Using shell|host: |Building DAG|Select jobs|Execute \d+ job|Using workflow specific"
    r"|Shutting down|Exiting because|Updating checkpoint|Storing output|Touching output|Removing temporary|Resources before|conda env"
)


class Terminal(logging.Formatter):
    """Words Snakemake's records for a person who waits; nothing where there is nothing to say.

    Parameters
    ----------
    otherwise : logging.Formatter
        Words what is not worded here.
    checkpoints : set of str
        Rules after which more jobs may come.
    clock : callable
        Gives the time [s].
    width : int, optional
        Columns of a screen whose last line can be written over; what is returned then holds its line ends itself.
    """

    def __init__(self, otherwise: logging.Formatter, checkpoints: set[str], clock: Any = time.monotonic, width: int | None = None) -> None:
        super().__init__()
        self._width, self._unfinished = width, False
        self._failed: dict[str, tuple[str, str | None]] = {}
        self._otherwise, self._checkpoints, self._clock = otherwise, checkpoints, clock
        self._began, self._last, self._stage, self._open = clock(), float("-inf"), "", set()
        self._jobs: dict[int, str] = {}
        self._wildcards: dict[int, dict[str, str]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what there is something to say about, and say it once."""
        record.terminal = self._word(record)
        return bool(record.terminal)

    def format(self, record: logging.LogRecord) -> str:
        """Return what is said about a record."""
        if not self._width:
            return record.terminal
        over, self._unfinished = "\r\x1b[K" if self._unfinished else "", getattr(record, "unfinished", False)
        return f"{over}{record.terminal[: self._width - 1]}" if self._unfinished else f"{over}{record.terminal}\n"

    def _word(self, record: logging.LogRecord) -> str:
        event = getattr(getattr(record, "event", None), "value", None)
        words = getattr(self, f"_{event}", None) if event else None
        if words:
            return words(record)
        if "At least one job did not complete" in str(record.msg) and self._failed:
            return self._last_words()
        if "returned non-zero exit status" in str(record.msg):
            return ""
        if record.levelno < logging.WARNING and (event or ROUTINE.search(str(record.msg or ""))):
            return ""
        return self._otherwise.format(record)

    def _workflow_started(self, record: logging.LogRecord) -> str:
        return ""

    def _run_info(self, record: logging.LogRecord) -> str:
        """Note which checkpoints are still to come: until they have run, the number of jobs may grow."""
        self._open |= {line.split()[0] for line in str(record.msg).splitlines() if line.split()} & self._checkpoints
        return ""

    def _shellcmd(self, record: logging.LogRecord) -> str:
        return ""

    def _job_info(self, record: logging.LogRecord) -> str:
        self._jobs[record.jobid] = record.rule_name
        # Where a job fails Snakemake says its number alone.
        self._wildcards[record.jobid] = dict(getattr(record, "wildcards", None) or {})
        return ""

    def _job_finished(self, record: logging.LogRecord) -> str:
        self._stage = self._jobs.pop(getattr(record, "job_id", getattr(record, "jobid", None)), self._stage)
        self._open.discard(self._stage)
        return ""

    def _progress(self, record: logging.LogRecord) -> str:
        now, done, total = self._clock(), record.done, record.total
        if done < total and now - self._last < (1.0 if self._width else PAUSE_S):
            return ""
        self._last, record.unfinished = now, done < total
        more = "+" if self._open else ""
        passed = max(now - self._began, 1e-3)
        left, per_minute = passed / max(done, 1) * (total - done), done / passed * 60
        rate = f"{per_minute:.{0 if per_minute >= 9.95 else 1}f} jobs a minute"
        running = ", ".join(dict.fromkeys(self._jobs.values()))
        what = f", {rate}, {_span(left)} left  {running or self._stage}" if done < total else f", {rate}"
        return f"{done:>5} of {total}{more}  {done / total:4.0%}  {_span(passed)}{what}"

    def _job_error(self, record: logging.LogRecord) -> str:
        log = next((path for path in record.log or () if path.endswith(".log")), None)
        wildcards = " ".join(map(str, self._wildcards.get(getattr(record, "jobid", None), {}).values()))
        named = f"{record.rule_name}{f' ({wildcards})' if wildcards else ''}"
        # Snakemake names a failed job where it fails, and may once more at the end.
        known = named in self._failed
        self._failed[named] = (last_error(log) or "ended without a word: out of memory or time, stopped, or not started", log)
        return "" if known else f"Error in {named}{f'; its log: {log}' if log else ''}"

    def _last_words(self) -> str:
        """Say what failed, each job with its error in its own words and its log."""
        n = len(self._failed)
        lines = [f"{n} job{'s' if n > 1 else ''} failed; what is done stays done, and the same command goes on from there:"]
        for named, (error, log) in self._failed.items():
            lines += [f"  {named}: {error}", *([f"    log: {log}"] if log else [])]
        return "\n".join(lines)


def last_error(log: str | None) -> str | None:
    """Return the error that a job's log ends with, in the job's own words: its first line, and the first of those that are indented below it."""
    if not log or not os.path.exists(log):
        return None
    error: list[str] = []
    goes_on = False
    with open(log, encoding="utf-8", errors="replace") as file:
        for line in file:
            if " ERROR " in line:
                error, goes_on = [re.sub(r"^\w+ failed: ", "", line.split(" ERROR ", 1)[1].strip())], True
            elif goes_on := goes_on and line.startswith("  ") and len(error) < ERROR_LINES:
                error.append(line.strip())
    return "\n    ".join(error) or None


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{round(seconds)} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def quieten(workflow: Any) -> None:
    """Word what the terminal shows, where nothing else was asked for: no --verbose, --quiet or --printshellcmds, no dry run."""
    asked = {
        "--verbose",
        "--quiet",
        "-q",
        "-p",
        "--printshellcmds",
        "-n",
        "--dry-run",
        "--dryrun",
        "--lint",
        "--touch",
        "-t",
        "--report",
        "--list",
    }
    if asked & set(sys.argv):
        return
    checkpoints = {rule.name for rule in workflow.rules if rule.is_checkpoint}
    for handler in logging.getLogger("snakemake.logging").handlers:
        if handler.name == "DefaultStreamHandler" and not isinstance(handler.formatter, Terminal):
            # A service may start a program without any terminal: its streams are closed, and None.
            width = shutil.get_terminal_size().columns if handler.stream and handler.stream.isatty() else None
            terminal = Terminal(handler.formatter or logging.Formatter(), checkpoints, width=width)
            handler.terminator = "" if width else "\n"
            handler.setFormatter(terminal)
            handler.addFilter(terminal)
