"""What goes wrong in a job before its stage begins, while its script imports: said in words, in the terminal and the log."""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any


def watch(job: Any) -> None:
    """See to errors that nobody handles in a script that Snakemake runs as a job; refuse to work for a script of another project."""
    foreign = other_library(job)
    if foreign:
        _tell(job, foreign, "")
        raise SystemExit(1)
    sys.excepthook = lambda kind, error, trace: _report(job, kind, error, trace)


def other_library(job: Any) -> str | None:
    """Return what is wrong, in words, where this library is not the one beside the job's script."""
    beside, this = Path(str(getattr(job, "scriptdir", "")), "darkhaloscope"), Path(__file__).parents[1]
    if not (beside / "__init__.py").is_file() or beside.resolve() == this.resolve():
        return None
    return (
        f"the library was imported from {this}, but this job's code is {beside}: what ran would not be what is recorded. "
        "Take the other one out of PYTHONPATH, or uninstall it from this environment (pip uninstall darkhaloscope)"
    )


def _report(job: Any, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    lines = str(error).strip().splitlines() or [kind.__name__]
    remedy = ""
    if isinstance(error, ImportError):
        remedy = "; install what is missing in this rule's environment (`make setup`, or --sdm conda), or see what the log says"
    _tell(job, f"could not start: {lines[0]}{remedy}", "".join(traceback.format_exception(kind, error, trace)))


def _tell(job: Any, message: str, details: str) -> None:
    print(f"[{job.rule}] {job.rule} {message}", file=sys.stderr)
    if not len(job.log):
        print(details, file=sys.stderr)
        return
    path = Path(str(job.log[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    # The stage may have begun the log already.
    with open(path, "a", encoding="utf-8") as log:
        log.write(f"{details}{time.strftime('%Y-%m-%d %H:%M:%S')} ERROR {job.rule} {message}\n")
